//! The one timing loop. docs/concepts/procedure.md describes it in words.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use collective::{METER, World};
use protocol::{CollectiveShares, DeviceSeconds, Generation, Measured, Memory, Phase, Procedure};
use sha2::{Digest, Sha256};
use stats::Until;

use crate::memory::{peak_bytes, reset_peak};
use crate::{Engine, PeakMemory, Prompt, Reporter};

/// What the loop reads time from.
pub trait Clock {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
}

/// The operating system's monotonic clock: adjustments of the date don't touch it.
pub struct MonotonicClock(Instant);

impl MonotonicClock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A cell to measure.
pub struct Job<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// Decode forwards of a generation.
    pub generation_length: usize,
    /// How often to run it.
    pub procedure: Procedure,
    /// Whether several ranks run one more generation, for the share of collectives.
    pub collectives: bool,
}

/// An engine, the clock it is timed by, and the ranks that it is one of.
struct Stand<'a> {
    engine: &'a mut dyn Engine,
    clock: &'a dyn Clock,
    world: &'a World,
}

/// Measures one cell: warm-up, `prompt_runs` timed prefills, then `generations` timed generations; fewer where the procedure's
/// `until` is reached. Every rank of `world` does the same at the same time.
#[expect(clippy::print_stderr, reason = "stderr is the log of a worker")]
pub fn measure(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    job: &Job<'_>,
    world: &World,
    reporter: &Reporter,
) -> Result<Measured> {
    let &Job { prompt, generation_length, procedure, collectives } = job;
    let peak_since_reset = reset_peak();
    reporter.phase(Phase::Prompt, procedure.warmup_runs + procedure.prompt_runs);
    engine.begin(prompt, generation_length)?;
    let stand = &mut Stand { engine, clock, world };
    let prompts = time_prompts(stand, procedure, reporter)?;

    let warmup = generation_length.min(procedure.warmup_runs as usize);
    let forwards = warmup + 1 + procedure.generations as usize * (1 + generation_length);
    reporter.phase(Phase::Decode, forwards as u32);
    generate(stand, warmup, reporter)?;
    reporter.write_now();
    let (generations, tokens_on_device) = time_generations(stand, procedure, generation_length, reporter)?;
    reporter.write_now();

    let collectives = (collectives && !world.is_alone() && stand.engine.times_collectives())
        .then(|| collective_shares(stand, generation_length, reporter))
        .transpose()?;

    check_finite(&engine.logits()?)?;
    let tokens_sha256 = tokens_sha256(&engine.tokens()?);
    let kv_cache_bytes = engine.kv_cache_bytes();
    let peak_bytes = match engine.peak_memory() {
        PeakMemory::OfProcess => peak_since_reset.then(peak_bytes).flatten(),
        PeakMemory::OfDevice(bytes) => bytes,
    };
    if let Err(error) = engine.end() {
        // The cell is measured; the next `begin` says whether the engine can go on.
        eprintln!("{error:#}");
    }
    let memory = Memory { weights_bytes: None, kv_cache_bytes, peak_bytes };
    let prompt_seconds = prompts.iter().map(|latency| latency.host).collect();
    let device_seconds = on_device(&prompts)
        .zip(tokens_on_device.into_iter().collect())
        .map(|(prompt, tokens)| DeviceSeconds { prompt, tokens });
    let ranks = Vec::new();
    Ok(Measured { prompt_seconds, generations, device_seconds, memory, ranks, collectives, tokens_sha256 })
}

/// Seconds of one forward.
struct ForwardSeconds {
    host: f64,
    /// Seconds by the device's own clock, where it has one.
    device: Option<f64>,
}

/// Forwards by the device's clock, where that is known of all of them.
fn on_device(latencies: &[ForwardSeconds]) -> Option<Vec<f64>> {
    latencies.iter().map(|latency| latency.device).collect()
}

fn time_prompts(
    stand: &mut Stand<'_>,
    procedure: Procedure,
    reporter: &Reporter,
) -> Result<Vec<ForwardSeconds>> {
    let (mut latencies, mut seconds) = (Vec::new(), Vec::new());
    for run in 0..procedure.warmup_runs + procedure.prompt_runs {
        if run == procedure.warmup_runs {
            reporter.write_now();
        }
        stand.engine.reset()?;
        let latency = time(stand, |engine| engine.prefill())?;
        reporter.step(latency.host);
        if run >= procedure.warmup_runs {
            seconds.push(latency.host);
            latencies.push(latency);
            if is_known(stand.world, procedure, procedure.prompt_runs, &[&seconds])? {
                break;
            }
        }
    }
    Ok(latencies)
}

/// Timed generations, and their decode forwards by the device's clock.
type Generations = (Vec<Generation>, Vec<Option<Vec<f64>>>);

