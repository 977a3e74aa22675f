//! Requests to a worker: identify yourself, load a model, generate, measure, run one cell for a profiler.

use protocol::{
    CellSize, GenerateRequest, Generated, Hello, LoadRequest, Loaded, MeasureRequest, Measured, Phase,
    Progress, Reply, Request,
};

use crate::worker::claimed_time::CellTimes;
use crate::worker::process::PLAIN_REPLY;
use crate::worker::validate::check_series;
use crate::{Engines, Limits, Model, Setup, Sweep, Variant, Worker, WorkerError, WorkerProcesses, classify};

/// More than the longest number in JSON and a comma.
pub(crate) const NUMBER_BYTES: usize = 40;

/// Starts the worker of `engine` only to identify it.
pub fn greet(engines: &Engines, engine: &str, limits: Limits) -> Result<Hello, WorkerError> {
    greet_ranks(engines, engine, limits, &WorkerProcesses::ONE)
}

/// Starts the ranks of `engine`'s worker only to identify them.
pub(crate) fn greet_ranks(
    engines: &Engines,
    engine: &str,
    limits: Limits,
    ranks: &WorkerProcesses,
) -> Result<Hello, WorkerError> {
    let command = engines.get(engine).expect("a known engine");
    let worker = Worker::spawn_ranks(command, Limits { memory_bytes: None, ..limits }, ranks)?;
    let mut hello = worker.hello.clone();
    hello.ranks.iter_mut().for_each(|place| place.process = None);
    // Its end matters only after it has measured something.
    let _ = worker.shutdown();
    Ok(hello)
}

/// Starts the worker of `engine`, loads `model` and generates greedily.
pub fn generate(
    setup: &Setup,
    engines: &Engines,
    model: &Model,
    engine: &str,
    prompt_ids: &[Vec<u32>],
    max_new_tokens: u32,
    logits: bool,
) -> Result<Generated, WorkerError> {
    let (mut worker, _) = load(setup, engines, model, engine, &mut |_| ())?;
    let generated = generate_with(&mut worker, model, prompt_ids, max_new_tokens, logits)?;
    let _ = worker.shutdown();
    Ok(generated)
}

/// Has a worker that has `model` loaded generate greedily.
pub(crate) fn generate_with(
    worker: &mut Worker,
    model: &Model,
    prompt_ids: &[Vec<u32>],
    max_new_tokens: u32,
    logits: bool,
) -> Result<Generated, WorkerError> {
    let numbers = if logits { model.config.vocab_size } else { 1 };
    let rows = prompt_ids.len().saturating_mul(max_new_tokens as usize);
    let longest = PLAIN_REPLY.saturating_add(rows.saturating_mul(numbers).saturating_mul(NUMBER_BYTES));
    let request =
        Request::Generate(GenerateRequest { prompt_ids: prompt_ids.to_vec(), max_new_tokens, logits });
    let checked = match worker.ask(&request, longest, &mut |_| ())? {
        Reply::Generated(generated) => {
            let vocab_size = model.config.vocab_size;
            check_generated(&generated, [prompt_ids.len(), max_new_tokens as usize, vocab_size])
                .map(|()| generated)
        }
        _ => Err("expected generated".into()),
    };
    checked.map_err(|what| worker.protocol_error(Phase::Decode, what))
}

/// Refuses a wrong number of tokens or logits, and tokens outside the vocabulary.
fn check_generated(
    Generated { tokens, logits, .. }: &Generated,
    [rows, new_tokens, vocab_size]: [usize; 3],
) -> Result<(), String> {
    if tokens.len() != rows {
        return Err(format!("expected tokens of {rows} rows, found {}", tokens.len()));
    }
    if let Some(row) = tokens.iter().find(|row| row.len() != new_tokens) {
        return Err(format!("expected {new_tokens} tokens a row, found {}", row.len()));
    }
    if let Some(id) = tokens.iter().flatten().find(|id| **id as usize >= vocab_size) {
        return Err(format!("expected tokens below {vocab_size} (vocab_size), found {id}"));
    }
    let is_step = |step: &Vec<Vec<f32>>| step.len() == rows && step.iter().all(|row| row.len() == vocab_size);
    match logits {
        Some(steps) if steps.len() != new_tokens || !steps.iter().all(is_step) => Err(format!(
            "expected logits of {new_tokens} steps, {rows} rows and {vocab_size} tokens, found others"
        )),
        _ => Ok(()),
    }
}

