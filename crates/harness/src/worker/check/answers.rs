//! What is asked, and whether the answers are right.

use std::time::Duration;

use protocol::{Generated, MeasureRequest, Measured, Phase, Procedure, Progress};

use crate::worker::check::examiner::CheckResult;
use crate::worker::process::{PLAIN_REPLY, name};
use crate::worker::requests::{check_claimed_time, measure_with};
use crate::{Worker, WorkerEnd, WorkerError};

/// Decode forwards of a generation.
pub(super) const GENERATION_LENGTH: u32 = 8;
pub(super) const PROCEDURE: Procedure =
    Procedure { warmup_runs: 2, prompt_runs: 5, generations: 2, until: None, min_runs: 0 };

const BATCH_SIZE: u32 = 2;
const PROMPT_LENGTH: u32 = 8;
/// How long the forwards of each phase should take where the time that passes is compared with the latencies.
const CLAIMED_SECONDS: f64 = 0.25;
/// A phase of more runs is not repeated with more.
const MOST_RUNS: u32 = 2000;

/// A worker may say more than this each second only where a phase or its warm-ups begin or end.
const LINES_A_SECOND: f64 = 10.0;
const LINES_IN_ANY_CASE: f64 = 8.0;

/// A small cell.
pub(super) fn measure_request(vocab_size: usize) -> MeasureRequest {
    MeasureRequest {
        prompt_ids: llama::prompt::seeded_prompt(BATCH_SIZE, PROMPT_LENGTH, vocab_size as u32, 0),
        generation_length: GENERATION_LENGTH,
        procedure: PROCEDURE,
        collectives: false,
    }
}

/// Measures with ever more forwards until those of both phases last long enough to be timed from outside, then compares the time that passes
/// with the latencies. A phase may take long beside its forwards: what counts is how much longer than with the fewest it lasts.
pub(super) fn check_claims(
    worker: &mut Worker,
    request: &MeasureRequest,
) -> Result<CheckResult, WorkerError> {
    let with = |procedure| MeasureRequest { procedure, ..request.clone() };
    let fewest = Procedure { prompt_runs: 1, generations: 1, ..PROCEDURE };
    let fewest = MeasureRequest { generation_length: 2, ..with(fewest) };
    let (measured, times) = measure_with(worker, &fewest, &mut |_| ())?;
    let least = times.phase_seconds(&measured);
    let mut procedure = PROCEDURE;
    loop {
        worker.hear_unasked();
        let request = with(procedure);
        let (measured, times) = measure_with(worker, &request, &mut |_| ())?;
        let seconds = times.phase_seconds(&measured);
        // How many times as many runs would do.
        let factor =
            |phase: usize| least[phase].max(CLAIMED_SECONDS) / (seconds[phase] - least[phase]).max(1e-9);
        match [factor(0), factor(1)] {
            [..=1.0, ..=1.0] => {
                return check_claimed_time(worker, 1, &request, (&measured, &times), &mut |_| ())
                    .map(|()| CheckResult::Ok);
            }
            _ if procedure.prompt_runs.max(procedure.generations) > MOST_RUNS => {
                return Ok(CheckResult::Skipped(
                    "its forwards are too short to be timed from outside".into(),
                ));
            }
            [prompt, decode] => {
                let more = |runs: u32, factor: f64| match factor {
                    ..=1.0 => runs,
                    _ => (f64::from(runs) * (1.2 * factor).min(4.0)).ceil() as u32,
                };
                procedure.prompt_runs = more(procedure.prompt_runs, prompt);
                procedure.generations = more(procedure.generations, decode);
            }
        }
    }
}

/// Asks what must be refused; `answer` is the reply to such a request if it is not.
pub(super) fn refused(worker: &mut Worker, line: Vec<u8>, answer: &str) -> Result<CheckResult, WorkerError> {
    let mut said = None;
    let mut progress = |update: &Progress, _| said = Some(update.phase);
    let answer = worker.ask_line(line, answer, Phase::Load, PLAIN_REPLY, &mut progress);
    match answer {
        Ok((reply, _)) => Ok(CheckResult::Wrong(format!("the answer {}", name(&reply)))),
        Err(WorkerError::Evidence(evidence)) if matches!(evidence.end, WorkerEnd::Reported(_)) => {
            Ok(match said.filter(|said| *said != evidence.phase) {
                Some(said) => CheckResult::Wrong(format!(
                    "failed in phase {}, after progress in phase {said}",
                    evidence.phase
                )),
                None => CheckResult::Ok,
            })
        }
        Err(error) => Err(error),
    }
}

