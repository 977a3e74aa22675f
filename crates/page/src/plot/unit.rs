//! Quantities and the units that fit their figures.

use super::{ends, grouped};

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FigureQuantity {
    /// Seconds.
    Time,
    /// Bytes.
    Memory,
    /// Tokens a second.
    TokenRate,
    /// Joules.
    Energy,
    /// Floating-point operations a second.
    FlopRate,
    /// Bytes a second.
    ByteRate,
}

/// A unit: its name, and its size in the quantity's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ChosenUnit {
    /// `ms`.
    pub(crate) name: &'static str,
    size: f64,
}

/// Units of each quantity, rising.
const TIMES: [(f64, &str); 3] = [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];
const MEMORIES: [(f64, &str); 3] = [(1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")];
const ENERGIES: [(f64, &str); 2] = [(1e-3, "mJ"), (1.0, "J")];
const FLOP_RATES: [(f64, &str); 4] =
    [(1e6, "MFLOP/s"), (1e9, "GFLOP/s"), (1e12, "TFLOP/s"), (1e15, "PFLOP/s")];
const BYTE_RATES: [(f64, &str); 3] = [(1e6, "MB/s"), (1e9, "GB/s"), (1e12, "TB/s")];
const TOKEN_RATES: [(f64, &str); 1] = [(1.0, "tokens/s")];

impl FigureQuantity {
    /// The largest unit in which the largest of `values` is at least 1 and the least at least 0.1; where they are farther apart, the one
    /// that fits their geometric middle.
    pub(crate) fn unit(self, values: impl IntoIterator<Item = f64>) -> ChosenUnit {
        let units: &[(f64, &'static str)] = match self {
            Self::Time => &TIMES,
            Self::Memory => &MEMORIES,
            Self::TokenRate => &TOKEN_RATES,
            Self::Energy => &ENERGIES,
            Self::FlopRate => &FLOP_RATES,
            Self::ByteRate => &BYTE_RATES,
        };
        let (least, largest) = ends(values);
        let middle = (least.ln() / 2.0 + largest.ln() / 2.0).exp();
        let close = units.iter().rev().find(|(size, _)| largest >= *size && least >= 0.1 * size);
        let far = || units.iter().rev().find(|(size, _)| middle >= *size);
        let (size, name) = close.or_else(far).unwrap_or(&units[0]);
        ChosenUnit { name, size: *size }
    }
}

impl ChosenUnit {
    /// A figure in this unit.
    pub(crate) fn scale(self, value: f64) -> f64 {
        value / self.size
    }

    /// The number, with four digits.
    pub(crate) fn number(self, value: f64) -> String {
        number(self.scale(value))
    }

    /// The number and its unit: `7.019 ms`.
    pub(crate) fn text(self, value: f64) -> String {
        format!("{} {}", self.number(value), self.name)
    }
}

/// Formats a number with four digits.
pub(crate) fn number(value: f64) -> String {
    grouped(&results::format_short(value))
}

/// A single figure in the unit that fits it: `312.0 TFLOP/s`.
pub(crate) fn in_unit(quantity: FigureQuantity, value: f64) -> String {
    quantity.unit([value]).text(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit() {
        let words = |quantity: FigureQuantity, value: f64| in_unit(quantity, value);
        assert_eq!(words(FigureQuantity::Time, 0.007_019), "7.019 ms");
        assert_eq!(words(FigureQuantity::Time, 2.865), "2.865 s");
        assert_eq!(words(FigureQuantity::Time, 31e-9), "0.03100 µs");
        assert_eq!(words(FigureQuantity::FlopRate, 300e12), "300.0 TFLOP/s");
        assert_eq!(words(FigureQuantity::Memory, 80.0 * 1_073_741_824.0), "80.00 GiB");
        assert_eq!(words(FigureQuantity::TokenRate, 12_345.0), "12\u{a0}345 tokens/s");
        assert_eq!(FigureQuantity::Energy.unit([0.165, 5.6]).name, "J");
        assert_eq!(FigureQuantity::Time.unit([0.007, 0.059]).name, "ms");
        // From 1.3 ms to 1.5 s: the middle is of some tens of milliseconds.
        assert_eq!(FigureQuantity::Time.unit([0.0013, 1.5]).name, "ms");
        assert_eq!(FigureQuantity::Time.unit([f64::NAN, 0.0]).name, "s");
    }
}
