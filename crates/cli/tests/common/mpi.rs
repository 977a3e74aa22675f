//! Whether workers can be several ranks here; and a worker's ranks, driven without the program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use protocol::{GenerateRequest, Generated, LoadRequest, Reply, Request};

use super::worker;

/// Whether ranks can be started; where this must be so (`LLAMA2_BENCH_REQUIRE_MPI`), it is.
#[expect(clippy::print_stderr, reason = "says what is not tested")]
pub(crate) fn is_there() -> bool {
    let launcher = Command::new("mpirun").arg("--version").output().is_ok();
    // It is no program, of which alone `worker` knows.
    let library = worker("llama2-bench-mock").with_file_name("libllama2_bench_mpi.so").is_file();
    let required = std::env::var_os("LLAMA2_BENCH_REQUIRE_MPI").is_some();
    assert!(launcher && library || !required, "mpirun: {launcher}, libllama2_bench_mpi.so: {library}");
    if !(launcher && library) {
        eprintln!("skipped: no mpirun, or no libllama2_bench_mpi.so (scripts/build_mpi.sh)");
    }
    launcher && library
}

/// A worker's command as so many ranks; one is started as it is.
fn ranks(command: &[&str], world_size: usize) -> Command {
    let program = worker(command[0]);
    let mut ranks = if world_size == 1 {
        Command::new(&program)
    } else {
        let mut mpirun = Command::new("mpirun");
        let size = format!("LLAMA2_BENCH_WORLD_SIZE={world_size}");
        mpirun.args(["-n", &world_size.to_string(), "env", &size]).arg(&program);
        for (name, value) in [
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
            ("OMPI_MCA_hwloc_base_binding_policy", "none"),
            ("OMPI_MCA_mpi_yield_when_idle", "1"),
            ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
        ] {
            mpirun.env(name, value);
        }
        mpirun
    };
    ranks.args(&command[1..]);
    ranks
}

/// What the ranks of a worker generate, with logits; or what they say to a request that they can't do.
pub(crate) fn generate(
    command: &[&str],
    world_size: usize,
    load: LoadRequest,
    request: GenerateRequest,
) -> Result<Generated, String> {
    let mut child = ranks(command, world_size).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || loop {
        match serde_json::from_str(&replies.next().expect("a reply").unwrap()).unwrap() {
            Reply::Progress(_) => {}
            reply => return reply,
        }
    };
    let mut ask = |request: &Request| writeln!(stdin, "{}", serde_json::to_string(request).unwrap()).unwrap();
    let Reply::Hello(hello) = next() else { panic!("expected hello") };
    assert_eq!(hello.ranks.len(), if world_size == 1 { 0 } else { world_size });
    ask(&Request::Load(load));
    let mut answer = next();
    if matches!(answer, Reply::Loaded(_)) {
        ask(&Request::Generate(request));
        answer = next();
    }
    ask(&Request::Shutdown);
    assert!(child.wait().unwrap().success(), "{command:?} of {world_size}");
    match answer {
        Reply::Generated(generated) => Ok(generated),
        Reply::Failed(failure) => Err(failure.message),
        other => panic!("{other:?}"),
    }
}
