//! The mock engine.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use collective::{AllReduce, Numbers, World};
use llama::Weights;
use protocol::{
    Device, Dtype, Hello, Library, LoadRequest, Loaded, PROTOCOL, PeaksRequest, Reached, UsableDevice,
};
use worker::timing::Clock;
use worker::{Engine, Prompt, Reporter};

use crate::fault::{Fault, Moment};
use crate::script::Script;

/// A clock that moves only when the engine says so.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Rc<Cell<Duration>>);

impl VirtualClock {
    fn advance(&self, by: Duration) {
        self.0.set(self.0.get() + by);
    }

    fn jump_back(&self) {
        self.0.set(Duration::ZERO);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

/// A fault that is still to come, with batch size and prompt length of its cell.
pub(crate) type PendingFault = Rc<Cell<Option<(Fault, [usize; 2])>>>;

/// Latencies by script, tokens by arithmetic on the prompt.
pub(crate) struct Mock {
    clock: VirtualClock,
    script: Script,
    vocab_size: usize,
    max_position_embeddings: usize,
    prompt: Prompt,
    /// The tokens since reset, a batch a step.
    selected: Vec<Vec<u32>>,
    held: Vec<u8>,
    /// Whether it claims to have a GPU.
    has_gpu: bool,
    weights_bytes: u64,
    /// The bytes that weights and positions may take on that GPU.
    device_memory_limit: Option<u64>,
    /// The last two marks.
    marks: [Duration; 2],
    /// The fault to cause once the answer is written, in a cell of this size.
    after_answer: PendingFault,
    noise: u64,
    /// Where its replies go.
    pipe: OwnedFd,
    /// The ranks that it is one of, and what they do together in every forward.
    world: World,
    all_reduce: Option<Arc<dyn AllReduce>>,
}

impl Mock {
    pub(crate) fn new(clock: VirtualClock, pipe: OwnedFd, world: World, has_gpu: bool) -> Self {
        Self {
            clock,
            script: Script::default(),
            vocab_size: 0,
            max_position_embeddings: 0,
            prompt: Prompt { batch_size: 0, length: 0, ids: Vec::new() },
            selected: Vec::new(),
            held: Vec::new(),
            has_gpu,
            weights_bytes: 0,
            device_memory_limit: None,
            marks: [Duration::ZERO; 2],
            after_answer: Rc::default(),
            noise: 0,
            pipe,
            world,
            all_reduce: None,
        }
    }

    fn pass(&mut self, microseconds: f64) {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (self.noise >> 11) as f64 / (1u64 << 53) as f64;
        let factor = self.script.slowdown * (1.0 + self.script.noise * (2.0 * uniform - 1.0));
        let latency = Duration::from_secs_f64(microseconds * 1e-6 * factor);
        if self.script.real_time {
            std::thread::sleep(latency);
        }
        self.clock.advance(latency);
    }

    /// Causes the script's fault.
    pub(crate) fn strike(&self, moment: Moment) -> Result<()> {
        let Some(fault) = &self.script.fault else { return Ok(()) };
        fault.strike(moment, [self.prompt.batch_size, self.prompt.length], self.world.rank(), &self.pipe)
    }

    /// What goes wrong before the next request is read; set at the end of each cell.
    pub(crate) fn after_answer(&self) -> PendingFault {
        Rc::clone(&self.after_answer)
    }

    /// Fails with CUDA's out-of-memory message where the device's memory is limited and used up.
    fn charge(&self, bytes: u64) -> Result<()> {
        let held = self.weights_bytes.saturating_add(bytes);
        let is_over = self.device_memory_limit.is_some_and(|limit| held > limit);
        ensure!(!is_over, "CUDA out of memory. Tried to allocate {bytes} bytes.");
        Ok(())
    }

    /// Sums a row of ones over all ranks, which keeps them together; each sum must be the number of ranks.
    fn all_reduce(&self) -> Result<()> {
        let Some(all_reduce) = &self.all_reduce else { return Ok(()) };
        let mut ones = [1f32; 64];
        let (sums, len) = (ones.as_mut_ptr().cast(), ones.len());
        let (dtype, stream) = (Dtype::Fp32, std::ptr::null_mut());
        let numbers = Numbers { terms: sums, sums, len, dtype, stream };
        // SAFETY: the numbers are this function's.
        unsafe { all_reduce.all_reduce(numbers) }?;
        ensure!(ones == [self.world.size() as f32; 64], "a wrong sum over the ranks: {}", ones[0]);
        Ok(())
    }

    /// The next token of each row: a function of the row's tokens so far.
    fn next_tokens(&self) -> Vec<u32> {
        let step = self.selected.len() as u64 + u64::from(self.script.wrong_tokens);
        let rows = self.prompt.ids.chunks(self.prompt.length);
        rows.map(|row| {
            let sum: u64 = row.iter().map(|&id| id as u64).sum();
            ((sum + 7 * step) % self.vocab_size as u64) as u32
        })
        .collect()
    }
}

impl Engine for Mock {
    fn hello(&mut self) -> Hello {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let devices: &[&str] = if self.has_gpu { &["cpu", "cuda"] } else { &["cpu"] };
        let devices = devices.iter().map(|device| UsableDevice { device: (*device).into(), unusable: None });
        Hello {
            protocol: PROTOCOL,
            engine: "mock".into(),
            libraries: vec![Library { name: "mock".into(), version, path: None }],
            devices: devices.collect(),
            options: Script::names().into_iter().map(|name| (name, Vec::new())).collect(),
            virtual_clock: true,
            tensor_parallel: true,
            device_memory_limit: true,
            one_rank: true,
            ranks: Vec::new(),
        }
    }

    fn peaks(&mut self, request: &PeaksRequest) -> Result<Reached> {
        ensure!(Script::read(&request.options)?.peaks, "the mock engine measures no peaks");
        let all = |flops: f64| request.precisions.iter().map(move |precision| (*precision, flops)).collect();
        Ok(Reached {
            read_bytes_per_second: Some(500e9),
            flops_per_second: all(5e12),
            sustained_flops_per_second: request.sustained_seconds.map(|_| all(4e12)).unwrap_or_default(),
            notes: vec!["scripted".into()],
        })
    }

    fn load(&mut self, request: &LoadRequest, _: &Reporter) -> Result<Loaded> {
        self.script = Script::read(&request.options)?;
        let (rank, ranks) = match request.one_rank_of {
            Some(ranks) => {
                ensure!(self.world.size() == 1, "one_rank: this worker was started as several ranks");
                (0, ranks as usize)
            }
            None => (self.world.rank(), self.world.size()),
        };
        let weights = Weights::open_part(&request.model, rank, ranks)?;
        let config = weights.config();
        self.vocab_size = config.vocab_size;
        self.max_position_embeddings = config.max_position_embeddings;
        self.strike(Moment::Load)?;
        self.all_reduce = self.world.all_reduce(Device::Cpu)?;
        self.weights_bytes = llama::cost::weights_bytes(config, request.precision);
        self.device_memory_limit = request.device_memory_limit_bytes;
        self.charge(0)?;
        Ok(Loaded { weights_bytes: self.weights_bytes, notes: self.script.notes.clone() })
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        self.prompt = prompt.clone();
        self.noise = (prompt.batch_size * 1_000_003 + prompt.length) as u64;
        let positions = (prompt.batch_size * (prompt.length + generation_length)) as u64;
        self.charge(positions * self.script.bytes_per_position)?;
        // Written with ones, so that the pages are really allocated; an allocation that fails aborts as Rust's do.
        self.held = vec![1; (positions * self.script.bytes_per_position) as usize];
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        self.selected.clear();
        Ok(())
    }

    fn prefill(&mut self) -> Result<()> {
        self.strike(Moment::Prompt)?;
        self.all_reduce()?;
        let tokens = (self.prompt.batch_size * self.prompt.length) as f64;
        self.pass(self.script.prompt_microseconds_per_token * tokens);
        Ok(())
    }

    fn select(&mut self) -> Result<()> {
        self.selected.push(self.next_tokens());
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        self.strike(Moment::Decode)?;
        self.all_reduce()?;
        if self.script.clock_jumps {
            self.clock.jump_back();
        }
        let further = (self.prompt.batch_size - 1) as f64;
        self.pass(self.script.token_microseconds * (1.0 + self.script.batch_slope * further));
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn mark(&mut self) -> Result<()> {
        self.marks = [self.marks[1], self.clock.now()];
        Ok(())
    }

    fn device_seconds(&mut self) -> Result<Option<f64>> {
        let seconds = self.marks[1].saturating_sub(self.marks[0]).as_secs_f64();
        Ok(self.script.device_share.map(|share| share * seconds))
    }

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        let row = |row: usize| self.selected.iter().map(|step| step[row]).collect();
        Ok((0..self.prompt.batch_size).map(row).collect())
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        let mut logits = vec![0.0; self.prompt.batch_size * self.vocab_size];
        for (row, token) in self.next_tokens().into_iter().enumerate() {
            logits[row * self.vocab_size + token as usize] = 1.0;
        }
        Ok(logits)
    }

    fn kv_cache_bytes(&self) -> Option<u64> {
        Some(self.held.len() as u64)
    }

    fn end(&mut self) -> Result<()> {
        self.held = Vec::new();
        self.after_answer
            .set(self.script.fault.map(|fault| (fault, [self.prompt.batch_size, self.prompt.length])));
        Ok(())
    }
}
