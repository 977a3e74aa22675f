//! Checks a worker against the protocol: asks it everything, and compares what comes with docs/reference/protocol.md.
//!
//! The worker is started, asked, bounded and ended by the code that measures with it. Each check has a line of its own; a worker that
//! fails one is asked the rest, by a fresh process where the old one is gone.

mod answers;
mod examiner;
mod model;
mod rules;

use protocol::{
    Device, GenerateRequest, Generated, Hello, LoadRequest, MeasureRequest, Measured, ModelSource,
    PeaksRequest, Precision, Procedure, Reply, Request,
};

use crate::sweep::setup::why_unusable;
use crate::worker::check::answers::{
    GENERATION_LENGTH, PROCEDURE, ProgressUpdates, check_claims, check_lines, check_tokens,
    check_tokens_sha256, check_warm_up_lines, measure_request, refused,
};
use crate::worker::check::examiner::{CheckResult, Examiner, Needs};
use crate::worker::check::model::TinyModel;
use crate::worker::process::{PLAIN_REPLY, line_of};
use crate::worker::requests::{generate_with, measure_with};
use crate::{EngineCommand, Limits, Model, WorkerEnd, WorkerError, WorkerProcesses, classify};

/// What a worker is checked with.
#[derive(Debug, Clone)]
pub struct CheckSetup {
    /// Where to compute; `None` takes the first device that the worker can use.
    pub device: Option<Device>,
    /// The precision of the model.
    pub precision: Precision,
    /// The model; `None` writes a tiny checkpoint for the time of the check.
    pub model: Option<Model>,
    /// The time of each request, and of hello.
    pub limits: Limits,
}

/// One check of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// The heading in docs/reference/protocol.md that says what a worker must do.
    pub section: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The worker does what the protocol says.
    Ok,
    /// It does not.
    Failed {
        /// What the protocol says.
        expected: String,
        /// What came.
        found: String,
    },
    /// It was not checked; why.
    Skipped(String),
}

