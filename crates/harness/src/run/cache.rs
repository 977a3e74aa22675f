//! The user's cache: where it is, and what makes a figure of an earlier run another one's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use protocol::Hello;
use serde_json::{Value as Json, json};

/// Environment variables by which runtimes choose how to compute, by their first letters.
const VARIABLES: [&str; 20] = [
    "ATEN_",
    "CUBLAS",
    "CUDA_",
    "CUDNN_",
    "DNNL_",
    "GGML_",
    "GLIBC_",
    "GOMP_",
    "KMP_",
    "LD_",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "ORT_",
    "PYTHON",
    "TORCH",
    "VLLM_",
];

/// Size, and nanoseconds of the last change: a file of the same name and version may be another.
pub(crate) type Stamp = (u64, u128);

/// The folder `name` of the cache: in `LLAMA2_BENCH_CACHE`, else in `llama2-bench` in `XDG_CACHE_HOME` or `~/.cache`; `None` where
/// there is none of them.
pub(crate) fn cache_folder(name: &str) -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let of_user = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let cache = folder("LLAMA2_BENCH_CACHE").or_else(|| Some(of_user()?.join("llama2-bench")));
    Some(cache?.join(name))
}

/// The text of a kept file: its hash on a line of its own, then what it keeps.
pub(crate) fn with_hash(kept: &str) -> String {
    format!("{}\n{kept}", llama::sha256_hex(kept.as_bytes()))
}

/// What a file of [`with_hash`] keeps; `None` where it is damaged.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let (hash, kept) = text.split_once('\n')?;
    (llama::sha256_hex(kept.as_bytes()) == hash).then_some(kept)
}

/// The environment variables that change how engines compute.
pub(crate) fn variables() -> BTreeMap<String, String> {
    let is_known = |name: &str| VARIABLES.iter().any(|first| name.starts_with(first));
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| is_known(name))
        .collect()
}

/// The libraries of an engine, with the stamps of their files.
pub(crate) fn libraries(hello: &Hello) -> Json {
    let libraries = hello.libraries.iter().map(|library| {
        let stamp = library.path.as_deref().and_then(stamp);
        json!([library.name, library.version, library.path, stamp])
    });
    libraries.collect()
}

pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let facts = fs::metadata(path).ok()?;
    let changed = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((facts.len(), changed.as_nanos()))
}
