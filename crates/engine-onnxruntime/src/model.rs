//! A loaded model: a session, and what is needed to drive it.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use collective::World;
use llama::{EMBED_TOKENS, LlamaConfig, WeightKind, Weights, weight_specs};
use ort::session::{RunOptions, Session};
use prost::Message;
use protocol::{Device, LoadRequest, ModelSource, Precision};
use worker::{OutOfMemory, Reporter, move_to_huge_pages, take_flag, take_word, unknown_options};

use crate::all_reduce;
use crate::cuda::Stream;
use crate::fixed;
use crate::graph::{self, Interface, LogitRows};
use crate::initializers::{Initializers, PARALLEL_PREPACKING, check_made};
use crate::interface::{Signature, cache_can_be_static};
use crate::kv_cache::Growth;
use crate::library::Library;
use crate::memory::Memory;
use crate::onnx::{ModelProto, TensorProto};
use crate::select::Selector;
use crate::session::{Settings, placement, unsynchronized};

/// The file that makes a folder an exported model.
pub(crate) const MODEL_FILE: &str = "model.onnx";

/// A session and what it wants.
pub(crate) struct Model {
    /// The model.
    pub(crate) config: LlamaConfig,
    /// Where it computes.
    pub(crate) device: Device,
    /// What the session is fed and returns.
    pub(crate) signature: Signature,
    /// How its cache grows.
    pub(crate) growth: Growth,
    /// Where tensors for it are allocated.
    pub(crate) memory: Memory,
    /// What chooses tokens from its logits.
    pub(crate) selector: Selector,
    /// The session itself.
    pub(crate) session: Session,
    /// How it runs.
    pub(crate) run_options: RunOptions,
    /// The stream of a GPU that it runs in.
    pub(crate) stream: Option<Rc<Stream>>,
    /// Whether decode forwards are captured in a CUDA graph, or could be.
    pub(crate) cuda_graph: bool,
    /// Bytes of the weights, as they are held.
    pub(crate) weights_bytes: u64,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
    /// What the session reads weights from. It must be the last field: it is dropped after the session.
    _weights: Option<Weights>,
}

const LOGITS: [&str; 2] = ["last", "all"];
const KV_CACHE: [&str; 2] = ["static", "dynamic"];

/// The engine's own options with their words, the default first.
pub(crate) const WORDS: [(&str, &[&str]); 4] = [
    ("prepacking", &["true", "false"]),
    ("logits", &LOGITS),
    ("kv_cache", &KV_CACHE),
    ("cuda_graph", &["false", "true"]),
];

/// The engine's own options.
struct Options {
    prepacking: bool,
    rows: LogitRows,
    growth: Growth,
    cuda_graph: bool,
}

impl Options {
    fn take(request: &LoadRequest) -> Result<Self> {
        let mut options = request.options.clone();
        let prepacking = take_flag(&mut options, "prepacking", true)?;
        let rows = match take_word(&mut options, "logits", &LOGITS)? {
            "last" => LogitRows::Last,
            _ => LogitRows::All,
        };
        let growth = match take_word(&mut options, "kv_cache", &KV_CACHE)? {
            "static" => Growth::Static,
            _ => Growth::Dynamic,
        };
        let cuda_graph = take_flag(&mut options, "cuda_graph", false)?;
        unknown_options(&options, &WORDS.map(|(name, _)| name))?;
        Ok(Self { prepacking, rows, growth, cuda_graph })
    }
}