/// Checks that each token is its logits' most probable one, and the logits' hash.
pub(super) fn check_tokens(generated: &Generated) -> CheckResult {
    let Some(logits) = &generated.logits else {
        return CheckResult::Wrong("no logits, though the request says \"logits\":true".into());
    };
    for (step, rows) in logits.iter().enumerate() {
        for (row, logits) in rows.iter().enumerate() {
            let token = generated.tokens[row][step] as usize;
            let best = most_probable(logits);
            if token != best {
                return CheckResult::Wrong(format!(
                    "token {token} in step {step} of row {row}, where token {best} is the most probable"
                ));
            }
        }
    }
    let bytes: Vec<u8> = logits.iter().flatten().flatten().flat_map(|logit| logit.to_le_bytes()).collect();
    check_hash("logits_sha256", &generated.logits_sha256, &bytes)
}

/// The lowest index among equals.
fn most_probable(logits: &[f32]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (0..logits.len()).reduce(better).unwrap_or_default()
}

/// Checks the hash of a measured generation, which chooses the tokens that `generated` has.
pub(super) fn check_tokens_sha256(measured: &Measured, generated: &Generated) -> CheckResult {
    let bytes: Vec<u8> = generated.tokens.iter().flatten().flat_map(|token| token.to_le_bytes()).collect();
    check_hash("tokens_sha256", &measured.tokens_sha256, &bytes)
}

fn check_hash(what: &str, found: &str, bytes: &[u8]) -> CheckResult {
    let hash = llama::sha256_hex(bytes);
    if found == hash {
        CheckResult::Ok
    } else {
        CheckResult::Wrong(format!("{what} \"{found}\", where the hash is {hash}"))
    }
}

/// What a worker said while it measured, and for how long it did.
pub(super) struct ProgressUpdates {
    pub(super) updates: Vec<Progress>,
    pub(super) passed: Duration,
}

/// Checks that a worker says which phase begins, counts up in it, and says no more than it should.
pub(super) fn check_lines(lines: &ProgressUpdates, request: &MeasureRequest) -> CheckResult {
    let ProgressUpdates { updates, passed } = lines;
    let mut phases: Vec<Phase> = updates.iter().map(|update| update.phase).collect();
    phases.dedup();
    if phases != [Phase::Prompt, Phase::Decode] {
        let words: Vec<String> = phases.iter().map(Phase::to_string).collect();
        let said = if words.is_empty() { "no progress".into() } else { words.join(", then ") };
        return CheckResult::Wrong(format!("{said}, where phases prompt and decode begin"));
    }
    for update in updates {
        let Progress { phase, done, of, .. } = update;
        let most = forwards(*phase, request);
        if *of != 0 && *of != most {
            return CheckResult::Wrong(format!("\"of\":{of} in phase {phase}, which has {most} forwards"));
        }
        if *done > most {
            return CheckResult::Wrong(format!(
                "\"done\":{done} in phase {phase}, which has {most} forwards"
            ));
        }
    }
    if let Some(pair) =
        updates.windows(2).find(|pair| pair[0].phase == pair[1].phase && pair[0].done > pair[1].done)
    {
        let [before, after] = [&pair[0], &pair[1]];
        return CheckResult::Wrong(format!(
            "\"done\":{} after \"done\":{} in phase {}",
            after.done, before.done, after.phase
        ));
    }
    let most = LINES_IN_ANY_CASE + LINES_A_SECOND * passed.as_secs_f64();
    if updates.len() as f64 > most {
        return CheckResult::Wrong(format!("{} lines in {:.3} s", updates.len(), passed.as_secs_f64()));
    }
    CheckResult::Ok
}

/// Checks that a worker says where its warm-ups end; one that does not is only measured twice.
pub(super) fn check_warm_up_lines(lines: &ProgressUpdates, request: &MeasureRequest) -> CheckResult {
    let says = |phase: Phase| {
        let warm_ups = warm_ups(phase, request);
        lines.updates.iter().any(|update| update.phase == phase && update.done == warm_ups)
    };
    match [Phase::Prompt, Phase::Decode].into_iter().find(|phase| !says(*phase)) {
        Some(phase) => CheckResult::Skipped(format!(
            "no line with \"done\":{} in phase {phase}: a run may measure its cells twice",
            warm_ups(phase, request)
        )),
        None => CheckResult::Ok,
    }
}

fn warm_ups(phase: Phase, request: &MeasureRequest) -> u32 {
    let warmup_runs = request.procedure.warmup_runs;
    match phase {
        Phase::Decode => 1 + warmup_runs.min(request.generation_length),
        _ => warmup_runs,
    }
}

fn forwards(phase: Phase, request: &MeasureRequest) -> u32 {
    let Procedure { prompt_runs, generations, .. } = request.procedure;
    let timed = match phase {
        Phase::Decode => generations * (1 + request.generation_length),
        _ => prompt_runs,
    };
    warm_ups(phase, request) + timed
}
