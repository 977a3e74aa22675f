//! Marks of footnotes behind a text, and what looks like them.

/// Marks of a footnote after a text.
pub(super) const FOOTNOTE_MARKS: [char; 15] =
    ['*', '†', '‡', '§', '¶', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹', '⁰'];

/// Digits as superscripts: marks of footnotes, or powers.
pub(super) const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

pub(super) const MAYBE_POWER: &str = "a power or a footnote? Write a footnote as [^1]";

/// Whether a superscript after this text is an exponent: `10³`, `1.2×10³`.
pub(super) fn is_power_of_ten(text: &str) -> bool {
    let before = text.trim_end().strip_suffix("10");
    before.is_some_and(|before| !before.ends_with(|c: char| c.is_ascii_digit() || c == '.' || c == ','))
}

/// A text without marks of footnotes after it: `*`, `†`, `²`, `[1]`.
pub(super) fn without_marks(text: &str) -> &str {
    let mut text = text.trim_end();
    loop {
        let shorter = text.trim_end_matches(FOOTNOTE_MARKS).trim_end();
        let is_power = shorter.len() < text.len() && is_power_of_ten(shorter);
        let shorter = if is_power { text } else { shorter };
        let number = shorter.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
        let is_number = |(_, inner): &(&str, &str)| {
            (1..=2).contains(&inner.len()) && inner.bytes().all(|byte| byte.is_ascii_digit())
        };
        let shorter = number.filter(is_number).map_or(shorter, |(rest, _)| rest.trim_end());
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

/// Whether marks right behind a figure may be a power of it: there is more than one digit, or the figure is a whole number.
pub(super) fn is_maybe_power(figure: &str, marks: &str) -> bool {
    let digits = marks.chars().take_while(|mark| SUPERSCRIPTS.contains(mark)).count();
    let last = figure.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or("");
    digits > 0 && !last.is_empty() && (digits > 1 || !last.contains('.'))
}
