//! A loaded model: a session, and what is needed to drive it.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use collective::World;
use llama::{
    EMBED_TOKENS, LFS_POINTER, LlamaConfig, ONNX_FILE, Values, WeightKind, Weights, is_lfs_pointer,
    weight_specs,
};
use ort::session::{RunOptions, Session};
use prost::Message;
use protocol::{Device, Dtype, LoadRequest, ModelSource, Precision, ProductInputs};
use worker::{OutOfMemory, Reporter, move_to_huge_pages};

use crate::all_reduce;
use crate::cuda::Stream;
use crate::fused::{Fused, graph_weights};
use crate::graph::{self, Interface};
use crate::initializers::{Initializers, Lifetime, PARALLEL_PREPACKING, check_made};
use crate::interface::{Signature, cache_can_be_static};
use crate::kv_cache::Growth;
use crate::library::OnnxRuntimeLibrary;
use crate::memory::TensorAllocator;
use crate::onnx::{ModelProto, TensorProto};
use crate::options::{OnnxOptions, check_capture};
use crate::quantized::{Accuracy, NumberFormats, QuantizedProducts};
use crate::select::Selector;
use crate::session::{SessionSettings, placement, unsynchronized, without_graph};

/// A session and what it wants.
pub(crate) struct OnnxModel {
    /// The model.
    pub(crate) config: LlamaConfig,
    /// Where it computes.
    pub(crate) device: Device,
    /// What the session is fed and returns.
    pub(crate) signature: Signature,
    /// How its cache grows.
    pub(crate) growth: Growth,
    /// Where tensors for it are allocated.
    pub(crate) memory: TensorAllocator,
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
    /// Whether a forward's outputs stay until the next one's are there.
    pub(crate) keep_outputs: bool,
    /// Bytes of the weights, as they are held.
    pub(crate) weights_bytes: u64,
    /// What products take their activations in, where that is another format than the graph's.
    pub(crate) product_inputs: Option<ProductInputs>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
    /// Weights in memory that the session reads. It must come after the session: it is dropped later.
    _made: Vec<Values>,
    /// What the session reads weights from, or has copied them from. It must come after the session, too.
    _weights: Option<Weights>,
}

