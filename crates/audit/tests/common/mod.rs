//! Tables made from the cost model: what an engine of a given efficiency would measure.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use audit::{AuditReport, audit};
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

impl Model {
    /// Numbers that count a model's weights anew each time, counted once.
    fn counted(&self, what: [u64; 3], count: impl FnOnce(&LlamaConfig) -> f64) -> f64 {
        type Counted = HashMap<(&'static str, usize, [u64; 3]), f64>;
        static COUNTED: LazyLock<Mutex<Counted>> = LazyLock::new(Mutex::default);
        let key = (self.display, self.config.num_attention_heads, what);
        *COUNTED.lock().unwrap().entry(key).or_insert_with(|| count(&self.config))
    }

    /// Operations of a forward.
    pub(crate) fn flops(&self, batch: u64, new: u64, past: u64) -> f64 {
        let one = self.counted([0, new, past], |config| cost::forward_flops(config, 1, new, past, 1));
        one * batch as f64
    }

    /// Bytes that a decode forward reads.
    pub(crate) fn read_bytes(&self, precision: Precision, batch: u64, past: u64) -> f64 {
        let read = |config: &LlamaConfig| cost::decode_read_bytes(config, precision, batch, 0) as f64;
        let weights = self.counted([1 + batch, precision.unquantized().bytes(), 0], read);
        weights + cost::kv_cache_bytes(&self.config, precision.unquantized(), batch, past) as f64
    }

    /// Whether weights and cache fit into `bytes`.
    fn fits(&self, precision: Precision, [batch, tokens]: [u64; 2], bytes: f64) -> bool {
        let weights = |config: &LlamaConfig| cost::weights_bytes(config, precision) as f64;
        let weights = self.counted([0, 0, precision.unquantized().bytes()], weights);
        // Activations are a tenth of that at most in these sweeps.
        1.1 * (weights + cost::kv_cache_bytes(&self.config, precision.unquantized(), batch, tokens) as f64)
            <= bytes
    }
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
    /// Seconds per layer for kernel launches.
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
    /// Decode forwards of a generation.
    pub(crate) generation: u32,
    pub(crate) print: Print,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// So many significant digits as `%g` does: `1.38e+04`.
    Short(usize),
    /// So many significant digits, the others zeros: `13800`.
    Plain(usize),
}

impl Print {
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Short(10) => format_g10(value),
            Self::Short(digits) => {
                let text = format!("{value:.*e}", digits - 1);
                let exponent: i32 = text.split_once('e').unwrap().1.parse().unwrap();
                if (-4..digits as i32).contains(&exponent) { Self::Plain(digits).text(value) } else { text }
            }
            Self::Plain(digits) => format!("{:.*e}", digits - 1, value).parse::<f64>().unwrap().to_string(),
        }
    }
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
    let (b, p, g) = (u64::from(batch), u64::from(prompt), u64::from(sweep.generation));
    let count = f64::from(sweep.count);
    let bandwidth = sweep.device.bandwidth * count * engine.mbu;
    let flops = sweep.device.flops * count * engine.mfu;
    let launch = engine.launch * model.config.num_hidden_layers as f64;
    if !model.fits(sweep.precision, [b, p + g], sweep.device.memory * count) {
        return std::array::from_fn(|_| "OOM".into());
    }
    let read = |batch, past| model.read_bytes(sweep.precision, batch, past) / bandwidth;
    let compute = |new, past| model.flops(b, new, past) / flops;
    // Forwards wait for memory or for arithmetic, and for launches before both.
    let token = |past: u64| launch + read(b, past).max(compute(1, past));
    let prefill = launch + read(1, 0).max(compute(p, 0));
    // The generation in spans, each with a noise of its own: 128 tokens, 128 more, and the rest.
    let mut seconds = 0.0;
    let mut means = [None; 2];
    for (from, to) in [(0, 128), (128, 256), (256, u64::MAX)] {
        let to = to.min(g);
        if from < to {
            seconds += (to - from) as f64 * token(p + u64::midpoint(from, to - 1)) * noise();
            if let Some(index) = [128, 256].iter().position(|end| *end == to) {
                means[index] = Some(seconds / to as f64);
            }
        }
    }
    let (prompt_mean, own_prompt) = (prefill * noise(), prefill * noise());
    let wall = (own_prompt + seconds) * (1.0 + engine.share) + f64::from(sweep.generation) * engine.host;
    let [batch, prompt, generation] = [batch, prompt, sweep.generation].map(f64::from);
    let [first_128, first_256] = means;
    [
        Some(prompt_mean * 1e3),
        Some(batch * prompt / prompt_mean),
        first_128.map(|mean| mean * 1e3),
        first_128.map(|mean| batch / mean),
        first_256.map(|mean| mean * 1e3),
        first_256.map(|mean| batch / mean),
        Some(wall),
        Some(batch * (prompt + generation) / wall),
    ]
    .map(|figure| figure.map_or_else(|| "N/A".into(), |figure| sweep.print.text(figure)))
}

static HARDWARE: LazyLock<Hardware> = LazyLock::new(Hardware::built_in);

/// What an audit of `tables`, as if they were of one file, finds.
pub(crate) fn audited(tables: &[PublishedTable]) -> AuditReport {
    let tables: Vec<_> = tables.iter().map(|table| ResultTable::published("a.md", table)).collect();
    audit(&tables, &HARDWARE)
}

/// The tables of a markdown text.
pub(crate) fn read(text: &str) -> Vec<PublishedTable> {
    markdown::parse(text, "a.md").unwrap().tables().cloned().collect()
}
