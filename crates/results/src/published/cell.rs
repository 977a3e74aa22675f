//! One figure as it is printed, and what it says.

use protocol::FailureKind;

use super::decorated::unit_kind;
use super::error::brief;
use crate::{Figure, Statistic, Value};

/// A figure as printed, without decorations; always one that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrintedFigure {
    /// The text, in the unit of its header.
    text: String,
    /// The power of ten of the column's own unit that the header's is.
    power: i32,
}

/// How cells end without figures; [`FailureKind::table_word`] is what stands for it.
const ENDED: [FailureKind; 5] = [
    FailureKind::OutOfMemory,
    FailureKind::TimedOut,
    FailureKind::Crashed,
    FailureKind::Failed,
    FailureKind::Skipped,
];

/// What else people write.
const OTHER_WORDS: [(&str, FailureKind); 12] = [
    ("OUT OF MEMORY", FailureKind::OutOfMemory),
    ("OUT-OF-MEMORY", FailureKind::OutOfMemory),
    ("OUT_OF_MEMORY", FailureKind::OutOfMemory),
    ("CUDA OOM", FailureKind::OutOfMemory),
    ("CUDA OUT OF MEMORY", FailureKind::OutOfMemory),
    ("OOM ERROR", FailureKind::OutOfMemory),
    ("TIMED OUT", FailureKind::TimedOut),
    ("TIMED_OUT", FailureKind::TimedOut),
    ("CRASH", FailureKind::Crashed),
    ("ERROR", FailureKind::Failed),
    ("FAIL", FailureKind::Failed),
    ("NOT RUN", FailureKind::Skipped),
];

/// What says that there is no figure.
const NOT_AVAILABLE: [&str; 14] = [
    "-",
    "–",
    "—",
    "−",
    "--",
    "---",
    "N/A",
    "NA",
    "N.A.",
    "NONE",
    "NULL",
    "TBD",
    "NOT AVAILABLE",
    "NOT MEASURED",
];

impl PrintedFigure {
    /// Takes a printed text without blanks around it. A number is digits with at most one decimal point and an exponent
    /// (`11.96`, `1e+10`), from 0 and finite: no sign, no separator of thousands, no unit. Words are read in either case.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::from_word(text).or_else(|| Self::from_number(text)).ok_or_else(|| {
            format!("expected a number from 0 such as 12.3, OOM, N/A or nothing, found {}", brief(text))
        })
    }

    /// Takes nothing, `N/A`, `OOM` and what else says why there is no figure, with a remark in parentheses.
    pub(super) fn from_word(text: &str) -> Option<Self> {
        read_word(text).map(|_| Self { text: text.into(), power: 0 })
    }

    pub(super) fn from_number(text: &str) -> Option<Self> {
        read_figure(text).map(|_| Self { text: text.into(), power: 0 })
    }

    /// The cell of a column that a table does not have.
    pub(super) fn not_available() -> Self {
        Self { text: "N/A".into(), power: 0 }
    }

    /// The same text below a header whose unit is this power of ten of the column's own.
    pub(super) fn with_power(self, power: i32) -> Self {
        Self { power, ..self }
    }

    /// The figure times a power of ten, with the same digits.
    pub(super) fn shifted(self, power: i32) -> Self {
        if power == 0 || read_word(&self.text).is_some() {
            return self;
        }
        Self { text: shift(&self.text, power), ..self }
    }

    /// The same figure below a header of another unit.
    pub(super) fn in_power(&self, power: i32) -> Self {
        self.clone().shifted(self.power - power).with_power(power)
    }

    /// The printed text, in the unit of its header.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says, in the unit of its column.
    pub fn value(&self) -> Value {
        let figure = || read_figure(&shift(&self.text, self.power)).map(Value::Figure);
        read_word(&self.text).or_else(figure).unwrap_or(Value::Empty)
    }

    /// The figure, where it is one.
    pub fn figure(&self) -> Option<Figure> {
        self.value().figure()
    }
}

fn read_word(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Empty);
    }
    let has_digit = text.starts_with(|c: char| c.is_ascii_digit());
    if has_digit || text.len() > 200 {
        return None;
    }
    let upper = text.to_uppercase();
    // `OOM (CUDA)`, `OOM: 80 GB`, `N/A (unsupported)`
    let end = upper.find(['(', ':']).unwrap_or(upper.len());
    let (word, remark) = (upper[..end].trim_end(), &upper[end..]);
    let behind = remark.rsplit_once(')').map_or("", |(_, behind)| behind);
    if is_figure(behind) {
        return None;
    }
    let other = OTHER_WORDS.iter().find(|(other, _)| *other == word).map(|(_, kind)| *kind);
    let value = match ENDED.into_iter().find(|kind| kind.table_word() == word).or(other) {
        Some(kind) => Value::Ended(kind),
        None if NOT_AVAILABLE.contains(&word) => Value::NotAvailable,
        None => return None,
    };
    // `TIMEOUT (600 s)` says how long it was tried.
    let is_duration = value == Value::Ended(FailureKind::TimedOut) && remark.contains(char::is_alphabetic);
    (is_duration || !is_figure(remark)).then_some(value)
}

