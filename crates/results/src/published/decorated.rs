//! A figure as people write it into a table: with a unit, a spread, separators of thousands, marks of footnotes.

use std::borrow::Cow;

use super::PrintedFigure;
use super::marks::{MAYBE_POWER, SUPERSCRIPTS, is_maybe_power, without_marks};
use crate::Column;

/// The unit that a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderUnit {
    /// The column's own unit times this power of ten.
    Power(i32),
    /// None: each cell says its own.
    None,
}

/// A figure that was read.
pub(super) struct Decorated {
    pub(super) cell: PrintedFigure,
    /// Whether a spread stood behind it, which is not its rounding and not read.
    pub(super) has_spread: bool,
}

/// Units of time, and the power of ten of a second that they are.
const TIMES: [(&str, i32); 21] = [
    ("s", 0),
    ("sec", 0),
    ("secs", 0),
    ("second", 0),
    ("seconds", 0),
    ("ms", -3),
    ("msec", -3),
    ("msecs", -3),
    ("millis", -3),
    ("millisecond", -3),
    ("milliseconds", -3),
    ("us", -6),
    ("usec", -6),
    ("µs", -6),
    ("μs", -6),
    ("microsecond", -6),
    ("microseconds", -6),
    ("ns", -9),
    ("nsec", -9),
    ("nanosecond", -9),
    ("nanoseconds", -9),
];

/// Units of tokens in a second.
const RATES: [&str; 12] = [
    "tps",
    "t/s",
    "tok/s",
    "toks/s",
    "token/s",
    "tokens/s",
    "tok/sec",
    "token/sec",
    "tokens/sec",
    "tokens/second",
    "tokens per second",
    "tokens per sec",
];

/// A unit as a power of ten of the unit of `column`; `None` where it is no unit of it.
pub(super) fn unit_power(unit: &str, column: Column) -> Option<i32> {
    let unit = unit.trim().to_lowercase();
    if !column.is_latency() {
        return RATES.contains(&unit.as_str()).then_some(0);
    }
    let is_of_a_token = !matches!(column, Column::PromptLatency | Column::WallLatency);
    let per_token = ["/token", "/tok", " per token"].iter().find_map(|tail| unit.strip_suffix(tail));
    let unit = per_token.filter(|_| is_of_a_token).unwrap_or(&unit);
    let own = if column.unit() == "ms" { -3 } else { 0 };
    TIMES.iter().find(|(name, _)| *name == unit).map(|(_, power)| power - own)
}

/// Whether a text is a unit of time (true) or of tokens in a second (false); `None` where it is neither.
pub(super) fn unit_kind(unit: &str) -> Option<bool> {
    let is_time = unit_power(unit, Column::First256Latency).is_some();
    (is_time || unit_power(unit, Column::PromptThroughput).is_some()).then_some(is_time)
}

/// Reads a cell of `column` from its plain text. `has_points` says whether the table's figures have decimal points: then a comma
/// separates thousands.
pub(super) fn read(
    text: &str,
    column: Column,
    unit: HeaderUnit,
    has_points: bool,
) -> Result<Decorated, String> {
    let expected = |why: &str| {
        let found = super::error::brief(text);
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        format!("expected a number from 0 such as 12.3, OOM, N/A or nothing, found {found}{why}")
    };
    let text = text.trim();
    if let Some(cell) = PrintedFigure::from_word(text) {
        return Ok(Decorated { cell, has_spread: false });
    }
    let marked = without_marks(text);
    if is_maybe_power(marked, &text[marked.len()..]) {
        return Err(expected(MAYBE_POWER));
    }
    if let Some(cell) = PrintedFigure::from_word(marked) {
        return Ok(Decorated { cell, has_spread: false });
    }
    if marked.starts_with(['~', '≈', '∼', '≃', '<', '>', '≤', '≥', '≲', '≳']) {
        return Err(expected("an estimate or a bound is no figure: write the figure, or N/A"));
    }
    let parts = split(marked).map_err(|why| expected(&why))?;
    let number = ungrouped(parts.number, has_points).map_err(|why| expected(&why))?;
    let cell = PrintedFigure::from_number(&number).ok_or_else(|| expected(""))?;
    let own = parts.unit.map(|unit| {
        let wrong = || {
            expected(&format!("{} is no unit of this column ({})", super::error::brief(unit), column.unit()))
        };
        unit_power(unit, column).ok_or_else(wrong)
    });
    let cell = match (own.transpose()?, unit) {
        (None, HeaderUnit::Power(power)) => cell.with_power(power),
        (None, HeaderUnit::None) => {
            let why = format!("neither the header nor the cell says the unit: write \"({})\"", column.unit());
            return Err(expected(&why));
        }
        (Some(own), HeaderUnit::Power(power)) => cell.shifted(own - power).with_power(power),
        (Some(own), HeaderUnit::None) => cell.shifted(own),
    };
    Ok(Decorated { cell, has_spread: parts.has_spread })
}

