//! Numbers as the published tables print them.

/// C's `%.10g` (ISO C 7.21.6.1): ten significant digits, no trailing zeros, an exponent below 1e-4 and from 1e10.
pub fn format_g10(number: f64) -> String {
    format_g(number, 10)
}

/// Four significant digits with their zeros, for screens: figures of one column line up.
pub fn format_short(number: f64) -> String {
    // Rounded first: 999.96 has as many digits before the point as 1000.
    let rounded = format!("{number:.3e}");
    let magnitude = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0_i32);
    format!("{number:.*}", (3 - magnitude).clamp(0, 9) as usize)
}

/// A size as somebody would write it: `80 GB` where it is of whole megabytes, else `79.15 GiB`.
pub fn format_size(bytes: u64) -> String {
    let (unit, value) = match bytes {
        _ if bytes.is_multiple_of(1_000_000) && bytes < 1_000_000_000 => ("MB", bytes as f64 / 1e6),
        _ if bytes.is_multiple_of(1_000_000) => ("GB", bytes as f64 / 1e9),
        _ if bytes < 1 << 20 => return format!("{bytes} bytes"),
        _ => ("GiB", bytes as f64 / f64::from(1 << 30)),
    };
    format!("{} {unit}", format_g(value, 4))
}

fn format_g(number: f64, digits: i32) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "nan".into() } else { format!("{number}") };
    }
    let scientific = format!("{number:.*e}", digits as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..digits).contains(&exponent) {
        return trim(&format!("{number:.*}", (digits - 1 - exponent) as usize)).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

fn trim(decimal: &str) -> &str {
    if decimal.contains('.') { decimal.trim_end_matches('0').trim_end_matches('.') } else { decimal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_in_the_unit_that_they_are_of() {
        let gib = f64::from(1 << 30);
        for (bytes, text) in [
            (80_000_000_000, "80 GB"),
            (1_500_000_000, "1.5 GB"),
            (180_000_000, "180 MB"),
            (80 << 30, "80 GiB"),
            ((79.15 * gib) as u64, "79.15 GiB"),
            (512 << 20, "0.5 GiB"),
            (4096, "4096 bytes"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }

    #[test]
    fn short_numbers_have_four_digits_after_rounding() {
        let short = [999.96, 1000.0, 999.94, 0.0, 0.099_999, 12_345.6, -9.9996, 1e-12].map(format_short);
        assert_eq!(short, ["1000", "1000", "999.9", "0.000", "0.1000", "12346", "-10.00", "0.000000000"]);
    }

    #[test]
    fn numbers_print_as_c_does() {
        // Each right side is what `printf '%.10g'` printed.
        let cases = [
            (11.967659, "11.967659"),
            (15_137.969_085_3, "15137.96909"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (100.0, "100"),
            (1e9, "1000000000"),
            (9_999_999_999.0, "9999999999"),
            (1e10, "1e+10"),
            (12_345_678_901.0, "1.23456789e+10"),
            (9_999_999_999.96, "1e+10"),
            (0.000_123_456_789_012, "0.000123456789"),
            (0.000_012_345, "1.2345e-05"),
            (1e-100, "1e-100"),
            (-2.5, "-2.5"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.3333333333"),
            (5e-324, "4.940656458e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (number, text) in cases {
            assert_eq!(format_g10(number), text);
        }
    }

    #[test]
    fn screens_show_four_digits() {
        let cases =
            [(0.0, "0.000"), (1.0, "1.000"), (0.0123451, "0.01235"), (470.035, "470.0"), (16384.4, "16384")];
        for (number, text) in cases {
            assert_eq!(format_short(number), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn ten_digits_read_back_within_half_a_unit_of_the_tenth(number in 1e-12f64..1e15) {
            let read: f64 = format_g10(number).parse().unwrap();
            assert!((read / number - 1.0).abs() <= 0.5e-9 * 1.000_001);
        }
    }
}
