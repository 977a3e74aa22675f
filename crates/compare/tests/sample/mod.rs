//! A comparison with everything in it.

use compare::{
    ComparedFigure, ComparedTable, Difference, EndLine, Lone, Missing, OtherMedian, Report, Section,
    SideFigure,
};
use protocol::CellSize;
use results::Metric;
use stats::{Interval, Verdict};

/// A name that no format may let out of its place.
pub(crate) const HOSTILE: &str = "<script>|\u{1b}[31m\n]]>";

/// A line of six pairs of replicates.
pub(crate) fn line(
    engine: &str,
    batch_size: u32,
    verdict: Verdict,
    values: [f64; 2],
    p: f64,
) -> ComparedFigure {
    let ratio = values[1] / values[0];
    ComparedFigure {
        engine: engine.into(),
        size: Some(CellSize { batch_size, prompt_length: 16 * batch_size }),
        baseline: SideFigure { value: values[0], replicates: Some(6) },
        candidate: SideFigure { value: values[1], replicates: Some(6) },
        ratio,
        interval: Some(Interval { low: ratio * 0.98, high: ratio * 1.02 }),
        adjusted_p: Some(p),
        pairs: Some(6),
        verdict,
        other_median: None,
        replicates_needed: None,
        drift: vec![],
        is_hidden_regression: false,
        is_by_median: false,
        is_adjusted: false,
        round: 0,
        own_threshold: None,
    }
}

fn name(engine: &str, batch_size: u32, prompt_length: u32) -> (String, CellSize) {
    (engine.into(), CellSize { batch_size, prompt_length })
}

fn cell(engine: &str, batch_size: u32, prompt_length: u32) -> Lone {
    let (engine, size) = name(engine, batch_size, prompt_length);
    Lone::Cell(engine, size)
}

fn end((engine, size): (String, CellSize), baseline: &str, candidate: &str, verdict: Verdict) -> EndLine {
    EndLine {
        engine,
        size,
        baseline: baseline.into(),
        candidate: candidate.into(),
        adjusted_p: None,
        verdict: Some(verdict),
    }
}

fn only(is_of_baseline: bool, what: Lone) -> Missing {
    Missing { is_of_baseline, what, may_come: false }
}

fn difference(what: &str, baseline: Option<&str>, candidate: Option<&str>) -> Difference {
    Difference { what: what.into(), baseline: baseline.map(Into::into), candidate: candidate.map(Into::into) }
}