/// Starts the worker of `engine`, loads the model and runs one forward of each kind of `cell` for a profiler. Returns notes on what a
/// profiler could not see.
pub fn profile(
    variant: &Variant,
    model: &Model,
    engine: &str,
    cell: CellSize,
) -> Result<Vec<String>, WorkerError> {
    let Variant { sweep, engines } = variant;
    let (mut worker, _) = load(&sweep.setup, engines, model, engine, &mut |_| ())?;
    let request = Request::Profile(measure_request(sweep, model, cell));
    match worker.ask(&request, PLAIN_REPLY, &mut |_| ())? {
        Reply::Profiled(profiled) => {
            let _ = worker.shutdown();
            Ok(profiled.notes)
        }
        _ => Err(worker.protocol_error(Phase::Decode, "expected profiled".into())),
    }
}

/// The request to measure or profile a cell of this size.
pub(crate) fn measure_request(sweep: &Sweep, model: &Model, cell: CellSize) -> MeasureRequest {
    let vocab_size = model.config.vocab_size as u32;
    MeasureRequest {
        prompt_ids: llama::prompt::seeded_prompt(
            cell.batch_size,
            cell.prompt_length,
            vocab_size,
            sweep.seed.into(),
        ),
        generation_length: sweep.generation_length,
        procedure: sweep.procedure,
        collectives: sweep.collectives,
    }
}

/// Has a worker that has its model loaded measure a cell. Returns its figures, and when its lines were read. Checks their number, and that
/// they fit each other and the time of the request.
pub(crate) fn measure_with(
    worker: &mut Worker,
    request: &MeasureRequest,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Measured, CellTimes), WorkerError> {
    let procedure = request.procedure;
    let series = u64::from(procedure.generations) * (u64::from(request.generation_length) + 2);
    let figures = series + u64::from(procedure.prompt_runs);
    let longest = PLAIN_REPLY.saturating_add((figures as usize).saturating_mul(NUMBER_BYTES));
    let mut times = CellTimes::start(request);
    let question = Request::Measure(request.clone());
    let (reply, answered) = worker.ask_timed(&question, longest, &mut |update, at| {
        times.on_progress(update, at);
        progress(update);
    })?;
    times.on_answer(answered);
    let passed = (!worker.hello.virtual_clock).then(|| times.passed());
    let checked = match reply {
        Reply::Measured(measured) => check_series(request, measured, passed),
        _ => Err("expected measured".into()),
    };
    match checked {
        Ok(measured) => Ok((measured, times)),
        Err(what) => Err(worker.protocol_error(Phase::Decode, what)),
    }
}

/// Compares the times that a worker claims for each phase with the time that passed. Where that is much longer, the worker measures once more,
/// and `tell` gets the reason. Only what a second measurement confirms is an error.
pub(crate) fn check_claimed_time(
    worker: &mut Worker,
    world_size: u32,
    request: &MeasureRequest,
    (measured, times): (&Measured, &CellTimes),
    tell: &mut dyn FnMut(&str),
) -> Result<(), WorkerError> {
    if worker.hello.virtual_clock {
        return Ok(());
    }
    let doubts = times.unexplained(measured, world_size);
    let Some(doubt) = doubts.first() else { return Ok(()) };
    tell(&doubt.words());
    let (again, times) = measure_with(worker, &times.second_request(request), &mut |_| ())?;
    let confirmed = times.unexplained(&again, world_size).into_iter().find_map(|second| {
        let first = doubts.iter().find(|first| first.phase() == second.phase())?;
        first.is_confirmed_by(&second).then_some((*first, second))
    });
    let Some((first, second)) = confirmed else { return Ok(()) };
    let what = format!(
        "{}; so did a second measurement ({}): the worker's clock or its unit is wrong (docs/reference/protocol.md, \"Claimed time\")",
        first.words(),
        second.seconds_of_each()
    );
    Err(worker.protocol_error(first.phase(), what))
}

