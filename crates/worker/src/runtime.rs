//! Where `make setup` put the native runtimes.

use std::path::PathBuf;

/// The environment variable that names another folder than `.runtime`.
pub const RUNTIME_VARIABLE: &str = "LLAMA2_BENCH_RUNTIME";

/// The runtimes' folder: what [`RUNTIME_VARIABLE`] names, else `.runtime` in a folder above this program, else in one
/// above the working folder.
pub fn runtime_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(RUNTIME_VARIABLE) {
        return Some(dir.into());
    }
    [std::env::current_exe(), std::env::current_dir()].into_iter().flatten().find_map(|place| {
        place.ancestors().map(|folder| folder.join(".runtime")).find(|runtime| runtime.is_dir())
    })
}
