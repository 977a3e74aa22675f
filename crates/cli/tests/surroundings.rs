//! Full disks, folders that can't be written, files that are none, terminals of every size, clocks that jump.

mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Output, Stdio};

use common::{MOCK, Place, worker};
use predicates::str::{contains, starts_with};

/// `script` with the program as `$0`.
fn shell(place: &Place, script: &str) -> Output {
    Command::new("bash")
        .args(["-c", script])
        .arg(worker("llama2-bench"))
        .current_dir(place.path(""))
        .output()
        .unwrap()
}

fn texts(output: &Output) -> (String, String) {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap()).into()
}

#[test]
fn a_file_that_may_not_grow_keeps_what_is_whole() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let output = shell(&place, "ulimit -f 20; exec $0 run sweep.toml --out run");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let measured = place.records().len();
    assert!((1..6).contains(&measured), "{stderr}");
    assert_eq!(stdout.lines().filter(|line| line.starts_with("| mock")).count(), measured);
    assert!(
        stderr.contains("stopped: finished cells are kept; continue with `llama2-bench run --resume run`")
    );
    assert!(stderr.ends_with("error: run/measurements.jsonl: File too large\n"), "{stderr}");
    place.bench(&["run", "--resume", "run"]).assert().success();
    assert_eq!(place.records().len(), 6);
}

#[test]
fn a_full_disk_keeps_what_is_whole() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    std::fs::create_dir(place.path("full")).unwrap();
    let mount = "mount -t tmpfs -o size=24k full full";
    if !shell(&place, &format!("unshare -rm sh -c '{mount}'")).status.success() {
        eprintln!("skipped: no file system may be mounted here");
        return;
    }
    let script = format!(
        "unshare -rm sh -c '{mount} && {{ $0 run sweep.toml --out full/run; echo $?; cp full/run/measurements.jsonl .; }}' $0"
    );
    let output = shell(&place, &script);
    let (stdout, stderr) = texts(&output);
    assert!(stdout.ends_with("\n2\n"), "{stdout}{stderr}");
    assert!(stderr.contains("full/run/measurements.jsonl: No space left on device\n"), "{stderr}");
    let kept = std::fs::read_to_string(place.path("measurements.jsonl")).unwrap();
    assert!(kept.ends_with("}\n") && kept.lines().count() < 6, "{kept}");
}

#[test]
fn an_unwritable_stdout_is_an_error_and_a_closed_stderr_is_none() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let (_, stderr) = texts(&shell(&place, "$0 table run >/dev/full; test $? = 2"));
    assert_eq!(stderr, "error: writing to stdout: No space left on device\n");
    for script in [
        "$0 run sweep.toml --out a 2>&-",
        "$0 run sweep.toml --out b >&- 2>&- <&-",
        "$0 run sweep.toml --out c </dev/null",
    ] {
        assert!(shell(&place, script).status.success(), "{script}");
    }
    assert_eq!(common::read_records(&place.path("b")).len(), 6);
}

#[test]
fn an_unwritable_folder_is_found_before_anything_is_measured() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    place.write("file", "");
    for (out, error) in [
        ("/proc/run", "error: /proc/run: no such file or folder\n"),
        ("file", "error: file: a file of this name is already there\n"),
        ("file/run", "error: file/run: not a folder\n"),
    ] {
        place.bench(&["run", "sweep.toml", "--out", out]).assert().code(2).stderr(error).stdout("");
    }
}

#[test]
fn files_that_are_none_are_refused_at_once() {
    let place = Place::new();
    place.write("engines.toml", "");
    assert!(shell(&place, "mkfifo pipe.toml && mkdir model && mkfifo model/config.json").status.success());
    place.bench(&["run", "pipe.toml"]).assert().code(2).stderr("error: pipe.toml: not a regular file\n");
    place.bench(&["run", "/dev/zero"]).assert().code(2).stderr("error: /dev/zero: not a regular file\n");
    place
        .bench(&["run", "--engine", "mock", "--model", "./model"])
        .assert()
        .code(2)
        .stderr("error: --model: ./model/config.json: not a regular file\n");
    place.run(MOCK, &[]);
    let script = "rm run/measurements.jsonl && mkfifo run/measurements.jsonl";
    assert!(shell(&place, script).status.success());
    for arguments in [&["table", "run"][..], &["run", "--resume", "run"]] {
        place.bench(arguments).assert().code(2).stderr("error: run/measurements.jsonl: not a regular file\n");
    }
}

/// Runs the program with a terminal of so many columns as stdin, stdout and stderr.
fn in_terminal(place: &Place, columns: u16, arguments: &[&str]) -> (Option<i32>, String) {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 10, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes two descriptors, which are owned from then on.
    let (mut master, slave) = unsafe {
        let null = std::ptr::null_mut();
        let opened = libc::openpty(&raw mut master, &raw mut slave, null, std::ptr::null(), &raw const size);
        assert_eq!(opened, 0);
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    };
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut child = Command::new(worker("llama2-bench"))
        .args(arguments)
        .current_dir(place.path(""))
        .env("TERM", "xterm")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    drop(slave);
    let mut screen = Vec::new();
    // EIO where the last process has closed the terminal.
    let _ = master.read_to_end(&mut screen);
    (child.wait().unwrap().code(), String::from_utf8_lossy(&screen).into_owned())
}

#[test]
fn a_terminal_may_have_any_size() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    for columns in [0, 1, 20, 80, 400] {
        let out = format!("run-{columns}");
        let (code, screen) = in_terminal(&place, columns, &["run", "sweep.toml", "--out", &out]);
        assert_eq!(code, Some(0), "{screen}");
        assert!(screen.contains("256: ms/tok"), "{screen}");
        assert_eq!(common::read_records(&place.path(&out)).len(), 6);
    }
}

#[test]
fn a_clock_that_jumps_gives_no_figure() {
    let place = Place::new();
    let (code, stdout) = place.run(&format!("{MOCK}\n[options.mock]\nclock_jumps = true\n"), &[]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains(
            "FAILED in decode: not a reply of this protocol (latency must be from 1e-9 to 1e9 s, found 0.0)"
        ),
        "{stdout}"
    );
}

#[test]
fn deadlines_of_phases_end_them() {
    for (phase, limits) in [
        ("load", ["--phase-timeout", "load=1"]),
        ("prompt", ["--phase-timeout", "prompt=1"]),
        ("decode", ["--phase-timeout", "decode=1"]),
    ] {
        let place = Place::new();
        let fault = format!("kind = \"hang\", phase = \"{phase}\"");
        let sweep = common::mock_with_fault(&fault).replace("[16, 64, 256]", "[16]").replace("[1, 4]", "[1]");
        let (code, _) = place.run(&sweep, &limits);
        assert_eq!(code, 1);
        let record = &place.records()[0];
        let error = format!("{phase} did not end within 1 s (--phase-timeout {phase}=1)");
        assert_eq!(
            (record.failure_kind(), record.failure().map(|failure| failure.error.as_str())),
            (Some(protocol::FailureKind::TimedOut), Some(error.as_str()))
        );
    }
    let place = Place::new();
    place.bench(&["run", "--phase-timeout", "warmup=1"]).assert().code(2).stderr(starts_with(
        "error: --phase-timeout: expected PHASE=SECONDS, where PHASE is load, prompt or decode, found \"warmup=1\"",
    ));
    place
        .bench(&["run", "--phase-timeout", "load=-1"])
        .assert()
        .code(2)
        .stderr(contains("--phase-timeout load: expected a number of seconds above 0"));
}