/// Why a worker can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It does not start, or can't use the device.
    #[error("{0}")]
    NotStarted(String),
    /// The model can't be written.
    #[error("{0}")]
    Model(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Checks the worker that `command` starts. `tell` hears each check as it ends.
///
/// # Errors
/// Where the worker does not start, or the user asks to stop. What the worker does wrong is a [`Check`].
pub fn check_worker(
    command: &EngineCommand,
    setup: &CheckSetup,
    tell: &mut dyn FnMut(&Check),
) -> Result<Vec<Check>, CheckError> {
    let tiny;
    let model = match &setup.model {
        Some(model) => model,
        None => {
            tiny = TinyModel::write(setup.precision).map_err(CheckError::Model)?;
            &tiny.model
        }
    };
    let mut examiner = Examiner::new(command, setup.limits.clone(), tell);
    let Some(hello) = examiner.greet()? else { return Ok(examiner.checks) };
    let device = usable_device(&hello, setup.device).map_err(CheckError::NotStarted)?;
    let load = LoadRequest {
        model: model.source.clone(),
        device,
        precision: setup.precision,
        threads: None,
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options: command.options.clone(),
    };
    check_start_and_end(&mut examiner, &load)?;
    check_load(&mut examiner, &load, model)?;
    check_refusals(&mut examiner, model)?;
    let generated = check_generate(&mut examiner, model)?;
    check_measure(&mut examiner, &hello, model, generated.as_ref())?;
    check_profile(&mut examiner, model)?;
    check_ranks(&mut examiner, &hello, &load, model)?;
    examiner.end()?;
    Ok(examiner.checks)
}

/// The device to check on, as the hello has it.
fn usable_device(hello: &Hello, wanted: Option<Device>) -> Result<Device, String> {
    let device_of = |text: &str| text.parse::<Device>().map_err(|error| format!("hello: {error}"));
    if let Some(wanted) = wanted {
        let why = why_unusable(wanted, hello);
        return why.map_or(Ok(wanted), |why| Err(format!("{wanted} can't be used: {why}")));
    }
    let Some(first) = hello.devices.first() else { return Ok(Device::Cpu) };
    match hello.devices.iter().find(|entry| entry.unusable.is_none()) {
        Some(usable) => device_of(&usable.device),
        None => Err(format!(
            "no device can be used: {}: {}",
            first.device,
            first.unusable.as_deref().unwrap_or_default()
        )),
    }
}

/// The end of stdin, peaks, and what must be refused before a model is loaded; each asked of a process that has no model.
fn check_start_and_end(examiner: &mut Examiner<'_>, load: &LoadRequest) -> Result<(), CheckError> {
    examiner.check_end_of_input()?;
    let peaks = Request::Peaks(PeaksRequest {
        device: load.device,
        precisions: vec![load.precision.activations(load.device)],
        threads: None,
        sustained_seconds: None,
        options: load.options.clone(),
    });
    examiner.check(&rules::PEAKS, Needs::FreshWorker, &mut |worker| {
        answered(worker.ask(&peaks, PLAIN_REPLY, &mut |_| ()))
    })?;
    let measure = Request::Measure(measure_request(256));
    for (rule, line, answer) in [
        (&rules::MEASURE_FIRST, line_of(&measure), "measured"),
        (&rules::UNKNOWN_REQUEST, b"{\"request\":\"no_such_request\"}\n".to_vec(), "failed"),
        (&rules::BROKEN_JSON, b"{\"request\":\n".to_vec(), "failed"),
    ] {
        examiner.check(rule, Needs::Worker, &mut |worker| refused(worker, line.clone(), answer))?;
    }
    Ok(())
}

fn check_load(examiner: &mut Examiner<'_>, load: &LoadRequest, model: &Model) -> Result<(), CheckError> {
    let no_folder = ModelSource::Checkpoint { dir: "/no-such-folder/llama2-bench".into() };
    let missing = LoadRequest { model: no_folder, ..load.clone() };
    let mut unknown = load.clone();
    unknown.options.insert("no_such_option".into(), true.into());
    for (rule, request) in [(&rules::LOAD_NOTHING, missing), (&rules::LOAD_UNKNOWN_OPTION, unknown)] {
        let line = line_of(&Request::Load(request));
        examiner.check(rule, Needs::Worker, &mut |worker| refused(worker, line.clone(), "loaded"))?;
    }
    let seeded = ModelSource::Seeded { config: model.config.to_json(), seed: 0 };
    let seeded = Request::Load(LoadRequest { model: seeded, ..load.clone() });
    examiner.check(&rules::LOAD_SEEDED, Needs::Worker, &mut |worker| {
        answered(worker.ask(&seeded, PLAIN_REPLY, &mut |_| ()))
    })?;
    examiner.check_loads(Request::Load(load.clone()))
}

/// What a worker with a model must refuse, and go on.
fn check_refusals(examiner: &mut Examiner<'_>, model: &Model) -> Result<(), CheckError> {
    let (vocab_size, context) = (model.config.vocab_size, model.config.max_position_embeddings);
    let prompt = |prompt_ids: Vec<Vec<u32>>| {
        let procedure = Procedure { warmup_runs: 0, prompt_runs: 1, generations: 1, ..Procedure::default() };
        line_of(&Request::Measure(MeasureRequest { prompt_ids, procedure, ..measure_request(vocab_size) }))
    };
    let prompt_ids = vec![vec![1; context]];
    let too_long = GenerateRequest { prompt_ids, max_new_tokens: GENERATION_LENGTH, logits: false };
    const MEASURED: &str = "measured";
    for (rule, line, answer) in [
        (&rules::BEYOND_CONTEXT, prompt(vec![vec![1; context + 1 - GENERATION_LENGTH as usize]]), MEASURED),
        (&rules::GENERATE_BEYOND_CONTEXT, line_of(&Request::Generate(too_long)), "generated"),
        (&rules::BEYOND_VOCABULARY, prompt(vec![vec![1, vocab_size as u32]]), MEASURED),
        (&rules::ROWS_OF_TWO_LENGTHS, prompt(vec![vec![1, 2], vec![1]]), MEASURED),
        (&rules::NO_TOKENS, prompt(vec![Vec::new()]), MEASURED),
    ] {
        examiner.check(rule, Needs::Model, &mut |worker| refused(worker, line.clone(), answer))?;
    }
    Ok(())
}

fn check_generate(examiner: &mut Examiner<'_>, model: &Model) -> Result<Option<Generated>, CheckError> {
    let rows = measure_request(model.config.vocab_size).prompt_ids;
    let mut kept = None;
    examiner.check(&rules::GENERATE, Needs::Model, &mut |worker| {
        kept = Some(generate_with(worker, model, &rows, GENERATION_LENGTH, true)?);
        Ok(CheckResult::Ok)
    })?;
    let verdict = kept.as_ref().map_or(Err("generate failed"), |generated| Ok(check_tokens(generated)));
    examiner.conclude(&rules::TOKENS, verdict);
    Ok(kept)
}

fn check_measure(
    examiner: &mut Examiner<'_>,
    hello: &Hello,
    model: &Model,
    generated: Option<&Generated>,
) -> Result<(), CheckError> {
    let request = measure_request(model.config.vocab_size);
    let mut kept: Option<(Measured, ProgressUpdates)> = None;
    examiner.check(&rules::MEASURE, Needs::Model, &mut |worker| {
        let mut updates = Vec::new();
        let (measured, times) = measure_with(worker, &request, &mut |update| updates.push(update.clone()))?;
        kept = Some((measured, ProgressUpdates { updates, passed: times.passed() }));
        Ok(CheckResult::Ok)
    })?;
    const FAILED: &str = "measure failed";
    let lines = kept.as_ref().map(|(_, lines)| lines);
    examiner.conclude(&rules::PROGRESS, lines.ok_or(FAILED).map(|lines| check_lines(lines, &request)));
    examiner
        .conclude(&rules::WARM_UPS, lines.ok_or(FAILED).map(|lines| check_warm_up_lines(lines, &request)));
    let hashes = match (&kept, generated) {
        (None, _) => Err(FAILED),
        (_, None) => Err("generate failed"),
        (Some((measured, _)), Some(generated)) => Ok(check_tokens_sha256(measured, generated)),
    };
    examiner.conclude(&rules::TOKENS_SHA256, hashes);

    match &kept {
        None => examiner.conclude(&rules::CLAIMED_TIME, Err(FAILED)),
        Some(_) if hello.virtual_clock => {
            examiner.conclude(&rules::CLAIMED_TIME, Err("the worker's hello says virtual_clock"));
        }
        Some(_) => {
            examiner
                .check(&rules::CLAIMED_TIME, Needs::Model, &mut |worker| check_claims(worker, &request))?;
        }
    }
    let procedure = Procedure { until: Some(0.5), min_runs: 2, ..PROCEDURE };
    let until = MeasureRequest { procedure, ..request.clone() };
    examiner.check(&rules::UNTIL, Needs::Model, &mut |worker| {
        measure_with(worker, &until, &mut |_| ()).map(|_| CheckResult::Ok)
    })
}

fn check_profile(examiner: &mut Examiner<'_>, model: &Model) -> Result<(), CheckError> {
    let request = Request::Profile(measure_request(model.config.vocab_size));
    examiner.check(&rules::PROFILE, Needs::Model, &mut |worker| {
        answered(worker.ask(&request, PLAIN_REPLY, &mut |_| ()))
    })
}

/// A cell of one rank of two, and one of two ranks, where the hello says that the worker can do that.
fn check_ranks(
    examiner: &mut Examiner<'_>,
    hello: &Hello,
    load: &LoadRequest,
    model: &Model,
) -> Result<(), CheckError> {
    let ranks = 2;
    let cannot_split = llama::TensorParallel::first_of(&model.config, Some(ranks)).err();
    let cannot_split = cannot_split.as_ref().map(llama::WorldSizeError::why);
    let measure = measure_request(model.config.vocab_size);
    let one_rank = Request::Load(LoadRequest { one_rank_of: Some(ranks), ..load.clone() });
    let all = WorkerProcesses { world_size: ranks, hostfile: None };
    let no_launcher = all.find_launcher().err();
    let why_not = |can: bool| if can { cannot_split } else { Some("its hello does not say that it can") };

    match why_not(hello.one_rank) {
        Some(why) => examiner.conclude(&rules::ONE_RANK, Err(why)),
        None => examiner.check(&rules::ONE_RANK, Needs::FreshWorker, &mut |worker| {
            worker.ask(&one_rank, PLAIN_REPLY, &mut |_| ())?;
            worker.hear_unasked();
            measure_with(worker, &measure, &mut |_| ()).map(|_| CheckResult::Ok)
        })?,
    }
    match why_not(hello.tensor_parallel).or(no_launcher.as_deref()) {
        Some(why) => examiner.conclude(&rules::RANKS, Err(why)),
        None => examiner.check(&rules::RANKS, Needs::Ranks(&all), &mut |worker| {
            worker.ask(&Request::Load(load.clone()), PLAIN_REPLY, &mut |_| ())?;
            worker.hear_unasked();
            let said = worker.hello.ranks.len();
            let (measured, _) = measure_with(worker, &measure, &mut |_| ())?;
            Ok(match [said, measured.ranks.len()] {
                [2, 2] => CheckResult::Ok,
                [said, measured] => CheckResult::Wrong(format!("{said} in hello and {measured} in measured")),
            })
        })?,
    }
    Ok(())
}

/// The verdict on a request that a worker may also answer by `failed`: then it is skipped, with the worker's reason.
fn answered(answer: Result<Reply, WorkerError>) -> Result<CheckResult, WorkerError> {
    match answer {
        Ok(_) => Ok(CheckResult::Ok),
        Err(WorkerError::Evidence(evidence)) if matches!(evidence.end, WorkerEnd::Reported(_)) => {
            Ok(CheckResult::Skipped(format!("the worker answers failed: {}", classify(&evidence).error)))
        }
        Err(error) => Err(error),
    }
}
