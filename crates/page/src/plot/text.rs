//! Text in plots: how wide it is, about; shortened to what fits; escaped.

use unicode_width::UnicodeWidthStr;

/// An upper estimate of a text's width in a font of `size`, in the same unit, whatever sans-serif font that is.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.width() as f64 * size * 0.64
}

/// The text, or its beginning and an ellipsis, in at most `room`.
pub(crate) fn fit(text: &str, size: f64, room: f64) -> String {
    let text = results::one_line(text);
    if width(&text, size) <= room {
        return text;
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept, size) + width("…", size) > room {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}

/// The text in lines of at most `room`, broken at spaces; a word that is longer than that is shortened.
pub(crate) fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in results::one_line(text).split(' ').filter(|word| !word.is_empty()) {
        let word = fit(word, size, room);
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// Text as content or attribute of XML and HTML, without what would steer its reading.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in results::plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text_and_nothing_steers() {
        assert_eq!(escape("<script>'\"&\u{202e}"), "&lt;script&gt;&#39;&quot;&amp; ");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis_that_fits() {
        assert_eq!(fit("onnxruntime", 10.0, 100.0), "onnxruntime");
        for text in ["a-very-long-name-of-an-engine", "漢字漢字漢字漢字漢字", "עברית עברית עברית"]
        {
            let short = fit(text, 10.0, 60.0);
            assert!(short.ends_with('…') && width(&short, 10.0) <= 60.0, "{short}");
        }
        assert_eq!(fit("abc", 10.0, 0.0), "…");
    }

    #[test]
    fn long_text_is_wrapped_at_spaces() {
        let lines = wrapped("ms per decode forward, mean of all tokens, logarithmic", 10.0, 150.0);
        assert_eq!(lines, ["ms per decode forward,", "mean of all tokens,", "logarithmic"]);
        assert_eq!(wrapped("", 10.0, 150.0), Vec::<String>::new());
    }
}
