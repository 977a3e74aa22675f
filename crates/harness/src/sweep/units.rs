//! Sizes as people write them.

/// The units of a size, in lower case: those of one letter are binary, as schedulers and containers have them.
const UNITS: [(&str, u64); 13] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
];

/// Reads `1GiB`, `512 MiB`, `2GB`, `2G`: a number and a unit.
///
/// # Errors
/// What was expected; for a number alone, what was probably meant.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let fail = || format!("expected a size such as \"2GiB\" or \"512MiB\", found \"{text}\"");
    let size = text.trim().to_lowercase();
    if let Ok(number) = size.parse::<f64>()
        && number.is_finite()
    {
        return Err(without_unit(size.trim_end_matches(".0"), number).unwrap_or_else(fail));
    }
    let (unit, factor) = UNITS.iter().find(|(unit, _)| size.ends_with(unit)).ok_or_else(fail)?;
    let number = size[..size.len() - unit.len()].trim();
    // A whole number is exact: half of them beyond 2^53 are no f64.
    if let Some(bytes) = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)) {
        return if (1..10_u64.pow(18)).contains(&bytes) { Ok(bytes) } else { Err(fail()) };
    }
    let bytes = number.parse::<f64>().map_err(|_| fail())? * *factor as f64;
    if bytes.is_finite() && (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(fail()) }
}

/// The error of a size that has no unit, where one would make it a size.
fn without_unit(text: &str, number: f64) -> Option<String> {
    let unit = match number {
        n if n < 1024.0 => "GiB",
        n if n < f64::from(1 << 20) => "MiB",
        _ => "B",
    };
    let meant = format!("{text}{unit}");
    parse_bytes(&meant).ok()?;
    Some(format!("expected a size with a unit, found {text}: did you mean {meant}?"))
}

/// `1.50 GiB`: three digits and a binary unit.
pub fn format_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let decimals = if unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("512 MiB", 512 << 20),
            ("2GB", 2_000_000_000),
            ("2gb", 2_000_000_000),
            ("2G", 2 << 30),
            ("512M", 512 << 20),
            ("7B", 7),
            ("9007199254740993B", 9_007_199_254_740_993),
            ("1.5KiB", 1536),
            ("1e-3TB", 1_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "GiB", "-1GiB", "1XB", "1e400B", "nan", "infB", "0B"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for (text, meant) in
            [("10", "10GiB"), ("4096", "4096MiB"), ("8589934592", "8589934592B"), ("1.5", "1.5GiB")]
        {
            let error = format!("expected a size with a unit, found {text}: did you mean {meant}?");
            assert_eq!(parse_bytes(text), Err(error));
        }
        for text in [".0", "0", "0.0", "-5", "1e30"] {
            let error = format!("expected a size such as \"2GiB\" or \"512MiB\", found \"{text}\"");
            assert_eq!(parse_bytes(text), Err(error));
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1000, "1000 B"),
            (1536, "1.50 KiB"),
            (13_476_831_232, "12.6 GiB"),
            (1 << 30, "1.00 GiB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