/// Whether a remark is a figure, alone or with a unit of figures: `(12.3 ms)` is one, `(80 GB)` and `(CUDA)` are none.
fn is_figure(remark: &str) -> bool {
    let remark = remark.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '.');
    let rest = remark.trim_start_matches(|c: char| c.is_ascii_digit() || ".,'’_".contains(c));
    if rest.len() == remark.len() {
        return false;
    }
    let word = rest.trim_start().split([' ', ')']).next().unwrap_or("");
    let is_exponent = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
    !word.starts_with(char::is_alphabetic)
        || unit_kind(word).is_some()
        || word.strip_prefix('E').is_some_and(is_exponent)
}

/// A number times a power of ten: the same digits with another exponent.
fn shift(number: &str, power: i32) -> String {
    if power == 0 {
        return number.to_owned();
    }
    if let Some((mantissa, exponent)) = number.split_once(['e', 'E']) {
        let exponent = exponent.parse::<i32>().unwrap_or(0).saturating_add(power);
        return if exponent == 0 { mantissa.to_owned() } else { format!("{mantissa}e{exponent}") };
    }
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let places = usize::try_from(power.unsigned_abs()).unwrap_or(usize::MAX);
    let (whole, decimals) = if power < 0 && places < 16 {
        let padded = format!("{}{whole}", "0".repeat((places + 1).saturating_sub(whole.len())));
        let (whole, moved) = padded.split_at(padded.len() - places);
        (whole.to_owned(), format!("{moved}{decimals}"))
    } else if power > 0 && places <= decimals.len() {
        let (moved, rest) = decimals.split_at(places);
        (format!("{whole}{moved}"), rest.to_owned())
    } else {
        // More zeros would say more digits than were printed.
        return format!("{number}e{power}");
    };
    let digits = whole.trim_start_matches('0');
    let whole = if digits.is_empty() { "0" } else { digits };
    if decimals.is_empty() { whole.to_owned() } else { format!("{whole}.{decimals}") }
}

fn read_figure(text: &str) -> Option<Figure> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, decimals) = mantissa.split_once('.').map_or((mantissa, None), |(w, d)| (w, Some(d)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !decimals.is_none_or(digits) {
        return None;
    }
    let exponent: i32 = match exponent {
        None => 0,
        Some(exponent) => {
            digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)).then_some(())?;
            exponent.parse().ok()?
        }
    };
    let last_digit = exponent.checked_sub(i32::try_from(decimals.map_or(0, str::len)).ok()?)?;
    let value: f64 = text.parse().ok()?;
    let half_width = 0.5 * 10f64.powi(last_digit);
    let figure = Figure { value, half_width, statistic: Statistic::Unknown };
    (value.is_finite() && half_width.is_finite()).then_some(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_knows_how_far_it_was_rounded() {
        let cases = [
            ("11.967659", 11.967659, 0.5e-6),
            ("0", 0.0, 0.5),
            ("1336.9", 1336.9, 0.05),
            ("1e+10", 1e10, 0.5e10),
            ("1.2345E-05", 1.2345e-5, 0.5e-9),
            ("016", 16.0, 0.5),
        ];
        for (text, value, half_width) in cases {
            let number = PrintedFigure::parse(text).unwrap().figure().unwrap();
            assert_eq!(number.value, value);
            assert!((number.half_width / half_width - 1.0).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn another_unit_has_the_same_digits() {
        for (number, power, shifted) in [
            ("11.97", 0, "11.97"),
            ("0.01197", 3, "11.97"),
            ("11970", -3, "11.970"),
            ("3.08", 3, "3.08e3"),
            ("3.080", 3, "3080"),
            ("5", -6, "0.000005"),
            ("1.5e2", 3, "1.5e5"),
            ("1.5e-3", 3, "1.5"),
            ("0.000", 3, "0"),
        ] {
            assert_eq!(
                PrintedFigure::from_number(number).unwrap().shifted(power).text(),
                shifted,
                "{number}"
            );
            let [before, after] = [(number, power), (shifted, 0)]
                .map(|(text, power)| read_figure(&shift(text, power)).unwrap());
            assert!((before.half_width / after.half_width - 1.0).abs() < 1e-9, "{number}");
        }
    }

    #[test]
    fn words_are_read() {
        let value = |text| PrintedFigure::parse(text).unwrap().value();
        assert_eq!(value("OOM"), Value::Ended(FailureKind::OutOfMemory));
        assert_eq!(value("oom"), Value::Ended(FailureKind::OutOfMemory));
        assert_eq!([value("N/A"), value("—")], [Value::NotAvailable; 2]);
        assert_eq!(value(""), Value::Empty);
        assert_eq!(value("timeout"), Value::Ended(FailureKind::TimedOut));
        for text in ["OOM (CUDA)", "oom: 80 GB", "Out of memory", "CUDA out of memory"] {
            assert_eq!(value(text), Value::Ended(FailureKind::OutOfMemory), "{text}");
        }
        for text in ["NA", "n/a", "–", "TBD", "none"] {
            assert_eq!(value(text), Value::NotAvailable, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_figure_is_refused_in_words() {
        for text in [
            "12,3",
            "1e999",
            "nan",
            "inf",
            "-1",
            "+1",
            "1.",
            ".5",
            "1 2",
            "0x10",
            "1e",
            "1e+",
            "12ms",
            "1_0",
            "١",
            "0e999",
            "1.2.3",
            "1e99999999999",
            "OOMs",
            "no OOM",
        ] {
            let error = PrintedFigure::parse(text).unwrap_err();
            assert!(error.ends_with(&format!("found \"{text}\"")), "{error}");
        }
        assert!(PrintedFigure::parse(&"x".repeat(10_000)).unwrap_err().len() < 200);
    }
}
