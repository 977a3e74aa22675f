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
/// program, else in one above the working folder. A program that pip installed has the first alone: a folder that somebody unpacks and
/// works in, with a virtual environment in it, must not decide which libraries are loaded.
pub fn checkout_runtime() -> Option<PathBuf> {
    let above = || {
        let places = [std::env::current_exe(), std::env::current_dir()];
        places.into_iter().flatten().find_map(|place| {
            place.ancestors().map(|folder| folder.join(".runtime")).find(|runtime| runtime.is_dir())
        })
    };
    given().or_else(|| site_packages().is_none().then(above).flatten())
}

fn given() -> Option<PathBuf> {
    std::env::var_os(RUNTIME_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The command that fetches the runtimes for a CPU.
pub fn set_up_command() -> String {
    if site_packages().is_some() {
        return "pip install 'llama2-bench[cpu]'".into();
    }
    match std::env::current_exe().ok().and_then(|program| packed_setup(&program)) {
        Some(setup) => format!("python3 {}", setup.display()),
        None => "make setup".into(),
    }
}

/// The command that fetches the runtimes for an NVIDIA GPU, and where to run it.
pub fn set_up_cuda_command() -> String {
    if site_packages().is_some() {
        return "`pip install 'llama2-bench[cuda]'`".into();
    }
    format!("`{}` on a machine with an NVIDIA driver", set_up_command())
}

/// `scripts/setup.py` beside `bin/`, as an archive of a release has it, which has no Makefile.
fn packed_setup(program: &Path) -> Option<PathBuf> {
    let prefix = program.parent().filter(|folder| folder.ends_with("bin"))?.parent()?;
    let setup = prefix.join("scripts/setup.py");
    (setup.is_file() && !prefix.join("Makefile").exists()).then_some(setup)
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

/// `libonnxruntime.so.VERSION`; the newest where there are several, and one without a version where there is no other.
pub fn onnxruntime(runtime: &Path) -> Option<NativeLibrary> {
    let libraries = entries(&runtime.join("onnxruntime/capi")).filter_map(|entry| {
        let name = entry.file_name();
        let version = name.to_str()?.strip_prefix("libonnxruntime.so")?;
        let numbers: Vec<u32> = match version.strip_prefix('.') {
            Some(version) => version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?,
            None if version.is_empty() => Vec::new(),
            None => return None,
        };
        Some((numbers, entry.path()))
    });
    let (numbers, path) = libraries.max()?;
    let version = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    Some(NativeLibrary { name: "ONNX Runtime", version: known(version), path })
}

/// The version is that of the package `torch-VERSION.dist-info`.
fn libtorch(runtime: &Path) -> Option<NativeLibrary> {
    let path = runtime.join("torch/lib/libtorch_cpu.so");
    path.is_file().then_some(())?;
    let version = entries(runtime).find_map(|entry| {
        let name = entry.file_name();
        Some(name.to_str()?.strip_prefix("torch-")?.strip_suffix(".dist-info")?.to_owned())
    });
    Some(NativeLibrary { name: "libtorch", version: known(version.unwrap_or_default()), path })
}

fn known(version: String) -> String {
    if version.is_empty() { "of an unknown version".into() } else { version }
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten()
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
    let pythons = ["lib", "lib64"].into_iter().flat_map(|lib| entries(&prefix.join(lib)));
    let pythons = pythons.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    let mut packages =
        pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.path().join(name)));
    packages.find(|dir| {
        entries(dir).any(|entry| {
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
    fn a_release_that_was_unpacked_has_its_own_set_up() {
        let prefix = tempfile::tempdir().unwrap();
        let (setup, program) =
            (prefix.path().join("scripts/setup.py"), prefix.path().join("bin/llama2-bench"));
        assert_eq!(packed_setup(&program), None);
        write(&setup, "");
        assert_eq!(packed_setup(&program), Some(setup));
        write(&prefix.path().join("Makefile"), "");
        assert_eq!(packed_setup(&program), None);
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
        write(&file("torch-2.10.0+cu130.dist-info/METADATA"), "");
        write(&file("onnxruntime/capi/libonnxruntime.so.1.9.0"), "");
        write(&file("onnxruntime/capi/libonnxruntime.so"), "");
        write(&file("onnxruntime/capi/libonnxruntime.so.2.0.0.debug"), "");
        assert_eq!(versions(), ["ONNX Runtime 1.31.1", "libtorch 2.10.0+cu130"]);
        assert!(has_runtimes(runtime.path()));
    }
}
