//! A GPU's condition while it is measured: throttling, pauses and locked clocks; and profiling. The GPU is a scripted one.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Place, worker};
use protocol::LockedClock;

/// One cell of the mock engine, which says that it can use a GPU.
const SWEEP: &str = r#"
models = ["llama2-15m"]
engines = ["mock"]
batch_sizes = [1]
prompt_lengths = [16]
generation_length = 4
device = "cuda"
cool_down_seconds = 0.001

[procedure]
warmup_runs = 1
prompt_runs = 2
"#;

const BASE: &str = "lock ffffff01 ffffff01";
const BY_KEEPER: &str = "reset by the keeper";

struct Machine(Place);

impl Machine {
    /// A folder with NVIDIA's libraries of a scripted GPU, an engine for it and a sweep.
    fn new(sweep: &str) -> Self {
        let place = Place::new();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/fake_nvidia.c");
        let library = place.path("libnvidia-ml.so.1");
        // Rust links with it, too.
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success());
        std::fs::copy(&library, place.path("libcuda.so.1")).unwrap();
        place.write("sweep.toml", sweep);
        let mock = worker("llama2-bench-mock");
        let script = format!("'{}' | sed -u 's/\"device\":\"cpu\"/\"device\":\"cuda\"/'\n", mock.display());
        place.write("worker.sh", &script);
        place.write("engines.toml", "[mock]\ncommand = [\"sh\", \"worker.sh\"]\n");
        Self(place)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(worker("llama2-bench"));
        command
            .arg("run")
            .args(["sweep.toml", "--engines-file", "engines.toml"])
            .args(arguments)
            .current_dir(self.0.path(""))
            .env("LD_LIBRARY_PATH", self.0.path(""))
            .env("FAKE_NVIDIA_LOG", self.log_file())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[expect(clippy::print_stderr, reason = "shown where the test fails")]
    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.args(["--out", "run", "--no-peaks"]).envs(environment.iter().copied());
        let output = command.output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn log_file(&self) -> PathBuf {
        self.0.path("log")
    }