impl Model {
    /// Waits until the device is idle.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.stream.as_ref().map_or(Ok(()), |stream| stream.synchronize())
    }

    /// Builds what `request` asks for: the graph of a checkpoint or of a seed, or a folder's own [`MODEL_FILE`].
    pub(crate) fn load(
        library: &Library,
        request: &LoadRequest,
        world: &World,
        reporter: &Reporter,
    ) -> Result<Self> {
        let options = Options::take(request)?;
        ensure!(request.threads != Some(0), "threads: expected 1 or more, found 0");
        if let Device::Cuda(index) = request.device {
            let count = library.cuda_devices().with_context(|| request.device.to_string())?;
            ensure!((index as usize) < count, "{}: there are {count} GPUs", request.device);
        }
        let mut model = match &request.model {
            ModelSource::Checkpoint { dir } if dir.join(MODEL_FILE).is_file() => {
                ensure!(
                    world.is_alone(),
                    "{}: a model file is of one rank: world_size is {}",
                    dir.join(MODEL_FILE).display(),
                    world.size()
                );
                Self::exported(library, request, &options, dir)
            }
            _ => Self::built(library, request, &options, world, reporter),
        }?;
        if model.device == Device::Cpu {
            model.notes.extend(move_to_huge_pages());
        }
        Ok(model)
    }

    fn built(
        library: &Library,
        request: &LoadRequest,
        options: &Options,
        world: &World,
        reporter: &Reporter,
    ) -> Result<Self> {
        let (device, precision) = (request.device, request.precision);
        let settings = Settings::new(request, options.prepacking, options.cuda_graph)?;
        let weights = Weights::open_part(&request.model, world.rank(), world.size())?;
        let config = weights.config().clone();
        check_kernels(device, precision)?;
        if device == Device::Cpu {
            check_made(&weights, precision, request.memory_limit_bytes)?;
        }

        let all_reduce = world.all_reduce(device)?;
        let interface = Interface::Engine { rows: options.rows, sums: all_reduce.is_some() };
        let signature = Signature::of_graph(&config, interface, precision);
        if options.cuda_graph {
            fixed::check(signature.lengths, options.growth)?;
        }
        let mut model = graph::llama(&config, precision, interface);
        let initializers = Initializers::new(&weights, precision, reporter);
        initializers.place(&mut model);
        // SAFETY: the weights are kept beside the session, and dropped after it, where it goes on reading them.
        let mut builder = unsafe { initializers.add_to(settings.builder(library, false)?) }?;
        if let Some(all_reduce) = all_reduce {
            let operators = all_reduce::operators(&all_reduce, device)?;
            builder = builder.with_operators(operators).map_err(ort::Error::<()>::from)?;
        }
        let session = builder.commit_from_memory(&model.encode_to_vec()).context("building the session")?;
        let borrowed = initializers.all_stored();
        drop((initializers, builder));

        let held = Held::new(&config, device, precision, options.prepacking);
        if borrowed && device == Device::Cpu {
            OutOfMemory::charge_mapped(held.as_stored_bytes, request.memory_limit_bytes)?;
            weights.release_pages();
        }
        // On a CPU nodes can be nowhere else.
        let mut notes = if device == Device::Cpu { Vec::new() } else { placement(&session, device)? };
        notes.push(options.growth.note());
        if options.cuda_graph && device == Device::Cpu {
            notes.push(
                "on a CPU there are no graphs: inputs stay in one place, and nodes run one by one".into(),
            );
        }
        if device == Device::Cpu && precision == Precision::Fp16 {
            notes.push("weights widened to fp32 at load: the CPU provider multiplies in fp32".into());
        }
        Ok(Self {
            signature,
            growth: options.growth,
            memory: Memory::of(&session, device)?,
            selector: Selector::new(library, &settings, precision, config.vocab_size)?,
            config,
            device,
            session,
            run_options: if options.cuda_graph { fixed::without_graph()? } else { unsynchronized()? },
            stream: settings.stream,
            cuda_graph: options.cuda_graph,
            weights_bytes: held.bytes,
            notes,
            _weights: borrowed.then_some(weights),
        })
    }

    /// The folder's own model file, as it is.
    fn exported(library: &Library, request: &LoadRequest, options: &Options, dir: &Path) -> Result<Self> {
        let path = dir.join(MODEL_FILE);
        let in_file = || path.display().to_string();
        let settings = Settings::new(request, options.prepacking, false)?;
        let config = LlamaConfig::read(&dir.join("config.json"))?;
        let bytes = std::fs::read(&path).with_context(in_file)?;
        let model =
            ModelProto::decode(bytes.as_slice()).context("not an ONNX model").with_context(in_file)?;
        let growth = exported_growth(&model, request, options).with_context(in_file)?;

        let builder = settings.builder(library, true)?.with_config_entry(PARALLEL_PREPACKING, "1");
        let session =
            builder.map_err(ort::Error::<()>::from)?.commit_from_file(&path).with_context(in_file)?;
        let signature = Signature::of_session(&session, &config).with_context(in_file)?;
        if options.cuda_graph {
            fixed::check(signature.lengths, growth)?;
        }
        ensure!(
            signature.cache == request.precision,
            "{}: it computes in {}, not in {}: ask for that precision",
            path.display(),
            signature.cache,
            request.precision
        );
        let tensors = model.graph.iter().flat_map(|graph| &graph.initializer);
        let weights_bytes = tensors.map(TensorProto::bytes).sum();
        if request.device == Device::Cpu && !options.prepacking {
            OutOfMemory::charge_mapped(weights_bytes, request.memory_limit_bytes)?;
        }
        let mut notes = vec![format!("{MODEL_FILE} as it is, made by {}", model.producer_name)];
        if request.device != Device::Cpu {
            // Somebody's model may have nodes that only the processor has: the note says how many.
            notes.extend(placement(&session, Device::Cpu)?);
        }
        notes.push(growth.note());
        Ok(Self {
            memory: Memory::of(&session, request.device)?,
            selector: Selector::new(library, &settings, signature.logits, config.vocab_size)?,
            config,
            device: request.device,
            signature,
            growth,
            session,
            run_options: unsynchronized()?,
            stream: settings.stream,
            cuda_graph: false,
            weights_bytes,
            notes,
            _weights: None,
        })
    }
}

