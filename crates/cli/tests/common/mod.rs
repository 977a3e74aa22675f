//! Running the program in a folder of its own.

#![allow(dead_code)]

pub(crate) mod checkpoints;
pub(crate) mod mpi;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use assert_cmd::Command;
use protocol::Measurement;
use tempfile::TempDir;

pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program, started in this folder.
    pub(crate) fn bench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("llama2-bench").unwrap();
        command.current_dir(self.0.path()).args(arguments).env("LLAMA2_BENCH_CACHE", self.path("cache"));
        command
    }

    /// The program, running in this folder; its stderr is read from the child.
    pub(crate) fn start(&self, arguments: &[&str], stdout: Stdio) -> Child {
        let mut command = std::process::Command::new(worker("llama2-bench"));
        command.args(arguments).current_dir(self.0.path()).env("LLAMA2_BENCH_CACHE", self.path("cache"));
        command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs `sweep` into `run`; the exit code and stdout.
    #[expect(clippy::print_stderr, reason = "shown where the test fails")]
    pub(crate) fn run(&self, sweep: &str, more: &[&str]) -> (i32, String) {
        self.write("sweep.toml", sweep);
        let mut command = self.bench(&["run", "sweep.toml", "--out", "run"]);
        let output = command.args(more).output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    pub(crate) fn records(&self) -> Vec<Measurement> {
        read_records(&self.path("run"))
    }
}

pub(crate) fn read_records(run: &Path) -> Vec<Measurement> {
    let text = std::fs::read_to_string(run.join("measurements.jsonl")).unwrap();
    text.lines().map(|line| Measurement::from_json(line.as_bytes()).unwrap()).collect()
}

/// One of the workspace's programs.
pub(crate) fn worker(name: &str) -> PathBuf {
    assert_cmd::cargo::cargo_bin(name)
}

/// Bounds the memory that the program, and each process that it starts, can allocate.
pub(crate) fn bound_memory(command: &mut std::process::Command, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    let bounded = move || {
        // SAFETY: the limit is a valid one; nothing is written.
        let done = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(bounded) };
}

/// Processes whose working folder is this place: the program's, its workers', and whatever they started.
pub(crate) fn processes_in(place: &Place) -> usize {
    let dir = place.path("").canonicalize().unwrap();
    let of_place =
        |entry: &std::fs::DirEntry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir);
    std::fs::read_dir("/proc").unwrap().flatten().filter(of_place).count()
}

/// A sweep of the mock engine over 2 × 3 cells.
pub(crate) const MOCK: &str = r#"
models = ["llama2-15m"]
engines = ["mock"]
batch_sizes = [1, 4]
prompt_lengths = [16, 64, 256]
generation_length = 256
order = "table"

[procedure]
warmup_runs = 2
prompt_runs = 5
"#;

/// [`MOCK`] with a fault of the engine.
pub(crate) fn mock_with_fault(fault: &str) -> String {
    format!("{MOCK}\n[options.mock]\nfault = {{ {fault} }}\n")
}
