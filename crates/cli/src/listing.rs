//! A sweep on paper, before it is measured: `run --list`.

use std::time::Duration;

use audit::Work;
use harness::{Cell, CellOrder, Sweep, format_bytes, plan};
use llama::cost::{DEVICE_ALLOWANCE, MemoryNeed};
use machine::gpu::Gpus;
use protocol::{CellSize, Device, FailureKind};
use results::hardware::{Hardware, Peaks};
use results::{DeviceKind, Heading, PublishedFile, format_size};
use serde_json::{Value as Json, json};

use crate::words::{about, count};

/// The devices for which floors are listed.
const DEVICES: [&str; 2] = ["A100 80GB", "H100 80GB"];
/// The devices for one rank alone: those that hold a part of 70B.
const DEVICES_OF_ONE: [&str; 3] = ["A100 80GB", "H100 80GB", "H200 141GB"];

/// The memory that limits a cell.
struct Bound {
    bytes: u64,
    /// Its owner: `the GPU's memory`.
    whose: String,
    /// Whether it is a GPU's, where an allocator holds more than is in use.
    is_device: bool,
}

impl Bound {
    /// The limit of the sweep's cells: its own, else the memory of the device that computes, else that of the published device.
    fn of(sweep: &Sweep, published: Option<&Heading>) -> Option<Self> {
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
    bound: Option<Bound>,
    /// Seconds at the peaks of this machine, and when those were measured.
    least: Option<(f64, String)>,
}

/// The name of a column, and its value in a cell.
type ListedColumn = (&'static str, fn(&ListedCell<'_>) -> Json);

impl<'a> Listing<'a> {
    /// Lists the cells of a sweep in the order of the table. `published` is the heading of the published table whose rows these are, if any.
    pub(crate) fn new(sweep: &'a Sweep, published: Option<&Heading>) -> Self {
        let bound = Bound::of(sweep, published);
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
        let cells: Vec<ListedCell<'a>> = plan(sweep).into_iter().map(listed).collect();
        let least = least_seconds(sweep, &cells);
        Self { sweep, cells, bound, least }
    }

    /// Text for a terminal.
    pub(crate) fn terminal(&self) -> String {
        let sweep = self.sweep;
        let ranks = sweep.setup.ranks.world_size;
        let has_loading = self.cells.iter().any(|listed| listed.loading.is_some());
        let mut text = match sweep.setup.one_rank_of() {
            Some(ranks) => format!("memory of rank 0 of {ranks} alone\n"),
            None if ranks == 1 => String::new(),
            None => format!("memory of each of {ranks} ranks\n"),
        };
        let loading = if has_loading { "     loading" } else { "" };
        text.push_str(&format!(
            "cell  model            engine            batch  prompt     weights    KV cache  activations{loading}       total\n"
        ));
        for (index, listed) in self.cells.iter().enumerate() {
            let Cell { model, engine, batch_size, prompt_length, .. } = listed.cell;
            let need = &listed.need;
            let [weights, cache, activations, total] =
                [need.weights, need.kv_cache, need.activations, listed.total].map(format_bytes);
            let loading = listed.loading.map_or_else(|| "-".into(), format_bytes);
            let loading = if has_loading { format!("  {loading:>10}") } else { String::new() };
            let mut mark = self.mark(listed).map(|mark| format!("  {mark}")).unwrap_or_default();
            if listed.is_published_out_of_memory {
                mark.push_str("  (published: OOM)");
            }
            text.push_str(&format!(
                "{:>4}  {:<16} {engine:<16} {batch_size:>6}  {prompt_length:>6}  {weights:>10}  {cache:>10}  {activations:>11}{loading}  {total:>10}{mark}\n",
                index + 1,
                model.name,
            ));
        }
        for line in self.remarks() {
            text.push_str(&format!("{line}\n"));
        }
        if !sweep.setup.ranks.is_one() {
            text.push_str(&steps(sweep));
        }
        text
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
        if let Some(Bound { bytes, whose, is_device: true }) = &self.bound {
            lines.push(format!(
                "device memory: {} ({whose}); a cell fits if its total plus {:.0} % (allocator overhead) is within this",
                format_size(*bytes),
                DEVICE_ALLOWANCE * 100.0
            ));
        }
        let cells = count(self.cells.len(), "cell");
        lines.push(match &self.least {
            Some((seconds, measured_at)) => format!(
                "{cells}; time: at least {} (all forwards at the peaks of {measured_at}; loading and verification come on top)",
                about(Duration::try_from_secs_f64(*seconds).unwrap_or(Duration::MAX))
            ),
            None => format!("{cells}; time: no estimate without kept peaks of this device (`run` on an idle CPU keeps them for a day)"),
        });
        lines
    }

    /// A markdown table, and the remarks below it.
    pub(crate) fn markdown(&self) -> String {
        let head = self.columns().map(|(name, _)| name);
        let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        for listed in &self.cells {
            let need = &listed.need;
            let bytes = [need.weights, need.kv_cache, need.activations].map(format_bytes);
            let loading = listed.loading.map_or_else(|| "-".into(), format_bytes);
            let mark = self.mark(listed).unwrap_or_default();
            let Cell { model, engine, batch_size, prompt_length, replicate } = listed.cell;
            let cells = [
                results::escape_markdown(&model.name),
                results::escape_markdown(engine),
                batch_size.to_string(),
                prompt_length.to_string(),
                (replicate + 1).to_string(),
            ];
            let cells = cells.into_iter().chain(bytes).chain([loading, format_bytes(listed.total), mark]);
            text.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        }
        self.remarks().iter().fold(text + "\n", |text, line| text + &format!("- {line}\n"))
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
        let line = |words: Vec<String>| words.join(",") + "\n";
        let head = line(self.columns().map(|(name, _)| name.to_owned()).to_vec());
        self.cells.iter().fold(head, |text, listed| {
            let word = |value: Json| match value {
                Json::Null => String::new(),
                Json::String(text) => quoted(&text),
                value => value.to_string(),
            };
            text + &line(self.columns().map(|(_, value)| word(value(listed))).to_vec())
        })
    }