fn time_generations(
    stand: &mut Stand<'_>,
    procedure: Procedure,
    generation_length: usize,
    reporter: &Reporter,
) -> Result<Generations> {
    let (mut generations, mut on_device) = (Vec::new(), Vec::new());
    let (mut walls, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..procedure.generations {
        let (generation, device_seconds) = generate(stand, generation_length, reporter)?;
        walls.push(generation.wall_seconds);
        tokens.push(generation.token_seconds.iter().sum::<f64>() / generation_length.max(1) as f64);
        generations.push(generation);
        on_device.push(device_seconds);
        let series: &[&[f64]] = if generation_length > 0 { &[&walls, &tokens] } else { &[&walls] };
        if is_known(stand.world, procedure, procedure.generations, series)? {
            break;
        }
    }
    Ok((generations, on_device))
}

/// Whether the means of these series are known as well as the procedure asks, so that timing can stop. Rank 0
/// decides, because the record has its clock; it tells the others at the same points.
fn is_known(world: &World, procedure: Procedure, most: u32, series: &[&[f64]]) -> Result<bool> {
    let Some(share) = procedure.until else { return Ok(false) };
    let until = Until { share, least: procedure.fewest(most) as usize, most: most as usize };
    if !until.is_look(series[0].len()) {
        return Ok(false);
    }
    let decision = (world.rank() == 0).then(|| until.is_reached(series).to_string());
    Ok(world.broadcast(decision)?.as_deref() == Some("true"))
}

/// One generation, and its decode forwards by the device's clock. Selection and the preparation of inputs are between the
/// timed forwards, and inside the wall clock.
fn generate(
    stand: &mut Stand<'_>,
    generation_length: usize,
    reporter: &Reporter,
) -> Result<(Generation, Option<Vec<f64>>)> {
    let mut tokens = Vec::with_capacity(generation_length);
    let clock = stand.clock;
    stand.engine.reset()?;
    stand.engine.synchronize()?;
    let start = clock.now();
    let prompt_seconds = time(stand, |engine| engine.prefill())?.host;
    reporter.step(prompt_seconds);
    for _ in 0..generation_length {
        stand.engine.select()?;
        let latency = time(stand, |engine| engine.decode())?;
        reporter.step(latency.host);
        tokens.push(latency);
    }
    let wall_seconds = seconds_since(start, clock);
    let token_seconds = tokens.iter().map(|latency| latency.host).collect();
    Ok((Generation { prompt_seconds, token_seconds, wall_seconds }, on_device(&tokens)))
}

/// A generation of its own, in which each collective is timed: on a GPU the host waits before and after it.
fn collective_shares(
    stand: &mut Stand<'_>,
    generation_length: usize,
    reporter: &Reporter,
) -> Result<CollectiveShares> {
    let share = |collectives: Duration, forwards: f64| {
        if forwards > 0.0 { (collectives.as_secs_f64() / forwards).min(1.0) } else { 0.0 }
    };
    METER.start();
    stand.engine.reset()?;
    let prefill = time(stand, |engine| engine.prefill())?;
    let in_prefill = METER.elapsed();
    reporter.step(prefill.host);
    let mut forwards = 0.0;
    for _ in 0..generation_length {
        stand.engine.select()?;
        let latency = time(stand, |engine| engine.decode())?;
        reporter.step(latency.host);
        forwards += latency.host;
    }
    METER.stop();
    let in_decodes = METER.elapsed() - in_prefill;
    Ok(CollectiveShares { prompt: share(in_prefill, prefill.host), tokens: share(in_decodes, forwards) })
}

/// Seconds of one forward, the device idle before and after it, and all ranks there when it begins. The second mark is inside what the host times, for it
/// must be in the queue before the host waits; placing it takes a microsecond in which the device works.
fn time(
    stand: &mut Stand<'_>,
    forward: impl FnOnce(&mut dyn Engine) -> Result<()>,
) -> Result<ForwardSeconds> {
    let Stand { engine, clock, world } = stand;
    engine.synchronize()?;
    world.barrier()?;
    engine.mark()?;
    let start = clock.now();
    forward(*engine)?;
    engine.mark()?;
    engine.synchronize()?;
    let host = seconds_since(start, *clock);
    Ok(ForwardSeconds { host, device: engine.device_seconds()?.map(to_the_nanosecond) })
}

/// The device's clock has no more digits: CUDA's events resolve half a microsecond.
fn to_the_nanosecond(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

/// Seconds since `start`; 0 where the clock went back, which the harness refuses.
fn seconds_since(start: Duration, clock: &dyn Clock) -> f64 {
    clock.now().saturating_sub(start).as_secs_f64()
}

/// Refuses NaN and infinity: an engine that computes them can be arbitrarily fast.
pub(crate) fn check_finite(logits: &[f32]) -> Result<()> {
    let wrong = logits.iter().filter(|logit| !logit.is_finite()).count();
    ensure!(wrong == 0, "{wrong} of {} logits are not finite numbers", logits.len());
    Ok(())
}

fn tokens_sha256(rows: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    for token in rows.iter().flatten() {
        hash.update(token.to_le_bytes());
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
