//! The interface of an engine.

use anyhow::{Result, bail};
use protocol::{Hello, LoadRequest, Loaded, PeaksRequest, ProductInputs, Reached};

use crate::Reporter;

/// Token ids of a batch: `batch_size` rows of `length` ids, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Sequences.
    pub batch_size: usize,
    /// Tokens of each.
    pub length: usize,
    /// `batch_size * length` ids.
    pub ids: Vec<i64>,
}

/// Where the peak memory of a cell is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeakMemory {
    /// The computation is in this process's memory: the worker reads its resident peak.
    OfProcess,
    /// The most device memory held since `begin`, in bytes, where the engine knows.
    OfDevice(Option<u64>),
}

/// A LLaMA engine, driven one forward at a time.
///
/// The driver's order is: [`hello`](Engine::hello), [`load`](Engine::load), then for each cell
/// [`begin`](Engine::begin), any number of generations, [`end`](Engine::end). A generation is
/// [`reset`](Engine::reset), [`prefill`](Engine::prefill), then `select` and `decode` in turn. Only `prefill` and
/// `decode`, each followed by `synchronize`, are timed as forwards; whatever can be prepared outside them should be.
pub trait Engine {
    /// Who this is: libraries, devices. Called first; must not need a model.
    fn hello(&mut self) -> Hello;

    /// Measures the device's peaks, without a model: [`crate::peaks`] has what engines share.
    fn peaks(&mut self, request: &PeaksRequest) -> Result<Reached> {
        bail!("{}: this engine measures no peaks", request.device)
    }

    /// Builds the model. Unknown options, an unusable device, a precision without kernels are errors here. Report
    /// steps that take long, such as generating weights, to `reporter`.
    fn load(&mut self, request: &LoadRequest, reporter: &Reporter) -> Result<Loaded>;

    /// Vocabulary of the loaded model.
    fn vocab_size(&self) -> usize;

    /// Positions that the loaded model has.
    fn max_position_embeddings(&self) -> usize;

    /// Allocates what a cell needs: buffers for `prompt` and for `generation_length` decode forwards after it.
    fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()>;

    /// [`begin`](Engine::begin) for a cell whose logits are asked for after every forward. In other cells only the last logits
    /// are asked for, and an engine that would pay for keeping the others may return none.
    fn begin_keeping_logits(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        self.begin(prompt, generation_length)
    }

    /// Empties the KV cache and puts the prompt back as input.
    fn reset(&mut self) -> Result<()>;

    /// One forward of the whole prompt; its last position's logits stay with the engine.
    fn prefill(&mut self) -> Result<()>;

    /// Takes each row's most probable token from the last logits (the lowest id among equals), keeps it, and makes
    /// it the next input. It works on the device: the logits stay there.
    fn select(&mut self) -> Result<()>;

    /// One forward of the selected token of each row.
    fn decode(&mut self) -> Result<()>;

    /// Waits until the device is idle. Does nothing on a CPU.
    fn synchronize(&mut self) -> Result<()>;

    /// Puts a mark into the device's queue of work; the device notes by its own clock when it reaches the mark. Called before
    /// a timed forward, while the device is idle, and behind that forward's work. Does nothing without such a clock.
    fn mark(&mut self) -> Result<()> {
        Ok(())
    }

    /// Seconds between the last two marks; the device is idle. `None` where it has no clock of its own.
    fn device_seconds(&mut self) -> Result<Option<f64>> {
        Ok(None)
    }

    /// Whether the host can time each collective of a forward. It can't where decode forwards are replayed as a whole, as in a CUDA
    /// graph: then no share of collectives is measured, and a note of the engine says why.
    fn times_collectives(&self) -> bool {
        true
    }

    /// The tokens selected since `reset`, one row a sequence.
    fn tokens(&mut self) -> Result<Vec<Vec<u32>>>;

    /// The last forward's logits at the last position, `batch_size * vocab_size`, row-major.
    fn logits(&mut self) -> Result<Vec<f32>>;

    /// What matrix products take their activations in, where that is not the format that the precision has on this device.
    fn product_inputs(&self) -> Option<ProductInputs> {
        None
    }

    /// Bytes that the KV cache holds now.
    fn kv_cache_bytes(&self) -> Option<u64>;

    /// Where to read the cell's peak memory.
    fn peak_memory(&self) -> PeakMemory {
        PeakMemory::OfProcess
    }

    /// Frees what `begin` allocated.
    fn end(&mut self) -> Result<()>;
}