/// What the model's attention can do, unless the request asks for something else.
fn exported_growth(model: &ModelProto, request: &LoadRequest, options: &Options) -> Result<Growth> {
    ensure!(
        !request.options.contains_key("logits"),
        "option logits: a model file has its rows of logits already"
    );
    match options.growth {
        Growth::Static if cache_can_be_static(model) => Ok(Growth::Static),
        Growth::Static if request.options.contains_key("kv_cache") => {
            bail!("option kv_cache: only GroupQueryAttention can use a static cache")
        }
        _ => Ok(Growth::Dynamic),
    }
}

/// What ONNX Runtime has no kernels for, in words; it would say so in a page of its own.
pub(crate) fn check_kernels(device: Device, precision: Precision) -> Result<()> {
    match (device, precision) {
        (Device::Cpu, Precision::Bf16) => bail!("bf16: ONNX Runtime's CPU provider has fp32 and fp16"),
        (Device::Cuda(_), Precision::Fp32) => {
            bail!("fp32: the attention of ONNX Runtime's CUDA provider has fp16 and bf16")
        }
        _ => {}
    }
    Ok(())
}

/// How a session built here holds its weights.
#[derive(Default)]
struct Held {
    /// All of them.
    bytes: u64,
    /// Those that it reads as they are stored.
    as_stored_bytes: u64,
}

impl Held {
    fn new(config: &LlamaConfig, device: Device, precision: Precision, prepacking: bool) -> Self {
        // On a CPU, what is multiplied with is held in fp32 anew: laid out for the kernels, or widened for them.
        let anew = device == Device::Cpu && (prepacking || precision == Precision::Fp16);
        let mut held = Self::default();
        for spec in weight_specs(config) {
            let linear = spec.kind == WeightKind::Linear;
            let tied_head = spec.name == EMBED_TOKENS && config.tie_word_embeddings;
            if anew && (linear || tied_head) {
                held.bytes += spec.len() as u64 * Precision::Fp32.bytes();
            }
            if !(anew && linear) {
                held.as_stored_bytes += spec.len() as u64 * precision.bytes();
            }
        }
        held.bytes += held.as_stored_bytes;
        held
    }
}
