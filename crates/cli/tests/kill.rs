//! SIGKILL at any moment loses nothing but the cell of the moment.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Place, mock_with_fault, processes_in};

const CELLS: usize = 200;

/// 10 × 20 cells.
fn sweep() -> String {
    let sizes = |count: usize| (1..=count).map(|size| size.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        "models = [\"llama2-15m\"]\nengines = [\"mock\"]\nbatch_sizes = [{}]\nprompt_lengths = [{}]\ngeneration_length = 256\n\
         [procedure]\nwarmup_runs = 1\nprompt_runs = 2\n",
        sizes(10),
        sizes(20)
    )
}

#[test]
fn fifty_kills_lose_no_record_and_leave_no_worker() {
    let place = Place::new();
    place.write("sweep.toml", &sweep());
    let mut random = 12345u64;
    let mut kept = String::new();
    for kill in 0..50 {
        let arguments: &[&str] =
            if kill == 0 { &["run", "sweep.toml", "--out", "run"] } else { &["run", "--resume", "run"] };
        let mut child = place.start(arguments, Stdio::null());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = 1 + (random >> 33) as usize % 6;
        let turns = (random >> 40) % 200_000;
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let seen: Vec<String> = stderr.lines().map_while(Result::ok).take(lines).collect();
        assert!(!seen.is_empty(), "run {kill} said nothing");
        let cell = |line: &String| line.strip_prefix('[')?.split('/').next()?.parse().ok();
        let shown: usize = seen.iter().filter_map(cell).max().unwrap_or(0);
        // Somewhere inside a cell.
        (0..turns).for_each(|turn| {
            std::hint::black_box(turn);
        });
        child.kill().unwrap();
        child.wait().unwrap();
        // What was whole before is there, byte for byte, and so is what was shown.
        let now = std::fs::read_to_string(place.path("run/measurements.jsonl")).unwrap();
        assert!(now.starts_with(&kept), "kill {kill} lost a record");
        kept = now[..now.rfind('\n').map_or(0, |end| end + 1)].to_owned();
        assert!(kept.lines().count() >= shown, "kill {kill} lost a record that was shown");

        let deadline = Instant::now() + Duration::from_secs(10);
        while processes_in(&place) > 0 {
            assert!(Instant::now() < deadline, "a worker outlived kill {kill}");
            std::thread::yield_now();
        }
    }
    place.bench(&["run", "--resume", "run"]).assert().success();
    let records = place.records();
    let cells: BTreeSet<(u32, u32)> =
        records.iter().map(|record| (record.key.batch_size, record.key.prompt_length)).collect();
    assert_eq!((records.len(), cells.len()), (CELLS, CELLS));
}

/// A run of one cell, whose worker starts children and then hangs; killed by `end` when they are there.
fn children_after(end: impl FnOnce(&mut Child)) -> usize {
    let place = Place::new();
    let fault = "kind = \"hang_with_children\", phase = \"prompt\"";
    place.write("sweep.toml", &mock_with_fault(fault));
    let mut child = place.start(&["run", "sweep.toml", "--out", "run"], Stdio::null());
    // The program, the guard, the worker, and its two children.
    let deadline = Instant::now() + Duration::from_secs(60);
    while processes_in(&place) < 5 {
        assert!(Instant::now() < deadline, "the worker has no children");
        std::thread::yield_now();
    }
    end(&mut child);
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while processes_in(&place) > 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    processes_in(&place)
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: the child is not reaped, so its id is its own.
    unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), signal) };
}

#[test]
fn children_of_a_worker_do_not_outlive_the_program_however_it_ends() {
    assert_eq!(children_after(|child| signal(child, libc::SIGKILL)), 0, "after SIGKILL");
    assert_eq!(children_after(|child| signal(child, libc::SIGINT)), 0, "after Ctrl-C");
    assert_eq!(children_after(|child| signal(child, libc::SIGTERM)), 0, "after SIGTERM");
    assert_eq!(children_after(|child| signal(child, libc::SIGABRT)), 0, "after a crash");
    let twice = |child: &mut Child| {
        signal(child, libc::SIGINT);
        signal(child, libc::SIGINT);
    };
    assert_eq!(children_after(twice), 0, "after Ctrl-C twice");
}
