//! A worker whose figures do not account for the time that passed between its lines is FAILED; a slow warm-up is not.

mod common;

use common::Place;
use protocol::{FailureKind, Phase};

/// Sleeps where an engine computes, and says only that a phase begins. Its arguments: what it multiplies the latencies of prefills and of
/// generations with, and the seconds that it needs before its warm-ups.
const WORKER: &str = r#"
import json, sys, time
prefills, generations, beforehand = map(float, sys.argv[1:])
def say(**reply): print(json.dumps(reply), flush=True)
def timed(seconds):
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start
def phase(name): say(reply="progress", phase=name, done=0, of=0, last_seconds=None)
def generation(length):
    start = time.perf_counter()
    prompt = timed(0.005)
    tokens = [timed(0.002) for _ in range(length)]
    wall = time.perf_counter() - start
    return {"prompt_seconds": prompt * generations, "token_seconds": [token * generations for token in tokens],
            "wall_seconds": wall * generations}
say(reply="hello", protocol=1, engine="sleeper", libraries=[], devices=[])
for line in sys.stdin:
    request = json.loads(line)
    if request["request"] == "load": say(reply="loaded", weights_bytes=1)
    elif request["request"] == "shutdown": break
    else:
        procedure, length = request["procedure"], request["generation_length"]
        warmups = procedure["warmup_runs"]
        phase("prompt")
        time.sleep(beforehand)
        prompts = [timed(0.005) * prefills for _ in range(warmups + procedure["prompt_runs"])][warmups:]
        phase("decode")
        generation(min(warmups, length))
        each = [generation(length) for _ in range(procedure["generations"])]
        say(reply="measured", prompt_seconds=prompts, generations=each, memory={}, tokens_sha256="0" * 64)
"#;

const SWEEP: &str = r#"
models = ["llama2-15m"]
engines = ["sleeper"]
batch_sizes = 1
prompt_lengths = 16
generation_length = 64
[procedure]
warmup_runs = 2
prompt_runs = 20
"#;

/// How the cell of [`WORKER`] with these arguments ends (`None`: measured), and what was said on stderr.
fn end(arguments: [&str; 3]) -> (Option<(FailureKind, Option<Phase>, String)>, String) {
    let place = Place::new();
    place.write("worker.py", WORKER);
    let command: Vec<_> = ["python3", "./worker.py"].into_iter().chain(arguments).collect();
    place.write("engines.toml", &format!("[sleeper]\ncommand = {command:?}\n"));
    place.write("sweep.toml", SWEEP);
    let run =
        ["run", "sweep.toml", "--out", "run", "--no-verify", "--no-peaks", "--engines-file", "engines.toml"];
    let output = place.bench(&run).output().unwrap();
    let record = place.records().remove(0);
    let failure = record.failure().map(|failure| (failure.kind, failure.phase, failure.error.clone()));
    assert_eq!(output.status.code(), Some(i32::from(failure.is_some())));
    (failure, String::from_utf8(output.stderr).unwrap())
}

/// The outcome of the check of [`WORKER`]'s claims with these arguments.
fn outcome_of_check(arguments: [&str; 3]) -> String {
    let place = Place::new();
    place.write("worker.py", WORKER);
    let check = ["check-worker", "--format", "json", "python3", "worker.py"];
    let output = place.bench(&check).args(arguments).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = "accounts for the time that passes";
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap();
    check["outcome"].as_str().unwrap().to_owned()
}

/// The time before the warm-ups is several times that of all forwards of a short request.
#[test]
fn a_check_finds_false_claims_behind_time_that_passes_beside_the_forwards() {
    assert_eq!(outcome_of_check(["0.1", "0.1", "0.25"]), "failed");
    assert_eq!(outcome_of_check(["1", "1", "0.25"]), "ok");
}

#[test]
fn a_worker_that_claims_a_tenth_of_its_time_is_failed() {
    for (arguments, expected) in [
        (["1", "0.1", "0"], Phase::Decode),
        (["0.1", "1", "0"], Phase::Prompt),
        (["0.1", "0.1", "0"], Phase::Decode),
    ] {
        let (kind, phase, error) = end(arguments).0.unwrap();
        assert_eq!((kind, phase), (FailureKind::Failed, Some(expected)), "{error}");
        let start = "the worker's figures account for ";
        assert!(
            error.starts_with(start) && error.contains(&format!(" s of {expected}, which lasted ")),
            "{error}"
        );
        assert!(error.contains("the worker's clock or its unit is wrong"), "{error}");
    }
}

#[test]
fn an_honest_worker_is_believed_however_long_it_takes_before_its_warm_ups() {
    assert_eq!(end(["1", "1", "0"]).0, None);
    let (failure, stderr) = end(["1", "1", "0.25"]);
    assert_eq!(failure, None);
    // It could not be told from a wrong clock at first.
    assert!(stderr.contains("measuring once more with a different number of forwards"), "{stderr}");
}