impl OnnxModel {
    /// Waits until the device is idle.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.stream.as_ref().map_or(Ok(()), |stream| stream.synchronize())
    }

    /// Builds what `request` asks for: the graph of a checkpoint or of a seed, or a folder's own [`ONNX_FILE`].
    pub(crate) fn load(
        library: &OnnxRuntimeLibrary,
        request: &LoadRequest,
        world: &World,
        reporter: &Reporter,
    ) -> Result<Self> {
        let options = OnnxOptions::take(request)?;
        ensure!(request.threads != Some(0), "threads: expected 1 or more, found 0");
        if let Device::Cuda(index) = request.device {
            let count = library.cuda_devices().with_context(|| request.device.to_string())?;
            ensure!((index as usize) < count, "{}: there are {count} GPUs", request.device);
        }
        ensure!(
            request.device != Device::Cpu || request.device_memory_limit_bytes.is_none(),
            "device_memory_limit: cpu has no memory of its own: use memory_limit, or a device such as cuda:0"
        );
        if let Some(size) = request.one_rank_of {
            ensure!(
                world.is_alone(),
                "one_rank: rank 0 of {size} runs in one process, but this worker was started with world_size {}",
                world.size()
            );
        }
        let mut model = match &request.model {
            ModelSource::Checkpoint { dir } if dir.join(ONNX_FILE).is_file() => {
                ensure!(
                    world.is_alone(),
                    "{}: a model file can't be split among ranks: world_size is {}",
                    dir.join(ONNX_FILE).display(),
                    world.size()
                );
                ensure!(
                    request.one_rank_of.is_none(),
                    "{}: a model file holds the whole model: one_rank needs the checkpoint without it",
                    dir.join(ONNX_FILE).display()
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
        library: &OnnxRuntimeLibrary,
        request: &LoadRequest,
        options: &OnnxOptions,
        world: &World,
        reporter: &Reporter,
    ) -> Result<Self> {
        let device = request.device;
        let dtype = request.precision.activations(device);
        let settings = SessionSettings::new(request, options.prepacking, options.cuda_graph)?;
        let (rank, world_size) = match request.one_rank_of {
            Some(size) => (0, size as usize),
            None => (world.rank(), world.size()),
        };
        let weights =
            Weights::open_part(&request.model, rank, world_size)?.in_precision(request.precision)?;
        let accuracy = if device == Device::Cpu { options.accuracy } else { Accuracy::Unset };
        let quantized =
            weights.quantization().map(|quantization| QuantizedProducts { quantization, accuracy });
        let formats = NumberFormats { dtype, quantized };
        let config = weights.config().clone();
        let fused = if options.fused { Fused::most(&config) } else { Fused::NONE };
        // A CPU session keeps another copy of the matrices in fp32: repacked or widened for the kernels.
        let anew = device == Device::Cpu && (options.prepacking || dtype == Dtype::Fp16);
        let weights_bytes = held_bytes(&config, anew, formats);
        check_kernels(device, dtype)?;
        if let Some(quantized) = quantized {
            quantized.check(&graph_weights(&config, fused))?;
        }
        if device == Device::Cpu {
            check_made(&weights, formats, fused, anew, request.memory_limit_bytes)?;
        }

        // A single rank has no others to sum with.
        let all_reduce = world.all_reduce(device)?;
        let interface = Interface::Engine { rows: options.rows, sums: all_reduce.is_some() };
        let signature = Signature::of_graph(&config, interface, dtype);
        if options.cuda_graph {
            check_capture(signature.lengths, options.growth)?;
        }
        let mut model = graph::llama(&config, formats, interface, fused);
        // Before weights are made, which takes longest.
        check_device(device, &model, request.device_memory_limit_bytes)?;
        let initializers = Initializers::new(&weights, formats, fused, reporter);
        initializers.place(&mut model);
        let (lifetime, joined_bytes) = (initializers.lifetime(device, anew), initializers.joined_bytes());
        let mapped_bytes = initializers.mapped_bytes(anew);
        // SAFETY: both are kept until the session is made and its copies are done. Beside it, and dropped after it, are kept the
        // source unless the session copies on the host, and made weights where the session goes on reading them.
        let mut builder = unsafe { initializers.add_to(settings.builder(library, false)?, lifetime) }?;
        let is_one_of_several = all_reduce.is_some();
        if let Some(all_reduce) = all_reduce {
            let operators = all_reduce::operators(&all_reduce, device)?;
            builder = builder.with_operators(operators).map_err(ort::Error::<()>::from)?;
        }
        let session = builder.commit_from_memory(&model.encode_to_vec()).context("building the session")?;
        drop(builder);
        if let Some(stream) = &settings.stream {
            // Copies of weights to the GPU are in another stream.
            stream.synchronize_device()?;
        }
        let made = match lifetime {
            Lifetime::Session => {
                OutOfMemory::charge_mapped(mapped_bytes, request.memory_limit_bytes)?;
                initializers.into_made()
            }
            // The contract of `session.use_external_initializer_file_buffers_directly` is that all buffers outlive the session.
            // Mapped files do: that takes address space only. Made weights would take as much host memory as the GPU holds. They
            // go: the session has copied each to the GPU (`core/framework/session_state_utils.cc`, found by reading), the copies
            // are done, and no node is on the host to read them later (`placement`).
            Lifetime::Load | Lifetime::Copied => {
                drop(initializers);
                Vec::new()
            }
        };
        let is_mapped = lifetime != Lifetime::Copied;
        if is_mapped {
            weights.release_pages();
        }
        // On a CPU nodes can be nowhere else.
        let mut notes = if device == Device::Cpu { Vec::new() } else { placement(&session, device)? };
        notes.push(options.growth.note());
        notes.extend(
            request.one_rank_of.map(|size| format!("rank 0's part of {size}, without the sums over ranks")),
        );
        notes.extend(fused.note(joined_bytes));
        notes.extend(options.keep_outputs.then(|| KEEP_OUTPUTS.into()));
        notes.extend(request.device_memory_limit_bytes.map(device_memory_note));
        if options.cuda_graph && device != Device::Cpu && is_one_of_several {
            notes.push(
                "collectives in a CUDA graph can't be timed one by one: no share of them is measured, \
                 neither of the prefill nor of decode"
                    .into(),
            );
        }
        if options.cuda_graph && device == Device::Cpu {
            notes.push(
                "on a CPU there are no graphs: inputs stay in one place, and nodes run one by one".into(),
            );
        }
        if device == Device::Cpu && dtype == Dtype::Fp16 {
            notes.push("weights widened to fp32 at load: the CPU provider multiplies in fp32".into());
        }
        notes.extend(quantized.map(QuantizedProducts::note));
        Ok(Self {
            signature,
            growth: options.growth,
            memory: TensorAllocator::new(&session, device)?,
            selector: Selector::new(library, &settings, dtype, config.vocab_size)?,
            config,
            device,
            session,
            run_options: if options.cuda_graph { without_graph()? } else { unsynchronized()? },
            stream: settings.stream,
            cuda_graph: options.cuda_graph,
            keep_outputs: options.keep_outputs,
            weights_bytes,
            product_inputs: quantized.and_then(QuantizedProducts::product_inputs),
            notes,
            _made: made,
            _weights: is_mapped.then_some(weights),
        })
    }

    /// The folder's own model file, as it is.
    fn exported(
        library: &OnnxRuntimeLibrary,
        request: &LoadRequest,
        options: &OnnxOptions,
        dir: &Path,
    ) -> Result<Self> {
        let path = dir.join(ONNX_FILE);
        let in_file = || path.display().to_string();
        let settings = SessionSettings::new(request, options.prepacking, false)?;
        let config = LlamaConfig::read(&dir.join("config.json"))?;
        let bytes = std::fs::read(&path).with_context(in_file)?;
        ensure!(!is_lfs_pointer(&bytes), "{}: {LFS_POINTER}", path.display());
        let model =
            ModelProto::decode(bytes.as_slice()).context("not an ONNX model").with_context(in_file)?;
        let growth = exported_growth(&model, request, options).with_context(in_file)?;
        check_device(request.device, &model, request.device_memory_limit_bytes).with_context(in_file)?;

        let builder = settings.builder(library, true)?.with_config_entry(PARALLEL_PREPACKING, "1");
        let session =
            builder.map_err(ort::Error::<()>::from)?.commit_from_file(&path).with_context(in_file)?;
        let signature = Signature::of_session(&session, &config).with_context(in_file)?;
        if options.cuda_graph {
            check_capture(signature.lengths, growth)?;
        }
        ensure!(
            Precision::from(signature.cache) == request.precision,
            "{}: the model computes in {}, not in {}: set that precision",
            path.display(),
            signature.cache,
            request.precision
        );
        let tensors = model.graph.iter().flat_map(|graph| &graph.initializer);
        let weights_bytes = tensors.map(TensorProto::bytes).sum();
        if request.device == Device::Cpu && !options.prepacking {
            OutOfMemory::charge_mapped(weights_bytes, request.memory_limit_bytes)?;
        }
        let mut notes = vec![format!("{ONNX_FILE} as it is, made by {}", model.producer_name)];
        if request.device != Device::Cpu {
            // An exported model may have nodes that run only on the processor: the note says how many.
            notes.extend(placement(&session, Device::Cpu)?);
        }
        notes.push(growth.note());
        notes.extend(options.keep_outputs.then(|| KEEP_OUTPUTS.into()));
        notes.extend(request.device_memory_limit_bytes.map(device_memory_note));
        Ok(Self {
            memory: TensorAllocator::new(&session, request.device)?,
            selector: Selector::new(library, &settings, signature.logits, config.vocab_size)?,
            config,
            device: request.device,
            signature,
            growth,
            session,
            run_options: unsynchronized()?,
            stream: settings.stream,
            cuda_graph: false,
            keep_outputs: options.keep_outputs,
            weights_bytes,
            product_inputs: None,
            notes,
            _made: Vec::new(),
            _weights: None,
        })
    }
}

/// What the model's attention can do, unless the request asks for something else.
fn exported_growth(model: &ModelProto, request: &LoadRequest, options: &OnnxOptions) -> Result<Growth> {
    ensure!(!request.options.contains_key("logits"), "option logits: a model file fixes its rows of logits");
    ensure!(!options.fused, "option fused: a model file fixes its matrix products");
    match options.growth {
        Growth::Static if cache_can_be_static(model) => Ok(Growth::Static),
        Growth::Static if request.options.contains_key("kv_cache") => {
            bail!("option kv_cache: only GroupQueryAttention can use a static cache")
        }
        _ => Ok(Growth::Dynamic),
    }
}

const KEEP_OUTPUTS: &str = "a forward's outputs are kept until the next one's are there";

fn device_memory_note(limit: u64) -> String {
    format!(
        "device memory limit of {limit} bytes: for weights, KV cache and activations; CUDA itself takes some beside it"
    )
}

/// Checks that the initializers of `model` fit into `limit` bytes of the device.
///
/// ONNX Runtime places them without regard to its limit, but subtracts them from it for later allocations, in unsigned numbers
/// (`core/framework/bfc_arena.cc`, `Reserve` and `Extend`): once they exceed the limit, nothing is limited any more.
fn check_device(device: Device, model: &ModelProto, limit: Option<u64>) -> Result<()> {
    let bytes = arena_bytes(model);
    if let Some(limit) = limit.filter(|&limit| bytes > limit) {
        bail!(
            "out of memory: {bytes} bytes of weights and constants; device_memory_limit is {limit} on {device}"
        );
    }
    Ok(())
}

/// Bytes of an arena that the initializers of `model` take: each starts at a multiple of 256.
fn arena_bytes(model: &ModelProto) -> u64 {
    const ALIGNMENT: u64 = 256;
    let tensors = model.graph.iter().flat_map(|graph| &graph.initializer);
    let aligned = tensors.map(|tensor| tensor.bytes().div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT));
    aligned.fold(0, u64::saturating_add)
}

/// Refuses precisions without kernels: ONNX Runtime's own message would fill a page.
pub(crate) fn check_kernels(device: Device, dtype: Dtype) -> Result<()> {
    match (device, dtype) {
        (Device::Cpu, Dtype::Bf16) => {
            bail!("bf16: ONNX Runtime's CPU provider supports only fp32 and fp16")
        }
        (Device::Cuda(_), Dtype::Fp32) => {
            bail!("fp32: the attention of ONNX Runtime's CUDA provider supports only fp16 and bf16")
        }
        _ => {}
    }
    Ok(())
}

/// The bytes of the weights as a session built here holds them; `anew` adds the copy of the matrices in fp32.
fn held_bytes(config: &LlamaConfig, anew: bool, formats: impl Into<NumberFormats>) -> u64 {
    let NumberFormats { dtype, quantized } = formats.into();
    let mut bytes = 0;
    for weight in graph_weights(config, Fused::NONE) {
        if let Some(quantized) = quantized.filter(|_| weight.is_projection()) {
            bytes += quantized.bytes(&weight, dtype);
        }
    }
    for spec in weight_specs(config).iter().filter(|spec| quantized.is_none() || !spec.is_projection()) {
        let linear = spec.kind == WeightKind::Linear;
        let tied_head = spec.name == EMBED_TOKENS && config.tie_word_embeddings;
        if anew && (linear || tied_head) {
            bytes += spec.len() as u64 * Dtype::Fp32.bytes();
        }
        if !(anew && linear) {
            bytes += spec.len() as u64 * dtype.bytes();
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
