//! The processes of a worker: how many, on which machines, and which program starts them.

use std::path::PathBuf;

/// The launcher.
const MPIRUN: &str = "mpirun";

/// The processes of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProcesses {
    /// Ranks of tensor parallelism.
    pub world_size: u32,
    /// The machines, as `mpirun --hostfile` reads it; this machine alone where not given.
    pub hostfile: Option<PathBuf>,
}

impl WorkerProcesses {
    /// One process on this machine.
    pub const ONE: Self = Self { world_size: 1, hostfile: None };

    /// Whether there is only one process, without a launcher.
    pub fn is_one(&self) -> bool {
        self.world_size == 1
    }

    /// The program that starts several processes.
    ///
    /// # Errors
    /// Where there is none, with what to install.
    pub(crate) fn find_launcher(&self) -> Result<PathBuf, String> {
        find_on_path(MPIRUN).ok_or_else(|| {
            format!(
                "world_size {} needs {MPIRUN}, which is not on the PATH: install Open MPI (Debian: apt-get install \
                 openmpi-bin) or MPICH (apt-get install mpich), the one that llama2-bench was built with",
                self.world_size
            )
        })
    }
}

/// The file that `program` names on the PATH.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}
