//! Words and numbers that all formats share.

use std::fmt;

use indexmap::IndexMap;
use results::{Metric, counted, one_line};
use stats::{Interval, Verdict};

use crate::{ComparedFigure, Counts, Difference, EndLine, Lone, Missing, SideFigure};

/// The word for a verdict.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Improved => "improved",
        Verdict::Regressed => "regressed",
        Verdict::Unchanged => "unchanged",
        Verdict::Provisional => "provisional",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// A ratio as a change: `+4.2%`.
pub fn percent(ratio: f64) -> String {
    let text = format!("{:+.1}%", (ratio - 1.0) * 100.0);
    if text == "-0.0%" { "+0.0%".into() } else { text }
}

/// The change of a line: `+4.2%`, `~` where it is unchanged, `? +4.2%` where that is not known.
pub(crate) fn change(line: &ComparedFigure) -> String {
    match line.verdict {
        Verdict::Improved | Verdict::Regressed => percent(line.ratio),
        Verdict::Unchanged => "~".into(),
        Verdict::Provisional | Verdict::Inconclusive => format!("? {}", percent(line.ratio)),
    }
}

/// The 95 % interval of a change: `+3.1…+5.3%`; nothing where it is not known, as for a published figure.
pub(crate) fn interval(line: &ComparedFigure) -> String {
    line.interval.filter(|_| !is_published(line)).map_or_else(String::new, range)
}

fn is_published(line: &ComparedFigure) -> bool {
    line.baseline.replicates.is_none() || line.candidate.replicates.is_none()
}

fn range(interval: Interval) -> String {
    let end = |ratio: f64| {
        let percent = (ratio - 1.0) * 100.0;
        match percent.abs() {
            size if size < 0.05 => "0.0".into(),
            size if size < 99.95 => format!("{percent:+.1}"),
            size if size < 9999.5 => format!("{percent:+.0}"),
            _ => ">9999".to_owned(),
        }
    };
    format!("{}…{}%", end(interval.low), end(interval.high))
}

/// The basis of a line's verdict: `p=0.002 n=6+6`, `n=6 pairs`. For a published side it is the threshold, or the rounding of the printed
/// digits where that matters.
pub(crate) fn basis(line: &ComparedFigure) -> String {
    let (Some(baseline), Some(candidate)) = (line.baseline.replicates, line.candidate.replicates) else {
        let rounding = line.interval.filter(|interval| interval.high / interval.low > 1.002);
        return rounding
            .map_or("threshold only".into(), |rounding| format!("printed digits: {}", range(rounding)));
    };
    let replicates = match line.pairs {
        Some(pairs) => format!("n={pairs} pairs"),
        None => format!("n={baseline}+{candidate}"),
    };
    let of = if line.is_by_median { "median " } else { "" };
    line.adjusted_p.map_or_else(|| replicates.clone(), |p| format!("{of}{} {replicates}", p_value(p)))
}

/// The basis of the verdict on replicates that failed, where it is a test.
pub(crate) fn end_basis(end: &EndLine) -> String {
    end.adjusted_p.map_or_else(String::new, |p| format!("Fisher's exact test, {}", p_value(p)))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "p<0.001".into() } else { format!("p={p:.3}") }
}

/// A figure: `12.07 ms`.
pub(crate) fn figure(metric: Metric, figure: &SideFigure) -> String {
    metric.format(figure.value)
}

/// Remarks on a line, the most important first.
pub(crate) fn remarks(line: &ComparedFigure) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(other) = line.other_median {
        remarks.push(format!(
            "{}: mean {} ({}), median {} ({})",
            if other.is_tail { "tail" } else { "median" },
            percent(line.ratio),
            verdict(other.mean),
            percent(other.median_ratio),
            verdict(other.median)
        ));
    }
    if line.is_adjusted {
        remarks.push("ratio at equal memory bandwidth, measured with each replicate".into());
    }
    if line.round > 0 {
        remarks.push(format!("measured again, round {}", line.round));
    }
    if line.is_hidden_regression {
        remarks.push("would be regressed without its drift".into());
    }
    if let Some(replicates) = line.replicates_needed {
        remarks.push(format!("needs {replicates} replicates per side"));
    }
    if let Some(own) = line.own_threshold {
        remarks.push(format!(
            "threshold {} here: changes of less than 1 MB are ignored",
            threshold((own * 1e3).round() / 1e3)
        ));
    }
    remarks.extend(line.drift.iter().map(|drift| format!("drift: {}", one_line(drift))));
    remarks
}

