//! A sweep on paper, before it is measured: `run --list`.

mod floors;

use std::time::Duration;

use harness::{Cell, CellOrder, Sweep, format_bytes, plan};
use llama::cost::{DEVICE_ALLOWANCE, MemoryNeed};
use machine::gpu::Gpus;
use protocol::{CellSize, Device, FailureKind};
use results::hardware::Hardware;
use results::screen::{ScreenTable, wrapped};
use results::{Heading, PublishedFile, escape_markdown, format_size, one_line};
use serde_json::{Value as Json, json};

use crate::rendered::TextTable;
use crate::words::{about, count};
use floors::Floors;

/// The columns that each table of a list begins with: header, rank, and whether it begins at the left.
const SIZES: [(&str, u8, bool); 4] =
    [("model", 0, true), ("engine", 0, true), ("batch", 0, false), ("prompt", 0, false)];

/// The memory that limits a cell.
struct CellMemoryLimit {
    bytes: u64,
    /// Its owner: `the GPU's memory`.
    whose: String,
    /// Whether it is a GPU's, where an allocator holds more than is in use.
    is_device: bool,
}

impl CellMemoryLimit {
    /// The limit of the sweep's cells: its own, else the memory of the device that computes, else that of the published device.
    fn for_sweep(sweep: &Sweep, published: Option<&Heading>) -> Option<Self> {
        let setup = &sweep.setup;
        if setup.device == Device::Cpu {
            let (bytes, whose) = match setup.memory_limit {
                Some(limit) => (limit, "the limit"),
                None => (machine::memory_bytes(), "this machine's memory"),
            };
            return (bytes > 0).then(|| Self { bytes, whose: whose.into(), is_device: false });
        }
        let device = |bytes, whose: &str| Some(Self { bytes, whose: whose.into(), is_device: true });
        if let Some(limit) = setup.device_memory_limit {
            return device(limit, "device_memory_limit");
        }
        let gpu = Gpus::find().ok().and_then(|gpus| gpus.watch(setup.device));
        if let Some(bytes) = gpu.and_then(|gpu| gpu.memory_bytes()) {
            return device(bytes, "the GPU's memory");
        }
        let heading = published?;
        let memory = Hardware::built_in().peaks(heading).ok()?.memory_bytes?;
        device(memory.value as u64, &format!("of {}", heading.device))
    }

    /// Whether a cell needs more. On a GPU, the allocator's overhead counts, too.
    fn is_over(&self, need: &MemoryNeed, total: u64) -> bool {
        if self.is_device { !need.fits_device(self.bytes) } else { total > self.bytes }
    }
}

/// A cell's need of memory in bytes; with several ranks, that of each rank.
struct ListedCell<'a> {
    cell: Cell<'a>,
    need: MemoryNeed,
    /// The peak while the model is loaded; `None` where it is not known.
    loading: Option<u64>,
    /// The peak at any time.
    total: u64,
    /// Whether that is more than there is; `None` without a limit.
    is_over: Option<bool>,
    /// Whether a GPU ran out of memory in this cell when the published tables were measured.
    is_published_out_of_memory: bool,
}

/// A sweep on paper: its cells, what bounds their memory, and how long it takes at least.
pub(crate) struct Listing<'a> {
    sweep: &'a Sweep,
    cells: Vec<ListedCell<'a>>,
    bound: Option<CellMemoryLimit>,
    /// Seconds at the peaks of this machine, and when those were measured.
    least: Option<(f64, String)>,
}

/// The name of a column, and its value in a cell.
type ListedColumn = (&'static str, fn(&ListedCell<'_>) -> Json);

impl<'a> Listing<'a> {
    /// Lists the cells of a sweep in the order of the table, but for those `is_done`. `published` is the heading of the published table
    /// whose rows these are, if any.
    pub(crate) fn new(
        sweep: &'a Sweep,
        published: Option<&Heading>,
        is_done: &dyn Fn(&Cell<'a>) -> bool,
    ) -> Self {
        let bound = CellMemoryLimit::for_sweep(sweep, published);
        let published_tables = PublishedFile::built_in();
        let listed = |cell: Cell<'a>| {
            let need = cell.memory_need(sweep);
            let load = cell.load_need(sweep);
            let running = load.map_or(0, |load| load.process).saturating_add(need.total());
            let total = load.map_or(0, |load| load.peak).max(running);
            ListedCell {
                cell,
                need,
                loading: load.map(|load| load.peak),
                total,
                is_over: bound.as_ref().map(|bound| bound.is_over(&need, total)),
                is_published_out_of_memory: is_published_out_of_memory(&published_tables, sweep, &cell),
            }
        };
        let cells: Vec<ListedCell<'a>> =
            plan(sweep).into_iter().filter(|cell| !is_done(cell)).map(listed).collect();
        let least = least_seconds(sweep, &cells);
        Self { sweep, cells, bound, least }
    }

