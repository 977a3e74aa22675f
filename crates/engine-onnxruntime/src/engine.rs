//! The engine that a worker drives.

use anyhow::{Context, Result};
use collective::World;
use protocol::{
    Device, Hello, Library as LoadedLibrary, LoadRequest, Loaded, PROTOCOL, PeaksRequest, ProductInputs,
    Reached,
};
use worker::{Engine, PeakMemory, Prompt, Reporter, describe_options};

use crate::cell::CellBuffers;
use crate::library::OnnxRuntimeLibrary;
use crate::model::OnnxModel;
use crate::options::WORDS;
use crate::peaks;

/// ONNX Runtime as a worker's engine.
pub struct OnnxRuntime {
    library: &'static OnnxRuntimeLibrary,
    // The cell goes first: it is bound to the model's session.
    cell: Option<CellBuffers>,
    model: Option<OnnxModel>,
    /// The ranks that it is one of.
    world: World,
    /// Cells begun so far.
    cells: u32,
}

impl OnnxRuntime {
    /// Loads the library. The error is one line that says what to do.
    pub fn new() -> Result<Self> {
        Self::of_world(World::alone())
    }

    /// [`OnnxRuntime::new`], as one of the ranks of `world`.
    pub fn of_world(world: World) -> Result<Self> {
        Ok(Self { library: OnnxRuntimeLibrary::load()?, cell: None, model: None, world, cells: 0 })
    }

    fn model(&self) -> Result<&OnnxModel> {
        self.model.as_ref().context("no model is loaded")
    }

    fn cell(&self) -> Result<&CellBuffers> {
        self.cell.as_ref().context("no cell has begun")
    }

    fn both(&mut self) -> Result<(&mut CellBuffers, &mut OnnxModel)> {
        let model = self.model.as_mut().context("no model is loaded")?;
        Ok((self.cell.as_mut().context("no cell has begun")?, model))
    }
}

impl Engine for OnnxRuntime {
    fn hello(&mut self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            engine: "onnxruntime".into(),
            libraries: vec![LoadedLibrary {
                name: "onnxruntime".into(),
                version: self.library.version.clone(),
                path: Some(self.library.path.clone()),
            }],
            devices: self.library.devices(),
            options: describe_options(&WORDS),
            virtual_clock: false,
            tensor_parallel: true,
            device_memory_limit: true,
            one_rank: true,
            ranks: Vec::new(),
        }
    }

    fn peaks(&mut self, request: &PeaksRequest) -> Result<Reached> {
        self.cell = None;
        self.model = None;
        peaks::reached(self.library, request)
    }

    fn load(&mut self, request: &LoadRequest, reporter: &Reporter) -> Result<Loaded> {
        self.cell = None;
        self.model = None;
        let (device, threads) = (self.world.device(request.device), self.world.threads(request.threads));
        let request = LoadRequest { device, threads, ..request.clone() };
        let model = OnnxModel::load(self.library, &request, &self.world, reporter)?;
        let loaded = Loaded { weights_bytes: model.weights_bytes, notes: model.notes.clone() };
        self.model = Some(model);
        Ok(loaded)
    }

    fn vocab_size(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.vocab_size)
    }

    fn max_position_embeddings(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.max_position_embeddings)
    }

    fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        self.end()?;
        self.cells += 1;
        let model = self.model.as_mut().context("no model is loaded")?;
        self.cell = Some(CellBuffers::new(model, prompt, generation_length, self.cells)?);
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        let (cell, model) = self.both()?;
        cell.reset(model)
    }

    fn prefill(&mut self) -> Result<()> {
        let (cell, model) = self.both()?;
        cell.prefill(model)
    }

    fn select(&mut self) -> Result<()> {
        let (cell, model) = self.both()?;
        cell.select(model)
    }

    fn decode(&mut self) -> Result<()> {
        let (cell, model) = self.both()?;
        cell.decode(model)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.model()?.synchronize()
    }

    fn mark(&mut self) -> Result<()> {
        self.model()?.stream.as_ref().map_or(Ok(()), |stream| stream.mark())
    }

    fn device_seconds(&mut self) -> Result<Option<f64>> {
        self.model()?.stream.as_ref().map(|stream| stream.seconds()).transpose()
    }

    fn times_collectives(&self) -> bool {
        // Captured, an all-reduce is no call that the host could time.
        self.model.as_ref().is_none_or(|model| !model.cuda_graph || model.device == Device::Cpu)
    }

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        self.model()?.synchronize()?;
        self.cell()?.tokens()
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        self.model()?.synchronize()?;
        self.cell()?.logits()
    }

    fn product_inputs(&self) -> Option<ProductInputs> {
        self.model.as_ref()?.product_inputs
    }

    fn kv_cache_bytes(&self) -> Option<u64> {
        self.cell.as_ref().map(CellBuffers::kv_cache_bytes)
    }

    fn peak_memory(&self) -> PeakMemory {
        match &self.model {
            Some(model) if model.device != Device::Cpu => PeakMemory::OfDevice(model.memory.peak_bytes()),
            _ => PeakMemory::OfProcess,
        }
    }

    fn end(&mut self) -> Result<()> {
        // There is none where this is called before a cell, in case that the last one failed.
        let Some(cell) = self.cell.take() else { return Ok(()) };
        let model = self.model.as_mut().context("no model is loaded")?;
        model.synchronize()?;
        drop(cell);
        CellBuffers::give_back_memory(model)?;
        model.synchronize()
    }
}
