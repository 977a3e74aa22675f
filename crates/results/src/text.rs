//! Text from elsewhere, such as an engine's name or a worker's error, in outputs that have a syntax of their own.

/// The same text without what would steer a terminal or turn its reading around: control characters, and Unicode's
/// bidirectional and invisible ones. Line ends stay.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) && c != '\n' { ' ' } else { c }).collect()
}

/// [`plain`], on one line.
pub fn one_line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// JSON with such characters escaped, which can only be in its texts.
pub fn escaped_json(json: &str) -> String {
    let escape = |c: char| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) && c != '\n' { escaped.push_str(&escape(c)) } else { escaped.push(c) }
    }
    escaped
}

fn steers(c: char) -> bool {
    // Unicode 16, property Bidi_Control; then line and paragraph separators, zero-width characters, tags.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\u{202e}b\u{9b}\u{e0041}";
        let json = serde_json::to_string(&text).unwrap();
        let escaped = escaped_json(&json);
        assert_eq!(escaped, r#""a\u202eb\u009b\udb40\udc41""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }

    #[test]
    fn nothing_steers_and_other_scripts_stay() {
        assert_eq!(plain("a\u{1b}[31m\u{202e}b\u{7}\nc"), "a [31m b \nc");
        assert_eq!(one_line("a\nb\r\tc"), "a b  c");
        assert_eq!(plain("مرحبا × 16 µs"), "مرحبا × 16 µs");
    }
}
