//! The engines behind the worker's [`Engine`] trait.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use collective::World;
use llama::{LlamaConfig, Weights};
use protocol::{Device, Dtype, Hello, LoadRequest, Loaded, PROTOCOL, PeaksRequest, ProductInputs, Reached};
use worker::{Engine, PeakMemory, Prompt, Reporter, describe_options};

use crate::aoti::{CompiledLlama, Recipe, Store, TargetGpu};
use crate::cuda_graph::{GpuAllocators, compute_capability};
use crate::decode_graph::DecodeGraphs;
use crate::device_memory::{BoundedAllocators, BoundedGpu};
use crate::kv_cache::{Exclusion, KvCache, ROWS};
use crate::model::{CausalLm, LlamaForCausalLm};
use crate::options::{AttentionKind, CacheKind, LinearKind, LogitsKept, TorchOptions};
use crate::ranks::SumOverRanks;
use crate::script::ScriptedLlama;
use crate::tensor::{Kind, Tensor, no_grad};
use crate::weights::{self, WeightTensors};
use crate::{onednn, options, peaks, quantized, runtime, shim};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchEngine {
    /// `pytorch-eager`: libtorch's operators, called one by one.
    Eager,
    /// `pytorch-compile`: TorchScript.
    Compile,
    /// `pytorch-cudagraph`: the operators of the former, a decode forward's captured in a CUDA graph.
    CudaGraph,
    /// `pytorch-aoti`: compiled by AOTInductor.
    Aoti,
}

impl TorchEngine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Eager, Self::Compile, Self::CudaGraph, Self::Aoti];

    /// Its name in `engines.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eager => "pytorch-eager",
            Self::Compile => "pytorch-compile",
            Self::CudaGraph => "pytorch-cudagraph",
            Self::Aoti => "pytorch-aoti",
        }
    }
}

/// A worker's engine on libtorch.
pub struct Torch {
    engine: TorchEngine,
    model: Option<LoadedModel>,
    cell: Option<CellTensors>,
    /// The last two marks of a GPU; `None` on a CPU.
    marks: Option<[shim::AcceleratorEvent; 2]>,
    /// The ranks that it is one of.
    world: World,
    /// The bound on a GPU's allocator, as long as there is a model.
    bound: BoundedGpu,
    /// The allocators of the GPUs.
    allocators: Box<dyn BoundedAllocators>,
}

struct LoadedModel {
    config: LlamaConfig,
    options: TorchOptions,
    /// The dtype and device of activations and KV cache.
    numbers: (Kind, Device),
    /// What products take activations in, where that is not the precision's own format.
    product_inputs: Option<ProductInputs>,
    /// How decode forwards of `pytorch-cudagraph` leave out positions that are not filled yet.
    exclusion: Exclusion,
    causal_lm: Box<dyn CausalLm>,
}

/// The oldest GPUs that libtorch has flash attention for: sm_80.
const FLASH_CAPABILITY: (i32, i32) = (8, 0);

/// What lives from `begin` to `end`.
struct CellTensors {
    prompt: Tensor,
    cache: KvCache,
    /// The captured decode forwards of `pytorch-cudagraph`.
    graphs: Option<DecodeGraphs>,
    /// The last forward's logits.
    logits: Option<Tensor>,
    /// The last forward's logits, keys and values with `keep_outputs`; `reset` and `select` leave them alone.
    kept: Vec<Tensor>,
    /// The selected tokens, `[batch_size, 1]` each, on the device.
    tokens: Vec<Tensor>,
}

impl Torch {
    /// An engine without a model, as one of the ranks of `world`.
    pub fn new(engine: TorchEngine, world: World) -> Self {
        let (bound, allocators) = (BoundedGpu::default(), Box::new(GpuAllocators));
        Self { engine, model: None, cell: None, marks: None, world, bound, allocators }
    }

    /// Drops the model, and the bound on its GPU's memory with it.
    fn unload(&mut self) -> Result<()> {
        self.end()?;
        self.model = None;
        Ok(self.bound.lift(&mut *self.allocators)?)
    }

    fn parts(&mut self) -> Result<(&LoadedModel, &mut CellTensors)> {
        let model = self.model.as_ref().context("no model is loaded")?;
        Ok((model, self.cell.as_mut().context("no cell has begun")?))
    }

    /// The GPU that the model is on.
    fn gpu(&self) -> Option<usize> {
        match self.model.as_ref()?.numbers.1 {
            Device::Cuda(index) => Some(index as usize),
            Device::Cpu => None,
        }
    }
}

