//! Axes: where a value stands, and which values are labelled.

use super::text;

/// Values that differ by more than this factor are shown on a logarithmic scale: the fastest of two engines would be a flat line at the
/// bottom of a linear one.
const LOG_FROM: f64 = 5.0;

/// An axis around its values shows at least this share of the largest, so that noise does not look like a change.
const LEAST_RANGE: f64 = 0.2;

/// The most rows of labels below an axis.
const LABEL_ROWS: usize = 4;

/// What an axis shows lies between these: beyond them are no measurements, and differences and logarithms have an end.
const SMALLEST: f64 = 1e-30;
const LARGEST: f64 = 1e30;

/// A labelled value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
    /// The row of its label, from 0: labels that would touch stand below one another.
    pub(crate) row: usize,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    pub(crate) is_log: bool,
    ticks: Vec<Tick>,
    /// Whether the ticks are what was measured: then none is left out as long as its label has room in any row.
    is_measured: bool,
}

impl Axis {
    /// An axis from 0 to beyond the largest of `values`; logarithmic where they differ too much.
    pub(crate) fn from_values(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = ends(values);
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
        let tick = |index: usize| round_tick(low + step * index as f64, step);
        Self::with_ticks(low, high, false, (0..=count).map(tick))
    }

    /// An axis around the values, which need not begin at 0; logarithmic where they differ too much.
    pub(crate) fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = ends(values);
        if largest > least * LOG_FROM {
            return Self::log(least, largest);
        }
        let margin = 0.65 * (largest - least).max(LEAST_RANGE * largest);
        let middle = f64::midpoint(least, largest);
        let (low, high) = (middle - margin, middle + margin);
        let step = round_step((high - low) / 6.0);
        let ticks = ((low / step).ceil() as i64)..=((high / step).floor() as i64);
        Self::with_ticks(low, high, false, ticks.map(|tick| round_tick(tick as f64 * step, step)))
    }

    /// Logarithmic, with ticks at 1, 2 and 5 of each decade; more of them in less than a decade, fewer in many.
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
        let many = [of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]), of(&[1.0, 2.0, 3.0, 5.0, 7.0])];
        let few = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
        let enough = |ticks: &&Vec<(f64, String)>| (4..=7).contains(&ticks.len());
        let fitting = few.iter().chain(&many).find(enough);
        let fitting = fitting.or_else(|| few.iter().find(|ticks| (2..=7).contains(&ticks.len())));
        let mut ticks = fitting.unwrap_or(&few[2]).clone();
        if ticks.len() > 7 {
            let every = ticks.len().div_ceil(7);
            ticks = ticks.into_iter().step_by(every).collect();
        }
        if ticks.len() < 2 {
            ticks = [least, largest].map(|value| (value, results::format_short(value))).to_vec();
            ticks.dedup_by(|one, other| one.1 == other.1);
        }
        Self::with_ticks(low, high, true, ticks)
    }

    /// Logarithmic, of ratios around 1 from `low` to `high`, with ticks at ratios that one says.
    pub(crate) fn ratios(low: f64, high: f64) -> Self {
        let ticks: Vec<f64> = match high / low {
            span if span < 1.8 => {
                let steps = [0.005, 0.01, 0.02, 0.05, 0.1];
                let step = steps.into_iter().find(|step| (high - low) / step <= 5.0).unwrap_or(0.1);
                (-20..=20).map(|count| 1.0 + step * f64::from(count)).collect()
            }
            span if span < 8.0 => vec![0.25, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0],
            _ => {
                (-6..=6).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade))).collect()
            }
        };
        let label = |ratio: f64| {
            let text = format!("{ratio:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let ticks = ticks.into_iter().filter(|tick| (low..=high).contains(tick));
        Self::with_ticks(low, high, true, ticks.map(|tick| (tick, label(tick))))
    }

    /// Sizes, evenly where each is twice the last; all of them are ticks.
    pub(crate) fn sizes(sizes: &[u32]) -> Self {
        let (least, largest) = ends(sizes.iter().map(|&size| f64::from(size)));
        let margin = (largest / least).powf(0.06).max(1.15);
        let ticks = sizes.iter().map(|&size| (f64::from(size), size.to_string()));
        Self { is_measured: true, ..Self::with_ticks(least / margin, largest * margin, true, ticks) }
    }

    /// Categories at 0.5, 1.5, …, in the order of `names`.
    pub(crate) fn categories(names: impl IntoIterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> =
            names.into_iter().enumerate().map(|(index, name)| (index as f64 + 0.5, name)).collect();
        let high = ticks.len().max(1) as f64;
        Self { is_measured: true, ..Self::with_ticks(0.0, high, false, ticks) }
    }

    /// An axis from `low` to `high` with these ticks.
    pub(crate) fn with_ticks(
        low: f64,
        high: f64,
        is_log: bool,
        ticks: impl IntoIterator<Item = (f64, String)>,
    ) -> Self {
        let ticks = ticks.into_iter().map(|(value, label)| Tick { value, label, row: 0 }).collect();
        Self { low, high, is_log, ticks, is_measured: false }
    }

    /// Gives every label a row in which it touches no other, on an axis that is `length` long; leaves out those without room. Returns
    /// the number of rows.
    pub(crate) fn place_labels(&mut self, length: f64, size: f64) -> usize {
        let rows = if self.is_measured { LABEL_ROWS } else { 1 };
        self.place(length, size * 0.5, rows, |label| text::width(label, size))
    }

    /// Leaves out labels that would touch where they stand one above the other.
    pub(crate) fn thin_rows(&mut self, length: f64, size: f64) {
        self.place(length, size * 0.1, 1, |_| size);
    }

    fn place(&mut self, length: f64, gap: f64, rows: usize, extent: impl Fn(&str) -> f64) -> usize {
        self.ticks.sort_by(|one, other| one.value.total_cmp(&other.value));
        let all = std::mem::take(&mut self.ticks);
        // The ends of what was measured come first, so that they stay.
        let count = all.len();
        let is_end = |index: usize| self.is_measured && (index == 0 || index + 1 == count);
        let (ends, rest): (Vec<_>, Vec<_>) =
            all.into_iter().enumerate().partition(|(index, _)| is_end(*index));
        let mut taken: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut kept = Vec::new();
        for (_, tick) in ends.into_iter().rev().chain(rest) {
            let half = extent(&tick.label) / 2.0;
            let at = self.share(tick.value) * length;
            let (begin, end) = (at - half - gap, at + half);
            let is_free =
                |row: &Vec<(f64, f64)>| row.iter().all(|(left, right)| begin >= *right || end + gap <= *left);
            let row = match taken.iter().position(is_free) {
                Some(row) => row,
                None if taken.len() < rows => {
                    taken.push(Vec::new());
                    taken.len() - 1
                }
                None => continue,
            };
            taken[row].push((at - half, end));
            kept.push(Tick { row, ..tick });
        }
        kept.sort_by(|one, other| one.value.total_cmp(&other.value));
        self.ticks = kept;
        taken.len()
    }

    /// What the name of the axis ends with.
    pub(crate) fn scale_words(&self) -> &'static str {
        if self.is_log { ", logarithmic" } else { "" }
    }

    /// What is labelled.
    pub(crate) fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// The widest label.
    pub(crate) fn label_width(&self, size: f64) -> f64 {
        self.ticks.iter().map(|tick| text::width(&tick.label, size)).fold(0.0, f64::max)
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
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

/// The least and the largest of the values that an axis can show; 1 and 1 where there is none.
pub(crate) fn ends(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let shown = values.into_iter().filter(|value| (SMALLEST..=LARGEST).contains(value));
    let (least, largest) = shown.fold((f64::INFINITY, 0.0), |(least, largest): (f64, f64), value| {
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

/// A tick of an axis with such steps, with as many decimals as these need.
fn round_tick(value: f64, step: f64) -> (f64, String) {
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    (value, grouped(&format!("{value:.decimals$}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::from_values([3.2, 15.5])), ["0", "5", "10", "15", "20"]);
        assert!(!Axis::from_values([2.0, 10.0]).is_log && Axis::from_values([2.0, 10.1]).is_log);
        assert_eq!(labels(&Axis::from_values([0.31, 0.44])), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&Axis::from_values([13_000.0])), ["0", "5000", "10\u{a0}000", "15\u{a0}000"]);
        assert_eq!(labels(&Axis::from_values([1.0, 90.0])), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(&Axis::from_values([0.01, 900.0])), ["0.01", "0.1", "1", "10", "100", "1000"]);
    }

    #[test]
    fn an_axis_around_its_values_shows_no_noise_as_a_change() {
        assert_eq!(labels(&Axis::around([2.5, 3.3])), ["2.4", "2.6", "2.8", "3.0", "3.2", "3.4"]);
        assert_eq!(labels(&Axis::around([1.0, 1.01])), ["0.90", "0.95", "1.00", "1.05", "1.10"]);
    }

    #[test]
    fn ratios_have_ticks_that_one_says() {
        assert_eq!(labels(&Axis::ratios(0.76, 3.0)), ["0.8", "1", "1.25", "1.5", "2", "3"]);
        assert_eq!(labels(&Axis::ratios(0.93, 1.26)), ["1", "1.1", "1.2"]);
        assert_eq!(labels(&Axis::ratios(0.995, 1.005)), ["0.995", "1", "1.005"]);
        assert_eq!(
            labels(&Axis::ratios(0.019, 32.0)),
            ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]
        );
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
                Axis::around(values),
                Axis::around([values[0]; 3]),
                Axis::linear(values[0], values[1]),
                Axis::log(values[0], values[1]),
            ];
            for axis in axes {
                assert!((1..=20).contains(&axis.ticks.len()) && axis.low < axis.high, "{values:?}: {axis:?}");
                assert!((0.0..=1.0).contains(&axis.share(3.0)));
            }
        }
        assert!(!Axis::from_values([]).ticks.is_empty());
    }

    #[test]
    fn every_measured_size_keeps_its_label_in_a_row_of_its_own() {
        // The published prompt lengths on the width of a panel: 3840 has its label.
        let mut axis = Axis::sizes(&[16, 64, 256, 1024, 2048, 3840]);
        axis.place_labels(300.0, 11.0);
        assert_eq!(labels(&axis), ["16", "64", "256", "1024", "2048", "3840"]);
        let mut dense = Axis::sizes(&[1, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 3840]);
        assert!(dense.place_labels(300.0, 11.0) > 1);
        assert_eq!(dense.ticks.len(), 12);
        let spans: Vec<(usize, f64, f64)> = dense
            .ticks
            .iter()
            .map(|tick| {
                let half = text::width(&tick.label, 11.0) / 2.0;
                let at = dense.share(tick.value) * 300.0;
                (tick.row, at - half, at + half)
            })
            .collect();
        for (index, one) in spans.iter().enumerate() {
            assert!(spans[..index].iter().all(|other| other.0 != one.0 || other.2 < one.1), "{spans:?}");
        }
    }

    #[test]
    fn labels_without_room_in_any_row_are_left_out_but_not_the_ends() {
        let sizes: Vec<u32> = (100..400).collect();
        let mut axis = Axis::sizes(&sizes);
        assert_eq!(axis.place_labels(200.0, 11.0), LABEL_ROWS);
        let labels = labels(&axis);
        assert!(labels.len() < 100, "{labels:?}");
        assert_eq!((labels.first(), labels.last()), (Some(&"100"), Some(&"399")));
        let mut other =
            Axis::with_ticks(0.0, 9.0, false, (0..9).map(|tick| (f64::from(tick), "label".into())));
        assert_eq!(other.place_labels(100.0, 11.0), 1);
    }
}
