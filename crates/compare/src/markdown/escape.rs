//! Text from elsewhere stays text, and calls nobody.

use results::one_line;

/// More characters of one text than this are cut off.
const LONGEST: usize = 400;

/// Breaks a mention or a reference, which GitHub looks for after markdown's escapes are gone, without being seen.
const BREAK: &str = "&#8203;";

/// Escapes text for markdown.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in results::published::layout::escape(&short(text)).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '_' | '~' | '$' => escaped.extend(['\\', c]),
            _ => push_broken(&mut escaped, c),
        }
    }
    escaped
}

/// Escapes text for the inside of an HTML element, where markdown is not read.
pub(super) fn escape_html(text: &str) -> String {
    let mut escaped = String::new();
    for c in short(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => push_broken(&mut escaped, c),
        }
    }
    escaped
}

fn push_broken(escaped: &mut String, c: char) {
    escaped.push(c);
    if matches!(c, '@' | '#') {
        escaped.push_str(BREAK);
    }
}

fn short(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_mentions_and_references_are_text() {
        assert_eq!(escape("a|b <b> & &lt; _x_ ~"), "a\\|b \\<b\\> &amp; &amp;lt; \\_x\\_ \\~");
        assert_eq!(escape("@all #12"), "@&#8203;all \\#&#8203;12");
        assert_eq!(escape_html("</summary>\n@all & #12"), "&lt;/summary&gt; @&#8203;all &amp; #&#8203;12");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = escape(&"±".repeat(500));
        assert_eq!((text.chars().count(), text.ends_with("±…")), (LONGEST + 1, true));
    }
}