impl CellTensors {
    /// The last forward's logits at the last position, `[batch_size, vocab_size]`.
    fn last_logits(&self) -> Result<Tensor> {
        let logits = self.logits.as_ref().context("no forward has run")?;
        Ok(logits.select(1, -1)?)
    }

    fn forward(&mut self, model: &LoadedModel, input_ids: &Tensor) -> Result<()> {
        let length = input_ids.size(1)?;
        let mut logits = no_grad(|| model.causal_lm.forward(input_ids, &mut self.cache))?;
        if model.options.keep_outputs {
            logits = logits.to_kind(Kind::Float)?;
            let states = self.cache.keys.iter().chain(&self.cache.values);
            // The earlier forward's outputs end here.
            self.kept = [&logits].into_iter().chain(states).map(Tensor::shallow_clone).collect();
        }
        self.logits = Some(logits);
        self.cache.length += length;
        Ok(())
    }
}

/// How captured decode forwards leave out the keys behind their token: flash attention does it faster, where it can be had.
fn choose_exclusion(
    options: TorchOptions,
    dtype: Dtype,
    head_dim: usize,
    capability: (i32, i32),
) -> Exclusion {
    let has_kernels = capability >= FLASH_CAPABILITY
        && dtype != Dtype::Fp32
        && head_dim.is_multiple_of(8)
        && head_dim <= 256;
    let is_wanted = options.attention == AttentionKind::Sdpa && !options.cudnn;
    if has_kernels && is_wanted { Exclusion::CausalRow } else { Exclusion::Mask }
}

impl Engine for Torch {
    fn hello(&mut self) -> Hello {
        let mut devices = runtime::devices();
        if self.engine == TorchEngine::Aoti
            && let Some(why) = Store::of_runtime().unusable()
        {
            for device in &mut devices {
                device.unusable.get_or_insert_with(|| why.clone());
            }
        }
        Hello {
            protocol: PROTOCOL,
            engine: self.engine.name().into(),
            libraries: runtime::libraries(),
            devices,
            options: describe_options(&options::words(self.engine)),
            virtual_clock: false,
            tensor_parallel: self.engine != TorchEngine::Aoti,
            device_memory_limit: true,
            one_rank: true,
            ranks: Vec::new(),
        }
    }

    fn peaks(&mut self, request: &PeaksRequest) -> Result<Reached> {
        self.unload()?;
        peaks::reached(request)
    }

