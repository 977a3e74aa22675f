//! Figures as single benchmarks, each under a name that is the same in every run.

use std::collections::HashSet;

use protocol::CellSize;
use results::{Metric, plain};

use crate::ExportInput;
use crate::cells::{CellFigure, CellTable, ExportedCell, FigureKind, cell_tables, percent_encoded};

/// A figure and its name.
pub(crate) struct Benchmark {
    /// Heading, engine, batch size and prompt length, metric: `LLaMA-2 7B FP16 CUDA (1 A100 80GB) / onnxruntime / 1x16 / prompt`. A metric that
    /// depends on the length of a generation has it in its name: `1x16+256`.
    pub(crate) name: String,
    pub(crate) figure: CellFigure,
    /// Whether its latencies are scripted, and none was measured.
    pub(crate) is_scripted: bool,
}

/// A benchmark for each figure of a kind, and what is left out, one line each.
pub(crate) fn benchmarks(input: &ExportInput<'_>, kind: FigureKind) -> (Vec<Benchmark>, Vec<String>) {
    let unit = match kind {
        FigureKind::Latencies => "latencies",
        FigureKind::Throughputs => "throughputs",
    };
    let (mut benchmarks, mut remarks, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for table in &cell_tables(input) {
        remarks.extend(table.remarks(kind));
        for cell in &table.cells {
            let figures = match kind {
                FigureKind::Latencies => cell.figures(),
                FigureKind::Throughputs => cell.throughputs(),
            };
            for figure in figures {
                let name = name(table, cell, figure.metric);
                if names.insert(name.clone()) {
                    benchmarks.push(Benchmark { name, figure, is_scripted: cell.is_scripted });
                } else {
                    remarks.push(format!("{name}: appears twice, the second is left out"));
                }
            }
        }
    }
    if benchmarks.is_empty() {
        remarks.push(format!("no {unit} in the input"));
    }
    (benchmarks, remarks)
}

fn name(table: &CellTable<'_>, cell: &ExportedCell<'_>, metric: Metric) -> String {
    // The action shows a name in the code marks of a markdown table.
    let is_kept = |c: char| !"%`|\n".contains(c) && plain(c.encode_utf8(&mut [0; 4])).chars().eq([c]);
    let [title, engine] = [&table.title, cell.row.engine].map(|text| percent_encoded(text, is_kept));
    let generation = match metric {
        Metric::Prompt | Metric::First128 | Metric::First256 => String::new(),
        Metric::Token | Metric::Tpot | Metric::Wall | Metric::Memory => {
            format!("+{}", cell.row.generation_length.tokens)
        }
    };
    let CellSize { batch_size, prompt_length } = cell.row.size;
    format!("{title} / {engine} / {batch_size}x{prompt_length}{generation} / {metric}")
}