    /// Text for a terminal of this width.
    pub(crate) fn terminal(&self, width: Option<u16>) -> String {
        let remarks = self.remarks().into_iter().map(|line| wrapped("", &line, width));
        let floors = self.floors().into_iter().map(|Floors { title, table, note }| {
            format!("\n{title}\n{}{}", table.to_screen(width), wrapped("", &note, width))
        });
        let head = self.head().into_iter().map(|line| line + "\n");
        head.chain([self.table().to_screen(width)]).chain(remarks).chain(floors).collect()
    }

    /// Markdown tables with all columns, and the remarks below them.
    pub(crate) fn markdown(&self) -> String {
        let remarks = self.remarks().into_iter().map(|line| format!("- {}\n", escape_markdown(&line)));
        let floors = self.floors().into_iter().map(|Floors { title, table, note }| {
            format!("\n{title}:\n\n{}\n- {note}\n", table.to_markdown())
        });
        let head = self.head().into_iter().map(|line| escape_markdown(&line) + "\n\n");
        head.chain([self.table().to_markdown(), "\n".into()]).chain(remarks).chain(floors).collect()
    }

    /// The model of all cells, and whose memory is listed.
    fn head(&self) -> Vec<String> {
        let Sweep { models, setup, .. } = self.sweep;
        let model = match &models[..] {
            [model] => Some(one_line(&model.label)),
            _ => None,
        };
        let memory = match (setup.one_rank_of(), setup.ranks.world_size) {
            (Some(ranks), _) => Some(format!("memory of rank 0 of {ranks} alone")),
            (None, 1) => None,
            (None, ranks) => Some(format!("memory of each of {ranks} ranks")),
        };
        model.into_iter().chain(memory).collect()
    }

    fn table(&self) -> ScreenTable {
        let sweep = self.sweep;
        let row = |listed: &ListedCell<'_>| {
            let need = &listed.need;
            let bytes = [need.weights, need.kv_cache, need.activations].map(format_bytes);
            let loading = listed.loading.map(format_bytes).unwrap_or_default();
            let published = listed.is_published_out_of_memory.then(|| "(published: OOM)".to_owned());
            let mark = self.mark(listed).into_iter().chain(published).collect::<Vec<_>>().join("  ");
            let replicate =
                if sweep.replicates > 1 { (listed.cell.replicate + 1).to_string() } else { String::new() };
            let end = [replicate].into_iter().chain(bytes).chain([loading, format_bytes(listed.total), mark]);
            sizes(sweep, &listed.cell, Some(listed.cell.engine)).into_iter().chain(end).collect()
        };
        let columns = [
            ("replicate", 1, false),
            ("weights", 2, false),
            ("KV cache", 1, false),
            ("activations", 3, false),
            ("loading", 1, false),
            ("total", 0, false),
            ("", 0, true),
        ];
        ScreenTable::new(&[&SIZES[..], &columns].concat(), self.cells.iter().map(row).collect())
    }

    fn floors(&self) -> Vec<Floors> {
        if self.sweep.setup.ranks.is_one() { Vec::new() } else { floors::of_ranks(self.sweep) }
    }

    /// The mark of a cell: whether it fits into a GPU, or that it is over another limit.
    fn mark(&self, listed: &ListedCell<'_>) -> Option<String> {
        let bound = self.bound.as_ref()?;
        match (bound.is_device, listed.is_over?) {
            (true, is_over) => Some(if is_over { "does not fit" } else { "fits" }.into()),
            (false, true) => Some(format!("over {}", bound.whose)),
            (false, false) => None,
        }
    }

    /// Remarks on all cells, one line each.
    fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(
            self.sweep.setup.memory_limit.map(|limit| format!("memory_limit: {}", format_bytes(limit))),
        );
        if let Some(CellMemoryLimit { bytes, whose, is_device: true }) = &self.bound {
            lines.push(format!(
                "device memory: {} ({whose}); a cell fits if its total plus {:.0} % (allocator overhead) is within this",
                format_size(*bytes),
                DEVICE_ALLOWANCE * 100.0
            ));
        }
        if self.cells.iter().any(|listed| listed.loading.is_some()) {
            lines.push("total: the larger of loading and running (weights, KV cache, activations, and the process itself)".into());
        }
        let cells = count(self.cells.len(), "cell");
        lines.push(match &self.least {
            Some((seconds, measured_at)) => format!(
                "{cells}; time: at least {} (all forwards at the peaks of {measured_at}; loading and verification come on top)",
                about(Duration::try_from_secs_f64(*seconds).unwrap_or(Duration::MAX))
            ),
            None => format!("{cells}; no estimate of the time: this device's peaks are not known yet"),
        });
        lines
    }

    /// A JSON document; bytes and seconds.
    pub(crate) fn json(&self) -> String {
        let cell = |listed: &ListedCell<'_>| {
            let pairs = self.columns().into_iter().map(|(name, value)| (name.to_owned(), value(listed)));
            Json::Object(pairs.collect())
        };
        let value = json!({
            "schema": 1,
            "memory_limit_bytes": self.bound.as_ref().map(|bound| bound.bytes),
            "memory_limit": self.bound.as_ref().map(|bound| &bound.whose),
            "least_seconds": self.least.as_ref().map(|(seconds, _)| seconds),
            "peaks_measured_at": self.least.as_ref().map(|(_, measured_at)| measured_at),
            "cells": self.cells.iter().map(cell).collect::<Vec<_>>(),
        });
        results::escaped_json(&format!("{value:#}\n"))
    }

    /// A CSV file with a line for each cell; bytes.
    pub(crate) fn csv(&self) -> String {
        let word = |value: Json| match value {
            Json::Null => String::new(),
            Json::String(text) => text,
            value => value.to_string(),
        };
        let row = |listed| self.columns().map(|(_, value)| word(value(listed))).to_vec();
        let mut sheet = TextTable::new(&self.columns().map(|(name, _)| name));
        sheet.rows.extend(self.cells.iter().map(row));
        sheet.to_csv()
    }

    /// The columns of a list that programs read.
    fn columns(&self) -> [ListedColumn; 12] {
        [
            ("model", |listed| json!(listed.cell.model.name)),
            ("precision", |listed| json!(listed.cell.model.precision)),
            ("engine", |listed| json!(listed.cell.engine)),
            ("batch_size", |listed| json!(listed.cell.batch_size)),
            ("prompt_length", |listed| json!(listed.cell.prompt_length)),
            ("replicate", |listed| json!(listed.cell.replicate + 1)),
            ("weights_bytes", |listed| json!(listed.need.weights)),
            ("kv_cache_bytes", |listed| json!(listed.need.kv_cache)),
            ("activations_bytes", |listed| json!(listed.need.activations)),
            ("loading_bytes", |listed| json!(listed.loading)),
            ("total_bytes", |listed| json!(listed.total)),
            ("fits", |listed| json!(listed.is_over.map(|is_over| !is_over))),
        ]
    }
}

