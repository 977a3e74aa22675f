use std::cell::Cell;
use std::rc::Rc;

use protocol::{Hello, LoadRequest, Loaded};

use super::*;

/// Keeps the order of calls. Forwards take the milliseconds of their script in turn, then those of its last entry; without a
/// script no time passes.
#[derive(Default)]
struct Log {
    calls: Vec<&'static str>,
    selected: usize,
    clock: Rc<Cell<Duration>>,
    prefills: Vec<u64>,
    decodes: Vec<u64>,
}

impl Log {
    fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|other| **other == call).count()
    }

    fn pass(&self, script: &[u64], calls: usize) {
        let milliseconds = script.get(calls).or(script.last()).copied().unwrap_or(0);
        self.clock.set(self.clock.get() + Duration::from_millis(milliseconds));
    }
}

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
        self.calls.push("begin");
        Ok(())
    }
    fn reset(&mut self) -> Result<()> {
        self.calls.push("reset");
        self.selected = 0;
        Ok(())
    }
    fn prefill(&mut self) -> Result<()> {
        self.pass(&self.prefills, self.count("prefill"));
        self.calls.push("prefill");
        Ok(())
    }
    fn select(&mut self) -> Result<()> {
        self.calls.push("select");
        self.selected += 1;
        Ok(())
    }
    fn decode(&mut self) -> Result<()> {
        ensure!(self.selected > 0, "decode before select");
        self.pass(&self.decodes, self.count("decode"));
        self.calls.push("decode");
        Ok(())
    }
    fn synchronize(&mut self) -> Result<()> {
        self.calls.push("sync");
        Ok(())
    }
    fn mark(&mut self) -> Result<()> {
        self.calls.push("mark");
        Ok(())
    }
    fn device_seconds(&mut self) -> Result<Option<f64>> {
        Ok(Some(self.calls.len() as f64))
    }
    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        Ok(vec![vec![7; self.selected]])
    }
    fn logits(&mut self) -> Result<Vec<f32>> {
        Ok(vec![0.0; 8])
    }
    fn kv_cache_bytes(&self) -> Option<u64> {
        None
    }
    fn end(&mut self) -> Result<()> {
        self.calls.push("end");
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
        [vec!["begin"], prompt.repeat(5), generation(2), generation(4), generation(4), vec!["end"]].concat();
    assert_eq!(log.calls, expected);
}

#[test]
fn the_harness_hears_where_the_timed_forwards_begin_and_end() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&lines);
    let reporter = Reporter::start(Phase::Prompt, move |progress| {
        heard.lock().unwrap().push((progress.phase, progress.done));
    })
    .unwrap();
    let prompt = Prompt { batch_size: 1, length: 2, ids: vec![1, 2] };
    let procedure = Procedure { warmup_runs: 2, prompt_runs: 3, generations: 2, ..Procedure::default() };
    let job = Job { prompt: &prompt, generation_length: 4, procedure, collectives: false };
    measure(&mut Log::default(), &MonotonicClock::start(), &job, &World::alone(), &reporter).unwrap();
    drop(reporter);
    let lines = lines.lock().unwrap();
    // Warm-ups: 2 prefills; then a prefill with 2 decode forwards. A generation: 5 forwards.
    for expected in
        [(Phase::Prompt, 0), (Phase::Prompt, 2), (Phase::Decode, 0), (Phase::Decode, 3), (Phase::Decode, 13)]
    {
        assert_eq!(
            lines.iter().filter(|line| **line == expected).count().min(1),
            1,
            "{expected:?} in {lines:?}"
        );
    }
}

struct ScriptedClock(Rc<Cell<Duration>>);

impl Clock for ScriptedClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

/// Prefills and generations that were timed.
fn counts(prefills: &[u64], decodes: &[u64], procedure: Procedure) -> [usize; 2] {
    let prompt = Prompt { batch_size: 1, length: 2, ids: vec![1, 2] };
    let (prefills, decodes) = (prefills.to_vec(), decodes.to_vec());
    let mut engine = Log { prefills, decodes, ..Log::default() };
    let job = Job { prompt: &prompt, generation_length: 2, procedure, collectives: false };
    let clock = ScriptedClock(Rc::clone(&engine.clock));
    let measured = measure(&mut engine, &clock, &job, &World::alone(), &Reporter::silent()).unwrap();
    let warm_up = 2.min(procedure.warmup_runs as usize);
    assert_eq!(engine.count("decode"), 2 * measured.generations.len() + warm_up);
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
