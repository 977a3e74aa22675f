//! A rank that dies, fails or hangs, in every phase: the cell's outcome with the rank's name, nothing left, and the next cell
//! runs. Where mpirun is installed.

mod common;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Place, mpi, processes_in, worker};
use protocol::{FailureKind, Measurement};

const KINDS: [&str; 8] =
    ["kill", "segfault", "allocation", "out_of_memory", "error", "exit", "exit_zero", "hang_deaf"];
const MOMENTS: [&str; 4] = ["hello", "load", "prompt", "decode"];

/// Three cells; the fault is in the second alone, except at hello and in load, which are of all that are loaded anew.
fn sweep(fault: &str) -> String {
    format!(
        "models = [\"llama2-15m\"]\nengines = [\"faulty\"]\nbatch_sizes = [1]\nprompt_lengths = [16, 64, 32]\norder = \"table\"\nworld_size = 2\n\
         generation_length = 2\ntimeout_seconds = 8\n[procedure]\nwarmup_runs = 1\nprompt_runs = 1\n{fault}"
    )
}

/// Folders in memory that runs of this test's process have left.
fn left_in_memory(pid: u32) -> Vec<PathBuf> {
    let name = format!("llama2-bench-{pid}-");
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(&name)).collect()
}

/// What became of the three cells, in a line; afterwards nothing of the run is left.
fn end_of(kind: &str, moment: &str, rank: usize) -> String {
    let place = Place::new();
    let mock = worker("llama2-bench-mock");
    let mock = mock.display();
    // The first two starts are the harness's greetings, of one process and of both ranks.
    let command = match moment {
        "hello" => format!(
            "[\"sh\", \"-c\", \"test -z \\\"$LLAMA2_BENCH_WORLD_SIZE\\\" && exec {mock}; test -e met.$OMPI_COMM_WORLD_RANK && exec \
             {mock} --fault-at-hello {kind} --rank {rank}; touch met.$OMPI_COMM_WORLD_RANK; exec {mock}\"]"
        ),
        _ => format!("[\"{mock}\"]"),
    };
    place.write("engines.toml", &format!("[faulty]\ncommand = {command}\n"));
    let fault = match moment {
        "hello" => String::new(),
        _ => format!(
            "[options.faulty]\nfault = {{ kind = \"{kind}\", phase = \"{moment}\", rank = {rank}, min_prompt_length = {} }}\n",
            if moment == "load" { 0 } else { 64 }
        ),
    };
    place.write("sweep.toml", &sweep(&fault));
    let arguments =
        ["run", "sweep.toml", "--out", "run", "--engines-file", "engines.toml", "--no-verify", "--no-peaks"];
    let child = place.start(&arguments, Stdio::null());
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let name = format!("{kind} at {moment} of rank {rank}");
    assert_eq!(processes_in(&place), 0, "{name} left a process");
    assert_eq!(left_in_memory(pid), Vec::<PathBuf>::new(), "{name}");
    let records = place.records();
    assert_eq!(records.len(), 3, "{name}: {stderr}");
    if !["hello", "load"].contains(&moment) {
        assert_eq!(records[0].failure_kind(), None, "{name}: {stderr}");
        assert_eq!(records[2].failure_kind(), None, "the cell after {name}: {stderr}");
    }
    format!("{kind:15}{moment:8}{rank}  {}", describe(&records[1]))
}

fn describe(record: &Measurement) -> String {
    let phase = record.failure().and_then(|failure| failure.phase);
    let phase = phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
    let error = record.failure().map(|failure| format!(": {}", failure.error)).unwrap_or_default();
    format!("{}{phase}{error}", record.outcome_word())
}

#[test]
fn the_end_of_a_rank_in_every_phase_affects_only_its_cell() {
    if !mpi::is_there() {
        return;
    }
    let cases: Vec<(&str, &str, usize)> = KINDS
        .iter()
        .flat_map(|kind| MOMENTS.iter().flat_map(move |moment| [0, 1].map(|rank| (*kind, *moment, rank))))
        .collect();
    let next = AtomicUsize::new(0);
    let ends = std::sync::Mutex::new(vec![String::new(); cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((kind, moment, rank)) = cases.get(index) else { return };
                    let end = end_of(kind, moment, *rank);
                    ends.lock().unwrap()[index] = end;
                }
            });
        }
    });
    insta::assert_snapshot!(ends.into_inner().unwrap().join("\n"));
}

