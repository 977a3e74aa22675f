//! The words and numbers that all formats share.

use std::fmt;

use protocol::CellSize;
use results::{Metric, one_line};
use stats::Verdict;

use crate::{ComparedFigure, Counts, Difference, SideFigure};

/// A verdict's word.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Improved => "improved",
        Verdict::Regressed => "regressed",
        Verdict::Unchanged => "unchanged",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// A ratio as a change: `+4.2%`.
pub(crate) fn percent(ratio: f64) -> String {
    let text = format!("{:+.1}%", (ratio - 1.0) * 100.0);
    if text == "-0.0%" { "+0.0%".into() } else { text }
}

/// What became of a line: `+4.2%`, `~` where nothing did, `? +4.2%` where that is not known.
pub(crate) fn change(line: &ComparedFigure) -> String {
    match line.verdict {
        Verdict::Improved | Verdict::Regressed => percent(line.ratio),
        Verdict::Unchanged => "~".into(),
        Verdict::Inconclusive => format!("? {}", percent(line.ratio)),
    }
}

/// What a line's verdict rests on: `p=0.002 n=6+6`, or `threshold alone` where a side was published.
pub(crate) fn basis(line: &ComparedFigure) -> String {
    let (Some(baseline), Some(candidate)) = (line.baseline.launches, line.candidate.launches) else {
        return "threshold alone".into();
    };
    let launches = format!("n={baseline}+{candidate}");
    line.adjusted_p.map_or_else(|| launches.clone(), |p| format!("{} {launches}", p_value(p)))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "p<0.001".into() } else { format!("p={p:.3}") }
}

/// Half an interval: `± 1%`; nothing where it is not known.
pub(crate) fn spread(figure: &SideFigure) -> String {
    match figure.half_width {
        Some(share) if share < 9.995 => format!("± {:.0}%", share * 100.0),
        Some(_) => "± >999%".into(),
        None => String::new(),
    }
}

/// A figure with its spread: `12.07 ms ± 1%`.
pub(crate) fn figure(metric: Metric, figure: &SideFigure) -> String {
    format!("{} {}", metric.format(figure.value), spread(figure)).trim_end().to_owned()
}

/// A line's sizes, or that it is a mean.
pub(crate) fn size_or_mean(line: &ComparedFigure) -> String {
    line.size.map_or_else(|| "geomean".into(), |size| size.to_string())
}

/// A table's name: both headings, where they differ.
pub(crate) fn heading(baseline: &str, candidate: &str) -> String {
    let [baseline, candidate] = [baseline, candidate].map(one_line);
    if baseline == candidate { baseline } else { format!("{baseline} → {candidate}") }
}

/// A difference: `driver: 550.54 → 560.28`.
pub(crate) fn difference(difference: &Difference) -> String {
    let [baseline, candidate] = [&difference.baseline, &difference.candidate]
        .map(|side| side.as_deref().map_or_else(|| "none".into(), one_line));
    format!("{}: {baseline} → {candidate}", one_line(&difference.what))
}

/// A threshold: `5%`.
pub(crate) fn threshold(share: f64) -> String {
    format!("{}%", (share * 1e4).round() / 1e2)
}

/// The first few names, and how many there are beside them.
pub(crate) fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len() {
        0..=SHOWN => names.join(", "),
        all => format!("{}, {} more", names[..SHOWN].join(", "), all - SHOWN),
    }
}

/// Cells that one side alone has, one text for each side that has any.
pub(crate) fn only(baseline: &[(String, CellSize)], candidate: &[(String, CellSize)]) -> Vec<String> {
    let sides = [("baseline", baseline), ("candidate", candidate)];
    let sides = sides.into_iter().filter(|(_, cells)| !cells.is_empty());
    sides
        .map(|(side, cells)| {
            let noun = if cells.len() == 1 { "cell" } else { "cells" };
            let name = |(engine, size): &(String, CellSize)| format!("{} {size}", one_line(engine));
            let names: Vec<String> = cells.iter().map(name).collect();
            format!("only in the {side}: {} {noun} ({})", cells.len(), first_few(&names))
        })
        .collect()
}

/// The verdicts that occur: `3 regressed, 200 unchanged (of 203)`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.regressed, Verdict::Regressed),
            (self.improved, Verdict::Improved),
            (self.unchanged, Verdict::Unchanged),
            (self.inconclusive, Verdict::Inconclusive),
        ];
        let occur = counts.iter().filter(|(count, _)| *count > 0);
        let occur: Vec<String> = occur.map(|(count, word)| format!("{count} {}", verdict(*word))).collect();
        match &occur[..] {
            [] => f.write_str("nothing to compare"),
            _ => write!(f, "{} (of {})", occur.join(", "), self.total()),
        }
    }
}

impl Counts {
    /// All of them together.
    pub fn total(&self) -> usize {
        self.improved + self.regressed + self.unchanged + self.inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign_and_one_decimal() {
        let changes = [1.042, 0.928, 1.0, 0.999_9, 12.0].map(percent);
        assert_eq!(changes, ["+4.2%", "-7.2%", "+0.0%", "+0.0%", "+1100.0%"]);
    }

    #[test]
    fn thresholds_are_as_they_were_given() {
        assert_eq!([0.05, 0.07, 0.025, 0.0].map(threshold), ["5%", "7%", "2.5%", "0%"]);
    }

    #[test]
    fn p_values_have_three_digits() {
        assert_eq!([0.002, 0.000_99, 0.2, 1.0].map(p_value), ["p=0.002", "p<0.001", "p=0.200", "p=1.000"]);
    }

    #[test]
    fn only_verdicts_that_occur_are_counted() {
        let counts = Counts { regressed: 3, improved: 1, unchanged: 200, inconclusive: 12 };
        assert_eq!(counts.to_string(), "3 regressed, 1 improved, 200 unchanged, 12 inconclusive (of 216)");
        assert_eq!(Counts { unchanged: 2, ..Counts::default() }.to_string(), "2 unchanged (of 2)");
        assert_eq!(Counts::default().to_string(), "nothing to compare");
    }

    #[test]
    fn a_spread_beyond_all_measure_is_said_so() {
        let spread = |half_width| spread(&SideFigure { value: 1.0, half_width, launches: None });
        assert_eq!([Some(0.012), Some(f64::INFINITY), None].map(spread), ["± 1%", "± >999%", ""]);
    }

    #[test]
    fn of_many_cells_a_few_are_named() {
        let cell = |batch_size| ("onnxruntime".into(), CellSize { batch_size, prompt_length: 16 });
        let cells: Vec<(String, CellSize)> = (1..=6).map(cell).collect();
        assert_eq!(only(&[], &cells[..1]), ["only in the candidate: 1 cell (onnxruntime 1×16)"]);
        assert_eq!(
            only(&cells, &[]),
            [
                "only in the baseline: 6 cells (onnxruntime 1×16, onnxruntime 2×16, onnxruntime 3×16, onnxruntime 4×16, 2 more)"
            ]
        );
    }
}