    /// What the GPU was told.
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the GPU was told this.
    fn wait_for(&self, lines: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.log() != lines {
            assert!(Instant::now() < deadline, "{:?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Processes in this folder that were started with this argument, or all.
    fn processes(&self, argument: Option<&str>) -> Vec<libc::pid_t> {
        let dir = self.0.path("").canonicalize().unwrap();
        let is_one = |entry: &std::fs::DirEntry| {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let has =
                |argument: &str| command.split(|byte| *byte == 0).any(|word| word == argument.as_bytes());
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir)
                && argument.is_none_or(has)
        };
        let found = std::fs::read_dir("/proc").unwrap().flatten().filter(is_one);
        found.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// A run of a cell that never ends, with locked clocks.
    fn hanging(&self) -> Child {
        let child = self.command(&["--lock-gpu-clocks", "base", "--no-peaks"]).spawn().unwrap();
        self.wait_for(&[BASE]);
        let deadline = Instant::now() + Duration::from_secs(60);
        // A guard that was started, and not the one that heard the worker out before: the folder is there.
        while !self.0.path("runs").exists() || self.processes(Some("__guard")).is_empty() {
            assert!(Instant::now() < deadline, "no cell began");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }
}

fn hang() -> String {
    format!("{SWEEP}\n[options.mock]\nfault = {{ kind = \"hang\", phase = \"decode\" }}\n")
}

fn signal(process: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a plain call.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn texts(output: &Output) -> (String, String) {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap()).into()
}

#[test]
fn a_cell_whose_gpu_throttled_is_measured_again() {
    let machine = Machine::new(SWEEP);
    let output = machine.run(&[], &[("FAKE_NVIDIA_THROTTLED", "1")]);
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success());
    let told = "llama2-15m mock 1×16: the GPU throttled (temperature (hardware) (";
    let told: Vec<&str> = stderr.lines().filter(|line| line.starts_with(told)).collect();
    assert_eq!(told.len(), 1, "{stderr}");
    assert!(told[0].ends_with("% of the time)): measuring the cell again, attempt 2 of 3"), "{stderr}");
    let [record] = &machine.0.records()[..] else { panic!("one record a cell") };
    let gpu = record.gpu.as_ref().unwrap();
    assert_eq!((gpu.throttled_tries, gpu.unusual_throttling().count()), (1, 0));
    assert!(record.measured().unwrap().load_seconds.is_some(), "the first try loaded the model");
    assert!(stdout.contains(
        "1×16: mock: measured again: the GPU throttled in 1 earlier attempt, and not because of its power limit"
    ));
    assert!(!stdout.contains("held down"), "{stdout}");
}

#[test]
fn a_cell_whose_gpu_throttles_in_every_try_is_marked() {
    let machine = Machine::new(SWEEP);
    let always = ("FAKE_NVIDIA_THROTTLED", "1000000");
    let (stdout, stderr) = texts(&machine.run(&[], &[always]));
    assert_eq!(stderr.matches("measuring the cell again").count(), 2, "{stderr}");
    let [record] = &machine.0.records()[..] else { panic!("one record a cell") };
    assert_eq!(record.gpu.as_ref().unwrap().throttled_tries, 2);
    assert!(stdout.contains("1×16: mock: GPU clocks throttled: temperature (hardware) (100 % of the time)"));
    assert!(
        stdout.contains("1×16: mock: measured again: the GPU throttled in 2 earlier attempts"),
        "{stdout}"
    );

    let machine = Machine::new(SWEEP);
    let (stdout, stderr) = texts(&machine.run(&["--throttle-retries", "0"], &[always]));
    assert!(
        !stderr.contains("measuring the cell again") && stdout.contains("GPU clocks throttled"),
        "{stderr}"
    );
    let line = std::fs::read_to_string(machine.0.path("run/measurements.jsonl")).unwrap();
    assert!(!line.contains("throttled_tries"));
}

#[test]
fn a_retry_that_is_interrupted_takes_nothing_away() {
    let machine = Machine::new(&SWEEP.replace("cool_down_seconds = 0.001\n", ""));
    let mut command = machine.command(&["--out", "run", "--no-peaks"]);
    let mut child = command.env("FAKE_NVIDIA_THROTTLED", "1000000").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("measuring the cell again, attempt 2 of 3")));
    signal(child.id() as libc::pid_t, libc::SIGINT);
    let kept = "the retry failed: interrupted: keeping the earlier measurement, marked as throttled";
    assert!(lines.any(|line| line.ends_with(kept)));
    lines.for_each(drop);
    child.wait().unwrap();
    let [record] = &machine.0.records()[..] else { panic!("one record") };
    let gpu = record.gpu.as_ref().unwrap();
    assert_eq!((record.failure_kind(), gpu.throttled_tries), (None, 0));
    assert!(gpu.unusual_throttling().count() > 0);
}

#[test]
fn the_clocks_of_one_gpu_are_locked_for_one_rank_alone() {
    let machine = Machine::new(&format!("world_size = 2\none_rank = true\n{SWEEP}"));
    let output = machine.run(&["--lock-gpu-clocks", "base"], &[]);
    assert!(output.status.success());
    assert_eq!(machine.log(), [BASE, BY_KEEPER]);
}

#[test]
fn clocks_are_locked_for_the_run_and_its_record_says_so() {
    let machine = Machine::new(SWEEP);
    let output = machine.run(&["--lock-gpu-clocks", "base"], &[]);
    let (stdout, _) = texts(&output);
    assert!(output.status.success());
    assert_eq!(machine.log(), [BASE, BY_KEEPER]);
    let text = std::fs::read_to_string(machine.0.path("run/environment.json")).unwrap();
    let environment: protocol::Environment = serde_json::from_str(&text).unwrap();
    assert_eq!(environment.locked_gpu_clocks, Some(LockedClock::Base));
    assert!(stdout.contains("GPU clocks locked: base (lock_gpu_clocks)"), "{stdout}");

    let again = |arguments: &[&str]| {
        let mut command = machine.command(&[]);
        command.args(arguments);
        texts(&command.output().unwrap()).1
    };
    // Its own sweep says it; a resume with another clock is of another kind.
    let refused = again(&["--resume", "run"]);
    assert!(refused.contains("lock_gpu_clocks: \"base\", here none"), "{refused}");
    let refused = again(&["--resume", "run", "--lock-gpu-clocks", "1410"]);
    assert!(refused.contains("lock_gpu_clocks: \"base\", here 1410"), "{refused}");
    assert_eq!(machine.log(), [BASE, BY_KEEPER], "a run that is refused leaves the clocks alone");
}

#[test]
fn a_clock_in_mhz_is_locked_and_reset_after_an_engine_crash() {
    let fault = "fault = { kind = \"segfault\", phase = \"decode\" }";
    let machine = Machine::new(&format!("lock_gpu_clocks = 1410\n{SWEEP}\n[options.mock]\n{fault}\n"));
    let output = machine.run(&[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.log(), ["lock 582 582", BY_KEEPER]);
}

#[test]
fn clocks_that_may_not_be_locked_are_one_line_and_no_run() {
    let machine = Machine::new(SWEEP);
    for (clock, environment, why) in [
        ("base", ("FAKE_NVIDIA_NO_PERMISSION", "1"), "this user may not set GPU clocks: run as root"),
        ("2000", ("FAKE_NVIDIA_NO_PERMISSION", "0"), "2000 MHz is more than its maximum of 1980 MHz"),
    ] {
        let output = machine.run(&["--lock-gpu-clocks", clock], &[environment]);
        let (_, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr.starts_with(&format!("error: --lock-gpu-clocks: GPU 0: {why}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    assert!(!machine.0.path("run").exists() && machine.log().is_empty());
}

#[test]
fn clocks_are_reset_whatever_ends_the_run() {
    for (name, end, code) in [
        ("SIGINT", libc::SIGINT, Some(130)),
        ("SIGTERM", libc::SIGTERM, Some(130)),
        ("SIGHUP", libc::SIGHUP, Some(130)),
        ("SIGKILL", libc::SIGKILL, None),
        ("SIGABRT", libc::SIGABRT, None),
    ] {
        let machine = Machine::new(&hang());
        let mut child = machine.hanging();
        signal(child.id() as libc::pid_t, end);
        assert_eq!(child.wait().unwrap().code(), code, "{name}");
        machine.wait_for(&[BASE, BY_KEEPER]);
    }
}

#[test]
fn signals_to_the_keeper_do_not_unlock_and_its_death_does_not_leave_clocks_locked() {
    let machine = Machine::new(&hang());
    let mut child = machine.hanging();
    let keepers = machine.processes(Some("__lock_gpu_clocks"));
    assert_eq!(keepers.len(), 1);
    for ignored in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        signal(keepers[0], ignored);
    }
    // Somebody kills the guard and its worker: the program then kills what is left of its children, but not this one.
    let deadline = Instant::now() + Duration::from_secs(60);
    let spared = [keepers[0], child.id() as libc::pid_t];
    let status = loop {
        for process in machine.processes(None).into_iter().filter(|process| !spared.contains(process)) {
            // SAFETY: a plain call. The process may have ended meanwhile.
            unsafe { libc::kill(process, libc::SIGKILL) };
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the program waits for a worker that was killed");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(1));
    machine.wait_for(&[BASE, BY_KEEPER]);

    let machine = Machine::new(&hang());
    let mut child = machine.hanging();
    signal(machine.processes(Some("__lock_gpu_clocks"))[0], libc::SIGKILL);
    signal(child.id() as libc::pid_t, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    machine.wait_for(&[BASE, "reset by another"]);
}

#[test]
fn a_pause_before_a_cell_ends_when_the_run_is_asked_to_stop() {
    let sweep = SWEEP.replace("cool_down_seconds = 0.001", "cool_down_seconds = 3600");
    let machine = Machine::new(&sweep);
    let mut child = machine.hanging();
    signal(child.id() as libc::pid_t, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_profiler_sees_one_forward_of_each_kind() {
    let machine = Machine::new(SWEEP);
    let profile = |environment: &[(&str, PathBuf)]| {
        let mut command = machine.command(&["--profile", "2x32", "--lock-gpu-clocks", "base"]);
        let output = command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap();
        assert!(output.status.success());
        texts(&output).1
    };
    let ran = "llama2-15m mock 2×32: ran one prefill, one selection and one decode forward\n";
    assert_eq!(profile(&[("NVTX_INJECTION64_PATH", machine.0.path("libcuda.so.1"))]), ran);
    let on = [BASE, "cuProfilerStart"];
    let ranges = ["push prefill 2x32", "pop", "push select 2x32", "pop", "push decode 2x32", "pop"];
    let off = ["cuProfilerStop", BY_KEEPER];
    assert_eq!(machine.log(), [&on[..], &ranges, &off].concat());
    assert!(!machine.0.path("runs").exists(), "nothing is kept");

    // Without a tool that takes ranges the switch is used all the same.
    std::fs::remove_file(machine.log_file()).unwrap();
    let said = profile(&[]);
    assert!(said.contains("no tool takes NVTX ranges: NVTX_INJECTION64_PATH is not set"), "{said}");
    assert_eq!(machine.log(), [on, off].concat());
}
