//! One figure as it is printed, and what it says.

use protocol::FailureKind;

use super::error::brief;
use crate::{Figure, Statistic, Value};

/// A figure as printed; always one that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
}

/// How cells end without figures; [`FailureKind::table_word`] is what stands for it.
const ENDED: [FailureKind; 5] = [
    FailureKind::OutOfMemory,
    FailureKind::TimedOut,
    FailureKind::Crashed,
    FailureKind::Failed,
    FailureKind::Skipped,
];

impl Cell {
    /// Takes a printed text without blanks around it. A number is digits with at most one decimal point and an exponent
    /// (`11.96`, `1e+10`), from 0 and finite: no sign, no separator of thousands, no unit. Words are read in either case.
    pub fn parse(text: &str) -> Result<Self, String> {
        match read(text) {
            Some(_) => Ok(Self { text: text.into() }),
            None => Err(format!(
                "expected a number from 0 such as 12.3, OOM, N/A or nothing, found {}",
                brief(text)
            )),
        }
    }

    /// As printed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn value(&self) -> Value {
        read(&self.text).unwrap_or(Value::Empty)
    }

    /// The figure, where it is one.
    pub fn figure(&self) -> Option<Figure> {
        self.value().figure()
    }
}

fn read(text: &str) -> Option<Value> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match text {
        "" => Some(Value::Empty),
        "-" | "–" | "—" => Some(Value::NotAvailable),
        _ if is("N/A") => Some(Value::NotAvailable),
        _ => {
            let ended = ENDED.into_iter().find(|kind| is(kind.table_word())).map(Value::Ended);
            ended.or_else(|| read_figure(text).map(Value::Figure))
        }
    }
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
            let number = Cell::parse(text).unwrap().figure().unwrap();
            assert_eq!(number.value, value);
            assert!((number.half_width / half_width - 1.0).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn words_are_read() {
        let value = |text| Cell::parse(text).unwrap().value();
        assert_eq!(value("OOM"), Value::Ended(FailureKind::OutOfMemory));
        assert_eq!(value("oom"), Value::Ended(FailureKind::OutOfMemory));
        assert_eq!([value("N/A"), value("—")], [Value::NotAvailable; 2]);
        assert_eq!(value(""), Value::Empty);
        assert_eq!(value("timeout"), Value::Ended(FailureKind::TimedOut));
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
        ] {
            let error = Cell::parse(text).unwrap_err();
            assert!(error.ends_with(&format!("found \"{text}\"")), "{error}");
        }
        assert!(Cell::parse(&"x".repeat(10_000)).unwrap_err().len() < 200);
    }
}
