//! Text from elsewhere, such as an engine's name or a worker's error, in outputs that have a syntax of their own.

use std::borrow::Cow;

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

/// [`one_line`], as a field of csv that no spreadsheet takes for a formula.
pub fn csv_field(text: &str) -> String {
    formula_mark(&one_line(text)).into_owned()
}

/// A text that a spreadsheet would take for a formula gets a quote before it; so does one that already has quotes there.
pub(crate) fn formula_mark(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text that [`formula_mark`] was given.
pub(crate) fn remove_formula_mark(text: &str) -> &str {
    text.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(text)
}

fn is_formula(text: &str) -> bool {
    // The full-width signs begin a formula in Japanese and Chinese spreadsheets.
    let starts = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    // Some importers leave out spaces first.
    text.trim_start_matches('\'').starts_with(starts)
        || text.trim_start_matches(['\'', ' ']).starts_with(starts)
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
    fn a_field_of_csv_is_no_formula_and_read_back() {
        for text in ["=1+1", "+1", "-1", "@a", "＝1", "'=1", "''-a"] {
            let field = csv_field(text);
            assert_eq!(field, format!("'{text}"));
            assert_eq!(remove_formula_mark(&field), text);
        }
        for text in ["a=1", "'a", "", "1e-5"] {
            assert_eq!((csv_field(text).as_str(), remove_formula_mark(text)), (text, text));
        }
        assert_eq!(formula_mark("\t=1"), "'\t=1");
    }

    #[test]
    fn nothing_steers_and_other_scripts_stay() {
        assert_eq!(plain("a\u{1b}[31m\u{202e}b\u{7}\nc"), "a [31m b \nc");
        assert_eq!(one_line("a\nb\r\tc"), "a b  c");
        assert_eq!(plain("مرحبا × 16 µs"), "مرحبا × 16 µs");
    }
}
