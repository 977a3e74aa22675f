//! Small made-up runs that were judged wrong once, each with its right verdict: one engine, two cells, ten replicates.

use std::path::Path;

use compare::{ComparedFigure, Criteria, Report, Subject, Thresholds, compare};
use results::{Metric, Run};
use stats::Verdict;

fn run(name: &str) -> Run {
    Run::read(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verdicts")).join(name)).unwrap()
}

fn report(baseline: &str, candidate: &str) -> Report {
    let (baseline, candidate) = (run(baseline), run(candidate));
    let [baseline, candidate] = [&baseline, &candidate].map(|run| Subject::from_run(run).unwrap());
    compare(&baseline, &candidate, &Criteria::new(Thresholds::default())).unwrap()
}

fn lines(report: &Report, metric: Metric) -> Vec<&ComparedFigure> {
    report.lines().filter(|(of, _)| *of == metric).map(|(_, line)| line).collect()
}

fn timed(report: &Report) -> Vec<&ComparedFigure> {
    report.lines().filter(|(metric, _)| *metric != Metric::Memory).map(|(_, line)| line).collect()
}

#[test]
fn drift_does_not_hide_a_doubling() {
    let report = report("base", "twice-as-slow-and-8pc-drift");
    let timed = timed(&report);
    assert!(timed.len() == 12 && timed.iter().all(|line| line.verdict == Verdict::Regressed), "{report:?}");
    assert!(timed.iter().any(|line| !line.drift.is_empty()));
}

#[test]
fn one_timeout_of_ten_is_told_and_nine_are_compared() {
    let report = report("base", "one-replicate-of-ten-timed-out");
    let [end] = &report.tables[0].ends[..] else { panic!("{report:?}") };
    assert_eq!((end.candidate.as_str(), end.verdict), ("9 of 10 ok, 1 TIMEOUT", None));
    assert_eq!(report.counts().regressed, 0);
    let replicates =
        lines(&report, Metric::Wall).iter().map(|line| line.candidate.replicates).collect::<Vec<_>>();
    assert_eq!(replicates, [Some(10), Some(9), Some(10)]);
}

#[test]
fn a_crash_of_the_baseline_does_not_turn_a_slowdown_into_a_gain() {
    let report = report("base-one-replicate-crashed", "30pc-slower");
    assert!(timed(&report).iter().all(|line| line.verdict == Verdict::Regressed), "{report:?}");
    assert_eq!(report.counts().improved, 0);
}

#[test]
fn a_tail_is_a_regression_of_the_mean_and_said_to_be_one() {
    let report = report("base", "four-prefills-of-ten-3x");
    for line in lines(&report, Metric::Prompt) {
        let other = line.other_median.unwrap();
        assert_eq!((line.verdict, other.mean), (Verdict::Regressed, Verdict::Regressed));
        assert!(other.is_tail && !other.median.is_change(), "{line:?}");
    }
}

#[test]
fn what_two_runs_may_differ_by_is_provisional() {
    let report = report("base", "run-effect-6pc");
    let counts = report.counts();
    assert!(counts.regressed == 0 && counts.provisional > 0, "{counts}");
    assert!(report.notes.iter().any(|note| note.contains("run --against")), "{:?}", report.notes);
}

#[test]
fn a_run_is_unchanged_against_itself() {
    let counts = report("base", "base").counts();
    assert_eq!(counts.improved + counts.regressed + counts.provisional, 0, "{counts}");
}
