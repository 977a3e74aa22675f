//! The start of a worker: by itself, or as several ranks by `mpirun`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{EngineCommand, WorkerProcesses};

/// Tells a worker how many ranks there are (`collective::WORLD_SIZE_VARIABLE`).
const WORLD_SIZE: &str = "LLAMA2_BENCH_WORLD_SIZE";
/// Variables to pass on to workers on other machines.
const PASSED_ON: [&str; 3] = [machine::RUNTIME_VARIABLE, "LLAMA2_BENCH_MPI_LIBRARY", "LD_LIBRARY_PATH"];

/// A command and its surroundings.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// A folder for the launcher's own files and shared memory, which does not outlive the worker.
    pub(crate) scratch: Option<PathBuf>,
}

impl Launch {
    /// The start of an engine's worker.
    ///
    /// # Errors
    /// The text of the error, where there is no launcher.
    pub(crate) fn new(worker: &EngineCommand, ranks: &WorkerProcesses) -> Result<Self, String> {
        let words = worker.arguments.iter().map(OsString::from);
        if ranks.is_one() {
            let (program, arguments) = (worker.program.clone(), words.collect());
            return Ok(Self { program, arguments, environment: Vec::new(), scratch: None });
        }
        let program = ranks.find_launcher()?;
        let mut arguments: Vec<OsString> = vec!["-n".into(), ranks.world_size.to_string().into()];
        if let Some(hostfile) = &ranks.hostfile {
            arguments.extend(["--hostfile".into(), hostfile.into()]);
        }
        // `env` reaches other machines whichever MPI this is.
        arguments.extend(["env".into(), format!("{WORLD_SIZE}={}", ranks.world_size).into()]);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                let mut word = OsString::from(format!("{name}="));
                word.push(value);
                arguments.push(word);
            }
        }
        arguments.push(worker.program.clone().into());
        arguments.extend(words);
        let scratch = ranks.hostfile.is_none().then(scratch_folder).flatten();
        Ok(Self { program, arguments, environment: environment(ranks, scratch.as_deref()), scratch })
    }
}

/// Settings of Open MPI 4 and of its successor's launcher. MPICH behaves this way by default.
fn environment(ranks: &WorkerProcesses, scratch: Option<&Path>) -> Vec<(&'static str, OsString)> {
    let mut settings: Vec<(&'static str, OsString)> = Vec::new();
    let mut set = |names: &[&'static str], value: &str| {
        for name in names {
            // The user's own settings come first.
            if std::env::var_os(name).is_none() {
                settings.push((*name, value.into()));
            }
        }
    };
    // More ranks than cores are fine here, and engines place their own threads.
    set(&["OMPI_MCA_rmaps_base_oversubscribe"], "1");
    set(&["OMPI_MCA_hwloc_base_binding_policy", "PRTE_MCA_hwloc_default_binding_policy"], "none");
    set(&["PRTE_MCA_rmaps_default_mapping_policy"], ":oversubscribe");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if ranks.hostfile.is_none() && ranks.world_size as usize > cores {
        set(&["OMPI_MCA_mpi_yield_when_idle"], "1");
    }
    if rustix::process::geteuid().is_root() {
        set(&["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"], "1");
        set(&["PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"], "1");
    }
    if let Some(scratch) = scratch.and_then(Path::to_str) {
        set(&["OMPI_MCA_orte_tmpdir_base", "PRTE_MCA_prte_tmpdir_base"], scratch);
        set(&["OMPI_MCA_btl_vader_backing_directory", "OMPI_MCA_btl_sm_backing_directory"], scratch);
    }
    settings
}

/// A name for a new folder in memory; the guard makes and removes it.
fn scratch_folder() -> Option<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let memory = Path::new("/dev/shm");
    memory.is_dir().then(|| memory.join(format!("llama2-bench-{}-{number}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> EngineCommand {
        EngineCommand {
            engine: "a".into(),
            program: "/opt/worker".into(),
            arguments: vec!["--engine".into(), "a".into()],
            options: protocol::Options::new(),
            also: Vec::new(),
        }
    }

    fn words(launch: &Launch) -> String {
        let words: Vec<_> = launch.arguments.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn one_process_is_started_as_it_is() {
        let launch = Launch::new(&worker(), &WorkerProcesses::ONE).unwrap();
        assert_eq!((launch.program.as_path(), &*words(&launch)), (Path::new("/opt/worker"), "--engine a"));
        assert!(launch.environment.is_empty() && launch.scratch.is_none());
    }

    #[test]
    fn several_are_started_by_mpirun_or_it_is_said_what_to_install() {
        let ranks = WorkerProcesses { world_size: 4, hostfile: Some("hosts".into()) };
        match Launch::new(&worker(), &ranks) {
            Ok(launch) => {
                assert!(launch.program.ends_with("mpirun"));
                let words = words(&launch);
                assert!(words.starts_with("-n 4 --hostfile hosts env LLAMA2_BENCH_WORLD_SIZE=4 "), "{words}");
                assert!(words.ends_with(" /opt/worker --engine a"), "{words}");
                assert!(launch.scratch.is_none(), "other machines have no such folder");
            }
            Err(error) => assert!(error.contains("apt-get install openmpi-bin"), "{error}"),
        }
    }
}