/// The process in `place` that is this rank, once it has computed for so many ticks.
fn busy_rank(place: &Place, rank: usize, ticks: u64) -> libc::pid_t {
    let dir = place.path("").canonicalize().unwrap();
    let marker = format!("OMPI_COMM_WORLD_RANK={rank}");
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let is_here = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir);
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let user = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(11)?.parse().ok());
            let is_rank = read("environ").split(|&byte| byte == 0).any(|word| word == marker.as_bytes());
            if is_here && is_rank && user.is_some_and(|user: u64| user >= ticks) {
                return entry.file_name().to_string_lossy().parse().unwrap();
            }
        }
        assert!(Instant::now() < deadline, "no rank {rank} that computes");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_or_stopped_rank_of_a_real_engine_is_named_and_the_next_cell_runs() {
    if !mpi::is_there() {
        return;
    }
    for (signal, outcome, error) in [
        (libc::SIGKILL, Some(FailureKind::Crashed), "rank 1: ended by SIGKILL"),
        (
            libc::SIGSTOP,
            Some(FailureKind::TimedOut),
            "no answer within 30 s (timeout_seconds = 30): rank 1 does not respond",
        ),
    ] {
        let place = Place::new();
        let sweep = "models = [\"llama2-15m\"]\nengines = [\"pytorch-eager\"]\nbatch_sizes = [16]\nprompt_lengths = [1024, 4]\norder = \"table\"\n\
             generation_length = 4\nworld_size = 2\nthreads = 1\ntimeout_seconds = 30\n\
             [procedure]\nwarmup_runs = 1\nprompt_runs = 10\n";
        place.write("sweep.toml", sweep);
        let arguments = ["run", "sweep.toml", "--out", "run", "--no-verify", "--no-peaks"];
        let child = place.start(&arguments, Stdio::null());
        // SAFETY: a process of this test's run.
        unsafe { libc::kill(busy_rank(&place, 1, 300), signal) };
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let records = place.records();
        let first = (records[0].failure_kind(), records[0].failure().map(|failure| failure.error.as_str()));
        assert_eq!(first, (outcome, Some(error)), "{stderr}");
        assert_eq!(records[1].failure_kind(), None, "{stderr}");
        assert_eq!(records[1].series().unwrap().ranks.len(), 2);
        assert!(
            records[1].series().unwrap().ranks.iter().all(|memory| memory.peak_bytes > Some(1 << 20)),
            "{records:?}"
        );
        assert_eq!((processes_in(&place), left_in_memory(pid)), (0, Vec::new()));
    }
}

#[test]
fn without_mpirun_the_error_names_the_package() {
    let place = Place::new();
    place.write("sweep.toml", &sweep("").replace("faulty", "mock"));
    let empty = place.path("");
    let assert = place.bench(&["run", "sweep.toml"]).env("PATH", &empty).assert().code(2);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(
        stderr,
        "error: sweep.toml:6: world_size: world_size 2 needs mpirun, which is not on the PATH: install Open MPI (Debian: \
         apt-get install openmpi-bin) or MPICH (apt-get install mpich), the one that llama2-bench was built with\n"
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn an_engine_without_ranks_is_refused_before_anything_is_loaded() {
    let place = Place::new();
    place.write("sweep.toml", &sweep("").replace("faulty", "reference"));
    let stderr = |arguments: &[&str]| {
        let assert = place.bench(arguments).assert().code(2);
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    assert_eq!(
        stderr(&["run", "sweep.toml"]),
        "error: sweep.toml:6: world_size: reference has no tensor parallelism: it always is one process\n"
    );
    assert_eq!(
        stderr(&["run", "sweep.toml", "--engine", "mock", "--world-size", "4"]),
        "error: --world-size: llama2-15m: num_key_value_heads (6) can't be split evenly: this model can have 1, 2, 3, 6\n"
    );
    assert_eq!(
        stderr(&["run", "sweep.toml", "--engine", "mock", "--hostfile", "hosts"]),
        "error: --hostfile: hosts: no such file or folder\n"
    );
}
