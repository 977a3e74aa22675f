//! The native runtimes, ONNX Runtime and libtorch: which folder has them, and which command puts them there.

use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable that names another folder of runtimes.
pub const RUNTIME_VARIABLE: &str = "LLAMA2_BENCH_RUNTIME";

/// The folder of the runtimes, laid out as Python's `site-packages`: `onnxruntime/capi`, `torch/lib`, `nvidia/*/lib`.
///
/// That is what [`RUNTIME_VARIABLE`] names; else the `site-packages` that `pip install llama2-bench` installed this program for, if it
/// has any of them; else a checkout's `.runtime`.
pub fn runtime_dir() -> Option<PathBuf> {
    given().or_else(|| site_packages().filter(|dir| has_runtimes(dir))).or_else(checkout_runtime)
}

/// The folder of runtimes that this program may write into: what [`RUNTIME_VARIABLE`] names, else `.runtime` in a folder above this
/// program, else in one above the working folder.
pub fn checkout_runtime() -> Option<PathBuf> {
    let places = [std::env::current_exe(), std::env::current_dir()].into_iter().flatten();
    let above = || {
        places.into_iter().find_map(|place| {
            place.ancestors().map(|folder| folder.join(".runtime")).find(|runtime| runtime.is_dir())
        })
    };
    given().or_else(above)
}

fn given() -> Option<PathBuf> {
    std::env::var_os(RUNTIME_VARIABLE).map(PathBuf::from)
}

/// The command that fetches the runtimes for a CPU.
pub fn set_up_command() -> &'static str {
    if site_packages().is_some() { "pip install 'llama2-bench[cpu]'" } else { "make setup" }
}

/// The command that fetches the runtimes for an NVIDIA GPU, and where to run it.
pub fn set_up_cuda_command() -> &'static str {
    if site_packages().is_some() {
        "`pip install 'llama2-bench[cuda]'`"
    } else {
        "`make setup` on a machine with an NVIDIA driver"
    }
}

/// A native library that is there, whether or not it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeLibrary {
    /// `ONNX Runtime` or `libtorch`.
    pub name: &'static str,
    /// The version that its package states.
    pub version: String,
    /// The file.
    pub path: PathBuf,
}

/// The native libraries in a folder of runtimes.
pub fn native_libraries(runtime: &Path) -> Vec<NativeLibrary> {
    [onnxruntime(runtime), libtorch(runtime)].into_iter().flatten().collect()
}

/// `libonnxruntime.so.VERSION`; the newest where there are several.
fn onnxruntime(runtime: &Path) -> Option<NativeLibrary> {
    let versions = fs::read_dir(runtime.join("onnxruntime/capi")).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version = path.file_name()?.to_str()?.strip_prefix("libonnxruntime.so.")?.to_owned();
        Some((version, path))
    });
    let (version, path) = versions.max()?;
    Some(NativeLibrary { name: "ONNX Runtime", version, path })
}

/// The version is in `torch/version.py`, or, where `make setup` unpacked libraries and headers alone, in a header.
fn libtorch(runtime: &Path) -> Option<NativeLibrary> {
    let path = runtime.join("torch/lib/libtorch_cpu.so");
    path.is_file().then_some(())?;
    let header = || {
        let text = fs::read_to_string(runtime.join("torch/include/torch/headeronly/version.h")).ok()?;
        let number = |part: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&*format!("#define TORCH_VERSION_{part} ")))?;
            Some(line.trim().to_owned())
        };
        Some(["MAJOR", "MINOR", "PATCH"].map(number).into_iter().collect::<Option<Vec<_>>>()?.join("."))
    };
    let python = || {
        let text = fs::read_to_string(runtime.join("torch/version.py")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim_matches(['\'', '"']).to_owned())
    };
    let version = python().or_else(header).unwrap_or_else(|| "of an unknown version".into());
    Some(NativeLibrary { name: "libtorch", version, path })
}

fn has_runtimes(dir: &Path) -> bool {
    dir.join("onnxruntime/capi").is_dir() || dir.join("torch/lib").is_dir()
}

/// The `site-packages` of the Python environment that pip installed this program into; `None` elsewhere.
fn site_packages() -> Option<PathBuf> {
    site_packages_of(&std::env::current_exe().ok()?)
}

/// A program is in `PREFIX/bin`, its packages are in `PREFIX/lib/python3.N/site-packages`; Debian calls that of its own Python
/// `dist-packages`.
fn site_packages_of(program: &Path) -> Option<PathBuf> {
    let prefix = program.parent().filter(|folder| folder.ends_with("bin"))?.parent()?;
    let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let pythons = ["lib", "lib64"].into_iter().flat_map(|lib| entries(prefix.join(lib)));
    let pythons = pythons.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    let mut packages =
        pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.path().join(name)));
    packages.find(|dir| {
        entries(dir.clone()).any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("llama2_bench-") && name.ends_with(".dist-info")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_program_that_pip_installed_knows_its_site_packages() {
        let prefix = tempfile::tempdir().unwrap();
        let packages = prefix.path().join("lib/python3.12/site-packages");
        let program = prefix.path().join("bin/llama2-bench");
        write(&packages.join("torch/version.py"), "");
        assert_eq!(site_packages_of(&program), None);
        write(&packages.join("llama2_bench-0.1.0.dist-info/RECORD"), "");
        assert_eq!(site_packages_of(&program), Some(packages));
        assert_eq!(site_packages_of(&prefix.path().join("target/release/llama2-bench")), None);
    }

    #[test]
    fn libraries_are_found_with_their_versions() {
        let runtime = tempfile::tempdir().unwrap();
        let file = |name: &str| runtime.path().join(name);
        assert!(native_libraries(runtime.path()).is_empty() && !has_runtimes(runtime.path()));
        write(&file("onnxruntime/capi/libonnxruntime.so.1.31.1"), "");
        write(&file("onnxruntime/capi/libonnxruntime_providers_shared.so"), "");
        write(&file("torch/lib/libtorch_cpu.so"), "");
        let versions = || {
            let libraries = native_libraries(runtime.path());
            libraries
                .iter()
                .map(|library| format!("{} {}", library.name, library.version))
                .collect::<Vec<_>>()
        };
        assert_eq!(versions(), ["ONNX Runtime 1.31.1", "libtorch of an unknown version"]);
        let header =
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 0\n";
        write(&file("torch/include/torch/headeronly/version.h"), header);
        assert_eq!(versions()[1], "libtorch 2.11.0");
        write(
            &file("torch/version.py"),
            "from typing import Optional\n\n__version__ = '2.10.0+cu130'\ndebug = False\n",
        );
        assert_eq!(versions()[1], "libtorch 2.10.0+cu130");
        assert!(has_runtimes(runtime.path()));
    }
}
