//! What the timing loop itself costs: a generation of an engine whose forwards do nothing.
//!
//! `cargo bench -p worker` prints the time of 100 generations of 256 decode forwards; a 25600th of it is what the loop
//! adds to each token's share of the wall clock.

use anyhow::Result;
use collective::World;
use criterion::{Criterion, criterion_group, criterion_main};
use protocol::{Hello, LoadRequest, Loaded, Procedure};
use worker::timing::{Job, MonotonicClock, measure};
use worker::{Engine, Prompt, Reporter};

struct Nothing;

impl Engine for Nothing {
    fn hello(&mut self) -> Hello {
        unreachable!()
    }
    fn load(&mut self, _: &LoadRequest, _: &Reporter) -> Result<Loaded> {
        unreachable!()
    }
    fn vocab_size(&self) -> usize {
        1
    }
    fn max_position_embeddings(&self) -> usize {
        4096
    }
    fn begin(&mut self, _: &Prompt, _: usize) -> Result<()> {
        Ok(())
    }
    fn reset(&mut self) -> Result<()> {
        Ok(())
    }
    fn prefill(&mut self) -> Result<()> {
        Ok(())
    }
    fn select(&mut self) -> Result<()> {
        Ok(())
    }
    fn decode(&mut self) -> Result<()> {
        Ok(())
    }
    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }
    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        Ok(vec![vec![0; 256]])
    }
    fn logits(&mut self) -> Result<Vec<f32>> {
        Ok(vec![0.0])
    }
    fn kv_cache_bytes(&self) -> Option<u64> {
        None
    }
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

fn timing(criterion: &mut Criterion) {
    let prompt = Prompt { batch_size: 1, length: 1, ids: vec![0] };
    let clock = MonotonicClock::start();
    let reporter = Reporter::silent();
    let generations = 100;
    let procedure = Procedure { warmup_runs: 0, prompt_runs: 1, generations, ..Procedure::default() };
    criterion.bench_function("100 generations of 256 empty forwards", |bencher| {
        let job = Job { prompt: &prompt, generation_length: 256, procedure, collectives: false };
        bencher.iter(|| measure(&mut Nothing, &clock, &job, &World::alone(), &reporter).unwrap());
    });
}

criterion_group!(benches, timing);
criterion_main!(benches);