/// The size of a line's cell, or `geomean`.
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

/// The first few names, and how many more there are.
pub(crate) fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len() {
        0..=SHOWN => names.join(", "),
        all => format!("{}, {} more", names[..SHOWN].join(", "), all - SHOWN),
    }
}

/// What only one side has: a text for each side and kind.
pub(crate) fn missing(missing: &[Missing]) -> Vec<String> {
    let mut kinds: IndexMap<(bool, bool, String), Vec<String>> = IndexMap::new();
    for Missing { is_of_baseline, what, may_come } in missing {
        let (kind, name) = match what {
            Lone::Table(heading) => ("table".to_owned(), one_line(heading)),
            Lone::Cell(engine, size) => ("cell".to_owned(), format!("{} {size}", one_line(engine))),
            Lone::Metric(engine, size, metric) => {
                (format!("figure of {}", metric.title()), format!("{} {size}", one_line(engine)))
            }
        };
        kinds.entry((*is_of_baseline, *may_come, kind)).or_default().push(name);
    }
    let text = |((is_of_baseline, may_come, kind), names): ((bool, bool, String), Vec<String>)| {
        let side = if is_of_baseline { "baseline" } else { "candidate" };
        let (noun, of) = kind.split_once(' ').unwrap_or((&kind, ""));
        let kind = format!("{} {of}", counted(names.len(), noun));
        let come = if may_come { ": the candidate's run is incomplete" } else { "" };
        format!("only in the {side}: {} ({}){come}", kind.trim_end(), first_few(&names))
    };
    kinds.into_iter().map(text).collect()
}

/// Formats the verdicts that occur: `3 regressed, 200 unchanged (of 203)`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.regressed, Verdict::Regressed),
            (self.improved, Verdict::Improved),
            (self.provisional, Verdict::Provisional),
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
        self.improved + self.regressed + self.unchanged + self.provisional + self.inconclusive
    }
}

#[cfg(test)]
mod tests {
    use protocol::CellSize;

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
        let counts = Counts { regressed: 3, improved: 1, provisional: 0, unchanged: 200, inconclusive: 12 };
        assert_eq!(counts.to_string(), "3 regressed, 1 improved, 200 unchanged, 12 inconclusive (of 216)");
        assert_eq!(Counts { unchanged: 2, ..Counts::default() }.to_string(), "2 unchanged (of 2)");
        assert_eq!(Counts::default().to_string(), "nothing to compare");
    }

    #[test]
    fn of_many_cells_a_few_are_named() {
        let of = |is_of_baseline, what| Missing { is_of_baseline, what, may_come: false };
        let size = |batch_size| CellSize { batch_size, prompt_length: 16 };
        let cell = |batch_size| of(true, Lone::Cell("onnxruntime".into(), size(batch_size)));
        let cells: Vec<Missing> = (1..=6).map(cell).collect();
        let memory = of(false, Lone::Metric("mock".into(), size(1), Metric::Memory));
        let table = Missing { may_come: true, ..of(true, Lone::Table("LLaMA-2 7B".into())) };
        assert_eq!(
            missing(&[&cells[..1], &[memory, table]].concat()),
            [
                "only in the baseline: 1 cell (onnxruntime 1×16)",
                "only in the candidate: 1 figure of Peak Memory (mock 1×16)",
                "only in the baseline: 1 table (LLaMA-2 7B): the candidate's run is incomplete"
            ]
        );
        assert_eq!(
            missing(&cells),
            [
                "only in the baseline: 6 cells (onnxruntime 1×16, onnxruntime 2×16, onnxruntime 3×16, onnxruntime 4×16, 2 more)"
            ]
        );
    }
}