/// The least time of all cells on this machine, and when its peaks were measured; `None` where they are not known.
fn least_seconds(sweep: &Sweep, cells: &[ListedCell<'_>]) -> Option<(f64, String)> {
    if sweep.setup.device != Device::Cpu || !sweep.setup.processes().is_one() {
        return None;
    }
    let peaks = harness::latest_kept_peaks(sweep)?;
    let bytes = peaks.read_bytes.as_ref()?.per_second;
    let least = |listed: &ListedCell<'_>| {
        let model = listed.cell.model;
        // Products of quantized weights may be integers', whose peak is not measured.
        let flops = match model.precision.quantization() {
            Some(_) => f64::INFINITY,
            None => peaks.flops.get(&model.precision.activations(sweep.setup.device))?.per_second,
        };
        Some(listed.cell.least_seconds(sweep, flops, bytes))
    };
    let seconds = cells.iter().map(least).sum::<Option<f64>>()?;
    Some((seconds, peaks.measured_at?))
}

/// The same sweep with its cells row by row, whatever the order of the measurement.
pub(crate) fn in_table_order(sweep: &Sweep) -> Sweep {
    Sweep { order: CellOrder::Table, ..sweep.clone() }
}

fn is_published_out_of_memory(published: &PublishedFile, sweep: &Sweep, cell: &Cell<'_>) -> bool {
    let setup = &sweep.setup;
    if setup.device == Device::Cpu || setup.one_rank {
        return false;
    }
    let is_same = |heading: &Heading| {
        (heading.model.as_str(), heading.precision, heading.count)
            == (cell.model.name.as_str(), cell.model.precision.into(), setup.ranks.world_size)
    };
    let size = CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length };
    let tables = published.tables();
    let same = tables.iter().filter(|table| table.heading.as_ref().is_ok_and(is_same));
    same.flat_map(|table| &table.rows).any(|row| {
        (row.engine, row.size) == (cell.engine, size) && row.ended() == Some(FailureKind::OutOfMemory)
    })
}

/// The texts below [`SIZES`]. A sweep of one model has it in its heading.
fn sizes(sweep: &Sweep, cell: &Cell<'_>, engine: Option<&str>) -> [String; 4] {
    let model = if sweep.models.len() > 1 { one_line(&cell.model.label) } else { String::new() };
    let engine = engine.map(one_line).unwrap_or_default();
    [model, engine, cell.batch_size.to_string(), cell.prompt_length.to_string()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use harness::{Engines, QUICK_SWEEP, Variant};

    use super::*;

    #[test]
    fn a_list_fits_a_screen_and_has_the_least_time() {
        let settings = Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new("")).unwrap();
        let variant = Variant::resolve(&settings, Engines::built_in()).unwrap();
        let least = Some((200.0, "2026-11-30T07:00:00Z".to_owned()));
        let text = Listing { least, ..Listing::new(&variant.sweep, None, &|_| false) }.terminal(Some(80));
        assert!(
            text.contains("\n18 cells; time: at least 3 min 20 s (all forwards at the peaks of\n"),
            "{text}"
        );
        let widest = text.lines().map(console::measure_text_width).max();
        assert!(widest <= Some(80), "{text}");
    }
}