    fn load(&mut self, request: &LoadRequest, reporter: &Reporter) -> Result<Loaded> {
        self.unload()?;
        let options = TorchOptions::read(self.engine, &request.options)?;
        let world = &self.world;
        ensure!(
            self.engine != TorchEngine::Aoti || world.size() == 1,
            "pytorch-aoti can't share a model among ranks (world_size)"
        );
        if let (Some(ranks), false) = (request.one_rank_of, world.is_alone()) {
            bail!(
                "one_rank: rank 0 of {ranks} runs in one process, but this worker was started with world_size {}",
                world.size()
            );
        }
        let device = world.device(request.device);
        runtime::ensure_usable(device)?;
        let threads = runtime::set_threads(world.threads(request.threads))?;
        let of_gpu = device != Device::Cpu;
        ensure!(
            of_gpu || !options.cudnn,
            "option attention: \"cudnn\" runs only on a GPU, not on {}",
            request.device
        );
        ensure!(
            !of_gpu || options.linear != LinearKind::OneDnn,
            "option linear: \"onednn\" runs only on the CPU, not on {}",
            request.device
        );

        let memory_note = match (device, request.device_memory_limit_bytes) {
            (_, None) => None,
            (Device::Cuda(gpu), Some(limit)) => {
                Some(self.bound.set(&mut *self.allocators, gpu as usize, limit)?)
            }
            (Device::Cpu, Some(_)) => {
                bail!(
                    "device_memory_limit: cpu has no memory of its own: use memory_limit, or a device such as cuda:0"
                )
            }
        };

        let (rank, ranks) = match request.one_rank_of {
            Some(ranks) => (0, ranks as usize),
            None => (world.rank(), world.size()),
        };
        let is_quantized = request.precision.quantization().is_some();
        let in_bf16 = is_quantized && options.bf16_activations;
        let dtype = if in_bf16 { Dtype::Bf16 } else { request.precision.activations(device) };
        quantized::check(self.engine, options, request.precision, device, dtype)?;
        let source =
            Arc::new(Weights::open_part(&request.model, rank, ranks)?.in_precision(request.precision)?);
        let config = source.config().clone();
        let package = match self.engine {
            TorchEngine::Aoti => {
                let torch = &runtime::version();
                let gpu = match device {
                    Device::Cuda(index) => {
                        let index = index as usize;
                        Some(TargetGpu { index, capability: compute_capability(index)? })
                    }
                    Device::Cpu => None,
                };
                let recipe = Recipe { config: &config, dtype, gpu, options, threads, torch };
                Some(Store::of_runtime().package(&recipe, reporter)?)
            }
            _ => None,
        };
        let weights = WeightTensors::load(&source, dtype, device, request.memory_limit_bytes, reporter)?;
        let weights_bytes = weights.bytes;
        let mut notes = weights.notes();
        notes.extend(
            request.one_rank_of.map(|ranks| format!("rank 0's part of {ranks}, without the sums over ranks")),
        );
        notes.extend(is_quantized.then(|| format!("libtorch's quantized products, activations in {dtype}")));
        notes.extend(memory_note);
        notes.extend(package.as_ref().map(|package| package.note.clone()));
        if device == Device::Cpu {
            notes.push(format!("{threads} threads, {} kernels", runtime::cpu_capability()));
            notes.extend(match self.engine {
                TorchEngine::Eager | TorchEngine::Aoti => None,
                TorchEngine::Compile => Some(
                    "on a CPU TorchScript fuses nothing: the operators are those of pytorch-eager".into(),
                ),
                TorchEngine::CudaGraph => {
                    Some("on a CPU there are no graphs: the operators are called one by one".into())
                }
            });
        }

        let mut exclusion = Exclusion::Mask;
        if let (TorchEngine::CudaGraph, Device::Cuda(gpu)) = (self.engine, device) {
            exclusion = choose_exclusion(options, dtype, config.head_dim, compute_capability(gpu as usize)?);
            let attention = match exclusion {
                Exclusion::CausalRow => "flash attention",
                Exclusion::Mask => "a mask",
            };
            notes.push(format!(
                "a graph for every {ROWS} positions, in which {attention} leaves out later ones"
            ));
            if !world.is_alone() {
                notes.push(
                    "collectives in a CUDA graph can't be timed one by one: no share of them is measured, \
                     neither of the prefill nor of decode"
                        .into(),
                );
            }
        }
        if matches!(self.engine, TorchEngine::Eager | TorchEngine::Compile)
            && options.kv_cache == CacheKind::Static
        {
            notes.push("the KV cache is allocated for the whole generation and written in place".into());
        }
        if options.keep_outputs {
            notes.push(
                "a forward's outputs (logits in FP32, KV cache) are kept until the next forward is done"
                    .into(),
            );
        }

        shim::set_cudnn_attention(options.cudnn)?;
        if options.cudnn {
            notes.push("attention may be cuDNN's".into());
        } else if device != Device::Cpu && options.attention == AttentionKind::Sdpa {
            notes.push("attention is not cuDNN's".into());
        }
        let ranks = world.all_reduce(device)?.map(SumOverRanks::new);
        let causal_lm: Box<dyn CausalLm> = match (self.engine, package) {
            (_, Some(package)) => {
                Box::new(CompiledLlama::new(&package, &config, weights, options.linear, device)?)
            }
            (TorchEngine::Compile, None) => {
                Box::new(ScriptedLlama::new(&config, weights, options, ranks.as_ref())?)
            }
            (_, None) => Box::new(LlamaForCausalLm::new(&config, weights, options, ranks.as_ref())?),
        };
        if options.linear == LinearKind::OneDnn {
            notes.push(onednn::note());
            source.release_pages();
            notes.extend(worker::move_to_huge_pages());
        }
        let numbers = (weights::kind(dtype), device);
        let product_inputs = in_bf16.then_some(ProductInputs::Bf16);
        self.model = Some(LoadedModel { config, options, numbers, product_inputs, exclusion, causal_lm });
        self.marks = match device {
            Device::Cuda(_) => Some([shim::AcceleratorEvent::new()?, shim::AcceleratorEvent::new()?]),
            Device::Cpu => None,
        };
        Ok(Loaded { weights_bytes, notes })
    }

