//! What a sweep will need, on paper: `run --list`.

use audit::{Ceilings, Hardware, Work};
use harness::{Cell, Gpus, Sweep, format_bytes, plan};
use protocol::Device;
use report::published::Heading;

/// The devices of which floors are said.
const DEVICES: [&str; 2] = ["A100 80GB", "H100 80GB"];

/// Each cell and what it needs in memory; of several ranks also what a step of each reads, computes and sends.
pub(crate) fn list(sweep: &Sweep) -> String {
    let (limit, whose) = match (sweep.setup.memory_limit, sweep.setup.device) {
        (None, Device::Cpu) => {
            (Some(harness::memory_bytes()).filter(|&bytes| bytes > 0), "this machine's memory")
        }
        (None, device) => {
            let gpu = Gpus::find().ok().and_then(|gpus| gpus.watch(device));
            (gpu.and_then(|gpu| gpu.memory_bytes()), "the GPU's memory")
        }
        (limit, _) => (limit, "the limit"),
    };
    let mut text = match sweep.setup.ranks.world_size {
        1 => String::new(),
        ranks => format!("memory of each of {ranks} ranks\n"),
    };
    text.push_str(
        "cell  model            engine            batch  prompt     weights    KV cache  activations       total\n",
    );
    for (index, cell) in plan(sweep).iter().enumerate() {
        let Cell { model, engine, batch_size, prompt_length, .. } = cell;
        let need = cell.memory_need(sweep);
        let [weights, cache, activations, total] =
            [need.weights, need.kv_cache, need.activations, need.total()].map(format_bytes);
        let over = limit.is_some_and(|limit| need.total() > limit);
        let mark = if over { format!("  over {whose}") } else { String::new() };
        text.push_str(&format!(
            "{:>4}  {:<16} {engine:<16} {batch_size:>6}  {prompt_length:>6}  {weights:>10}  {cache:>10}  {activations:>11}  {total:>10}{mark}\n",
            index + 1,
            model.name,
        ));
    }
    if let Some(limit) = sweep.setup.memory_limit {
        text.push_str(&format!("memory_limit: {}\n", format_bytes(limit)));
    }
    if !sweep.setup.ranks.is_one() {
        text.push_str(&steps(sweep));
    }
    text
}

/// What each rank does in a forward, and the least time that it takes on known devices.
fn steps(sweep: &Sweep) -> String {
    let world_size = sweep.setup.ranks.world_size;
    let hardware = Hardware::built_in();
    let ceilings = |device: &str| -> Option<Ceilings> {
        let precision = sweep.setup.precision.to_string().to_uppercase();
        let heading = Heading::parse(&format!("LLaMA-2 7B {precision} CUDA ({world_size} {device})")).ok()?;
        hardware.ceilings(&heading).ok()
    };
    let devices: Vec<(&str, Ceilings)> =
        DEVICES.iter().filter_map(|device| Some((*device, ceilings(device)?))).collect();
    let mut text = format!(
        "\neach of {world_size} ranks, in a prefill and in a decode forward (mean of {}): bytes read and operations at least, bytes \
         given to all-reduces; the floor: the greater of the first two at the device's peaks, and the third over its NVLink\n\
         {:<46}{:^30}  {:^30}",
        sweep.generation_length, "", "prefill", "decode forward"
    );
    for (device, _) in &devices {
        text.push_str(&format!("  {:^21}", format!("{world_size} × {device}")));
    }
    text.push_str(&format!("\n{:>4}  {:<16} {:>6}  {:>6}", "cell", "model", "batch", "prompt"));
    text.push_str("            read       FLOP      sent        read       FLOP      sent");
    text.push_str(&"   prefill      decode".repeat(devices.len()));
    text.push('\n');
    for (index, cell) in plan(sweep).iter().enumerate() {
        let Cell { model, batch_size, prompt_length, .. } = *cell;
        let sizes = [batch_size, prompt_length, sweep.generation_length].map(u64::from);
        let Ok(work) = Work::of(&model.config, sweep.setup.precision, world_size, sizes) else { continue };
        text.push_str(&format!(
            "{:>4}  {:<16} {batch_size:>6}  {prompt_length:>6}      ",
            index + 1,
            model.name
        ));
        for step in [work.prompt, work.token] {
            let [read, sent] =
                [step.read_bytes, step.all_reduce_bytes].map(|bytes| format_bytes(bytes as u64));
            text.push_str(&format!("  {read:>10} {:>9.3e} {sent:>9}", step.flops));
        }
        for (_, ceilings) in &devices {
            let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
            let floor = work.floor(ceilings);
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
