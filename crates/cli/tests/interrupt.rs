//! Ctrl-C.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{MOCK, Place, mock_with_fault};

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let place = Place::new();
    // Deaf to everything but SIGKILL, and an end that takes its time.
    let fault = "kind = \"hang_deaf\", phase = \"goodbye\"";
    place.write("sweep.toml", &mock_with_fault(fault));
    let mut child = place.start(&["run", "sweep.toml", "--out", "run"], Stdio::piped());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("[6/6]")));
    let id = libc::pid_t::try_from(child.id()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // One may come before the other is handled: then they are one.
    let code = loop {
        // SAFETY: the child is not reaped, so its id is its own.
        unsafe { libc::kill(id, libc::SIGINT) };
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!(code, Some(130));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"");
    assert_eq!(place.records().len(), 6);
}

#[test]
fn one_ctrl_c_keeps_what_is_measured_and_says_how_to_go_on() {
    let place = Place::new();
    // The third cell would take hours.
    let sweep = format!(
        "{MOCK}\n[options.mock]\nfault = {{ kind = \"hang\", phase = \"prompt\", min_prompt_length = 256 }}\n"
    );
    place.write("sweep.toml", &sweep);
    let kept = ["--history", "kept", "--revision", "v1"];
    let mut child =
        place.start(&[&["run", "sweep.toml", "--out", "run"][..], &kept].concat(), Stdio::piped());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("[2/6]")));
    // SAFETY: the child is not reaped, so its id is its own.
    unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), libc::SIGINT) };
    let rest: Vec<String> = lines.collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let again = "llama2-bench run --resume run --history kept --revision v1";
    assert_eq!(rest, [format!("interrupted: finished cells are kept; continue with `{again}`")]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| mock")).count(), 2);
    assert_eq!(place.records().len(), 2);
}
