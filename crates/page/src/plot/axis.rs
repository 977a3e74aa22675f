//! Axes: where a value stands, and which values are labelled.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::text;

/// Values that differ by more than this factor are shown on a logarithmic scale.
const LOG_FROM: f64 = 20.0;

/// What an axis shows lies between these: beyond them are no measurements, and differences and logarithms have an end.
const SMALLEST: f64 = 1e-30;
const LARGEST: f64 = 1e30;

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    pub(crate) is_log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis from 0 to beyond the largest of `values`; logarithmic where they differ too much.
    pub(crate) fn from_values(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = range(values);
        if largest > least * LOG_FROM { Self::log(least, largest) } else { Self::linear(0.0, largest) }
    }

    /// Linear from `low`, with ticks at round numbers.
    pub(crate) fn linear(low: f64, largest: f64) -> Self {
        let low = if low.is_finite() { low.clamp(-LARGEST, LARGEST) } else { 0.0 };
        let largest = if largest.is_finite() { largest.clamp(-LARGEST, LARGEST) } else { low };
        // Ticks that no number tells apart would have no end.
        let is_wide = largest - low > SMALLEST.max(1e-9 * low.abs());
        let largest = if is_wide { largest } else { low + low.abs().max(1.0) };
        let step = round_step((largest - low) / 5.0);
        let high = ((largest - low) / step).ceil() * step + low;
        let count = ((high - low) / step).round() as usize;
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let tick = |index: usize| {
            let value = low + step * index as f64;
            (value, grouped(&format!("{value:.decimals$}")))
        };
        Self { low, high, is_log: false, ticks: (0..=count).map(tick).collect() }
    }

    /// Logarithmic, with ticks at 1, 2 and 5 of each decade, or fewer.
    pub(crate) fn log(least: f64, largest: f64) -> Self {
        let positive = |value: f64| if value.is_nan() { 1.0 } else { value.clamp(SMALLEST, LARGEST) };
        let (least, largest) = (positive(least.min(largest)), positive(least.max(largest)));
        let (low, high) = (least / 1.25, largest * 1.25);
        let of = |leading: &[f64]| -> Vec<(f64, String)> {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let values =
                decades.flat_map(|decade| leading.iter().map(move |digit| digit * 10f64.powi(decade)));
            values
                .filter(|value| (low..=high).contains(value))
                .map(|value| (value, plain_number(value)))
                .collect()
        };
        let choices = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
        let fitting = choices.iter().find(|ticks| (2..=7).contains(&ticks.len()));
        let mut ticks = fitting.unwrap_or(&choices[2]).clone();
        if ticks.len() > 7 {
            let every = ticks.len().div_ceil(7);
            ticks = ticks.into_iter().step_by(every).collect();
        }
        if ticks.len() < 2 {
            ticks = [least, largest].map(|value| (value, results::format_short(value))).to_vec();
            ticks.dedup_by(|one, other| one.1 == other.1);
        }
        Self { low, high, is_log: true, ticks }
    }

    /// Sizes, evenly where each is twice the last; all of them are ticks.
    pub(crate) fn sizes(sizes: &[u32]) -> Self {
        let (least, largest) = range(sizes.iter().map(|&size| f64::from(size)));
        let margin = (largest / least).powf(0.06).max(1.15);
        let ticks = sizes.iter().map(|&size| (f64::from(size), size.to_string())).collect();
        Self { low: least / margin, high: largest * margin, is_log: true, ticks }
    }

    /// An axis from `low` to `high` with these ticks.
    pub(crate) fn with_ticks(low: f64, high: f64, is_log: bool, ticks: Vec<(f64, String)>) -> Self {
        Self { low, high, is_log, ticks }
    }

    /// Leaves out ticks whose labels would touch on an axis that is `length` long.
    pub(crate) fn thin(&mut self, length: f64, size: f64) {
        self.keep(length, size * 0.5, |label| text::width(label, size));
    }

    /// The same for labels one above the other.
    pub(crate) fn thin_rows(&mut self, length: f64, size: f64) {
        self.keep(length, size * 0.1, |_| size);
    }

    fn keep(&mut self, length: f64, gap: f64, extent: impl Fn(&str) -> f64) {
        self.ticks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let place = |value: f64| self.share(value) * length;
        let mut end = f64::NEG_INFINITY;
        let mut kept = Vec::new();
        for (value, label) in &self.ticks {
            let half = extent(label) / 2.0;
            let at = place(*value);
            if at - half > end + gap {
                end = at + half;
                kept.push((*value, label.clone()));
            }
        }
        self.ticks = kept;
    }

    /// The widest label.
    pub(crate) fn label_width(&self, size: f64) -> f64 {
        self.ticks.iter().map(|(_, label)| text::width(label, size)).fold(0.0, f64::max)
    }

    /// The end of it.
    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// The begin of it.
    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    /// Where a value stands, from 0 to 1; what is outside stands at the end.
    fn share(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let fits = values.into_iter().filter(|value| (SMALLEST..=LARGEST).contains(value));
    let (least, largest) = fits.fold((f64::INFINITY, 0.0), |(least, largest): (f64, f64), value| {
        (least.min(value), largest.max(value))
    });
    if largest > 0.0 { (least, largest) } else { (1.0, 1.0) }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    let leading = [1.0, 2.0, 5.0, 10.0].into_iter().find(|leading| leading * decade >= step * 0.999);
    leading.unwrap_or(10.0) * decade
}

