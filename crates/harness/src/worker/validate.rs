//! Checks that a worker's figures can be a measurement of the request.

use std::time::Duration;

use protocol::{DeviceSeconds, Generation, MeasureRequest, Measured};

/// Tolerance between the clocks of two processes, which start at slightly different moments.
const TOLERANCE: f64 = 1.01;

/// The least share of forwards in a generation's wall clock, unless choosing tokens is slow in itself. With the slowest known choice (4 ms
/// per token, `results/llama2-7b-h100`) it was 0.65.
const LEAST_SHARE_OF_FORWARDS: f64 = 0.5;
/// Time in seconds that choosing a token of one row may take, however short the forwards are.
const SLOW_CHOICE: f64 = 1.5e-3;
/// Seconds that may pass beside the forwards of a generation in any case: an engine's thread may have no core.
const WITHOUT_A_CORE: f64 = 0.05;

/// Refuses a wrong number of samples (with `until`, fewer than the fewest or more than the most). Refuses samples that do not fit into the
/// wall clock of their generation or leave most of it, or that add up to more than `passed`, the time between request and answer. `passed` is
/// `None` for a scripted worker, whose times mean nothing.
pub(crate) fn check_series(
    request: &MeasureRequest,
    measured: Measured,
    passed: Option<Duration>,
) -> Result<Measured, String> {
    let Measured { prompt_seconds, generations, .. } = &measured;
    let procedure = &request.procedure;
    let whole = |one: &Generation| one.token_seconds.len() == request.generation_length as usize;
    let is_asked_for =
        |count: usize, most: u32| (procedure.fewest(most) as usize..=most as usize).contains(&count);
    if !is_asked_for(prompt_seconds.len(), procedure.prompt_runs)
        || !is_asked_for(generations.len(), procedure.generations)
        || !generations.iter().all(whole)
    {
        return Err("wrong number of samples".into());
    }
    if let Some(DeviceSeconds { prompt, tokens }) = &measured.device_seconds {
        let lengths = |series: &[Vec<f64>]| series.iter().map(Vec::len).collect::<Vec<_>>();
        let by_host: Vec<_> = generations.iter().map(|one| one.token_seconds.len()).collect();
        if prompt.len() != prompt_seconds.len() || lengths(tokens) != by_host {
            return Err("the device's clock has a different number of samples than the host's".into());
        }
        measured.check_device_clock()?;
    }
    for one in generations {
        let parts = one.prompt_seconds + one.token_seconds.iter().sum::<f64>();
        if parts > one.wall_seconds * TOLERANCE {
            let wall = one.wall_seconds;
            return Err(format!("forwards add up to {parts:.3} s in a generation that lasted {wall:.3} s"));
        }
        let choices = one.token_seconds.len() * request.prompt_ids.len();
        let between = one.wall_seconds - parts;
        let is_long = between > choices as f64 * SLOW_CHOICE + WITHOUT_A_CORE
            && parts < LEAST_SHARE_OF_FORWARDS * one.wall_seconds;
        if passed.is_some() && is_long && choices > 0 {
            return Err(format!(
                "only {parts:.3} s of a generation's {:.3} s are in its forwards: choosing tokens does not take that long (docs/reference/protocol.md, \"Claimed time\")",
                one.wall_seconds
            ));
        }
    }
    let claimed: f64 = prompt_seconds.iter().chain(generations.iter().map(|one| &one.wall_seconds)).sum();
    match passed.map(|passed| passed.as_secs_f64()) {
        Some(passed) if claimed > passed * TOLERANCE => {
            Err(format!("latencies add up to {claimed:.3} s, but the answer came after {passed:.3} s"))
        }
        _ => Ok(measured),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Memory, Procedure};

    use super::*;

    fn request() -> MeasureRequest {
        let procedure = Procedure { warmup_runs: 3, prompt_runs: 2, generations: 1, ..Procedure::default() };
        MeasureRequest { prompt_ids: vec![vec![1]], generation_length: 3, procedure, collectives: false }
    }

    fn measured() -> Measured {
        let generation = Generation { prompt_seconds: 1.0, token_seconds: vec![0.5; 3], wall_seconds: 2.6 };
        Measured {
            prompt_seconds: vec![1.0, 1.0],
            generations: vec![generation],
            device_seconds: None,
            ranks: Vec::new(),
            collectives: None,
            memory: Memory::default(),
            tokens_sha256: String::new(),
        }
    }

    fn check(change: impl Fn(&mut Measured), passed: Option<f64>) -> Result<(), String> {
        let mut measured = measured();
        change(&mut measured);
        check_series(&request(), measured, passed.map(Duration::from_secs_f64)).map(|_| ())
    }

    #[test]
    fn figures_that_can_be_a_measurement_are_believed() {
        assert_eq!(check(|_| (), Some(4.61)), Ok(()));
        assert_eq!(check(|_| (), None), Ok(()));
    }

    #[test]
    fn with_until_fewer_figures_are_believed_down_to_the_fewest() {
        let request = |generations: u32| {
            let procedure = Procedure {
                until: Some(0.005),
                min_runs: 3,
                prompt_runs: 6,
                generations,
                ..request().procedure
            };
            MeasureRequest { procedure, ..request() }
        };
        let check = |most: u32, prefills: usize, generations: usize| {
            let one = measured().generations.remove(0);
            let measured = Measured {
                prompt_seconds: vec![1.0; prefills],
                generations: vec![one; generations],
                ..measured()
            };
            check_series(&request(most), measured, None).is_ok()
        };
        assert!(check(6, 3, 3) && check(6, 6, 6) && check(6, 4, 5) && check(1, 3, 1));
        assert!(!check(6, 2, 3) && !check(6, 7, 3) && !check(6, 3, 2) && !check(6, 3, 7));
        assert!(!check(1, 3, 0) && !check(1, 3, 2));
    }

    #[test]
    fn choosing_tokens_may_be_slow_but_not_most_of_a_long_generation() {
        let check = |token: f64, wall: f64, rows: usize, passed: Option<f64>| {
            let one = Generation { prompt_seconds: token, token_seconds: vec![token; 3], wall_seconds: wall };
            let measured = Measured { prompt_seconds: vec![token; 2], generations: vec![one], ..measured() };
            let request = MeasureRequest { prompt_ids: vec![vec![1]; rows], ..request() };
            check_series(&request, measured, passed.map(Duration::from_secs_f64)).map(|_| ())
        };
        // 4 ms a token between forwards of 8 ms, of 4 ms with a little overhead, and 1.4 ms between forwards of 0.1 ms.
        assert_eq!(check(8e-3, 44e-3, 1, Some(1.0)), Ok(()));
        assert_eq!(check(4e-3, 31.9e-3, 1, Some(1.0)), Ok(()));
        assert_eq!(check(1e-4, 4.6e-3, 1, Some(1.0)), Ok(()));
        // A thread had no core for 22 ms.
        assert_eq!(check(2.5e-3, 32e-3, 1, Some(1.0)), Ok(()));
        // Decode forwards of 20 ms of which 2 ms are told.
        let error = check(2e-3, 80.5e-3, 1, Some(1.0)).unwrap_err();
        assert!(error.starts_with("only 0.008 s of a generation's 0.081 s are in its forwards"), "{error}");
        // Of so many rows, choosing may take that; scripted latencies need not add up.
        assert_eq!(check(2e-3, 80.5e-3, 6, Some(1.0)), Ok(()));
        assert_eq!(check(2e-3, 80.5e-3, 1, None), Ok(()));
    }

    #[test]
    fn others_are_not() {
        let count = Err("wrong number of samples".to_owned());
        assert_eq!(check(|m| m.prompt_seconds = vec![1.0], None), count);
        assert_eq!(check(|m| m.generations.clear(), None), count);
        assert_eq!(check(|m| m.generations[0].token_seconds.push(0.1), None), count);
        assert_eq!(
            check(|m| m.generations[0].wall_seconds = 2.4, None),
            Err("forwards add up to 2.500 s in a generation that lasted 2.400 s".into())
        );
        let on_device = |prompt: &[f64], tokens: &[f64]| {
            let (prompt, tokens) = (prompt.to_vec(), vec![tokens.to_vec()]);
            check(
                |m| m.device_seconds = Some(DeviceSeconds { prompt: prompt.clone(), tokens: tokens.clone() }),
                None,
            )
        };
        assert_eq!(on_device(&[0.9; 2], &[0.4; 3]), Ok(()));
        assert_eq!(
            on_device(&[0.9; 2], &[500.0; 3]),
            Err("decode forwards: 1500.000 s by the device's clock, and 1.500 s by the host's, which waits for them".into())
        );
        assert!(
            on_device(&[0.9], &[0.4; 3])
                .unwrap_err()
                .starts_with("the device's clock has a different number")
        );
        // Milliseconds where seconds should be.
        assert_eq!(
            check(|m| m.prompt_seconds = vec![1000.0, 1000.0], Some(4.7)),
            Err("latencies add up to 2002.600 s, but the answer came after 4.700 s".into())
        );
    }
}
