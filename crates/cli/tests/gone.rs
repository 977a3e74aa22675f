//! What a run stands on is taken away while it goes on: its folder, or its model.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use common::{MOCK, Place, read_records};

/// [`MOCK`] at the pace of its latencies, so that there is time to take something away.
fn slow(model: &str) -> String {
    let sweep = MOCK.replace("llama2-15m", model).replace("generation_length = 256", "generation_length = 8");
    format!("{sweep}\n[options.mock]\nreal_time = true\ntoken_microseconds = 20000\n")
}

/// Runs [`slow`] with `more` arguments; has `take` take something away after the first cell. The exit code and the lines of stderr.
fn run_and(place: &Place, model: &str, more: &[&str], take: impl FnOnce()) -> (i32, Vec<String>) {
    place.write("sweep.toml", &slow(model));
    let arguments = [&["run", "sweep.toml", "--no-peaks"], more].concat();
    let mut child = place.start(&arguments, Stdio::null());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("[1/")));
    let signal = |signal| {
        // SAFETY: the child is not reaped, so its id is its own.
        unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), signal) };
    };
    // However long taking takes, no further cell ends meanwhile.
    signal(libc::SIGSTOP);
    take();
    signal(libc::SIGCONT);
    let rest = lines.collect();
    (child.wait().unwrap().code().unwrap(), rest)
}

fn warnings(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with("warning: ")).collect()
}

#[test]
fn a_folder_that_is_deleted_is_written_anew_and_named() {
    let place = Place::new();
    let (code, lines) = run_and(&place, "llama2-15m", &["--out", "runs/run"], || {
        std::fs::remove_dir_all(place.path("runs")).unwrap();
    });
    assert_eq!(code, 0, "{lines:?}");
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    assert!(warning.starts_with("warning: runs/run: deleted while its run went on: "), "{warning}");
    assert!(warning.ends_with(" in a new folder, runs/run"), "{warning}");
    assert_eq!(read_records(&place.path("runs/run")).len(), 6);
    place.bench(&["run", "--resume", "runs/run", "--no-peaks"]).assert().success();
    assert_eq!(read_records(&place.path("runs/run")).len(), 6);
}

#[test]
fn a_folder_that_is_moved_is_followed_and_named() {
    let place = Place::new();
    let (code, lines) = run_and(&place, "llama2-15m", &["--out", "run"], || {
        std::fs::rename(place.path("run"), place.path("moved")).unwrap();
    });
    assert_eq!(code, 0, "{lines:?}");
    let moved = place.path("moved").canonicalize().unwrap();
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    let expected =
        format!("warning: run: moved while its run went on: its records go to {}", moved.display());
    assert_eq!(warning, expected);
    assert!(lines.last().unwrap().starts_with(&format!("Results: {}; open ", moved.display())), "{lines:?}");
    assert!(!place.path("run").exists());
    assert_eq!(read_records(&moved).len(), 6);
    assert!(moved.join("table.md").exists());
}

#[test]
fn both_sides_of_a_comparison_are_followed() {
    let place = Place::new();
    let against = ["--against-option", "mock.slowdown=1.0", "--replicates", "2", "--out", "ab"];
    let (code, lines) = run_and(&place, "llama2-15m", &against, || {
        std::fs::remove_dir_all(place.path("ab")).unwrap();
    });
    assert!([0, 3].contains(&code), "{lines:?}");
    assert_eq!(warnings(&lines).len(), 2, "{lines:?}");
    for side in ["baseline", "candidate"] {
        assert_eq!(read_records(&place.path("ab").join(side)).len(), 12);
    }
    assert!(place.path("ab/comparison.md").exists());
}

/// A copy of a checkpoint of the fixtures.
fn model(place: &Place) -> PathBuf {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mha");
    let model = place.path("model");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(name), model.join(name)).unwrap();
    }
    model
}

#[test]
fn a_model_that_is_exchanged_ends_the_run_and_keeps_what_was_measured() {
    let place = Place::new();
    let weights = model(&place).join("model.safetensors");
    let own = std::fs::read(&weights).unwrap();
    let mut others = own.clone();
    *others.last_mut().unwrap() ^= 1;
    let sizes = ["--prompt-length", "8,16,24", "--out", "run"];
    let (code, lines) = run_and(&place, "model", &sizes, || std::fs::write(&weights, others).unwrap());
    assert_eq!(code, 2, "{lines:?}");
    let error = lines.last().unwrap();
    assert!(error.starts_with("error: "), "{lines:?}");
    assert!(
        error.ends_with(
            "model: the model's files changed since the run began: restore them and use --resume, or start a new run"
        ),
        "{error}"
    );
    let before = place.records().len();
    assert!((1..6).contains(&before), "{before}");
    // With the other model it is another run; with its own it goes on.
    let resume = ["run", "--resume", "run", "--no-peaks"];
    place.bench(&resume).assert().code(2);
    assert_eq!(place.records().len(), before);
    std::fs::write(&weights, own).unwrap();
    place.bench(&resume).assert().success();
    assert_eq!(place.records().len(), 6);
}

#[test]
fn folders_that_go_together_with_the_model_are_written_anew_before_the_run_ends() {
    let place = Place::new();
    let weights = model(&place).join("model.safetensors");
    let against = [
        "--prompt-length",
        "8,16",
        "--against-option",
        "mock.slowdown=1.0",
        "--replicates",
        "2",
        "--out",
        "ab",
    ];
    let (code, lines) = run_and(&place, "model", &against, || {
        std::fs::remove_dir_all(place.path("ab")).unwrap();
        std::fs::remove_file(weights).unwrap();
    });
    assert_eq!(code, 2, "{lines:?}");
    assert_eq!(warnings(&lines).len(), 2, "{lines:?}");
    let records = |side: &str| read_records(&place.path("ab").join(side)).len();
    assert!(records("baseline") + records("candidate") >= 1);
    assert!(
        lines.iter().any(|line| line.starts_with("stopped: finished cells are kept; continue with ")),
        "{lines:?}"
    );
}