/// `20000`, `0.05`; beyond that with an exponent.
fn plain_number(value: f64) -> String {
    if (1e-4..1e7).contains(&value) {
        let decimals = (-value.log10().floor()).clamp(0.0, 6.0) as usize;
        grouped(&format!("{value:.decimals$}"))
    } else {
        format!("{value:e}")
    }
}

/// Digits in threes, from five on: `12 000`.
pub(crate) fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    if whole.len() < 5 {
        return number.to_owned();
    }
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text + rest
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        begin + (self.share(*value) * f64::from(end - begin)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Labels and lines of the grid are bold points; lines between them there are none.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::from_values([2.2, 15.5])), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&Axis::from_values([0.31, 0.44])), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&Axis::from_values([13_000.0])), ["0", "5000", "10\u{a0}000", "15\u{a0}000"]);
        assert_eq!(labels(&Axis::from_values([1.0, 90.0])), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(&Axis::from_values([0.01, 900.0])), ["0.01", "0.1", "1", "10", "100", "1000"]);
    }

    #[test]
    fn whatever_the_values_there_is_an_axis() {
        let all =
            [0.0, 5e-324, 2.3e-308, 1e-200, 1e-30, 1.0, 5.0, 1e30, 1e308, -1.0, f64::NAN, f64::INFINITY];
        let pairs = all.iter().flat_map(|one| all.iter().map(move |other| [*one, *other]));
        for values in pairs {
            let axes = [
                Axis::from_values(values),
                Axis::from_values([values[0]; 3]),
                Axis::linear(values[0], values[1]),
                Axis::log(values[0], values[1]),
            ];
            for axis in axes {
                assert!((1..=20).contains(&axis.ticks.len()) && axis.low < axis.high, "{values:?}: {axis:?}");
                assert!((0..=100).contains(&axis.map(&3.0, (0, 100))));
            }
        }
        assert!(!Axis::from_values([]).ticks.is_empty());
    }

    #[test]
    fn labels_that_would_touch_are_left_out() {
        let mut axis = Axis::sizes(&[1, 2, 3, 4, 5, 6, 7, 8, 1024]);
        axis.thin(200.0, 11.0);
        assert!(labels(&axis).len() < 9 && labels(&axis).contains(&"1024"), "{axis:?}");
        let places: Vec<f64> = axis.ticks.iter().map(|(value, _)| axis.share(*value) * 200.0).collect();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 11.0), "{places:?}");
    }
}