    fn vocab_size(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.vocab_size)
    }

    fn max_position_embeddings(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.max_position_embeddings)
    }

    fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        // A cell that failed did not end; and the device's peak starts anew.
        self.end()?;
        let model = self.model.as_ref().context("no model is loaded")?;
        let rows = [prompt.batch_size as i64, prompt.length as i64];
        let capacity = prompt.length + generation_length;
        let mut cache = KvCache::new(
            model.options.kv_cache,
            &model.config,
            (prompt.batch_size, capacity),
            model.numbers,
        )?;
        let graphs = match self.engine {
            TorchEngine::CudaGraph if generation_length > 0 => Some(no_grad(|| {
                let size = (prompt.batch_size, prompt.length);
                DecodeGraphs::new(&*model.causal_lm, &mut cache, size, model.exclusion, model.numbers.1)
            })?),
            _ => None,
        };
        self.cell = Some(CellTensors {
            prompt: Tensor::from_slice(&prompt.ids)?.view(&rows)?.to_device(model.numbers.1)?,
            cache,
            graphs,
            logits: None,
            kept: Vec::new(),
            tokens: Vec::with_capacity(generation_length + 1),
        });
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        let (_, cell) = self.parts()?;
        cell.logits = None;
        cell.tokens.clear();
        Ok(cell.cache.reset()?)
    }

    fn prefill(&mut self) -> Result<()> {
        let (model, cell) = self.parts()?;
        ensure!(cell.cache.length == 0, "prefill after another forward: reset first");
        let prompt = cell.prompt.shallow_clone();
        cell.forward(model, &prompt)
    }

    fn select(&mut self) -> Result<()> {
        let (model, cell) = self.parts()?;
        let logits = cell.last_logits()?;
        // The index of the first maximum, as `argmax` gives it, in less time on a CPU.
        let (_, token) = logits.max_dim(-1, true)?;
        if let Some(graphs) = &mut cell.graphs {
            graphs.feed(&token, cell.cache.length)?;
        }
        cell.tokens.push(token);
        if model.options.logits == LogitsKept::All {
            // The whole prompt's logits would stay in memory through the first decode forward.
            cell.logits = Some(logits.unsqueeze(1)?.copy()?);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        let (model, cell) = self.parts()?;
        let token = cell.tokens.last().context("decode before select")?.shallow_clone();
        let Some(graphs) = &cell.graphs else { return cell.forward(model, &token) };
        cell.logits = Some(no_grad(|| graphs.forward(&*model.causal_lm, &mut cell.cache))?);
        cell.cache.length += 1;
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        if let Some(gpu) = self.gpu() {
            shim::device_synchronize(gpu)?;
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<()> {
        let gpu = self.gpu();
        if let (Some(gpu), Some(marks)) = (gpu, &mut self.marks) {
            marks.rotate_left(1);
            marks[1].record(gpu)?;
        }
        Ok(())
    }

    fn device_seconds(&mut self) -> Result<Option<f64>> {
        Ok(self.marks.as_ref().map(|[from, to]| from.seconds_to(to)).transpose()?)
    }

    fn times_collectives(&self) -> bool {
        // Captured, a sum is no call that the host could time.
        self.engine != TorchEngine::CudaGraph || self.gpu().is_none()
    }

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        let (_, cell) = self.parts()?;
        let (rows, selected) = (cell.prompt.size(0)? as usize, cell.tokens.len());
        if selected == 0 {
            return Ok(vec![Vec::new(); rows]);
        }
        let ids = Tensor::cat(&cell.tokens, 1)?.to_vec::<i64>()?;
        Ok(ids.chunks(selected).map(|row| row.iter().map(|&id| id as u32).collect()).collect())
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        let (_, cell) = self.parts()?;
        Ok(cell.last_logits()?.to_device(Device::Cpu)?.to_kind(Kind::Float)?.to_vec()?)
    }

    fn product_inputs(&self) -> Option<ProductInputs> {
        self.model.as_ref()?.product_inputs
    }

    fn kv_cache_bytes(&self) -> Option<u64> {
        self.cell.as_ref().map(|cell| cell.cache.bytes())
    }

    fn peak_memory(&self) -> PeakMemory {
        match self.gpu() {
            Some(gpu) => PeakMemory::OfDevice(shim::device_peak_bytes(gpu).ok()),
            None => PeakMemory::OfProcess,
        }
    }

    fn end(&mut self) -> Result<()> {
        self.cell = None;
        if let Some(gpu) = self.gpu() {
            shim::device_empty_cache(gpu)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