fn measured() -> ComparedTable {
    let mean = |line: ComparedFigure| ComparedFigure { size: None, ..line };
    let inconclusive = |line: ComparedFigure, needed| ComparedFigure { replicates_needed: needed, ..line };
    let drift = |line: ComparedFigure, text: &str| ComparedFigure { drift: vec![text.into()], ..line };
    let clocks = "SM clock 1410 MHz → 1290 MHz";
    let prompt = Section {
        metric: Metric::Prompt,
        threshold: 0.05,
        cells: vec![
            line("onnxruntime", 1, Verdict::Improved, [0.012_07, 0.011_20], 0.002),
            line("onnxruntime", 16, Verdict::Unchanged, [0.120_7, 0.121], 0.6),
            line("pytorch-eager", 1, Verdict::Regressed, [0.0151, 0.0179], 0.0004),
            inconclusive(line("pytorch-eager", 16, Verdict::Inconclusive, [0.151, 0.1557], 0.2), Some(14)),
            ComparedFigure {
                is_hidden_regression: true,
                ..drift(line(HOSTILE, 1, Verdict::Inconclusive, [0.02, 0.03], 0.001), clocks)
            },
            drift(line(HOSTILE, 16, Verdict::Regressed, [0.2, 0.3], 0.001), clocks),
        ],
        means: vec![
            mean(line("onnxruntime", 1, Verdict::Unchanged, [0.0382, 0.0368], 0.01)),
            ComparedFigure {
                other_median: Some(OtherMedian {
                    mean: Verdict::Regressed,
                    median: Verdict::Unchanged,
                    median_ratio: 1.012,
                    is_tail: true,
                }),
                ..mean(line("pytorch-eager", 1, Verdict::Regressed, [0.0478, 0.0528], 0.003))
            },
        ],
    };
    let lone = ComparedFigure {
        baseline: SideFigure { replicates: Some(1), value: 629_145_600.0 },
        pairs: None,
        interval: None,
        adjusted_p: None,
        replicates_needed: Some(5),
        own_threshold: Some(0.0312),
        ..line("onnxruntime", 16, Verdict::Inconclusive, [629_145_600.0, 734_003_200.0], 1.0)
    };
    let memory = Section {
        metric: Metric::Memory,
        threshold: 0.02,
        cells: vec![line("onnxruntime", 1, Verdict::Unchanged, [536_870_912.0, 536_870_912.0], 1.0), lone],
        means: vec![],
    };
    ComparedTable {
        baseline: "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores)".into(),
        candidate: "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores)".into(),
        sections: vec![prompt, memory],
        ends: vec![
            end(name("onnxruntime", 16, 2048), "ok", "OOM", Verdict::Regressed),
            end(name("pytorch-eager", 16, 2048), "TIMEOUT", "ok", Verdict::Improved),
            end(name("pytorch-eager", 16, 3840), "OOM", "OOM", Verdict::Unchanged),
            end(name(HOSTILE, 16, 2048), "CRASHED", "FAILED", Verdict::Inconclusive),
            EndLine {
                adjusted_p: Some(1.0),
                verdict: None,
                ..end(name("onnxruntime", 16, 1024), "ok", "5 of 6 ok, 1 TIMEOUT", Verdict::Unchanged)
            },
        ],
        missing: [only(true, cell("reference", 1, 16))]
            .into_iter()
            .chain((0..6).map(|power| only(false, cell(HOSTILE, 1 << power, 64))))
            .collect(),
    }
}

/// Its baseline has neither spread nor replicates.
fn published() -> ComparedTable {
    let published = |line: ComparedFigure| ComparedFigure {
        baseline: SideFigure { replicates: None, ..line.baseline },
        pairs: None,
        interval: Some(Interval { low: line.ratio * 0.9998, high: line.ratio * 1.0002 }),
        adjusted_p: None,
        ..line
    };
    let wall = Section {
        metric: Metric::Wall,
        threshold: 0.05,
        cells: vec![
            published(line("onnxruntime", 1, Verdict::Unchanged, [3.061, 3.19], 1.0)),
            published(line("onnxruntime", 16, Verdict::Regressed, [4.12, 4.40], 1.0)),
            published(line("onnxruntime", 4, Verdict::Provisional, [3.52, 3.81], 1.0)),
        ],
        means: vec![],
    };
    ComparedTable {
        baseline: "LLaMA-2 7B FP16 CUDA (1 A100 80GB)".into(),
        candidate: "LLaMA-2 7B FP16 CUDA (1 H200 141GB)".into(),
        sections: vec![wall],
        ends: vec![],
        missing: vec![],
    }
}

/// Two tables, two metrics in one of them, all verdicts, and everything that may be said about a cell.
pub(crate) fn report() -> Report {
    Report {
        baseline: "results/2026-11-20".into(),
        candidate: format!("pull request {HOSTILE}"),
        differences: vec![
            difference("driver", Some("550.54"), Some("560.28")),
            difference("libraries of onnxruntime", Some("libonnxruntime 1.22.0"), Some(HOSTILE)),
            difference("transparent huge pages", None, Some("always")),
        ],
        notes: vec![
            "the candidate was still running: its last 2 cells have 5 replicates of 6".into(),
            format!("@octocat says that #12 & {HOSTILE} are_one_"),
        ],
        tables: vec![measured(), published()],
        missing: vec![only(true, Lone::Table("LLaMA-2 13B FP16 CUDA (1 A100 80GB)".into()))],
        missing_counts: true,
    }
}
