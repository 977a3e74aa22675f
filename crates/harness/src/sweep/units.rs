//! Sizes as people write them.

/// Reads `1GiB`, `512 MiB`, `2GB`, `4096` (bytes).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let fail = || format!("expected a size such as \"1GiB\" or \"512MiB\", found \"{text}\"");
    let trimmed = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| trimmed.ends_with(unit));
    let (number, factor) =
        unit.map_or((trimmed, 1), |(unit, factor)| (&trimmed[..trimmed.len() - unit.len()], *factor));
    let number: f64 = number.trim().parse().map_err(|_| fail())?;
    let bytes = number * factor as f64;
    if bytes.is_finite() && (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(fail()) }
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
        for (text, bytes) in
            [("1GiB", 1 << 30), ("512 MiB", 512 << 20), ("2GB", 2_000_000_000), ("7", 7), ("1.5KiB", 1536)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "GiB", "-1GiB", "1XB", "1e400", "nan", "0"] {
            assert!(parse_bytes(text).is_err(), "{text}");
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
