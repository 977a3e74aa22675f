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
    fn nothing_steers_and_other_scripts_stay() {
        assert_eq!(plain("a\u{1b}[31m\u{202e}b\u{7}\nc"), "a [31m b \nc");
        assert_eq!(one_line("a\nb\r\tc"), "a b  c");
        assert_eq!(plain("مرحبا × 16 µs"), "مرحبا × 16 µs");
    }
}