    /// The columns of a list that programs read.
    fn columns(&self) -> [ListedColumn; 11] {
        [
            ("model", |listed| json!(listed.cell.model.name)),
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

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// The least time of all cells on this machine, and when its peaks were measured; `None` where they are not known.
fn least_seconds(sweep: &Sweep, cells: &[ListedCell<'_>]) -> Option<(f64, String)> {
    if sweep.setup.device != Device::Cpu || !sweep.setup.processes().is_one() {
        return None;
    }
    let peaks = harness::latest_kept_peaks(sweep.setup.precision)?;
    let flops = peaks.flops.get(&sweep.setup.precision)?.per_second;
    let bytes = peaks.read_bytes?.per_second;
    let seconds = cells.iter().map(|listed| listed.cell.least_seconds(sweep, flops, bytes)).sum();
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
            == (cell.model.name.as_str(), setup.precision.into(), setup.ranks.world_size)
    };
    let size = CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length };
    let tables = published.tables();
    let same = tables.iter().filter(|table| table.heading.as_ref().is_ok_and(is_same));
    same.flat_map(|table| &table.rows).any(|row| {
        (row.engine, row.size) == (cell.engine, size) && row.ended() == Some(FailureKind::OutOfMemory)
    })
}

/// The work of each rank in a forward, or of the single rank that is measured, and the least time that it takes on known devices.
fn steps(sweep: &Sweep) -> String {
    let ranks = sweep.setup.ranks.world_size;
    let alone = sweep.setup.one_rank;
    let (names, count) = if alone { (&DEVICES_OF_ONE[..], 1) } else { (&DEVICES[..], ranks) };
    let hardware = Hardware::built_in();
    let peaks = |device: &str| -> Option<Peaks> {
        let heading = Heading {
            model: String::new(),
            precision: sweep.setup.precision.into(),
            kind: DeviceKind::Cuda,
            count,
            cpu_ranks: 1,
            device: device.into(),
            cores: None,
            one_rank_of: None,
        };
        hardware.peaks(&heading).ok()
    };
    let devices: Vec<(&str, Peaks)> =
        names.iter().filter_map(|device| Some((*device, peaks(device)?))).collect();
    let forwards = format!("in a prefill and in a decode forward (mean of {})", sweep.generation_length);
    let mut text = if alone {
        format!(
            "\nrank 0 of {ranks} alone, without the sums over ranks, {forwards}: bytes read and operations at least, and the share \
             of the whole model's (operations of a prefill, bytes of a decode forward); the floor: the longer of reading and computing at \
             the device's peaks\n{:<46}{:^28}  {:^28}",
            "", "prefill", "decode forward"
        )
    } else {
        format!(
            "\neach of {ranks} ranks, {forwards}: bytes read and operations at least, bytes \
             given to all-reduces; the floor: the greater of the first two at the device's peaks, and the third over its NVLink\n\
             {:<46}{:^30}  {:^30}",
            "", "prefill", "decode forward"
        )
    };
    for (device, _) in &devices {
        text.push_str(&format!("  {:^21}", format!("{count} × {device}")));
    }
    text.push_str(&format!("\n{:>4}  {:<16} {:>6}  {:>6}", "cell", "model", "batch", "prompt"));
    text.push_str(if alone {
        "            read       FLOP   share        read       FLOP   share"
    } else {
        "            read       FLOP      sent        read       FLOP      sent"
    });
    text.push_str(&"   prefill      decode".repeat(devices.len()));
    text.push('\n');
    for (index, cell) in plan(sweep).iter().enumerate() {
        let Cell { model, batch_size, prompt_length, .. } = *cell;
        let sizes = [batch_size, prompt_length, sweep.generation_length].map(u64::from);
        let precision = sweep.setup.precision;
        let work = if alone {
            Work::of_first_rank(&model.config, precision, ranks, sizes)
        } else {
            Work::of(&model.config, precision, ranks, sizes)
        };
        let (Ok(work), Ok(whole)) = (work, Work::of(&model.config, precision, 1, sizes)) else { continue };
        text.push_str(&format!(
            "{:>4}  {:<16} {batch_size:>6}  {prompt_length:>6}      ",
            index + 1,
            model.name
        ));
        let shares = [work.prompt.flops / whole.prompt.flops, work.token.read_bytes / whole.token.read_bytes];
        for (step, share) in [work.prompt, work.token].into_iter().zip(shares) {
            let [read, sent] =
                [step.read_bytes, step.all_reduce_bytes].map(|bytes| format_bytes(bytes as u64));
            let last = if alone { format!("{share:>7.3}") } else { format!("{sent:>9}") };
            text.push_str(&format!("  {read:>10} {:>9.3e} {last}", step.flops));
        }
        for (_, peaks) in &devices {
            let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
            let floor = work.floor(peaks);
            let [prompt, token] = floor.map_or_else(
                || ["unknown".to_owned(), "unknown".to_owned()],
                |floor| [floor.prompt_seconds, floor.token_seconds].map(milliseconds),
            );
            text.push_str(&format!(" {prompt:>11} {token:>11}"));
        }
        text.push('\n');
    }
    text
}