/// A whole number from 1, which may have separators of thousands and marks of footnotes.
pub(super) fn read_size(text: &str) -> Result<u32, String> {
    read_whole(text, 1)
}

/// The length of a prompt: of none where tokens are generated from an empty context.
pub(super) fn read_prompt_length(text: &str) -> Result<u32, String> {
    read_whole(text, 0)
}

fn read_whole(text: &str, least: u32) -> Result<u32, String> {
    let plain = without_marks(text.trim());
    if text.contains(SUPERSCRIPTS) {
        let found = super::error::brief(text);
        return Err(format!("expected a whole number from 1 to {}, found {found}: {MAYBE_POWER}", u32::MAX));
    }
    let digits = ungrouped(plain, true).unwrap_or(Cow::Borrowed(plain));
    // A column of numbers of which some were missing is one of floats to pandas.
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    match digits.parse::<u32>() {
        Ok(size) if size >= least && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(size),
        _ => {
            let found = super::error::brief(text);
            Err(format!("expected a whole number from 1 to {}, found {found}", u32::MAX))
        }
    }
}

struct FigureParts<'a> {
    number: &'a str,
    unit: Option<&'a str>,
    has_spread: bool,
}

/// Splits `11.97 ms ± 0.03`, `11.97 ± 0.03 ms`, `11.97 (0.03)` or `11.97 (ms)`.
fn split(text: &str) -> Result<FigureParts<'_>, String> {
    match parenthesis(text).filter(|(_, inner)| unit_kind(inner).is_some()) {
        None => split_spread(text),
        Some((head, inner)) => {
            let parts = split_spread(head)?;
            match parts.unit {
                Some(unit) if !unit.eq_ignore_ascii_case(inner) => Err("two units: which one counts?".into()),
                _ => Ok(FigureParts { unit: Some(inner), ..parts }),
            }
        }
    }
}

/// The parenthesis that ends a text, with what stands before it.
fn parenthesis(text: &str) -> Option<(&str, &str)> {
    let (head, inner) = text.strip_suffix(')')?.rsplit_once('(')?;
    Some((head.trim_end(), inner.trim()))
}

/// Splits what has no unit in parentheses.
fn split_spread(text: &str) -> Result<FigureParts<'_>, String> {
    let (head, spread) = match parenthesis(text) {
        Some((head, inner)) => (head, Some(without_plus_minus(inner).unwrap_or(inner))),
        None => {
            let at = ["±", "+/-", "+-", "+/−"].iter().filter_map(|sign| text.find(sign)).min();
            match at {
                Some(at) => (&text[..at], without_plus_minus(&text[at..])),
                None => (text, None),
            }
        }
    };
    let (number, unit) = number_and_unit(head.trim());
    let Some(spread) = spread else { return Ok(FigureParts { number, unit, has_spread: false }) };
    let (width, spread_unit) = number_and_unit(spread.trim());
    let is_number = ungrouped(width, true).is_ok_and(|width| PrintedFigure::from_number(&width).is_some());
    let is_unit = spread_unit.is_none_or(|unit| unit == "%" || unit_kind(unit).is_some());
    if !is_number || !is_unit {
        return Err("the text after the figure is no spread: move it to a column of its own".into());
    }
    // `11.97 ± 0.03 ms`: the unit of both.
    let shared = spread_unit.filter(|unit| *unit != "%" && !text.ends_with(')'));
    Ok(FigureParts { number, unit: unit.or(shared), has_spread: true })
}

fn without_plus_minus(text: &str) -> Option<&str> {
    let text = text.trim_start();
    ["±", "+/-", "+-", "+/−"].iter().find_map(|sign| text.strip_prefix(sign))
}

/// A number and what stands behind its last digit.
fn number_and_unit(text: &str) -> (&str, Option<&str>) {
    let end = text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |at| at + 1);
    // `1.` is no number: the point stays with it.
    let end = if text[end..].starts_with('.') { end + 1 } else { end };
    let (number, unit) = text.split_at(end);
    (number, Some(unit.trim()).filter(|unit| !unit.is_empty()))
}

