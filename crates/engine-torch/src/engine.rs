//! The engines behind the worker's [`Engine`] trait.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use collective::World;
use llama::{LlamaConfig, Weights};
use protocol::{CeilingsRequest, Hello, LoadRequest, Loaded, PROTOCOL, Reached};
use tch::{Device, Kind, Tensor, no_grad};
use worker::{Engine, PeakMemory, Prompt, Reporter, describe_options};

use crate::aoti::{CompiledLlama, Recipe, Store};
use crate::decode_graph::DecodeGraph;
use crate::kv_cache::KvCache;
use crate::model::{CausalLm, LlamaForCausalLm};
use crate::options::{AttentionKind, LinearKind, LogitsKept, Options};
use crate::ranks::SumOverRanks;
use crate::script::ScriptedLlama;
use crate::weights::{self, WeightTensors};
use crate::{ceilings, onednn, options, runtime, shim};

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
    model: Option<Model>,
    cell: Option<Cell>,
    /// On a GPU, its last two marks.
    marks: Option<[shim::Event; 2]>,
    /// The ranks that it is one of.
    world: World,
}

struct Model {
    config: LlamaConfig,
    options: Options,
    /// Of activations and KV cache.
    numbers: (Kind, Device),
    causal_lm: Box<dyn CausalLm>,
}

/// What lives from `begin` to `end`.
struct Cell {
    prompt: Tensor,
    cache: KvCache,
    /// Of `pytorch-cudagraph`.
    graph: Option<DecodeGraph>,
    /// Of the last forward.
    logits: Option<Tensor>,
    /// The selected tokens, `[batch_size, 1]` each, on the device.
    tokens: Vec<Tensor>,
}

impl Torch {
    /// An engine without a model, as one of the ranks of `world`.
    pub fn new(engine: TorchEngine, world: World) -> Self {
        Self { engine, model: None, cell: None, marks: None, world }
    }

    fn parts(&mut self) -> Result<(&Model, &mut Cell)> {
        let model = self.model.as_ref().context("no model is loaded")?;
        Ok((model, self.cell.as_mut().context("no cell has begun")?))
    }

    /// The GPU that the model is on.
    fn gpu(&self) -> Option<usize> {
        match self.model.as_ref()?.numbers.1 {
            Device::Cuda(index) => Some(index),
            _ => None,
        }
    }
}

impl Cell {
    /// The last forward's logits at the last position, `[batch_size, vocab_size]`.
    fn last_logits(&self) -> Result<Tensor> {
        let logits = self.logits.as_ref().context("no forward has run")?;
        Ok(logits.f_select(1, -1)?)
    }

    fn forward(&mut self, model: &Model, input_ids: &Tensor) -> Result<()> {
        let length = input_ids.size()[1];
        self.logits = Some(no_grad(|| model.causal_lm.forward(input_ids, &mut self.cache))?);
        self.cache.length += length;
        Ok(())
    }
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
            device_memory_limit: false,
            one_rank: false,
            ranks: Vec::new(),
        }
    }

    fn ceilings(&mut self, request: &CeilingsRequest) -> Result<Reached> {
        self.end()?;
        self.model = None;
        ceilings::reached(request)
    }

    fn load(&mut self, request: &LoadRequest, reporter: &Reporter) -> Result<Loaded> {
        self.end()?;
        self.model = None;
        let options = Options::read(self.engine, &request.options)?;
        let world = &self.world;
        ensure!(
            self.engine != TorchEngine::Aoti || world.size() == 1,
            "pytorch-aoti can't share a model among ranks (world_size)"
        );
        let device = runtime::device(world.device(request.device))?;
        let threads = runtime::set_threads(world.threads(request.threads));
        let of_gpu = device != Device::Cpu;
        ensure!(
            of_gpu || !options.cudnn,
            "option attention: \"cudnn\" computes on a GPU alone, not on {}",
            request.device
        );
        ensure!(
            !of_gpu || options.linear != LinearKind::OneDnn,
            "option linear: \"onednn\" computes on the CPU alone, not on {}",
            request.device
        );

        let source = Arc::new(Weights::open_part(&request.model, world.rank(), world.size())?);
        let config = source.config().clone();
        let package = match self.engine {
            TorchEngine::Aoti => {
                let (precision, torch) = (request.precision, &runtime::version());
                let recipe = Recipe { config: &config, precision, device, options, threads, torch };
                Some(Store::of_runtime().package(&recipe, reporter)?)
            }
            _ => None,
        };
        let weights =
            WeightTensors::load(&source, request.precision, device, request.memory_limit_bytes, reporter)?;
        let weights_bytes = weights.bytes;
        let mut notes = weights.notes();
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

        shim::set_cudnn_attention(options.cudnn)?;
        if options.cudnn {
            notes.push("attention may be cuDNN's".into());
        } else if device != Device::Cpu && options.attention == AttentionKind::Sdpa {
            notes.push("attention is not cuDNN's".into());
        }
        let ranks = world.all_reduce(world.device(request.device))?.map(SumOverRanks::new);
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
        let numbers = (weights::kind(request.precision), device);
        self.model = Some(Model { config, options, numbers, causal_lm });
        self.marks = match device {
            Device::Cuda(_) => Some([shim::Event::new()?, shim::Event::new()?]),
            _ => None,
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
        let graph = match self.engine {
            TorchEngine::CudaGraph if generation_length > 0 => Some(no_grad(|| {
                DecodeGraph::new(&*model.causal_lm, &mut cache, prompt.batch_size, model.numbers.1)
            })?),
            _ => None,
        };
        self.cell = Some(Cell {
            prompt: Tensor::f_from_slice(&prompt.ids)?.f_view_(rows)?.f_to_device(model.numbers.1)?,
            cache,
            graph,
            logits: None,
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
        let (_, token) = logits.f_max_dim(-1, true)?;
        if let Some(graph) = &mut cell.graph {
            graph.feed(&token, cell.cache.length)?;
        }
        cell.tokens.push(token);
        if model.options.logits == LogitsKept::All {
            // Those of the whole prompt would stay in memory through the first decode forward.
            let kept = logits.f_unsqueeze(1)?;
            cell.logits = Some(kept.f_to_dtype(kept.f_kind()?, false, true)?);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        let (model, cell) = self.parts()?;
        let token = cell.tokens.last().context("decode before select")?.shallow_clone();
        let Some(graph) = &cell.graph else { return cell.forward(model, &token) };
        cell.logits = Some(no_grad(|| graph.forward(&*model.causal_lm, &mut cell.cache))?);
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

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        let (_, cell) = self.parts()?;
        let (rows, selected) = (cell.prompt.size()[0] as usize, cell.tokens.len());
        if selected == 0 {
            return Ok(vec![Vec::new(); rows]);
        }
        let mut ids = vec![0i64; rows * selected];
        Tensor::f_cat(&cell.tokens, 1)?.f_to_device(Device::Cpu)?.f_copy_data(&mut ids, rows * selected)?;
        Ok(ids.chunks(selected).map(|row| row.iter().map(|&id| id as u32).collect()).collect())
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        let (_, cell) = self.parts()?;
        let logits = cell.last_logits()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let mut values = vec![0f32; logits.numel()];
        logits.f_copy_data(&mut values, logits.numel())?;
        Ok(values)
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
