//! One forward of each kind for a profiler: warmed up, marked and not timed.

use anyhow::Result;
use collective::World;
use protocol::Phase;

use crate::nvtx::Marker;
use crate::timing::check_finite;
use crate::{Engine, Prompt, Reporter};

/// Runs the warm-ups of a measurement, then one prefill, one choice of tokens and one decode forward, each in a range of its own and
/// with the device idle before and after. The marker is on for those three alone.
pub(crate) fn profile(
    engine: &mut dyn Engine,
    prompt: &Prompt,
    generation_length: usize,
    warmup_runs: u32,
    world: &World,
    reporter: &Reporter,
    marker: &mut dyn Marker,
) -> Result<()> {
    reporter.phase(Phase::Prompt, warmup_runs);
    engine.begin(prompt, generation_length)?;
    for _ in 0..warmup_runs {
        prefill(engine)?;
        reporter.advance();
    }
    let decodes = generation_length.min(warmup_runs as usize);
    reporter.phase(Phase::Decode, decodes as u32 + 3);
    prefill(engine)?;
    reporter.advance();
    for _ in 0..decodes {
        engine.select()?;
        engine.decode()?;
        engine.synchronize()?;
        reporter.advance();
    }

    engine.reset()?;
    engine.synchronize()?;
    world.barrier()?;
    marker.start();
    let forwards = marked(engine, prompt, marker, reporter);
    marker.stop();
    forwards?;

    check_finite(&engine.logits()?)?;
    engine.end()
}

fn prefill(engine: &mut dyn Engine) -> Result<()> {
    engine.reset()?;
    engine.prefill()?;
    engine.synchronize()
}

fn marked(
    engine: &mut dyn Engine,
    prompt: &Prompt,
    marker: &mut dyn Marker,
    reporter: &Reporter,
) -> Result<()> {
    // ASCII: a filter such as `ncu --nvtx-include` is typed by hand.
    let cell = format!("{}x{}", prompt.batch_size, prompt.length);
    let mut range = |name: &str, work: fn(&mut dyn Engine) -> Result<()>| {
        marker.push(&format!("{name} {cell}"));
        let done = work(engine).and_then(|()| engine.synchronize());
        marker.pop();
        done
    };
    range("prefill", |engine| engine.prefill())?;
    reporter.advance();
    range("select", |engine| engine.select())?;
    range("decode", |engine| engine.decode())?;
    reporter.advance();
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;
    use protocol::{Hello, LoadRequest, Loaded};

    use super::*;

    /// What happened, in one list for engine and marker.
    type Log = std::rc::Rc<std::cell::RefCell<Vec<String>>>;

    struct Logged(Log, bool);

    impl Logged {
        fn say(&self, what: &str) -> Result<()> {
            self.0.borrow_mut().push(what.into());
            Ok(())
        }
    }

    impl Engine for Logged {
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
        fn begin(&mut self, _: &Prompt, generation_length: usize) -> Result<()> {
            self.say(&format!("begin {generation_length}"))
        }
        fn reset(&mut self) -> Result<()> {
            self.say("reset")
        }
        fn prefill(&mut self) -> Result<()> {
            self.say("prefill")
        }
        fn select(&mut self) -> Result<()> {
            self.say("select")
        }
        fn decode(&mut self) -> Result<()> {
            ensure!(self.1, "decode is not possible");
            self.say("decode")
        }
        fn synchronize(&mut self) -> Result<()> {
            self.say("sync")
        }
        fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
            unreachable!()
        }
        fn logits(&mut self) -> Result<Vec<f32>> {
            Ok(vec![0.0; 8])
        }
        fn kv_cache_bytes(&self) -> Option<u64> {
            None
        }
        fn end(&mut self) -> Result<()> {
            self.say("end")
        }
    }

    struct Marks(Log);

    impl Marker for Marks {
        fn start(&mut self) {
            self.0.borrow_mut().push("start".into());
        }
        fn stop(&mut self) {
            self.0.borrow_mut().push("stop".into());
        }
        fn push(&mut self, name: &str) {
            self.0.borrow_mut().push(format!("<{name}"));
        }
        fn pop(&mut self) {
            self.0.borrow_mut().push(">".into());
        }
    }

    fn profiled(generation_length: usize, warmup_runs: u32, decodes: bool) -> (Result<()>, Vec<String>) {
        let log = Log::default();
        let prompt = Prompt { batch_size: 4, length: 2, ids: vec![1; 8] };
        let (mut engine, mut marker) = (Logged(log.clone(), decodes), Marks(log.clone()));
        let (alone, reporter) = (World::alone(), Reporter::silent());
        let result =
            profile(&mut engine, &prompt, generation_length, warmup_runs, &alone, &reporter, &mut marker);
        (result, log.take())
    }

    #[test]
    fn the_marker_is_on_for_one_forward_of_each_kind_after_the_warm_ups() {
        let prefill = ["reset", "prefill", "sync"];
        let decode = ["select", "decode", "sync"];
        let marked = [
            "reset",
            "sync",
            "start",
            "<prefill 4x2",
            "prefill",
            "sync",
            ">",
            "<select 4x2",
            "select",
            "sync",
            ">",
            "<decode 4x2",
            "decode",
            "sync",
            ">",
            "stop",
            "end",
        ];
        let (result, calls) = profiled(256, 2, true);
        result.unwrap();
        let expected = [&["begin 256"][..], &prefill.repeat(3), &decode.repeat(2), &marked].concat();
        assert_eq!(calls, expected);

        // As many decode forwards as there is room for.
        let (_, calls) = profiled(1, 2, true);
        assert_eq!(calls.iter().filter(|call| *call == "decode").count(), 2);
        let (_, calls) = profiled(256, 0, true);
        assert_eq!(calls, [&["begin 256"][..], &prefill, &marked].concat());
    }

    #[test]
    fn a_forward_that_fails_switches_the_profiler_off() {
        let (result, calls) = profiled(256, 0, false);
        assert_eq!(result.unwrap_err().to_string(), "decode is not possible");
        assert_eq!(calls[calls.len() - 3..], ["<decode 4x2", ">", "stop"]);
    }
}