/// A number without separators of thousands: groups of three, all separated by the same mark.
fn ungrouped(number: &str, has_points: bool) -> Result<Cow<'_, str>, String> {
    let is_separator = |c: char| matches!(c, ',' | '\'' | '’' | '_') || c.is_whitespace();
    let is_plain = |c: char| c.is_ascii_digit() || c == '.' || is_separator(c);
    let Some(separator) = number.chars().find(|&c| is_separator(c)).filter(|_| number.chars().all(is_plain))
    else {
        return Ok(Cow::Borrowed(number));
    };
    let (whole, decimals) =
        number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let groups: Vec<&str> = whole.split(separator).collect();
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_first = (1..=3).contains(&groups[0].len()) && !groups[0].starts_with('0');
    let are_threes = groups.len() > 1 && groups[1..].iter().all(|group| group.len() == 3);
    let are_groups = is_first && are_threes && groups.iter().all(|group| are_digits(group));
    if !are_groups || !decimals.is_none_or(|decimals| !decimals.is_empty() && are_digits(decimals)) {
        return Err(if separator == ',' {
            "a decimal comma? write a decimal point, and thousands in groups of three".into()
        } else {
            "thousands are separated in groups of three".into()
        });
    }
    if separator == ',' && groups.len() == 2 && decimals.is_none() && !has_points {
        let (as_thousands, as_decimals) = (groups.concat(), groups.join("."));
        return Err(format!(
            "{as_thousands} or {as_decimals}? No figure of this table has a decimal point that would tell"
        ));
    }
    let whole = groups.concat();
    Ok(Cow::Owned(decimals.map_or(whole.clone(), |decimals| format!("{whole}.{decimals}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_milliseconds(text: &str) -> Result<f64, String> {
        let read = read(text, Column::PromptLatency, HeaderUnit::Power(0), true)?;
        Ok(read.cell.figure().map_or(f64::NAN, |figure| figure.value))
    }

    #[test]
    fn decorations_do_not_change_a_figure() {
        for text in [
            "11.97",
            "11.97 ms",
            "11.97ms",
            "11.97 (ms)",
            "11.97*",
            "11.97 †",
            "11.97²",
            "11.97 [1]",
            "11.97 ± 0.03",
            "11.97±0.03",
            "11.97 +/- 0.03",
            "11.97 (0.03)",
            "11.97 (± 0.03)",
            "11.97 ± 0.03 ms",
            "11.97 ms ± 30 us",
            "11.97 ± 2%",
            "\u{a0}11.97\u{a0}ms ",
            "11970 µs",
            "0.01197 s",
            "1.197e1",
        ] {
            assert!((in_milliseconds(text).unwrap() / 11.97 - 1.0).abs() < 1e-12, "{text}");
        }
        for text in [
            "1336.7",
            "1,336.7",
            "1 336.7",
            "1\u{a0}336.7",
            "1\u{2009}336.7",
            "1\u{202f}336.7",
            "1'336.7",
            "1’336.7",
            "1_336.7",
        ] {
            assert_eq!(in_milliseconds(text), Ok(1336.7), "{text}");
        }
    }

    #[test]
    fn what_could_be_something_else_is_refused() {
        for text in [
            "11,97",
            "1,33",
            "1,3367",
            "12,34,567",
            "1.336,7",
            "~11.97",
            ">100",
            "<0.1",
            "≥3",
            "11-12",
            "11–12",
            "11 to 12",
            "11.97 tps",
            "11.97 x",
            "11.97 %",
            "1.3k",
            "10²",
            "10^3",
            "1.2×10³",
            "11.97 (best)",
            "2¹⁰",
            "1336²",
            "11.97²³",
            "11.97⁻¹",
            "11.97 s (ms)",
            "OOM: 12.3",
            "N/A: 12.3",
            "N/A (~12.3 ms)",
            "- (12.3)",
            "TBD (11.97)",
            "11.97 / 12",
            "(11.97)",
            "1 33",
            "11 97",
            "0,123",
            "1__336",
            "1,336 700",
            "-1",
            "+1",
            "1.",
            ".5",
            "nan",
            "0x10",
            "see below",
        ] {
            assert!(in_milliseconds(text).is_err(), "{text}");
        }
        assert!(in_milliseconds(&format!("11.97{}", " (ms)".repeat(100_000))).is_err());
    }

    #[test]
    fn rounding_is_what_was_printed() {
        let half_width = |text: &str| {
            read(text, Column::PromptLatency, HeaderUnit::Power(0), true)
                .unwrap()
                .cell
                .figure()
                .unwrap()
                .half_width
        };
        for (text, expected) in
            [("11.97 ± 0.5", 0.005), ("1,336.7", 0.05), ("3.08 s", 5.0), ("11970 us", 0.5e-3)]
        {
            assert!((half_width(text) / expected - 1.0).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn a_comma_without_a_point_in_the_table_is_not_guessed() {
        let read = |has_points| read("1,336", Column::PromptThroughput, HeaderUnit::Power(0), has_points);
        assert_eq!(read(true).unwrap().cell.text(), "1336");
        assert!(read(false).is_err_and(|why| why.contains("1336 or 1.336?")));
    }

    #[test]
    fn a_unit_counts_in_the_header_or_in_the_cell() {
        let value = |text, unit| {
            read(text, Column::WallLatency, unit, true).map(|read| read.cell.figure().unwrap().value)
        };
        assert_eq!(value("3080", HeaderUnit::Power(-3)), Ok(3.08));
        assert_eq!(value("3.08 s", HeaderUnit::Power(-3)), Ok(3.08));
        assert_eq!(value("3.08 s", HeaderUnit::None), Ok(3.08));
        assert!(value("3.08", HeaderUnit::None).is_err_and(|why| why.contains("says the unit")));
    }
}