/// Starts the worker of `engine` and loads the model.
pub(crate) fn load(
    setup: &Setup,
    engines: &Engines,
    model: &Model,
    engine: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Worker, Loaded), WorkerError> {
    let mut worker = start_worker(setup, engines, engine)?;
    let loaded = load_model(setup, model, engine, &mut worker, progress)?;
    Ok((worker, loaded))
}

/// Starts the worker of `engine` with all its ranks.
pub(crate) fn start_worker(setup: &Setup, engines: &Engines, engine: &str) -> Result<Worker, WorkerError> {
    let command = engines.get(engine).expect("a known engine");
    Worker::spawn_ranks(command, setup.limits(), &setup.processes())
}

/// Has a worker of `engine` load the model.
pub(crate) fn load_model(
    setup: &Setup,
    model: &Model,
    engine: &str,
    worker: &mut Worker,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Loaded, WorkerError> {
    // A worker that does not know these would ignore them.
    setup
        .check_asked(engine, &worker.hello)
        .map_err(|error| worker.protocol_error(Phase::Load, error.to_string()))?;
    let request = Request::Load(LoadRequest {
        model: model.source.clone(),
        device: setup.device,
        precision: model.precision,
        threads: setup.threads,
        memory_limit_bytes: setup.memory_limit,
        device_memory_limit_bytes: setup.device_memory_limit,
        one_rank_of: setup.one_rank_of(),
        options: setup.options_of(engine),
    });
    match worker.ask(&request, PLAIN_REPLY, progress)? {
        Reply::Loaded(loaded) => Ok(loaded),
        _ => Err(worker.protocol_error(Phase::Load, "expected loaded".into())),
    }
}

/// The reason why a worker did not answer, in one line.
pub(crate) fn why(error: &WorkerError) -> String {
    match error {
        WorkerError::Evidence(evidence) => classify(evidence).error,
        WorkerError::Interrupted => "interrupted".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_logits_are_those_that_were_asked_for() {
        let check = |tokens: &[&[u32]], logits: Option<Vec<Vec<Vec<f32>>>>| {
            let tokens = tokens.iter().map(|row| row.to_vec()).collect();
            let generated = Generated { tokens, logits_sha256: String::new(), logits, product_inputs: None };
            check_generated(&generated, [2, 3, 10])
        };
        let logits = |steps: usize, rows: usize, size: usize| Some(vec![vec![vec![0.0; size]; rows]; steps]);
        let tokens: [&[u32]; 2] = [&[0, 1, 9], &[2, 3, 4]];
        assert_eq!(check(&tokens, None), Ok(()));
        assert_eq!(check(&tokens, logits(3, 2, 10)), Ok(()));
        for wrong in [logits(2, 2, 10), logits(3, 1, 10), logits(3, 2, 9)] {
            assert!(
                check(&tokens, wrong)
                    .unwrap_err()
                    .starts_with("expected logits of 3 steps, 2 rows and 10 tokens")
            );
        }
        for (tokens, error) in [
            (&tokens[..1], "expected tokens of 2 rows, found 1"),
            (&[&[0, 1, 9], &[2, 3][..]], "expected 3 tokens a row, found 2"),
            (&[&[0, 1, 9], &[2, 3, 4, 5][..]], "expected 3 tokens a row, found 4"),
            (&[&[0, 1, 9], &[2, 3, 10][..]], "expected tokens below 10 (vocab_size), found 10"),
        ] {
            assert_eq!(check(tokens, None), Err(error.into()));
        }
    }
}
