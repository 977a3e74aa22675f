//! What a sweep will need, on paper: `run --list`.

use audit::Work;
use harness::{Cell, CellOrder, Sweep, format_bytes, plan};
use llama::cost::{DEVICE_ALLOWANCE, MemoryNeed};
use machine::gpu::Gpus;
use protocol::{CellSize, Device, FailureKind};
use results::hardware::{Hardware, Peaks};
use results::{DeviceKind, Heading, PublishedFile, format_size};

/// The devices of which floors are said.
const DEVICES: [&str; 2] = ["A100 80GB", "H100 80GB"];
/// Those of one rank alone: what holds a part of 70B.
const DEVICES_OF_ONE: [&str; 3] = ["A100 80GB", "H100 80GB", "H200 141GB"];

/// What bounds a cell's memory.
struct Bound {
    bytes: u64,
    /// Whose it is: `the GPU's memory`.
    whose: String,
    /// It is a GPU's, of which an allocator holds more than is in use.
    is_device: bool,
}

impl Bound {
    /// What bounds the sweep's cells: what it sets, else the memory of the device that computes, else that of the published
    /// device.
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

    fn words(&self, need: &MemoryNeed) -> String {
        match (self.is_device, need.fits_device(self.bytes)) {
            (true, true) => "  fits".into(),
            (true, false) => "  does not fit".into(),
            (false, _) if need.total() > self.bytes => format!("  over {}", self.whose),
            (false, _) => String::new(),
        }
    }
}

/// Each cell and what it needs in memory; of several ranks also what a step of each reads, computes and sends. `published` is the
/// heading of the table whose rows these are, where they are one's.
pub(crate) fn list(sweep: &Sweep, published: Option<&Heading>) -> String {
    let bound = Bound::of(sweep, published);
    let published_tables = PublishedFile::built_in();
    let ranks = sweep.setup.ranks.world_size;
    let mut text = match sweep.setup.one_rank_of() {
        Some(ranks) => format!("memory of rank 0 of {ranks} alone\n"),
        None if ranks == 1 => String::new(),
        None => format!("memory of each of {ranks} ranks\n"),
    };
    text.push_str(
        "cell  model            engine            batch  prompt     weights    KV cache  activations       total\n",
    );
    for (index, cell) in plan(&in_table_order(sweep)).iter().enumerate() {
        let Cell { model, engine, batch_size, prompt_length, .. } = cell;
        let need = cell.memory_need(sweep);
        let [weights, cache, activations, total] =
            [need.weights, need.kv_cache, need.activations, need.total()].map(format_bytes);
        let mut mark = bound.as_ref().map(|bound| bound.words(&need)).unwrap_or_default();
        if is_published_out_of_memory(&published_tables, sweep, cell) {
            mark.push_str("  (published: OOM)");
        }
        text.push_str(&format!(
            "{:>4}  {:<16} {engine:<16} {batch_size:>6}  {prompt_length:>6}  {weights:>10}  {cache:>10}  {activations:>11}  {total:>10}{mark}\n",
            index + 1,
            model.name,
        ));
    }
    if let Some(limit) = sweep.setup.memory_limit {
        text.push_str(&format!("memory_limit: {}\n", format_bytes(limit)));
    }
    if let Some(Bound { bytes, whose, is_device: true }) = &bound {
        text.push_str(&format!(
            "device memory: {} ({whose}); a cell fits if its total plus {:.0} % (allocator overhead) is within this\n",
            format_size(*bytes),
            DEVICE_ALLOWANCE * 100.0
        ));
    }
    if !sweep.setup.ranks.is_one() {
        text.push_str(&steps(sweep));
    }
    text
}

/// Whether a GPU ran out of memory in this cell when the published tables were measured.
/// The same sweep, whose cells are listed row by row, in whatever order they are measured.
fn in_table_order(sweep: &Sweep) -> Sweep {
    Sweep { order: CellOrder::Table, ..sweep.clone() }
}

fn is_published_out_of_memory(published: &PublishedFile, sweep: &Sweep, cell: &Cell<'_>) -> bool {
    let setup = &sweep.setup;
    if setup.device == Device::Cpu || setup.one_rank {
        return false;
    }
    let is_its = |heading: &Heading| {
        (heading.model.as_str(), heading.precision, heading.count)
            == (cell.model.name.as_str(), setup.precision.into(), setup.ranks.world_size)
    };
    let size = CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length };
    let tables = published.tables();
    let same = tables.iter().filter(|table| table.heading.as_ref().is_ok_and(is_its));
    same.flat_map(|table| &table.rows).any(|row| {
        (row.engine, row.size) == (cell.engine, size) && row.ended() == Some(FailureKind::OutOfMemory)
    })
}

/// What each rank, or the one that is measured alone, does in a forward, and the least time that it takes on known devices.
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
    for (index, cell) in plan(&in_table_order(sweep)).iter().enumerate() {
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
