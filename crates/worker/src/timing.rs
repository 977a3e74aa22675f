//! The one timing loop. METHODOLOGY.md says in words what stands here.

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

/// What is to be measured.
pub struct Job<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// Decode forwards of a generation.
    pub generation_length: usize,
    /// How often.
    pub procedure: Procedure,
    /// Of several ranks: one more generation, for the share of collectives.
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
    let (generations, tokens_on_device) = time_generations(stand, procedure, generation_length, reporter)?;

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
struct Latency {
    host: f64,
    /// By the device's own clock, where it has one.
    device: Option<f64>,
}

/// Forwards by the device's clock, where that is known of all of them.
fn on_device(latencies: &[Latency]) -> Option<Vec<f64>> {
    latencies.iter().map(|latency| latency.device).collect()
}

fn time_prompts(stand: &mut Stand<'_>, procedure: Procedure, reporter: &Reporter) -> Result<Vec<Latency>> {
    let (mut latencies, mut seconds) = (Vec::new(), Vec::new());
    for run in 0..procedure.warmup_runs + procedure.prompt_runs {
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

/// Whether the means of these series are known as well as the procedure asks, so that nothing more of them is timed. Rank 0
/// decides, for its clock is the record's: the others hear of it where all know that it looks.
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
fn time(stand: &mut Stand<'_>, forward: impl FnOnce(&mut dyn Engine) -> Result<()>) -> Result<Latency> {
    let Stand { engine, clock, world } = stand;
    engine.synchronize()?;
    world.barrier()?;
    engine.mark()?;
    let start = clock.now();
    forward(*engine)?;
    engine.mark()?;
    engine.synchronize()?;
    let host = seconds_since(start, *clock);
    Ok(Latency { host, device: engine.device_seconds()?.map(to_the_nanosecond) })
}

/// More digits than the device's clock has would only make records longer: CUDA's events tell half a microsecond.
fn to_the_nanosecond(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

/// 0 where the clock went back, which no latency is: the harness refuses it.
fn seconds_since(start: Duration, clock: &dyn Clock) -> f64 {
    clock.now().saturating_sub(start).as_secs_f64()
}

/// An engine that computes NaN is fast at computing nothing.
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
mod tests {
    use protocol::{Hello, LoadRequest, Loaded};

    use super::*;

    /// Keeps the order of calls.
    #[derive(Default)]
    struct Log(Vec<&'static str>, usize);

    impl Engine for Log {
        fn hello(&mut self) -> Hello {
            unreachable!()
        }
        fn load(&mut self, _: &LoadRequest, _: &Reporter) -> Result<Loaded> {
            unreachable!()
        }
        fn vocab_size(&self) -> usize {
            8
        }
        fn max_position_embeddings(&self) -> usize {
            64
        }
        fn begin(&mut self, _: &Prompt, _: usize) -> Result<()> {
            self.0.push("begin");
            Ok(())
        }
        fn reset(&mut self) -> Result<()> {
            self.0.push("reset");
            self.1 = 0;
            Ok(())
        }
        fn prefill(&mut self) -> Result<()> {
            self.0.push("prefill");
            Ok(())
        }
        fn select(&mut self) -> Result<()> {
            self.0.push("select");
            self.1 += 1;
            Ok(())
        }
        fn decode(&mut self) -> Result<()> {
            ensure!(self.1 > 0, "decode before select");
            self.0.push("decode");
            Ok(())
        }
        fn synchronize(&mut self) -> Result<()> {
            self.0.push("sync");
            Ok(())
        }
        fn mark(&mut self) -> Result<()> {
            self.0.push("mark");
            Ok(())
        }
        fn device_seconds(&mut self) -> Result<Option<f64>> {
            Ok(Some(self.0.len() as f64))
        }
        fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
            Ok(vec![vec![7; self.1]])
        }
        fn logits(&mut self) -> Result<Vec<f32>> {
            Ok(vec![0.0; 8])
        }
        fn kv_cache_bytes(&self) -> Option<u64> {
            None
        }
        fn end(&mut self) -> Result<()> {
            self.0.push("end");
            Ok(())
        }
    }

    #[test]
    fn forwards_are_counted_warmed_up_and_synchronised_on_both_sides() {
        let mut log = Log::default();
        let prompt = Prompt { batch_size: 1, length: 2, ids: vec![1, 2] };
        let procedure = Procedure { warmup_runs: 2, prompt_runs: 3, generations: 2, ..Procedure::default() };
        let job = Job { prompt: &prompt, generation_length: 4, procedure, collectives: true };
        let (clock, alone) = (MonotonicClock::start(), World::alone());
        let measured = measure(&mut log, &clock, &job, &alone, &Reporter::silent()).unwrap();

        assert_eq!(measured.prompt_seconds.len(), 3);
        assert_eq!(measured.generations.len(), 2);
        assert!(measured.generations.iter().all(|generation| generation.token_seconds.len() == 4));
        let on_device = measured.device_seconds.unwrap();
        assert_eq!(on_device.prompt, [19.0, 25.0, 31.0]);
        assert_eq!(on_device.tokens.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
        for generation in &measured.generations {
            let parts = generation.prompt_seconds + generation.token_seconds.iter().sum::<f64>();
            assert!(generation.wall_seconds >= parts);
        }

        let prompt = ["reset", "sync", "mark", "prefill", "mark", "sync"];
        let step = ["select", "sync", "mark", "decode", "mark", "sync"];
        let generation = |steps: usize| {
            ["reset", "sync", "sync", "mark", "prefill", "mark", "sync"]
                .into_iter()
                .chain(step.repeat(steps))
                .collect::<Vec<_>>()
        };
        let expected =
            [vec!["begin"], prompt.repeat(5), generation(2), generation(4), generation(4), vec!["end"]]
                .concat();
        assert_eq!(log.0, expected);
    }

    /// Forwards take as long as the script says, one after the other, then as long as the last.
    struct Scripted {
        log: Log,
        clock: std::rc::Rc<std::cell::Cell<Duration>>,
        prefills: Vec<u64>,
        decodes: Vec<u64>,
    }

    impl Scripted {
        fn pass(&self, script: &[u64], calls: usize) {
            let milliseconds = script[calls.min(script.len() - 1)];
            self.clock.set(self.clock.get() + Duration::from_millis(milliseconds));
        }
    }

    struct ScriptedClock(std::rc::Rc<std::cell::Cell<Duration>>);

    impl Clock for ScriptedClock {
        fn now(&self) -> Duration {
            self.0.get()
        }
    }

    impl Engine for Scripted {
        fn hello(&mut self) -> Hello {
            unreachable!()
        }
        fn load(&mut self, _: &LoadRequest, _: &Reporter) -> Result<Loaded> {
            unreachable!()
        }
        fn vocab_size(&self) -> usize {
            8
        }
        fn max_position_embeddings(&self) -> usize {
            64
        }
        fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
            self.log.begin(prompt, generation_length)
        }
        fn reset(&mut self) -> Result<()> {
            self.log.reset()
        }
        fn prefill(&mut self) -> Result<()> {
            let calls = self.log.0.iter().filter(|call| **call == "prefill").count();
            self.pass(&self.prefills, calls);
            self.log.prefill()
        }
        fn select(&mut self) -> Result<()> {
            self.log.select()
        }
        fn decode(&mut self) -> Result<()> {
            let calls = self.log.0.iter().filter(|call| **call == "decode").count();
            self.pass(&self.decodes, calls);
            self.log.decode()
        }
        fn synchronize(&mut self) -> Result<()> {
            Ok(())
        }
        fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
            self.log.tokens()
        }
        fn logits(&mut self) -> Result<Vec<f32>> {
            self.log.logits()
        }
        fn kv_cache_bytes(&self) -> Option<u64> {
            None
        }
        fn end(&mut self) -> Result<()> {
            Ok(())
        }
    }

    /// Prefills and generations that were timed.
    fn counts(prefills: &[u64], decodes: &[u64], procedure: Procedure) -> [usize; 2] {
        let clock = std::rc::Rc::default();
        let prompt = Prompt { batch_size: 1, length: 2, ids: vec![1, 2] };
        let (prefills, decodes) = (prefills.to_vec(), decodes.to_vec());
        let mut engine =
            Scripted { log: Log::default(), clock: std::rc::Rc::clone(&clock), prefills, decodes };
        let job = Job { prompt: &prompt, generation_length: 2, procedure, collectives: false };
        let clock = ScriptedClock(clock);
        let measured = measure(&mut engine, &clock, &job, &World::alone(), &Reporter::silent()).unwrap();
        assert_eq!(engine.log.0.iter().filter(|call| **call == "decode").count(), {
            2 * measured.generations.len() + 2.min(procedure.warmup_runs as usize)
        });
        [measured.prompt_seconds.len(), measured.generations.len()]
    }

    #[test]
    fn what_is_known_well_enough_is_not_timed_again() {
        let procedure =
            Procedure { warmup_runs: 1, prompt_runs: 20, generations: 10, until: Some(0.005), min_runs: 5 };
        // The warm-up's latency counts for nothing.
        assert_eq!(counts(&[900, 100], &[900, 50], procedure), [5, 5]);
        // One slow prefill among the first five is looked at again until it matters little, or the most are done.
        assert_eq!(counts(&[100, 100, 150, 100], &[50], procedure), [20, 5]);
        // Tokens that differ keep generations going.
        assert_eq!(counts(&[100], &[50, 50, 50, 50, 80, 50], procedure), [5, 10]);
        let few = Procedure { prompt_runs: 3, generations: 1, ..procedure };
        assert_eq!(counts(&[100], &[50], few), [3, 1]);
        let fixed = Procedure { until: None, min_runs: 0, ..procedure };
        assert_eq!(counts(&[100], &[50], fixed), [20, 10]);
        let lax = Procedure { until: Some(0.5), ..procedure };
        assert_eq!(counts(&[100, 101, 102, 101, 100, 101], &[50, 51, 52], lax), [5, 5]);
    }

    #[test]
    fn figures_of_an_engine_that_computes_nan_are_refused() {
        let error = check_finite(&[0.0, f32::NAN, f32::INFINITY]).unwrap_err().to_string();
        assert_eq!(error, "2 of 3 logits are not finite numbers");
    }

    #[test]
    fn the_hash_of_tokens_is_pinned() {
        // printf '\x01\0\0\0\x02\0\0\0' | sha256sum
        let expected = "34fb5c825de7ca4aea6e712f19d439c1da0c92c37b423936c5f618545ca4fa1f";
        assert_eq!(tokens_sha256(&[vec![1], vec![2]]), expected);
    }
}
