//! Tables made from the cost model: what an engine of a given efficiency would measure.

use audit::{Report, audit};
use llama::{LlamaConfig, cost};
use protocol::Precision;
use results::hardware::Hardware;
use results::published::{PublishedTable, markdown};
use results::{ResultTable, format_g10};

/// A model by its heading.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) display: &'static str,
    pub(crate) config: LlamaConfig,
}

pub(crate) fn models() -> Vec<Model> {
    let texts = [
        ("LLaMA-2 15M", include_str!("../../../../configs/models/llama2-15m.json")),
        ("TinyLlama 1.1B", include_str!("../../../../configs/models/tinyllama-1.1b.json")),
        ("LLaMA-2 7B", include_str!("../../../../configs/models/llama2-7b.json")),
        ("LLaMA-2 13B", include_str!("../../../../configs/models/llama2-13b.json")),
        ("LLaMA-2 70B", include_str!("../../../../configs/models/llama2-70b.json")),
    ];
    let parse = |(display, text)| Model { display, config: LlamaConfig::parse(text, display).unwrap() };
    texts.map(parse).to_vec()
}

/// A device: its words in headings, bytes per second, operations per second, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) bandwidth: f64,
    pub(crate) flops: f64,
    pub(crate) memory: f64,
}

const GIB: f64 = (1u64 << 30) as f64;

/// FP16 and BF16, the slowest variant that a heading can mean.
pub(crate) const DEVICES: [Device; 7] = [
    Device { name: "A100 80GB", bandwidth: 1935e9, flops: 312e12, memory: 79.0 * GIB },
    Device { name: "A100 40GB", bandwidth: 1555e9, flops: 312e12, memory: 39.0 * GIB },
    Device { name: "H100 80GB", bandwidth: 3350e9, flops: 989e12, memory: 79.0 * GIB },
    Device { name: "H200 141GB", bandwidth: 4800e9, flops: 989e12, memory: 140.0 * GIB },
    Device { name: "L4 24GB", bandwidth: 300e9, flops: 121e12, memory: 22.0 * GIB },
    Device { name: "RTX 4090 24GB", bandwidth: 1008e9, flops: 165e12, memory: 23.0 * GIB },
    Device { name: "MI300X 192GB", bandwidth: 5300e9, flops: 1307e12, memory: 191.0 * GIB },
];

/// An engine: shares of the device's peaks that it reaches, and time that it loses.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) mbu: f64,
    pub(crate) mfu: f64,
    /// Seconds a layer that launching takes.
    pub(crate) launch: f64,
    /// Seconds between decode forwards.
    pub(crate) host: f64,
    /// The same in proportion to the forwards.
    pub(crate) share: f64,
}

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Sweep {
    pub(crate) device: Device,
    pub(crate) count: u32,
    pub(crate) precision: Precision,
    pub(crate) batches: Vec<u32>,
    pub(crate) prompts: Vec<u32>,
}

/// The table of `engines` for `model`; `noise` gives each measurement its own factor.
pub(crate) fn table(
    sweep: &Sweep,
    model: &Model,
    engines: &[Engine],
    noise: &mut dyn FnMut() -> f64,
) -> String {
    let precision = sweep.precision.to_string().to_uppercase();
    let heading = format!("{} {precision} CUDA ({} {})", model.display, sweep.count, sweep.device.name);
    let mut text = format!(
        "## {heading}\n\n{}\n{}\n",
        results::published::layout::header(),
        results::published::layout::SEPARATOR
    );
    for engine in engines {
        for &batch in &sweep.batches {
            for &prompt in &sweep.prompts {
                let cells = cells(sweep, model, engine, (batch, prompt), noise).join(" | ");
                text.push_str(&format!("| {} | {batch} | {prompt} | {cells} |\n", engine.name));
            }
        }
    }
    text
}

fn cells(
    sweep: &Sweep,
    model: &Model,
    engine: &Engine,
    (batch, prompt): (u32, u32),
    noise: &mut dyn FnMut() -> f64,
) -> [String; 8] {
    let (b, p, g) = (u64::from(batch), u64::from(prompt), 256);
    let Model { config, .. } = model;
    let count = f64::from(sweep.count);
    let bandwidth = sweep.device.bandwidth * count * engine.mbu;
    let flops = sweep.device.flops * count * engine.mfu;
    let launch = engine.launch * config.num_hidden_layers as f64;
    let needs = cost::memory_need(config, sweep.precision, b, p, g, cost::Footprint::default());
    if needs.total() as f64 > sweep.device.memory * count {
        return std::array::from_fn(|_| "OOM".into());
    }
    let read = |batch, past| cost::decode_read_bytes(config, sweep.precision, batch, past) as f64 / bandwidth;
    let compute = |new, past| cost::forward_flops(config, b, new, past, 1) / flops;
    // Forwards wait for memory or for arithmetic, and for launches before both.
    let token = |past: u64| launch + read(b, past).max(compute(1, past));
    let prefill = launch + read(1, 0).max(compute(p, 0));
    let [first, second] = [token(p + 63) * noise(), token(p + 191) * noise()];
    let (first_128, first_256) = (first, (first + second) / 2.0);
    let (prompt_mean, own_prompt) = (prefill * noise(), prefill * noise());
    let wall = (own_prompt + 256.0 * first_256) * (1.0 + engine.share) + 256.0 * engine.host;
    let [batch, prompt] = [batch, prompt].map(f64::from);
    [
        prompt_mean * 1e3,
        batch * prompt / prompt_mean,
        first_128 * 1e3,
        batch / first_128,
        first_256 * 1e3,
        batch / first_256,
        wall,
        batch * (prompt + 256.0) / wall,
    ]
    .map(format_g10)
}

/// What an audit of `tables`, as if they were of one file, finds.
pub(crate) fn audited(tables: &[PublishedTable]) -> Report {
    let tables: Vec<_> = tables.iter().map(|table| ResultTable::published("a.md", table)).collect();
    audit(&tables, &Hardware::built_in())
}

/// The tables of a markdown text.
pub(crate) fn read(text: &str) -> Vec<PublishedTable> {
    markdown::parse(text, "a.md").unwrap().tables().cloned().collect()
}
