//! Compiles the C++ shims, links them with libtorch, and lets the built programs find it without `LD_LIBRARY_PATH`.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Which libtorch `make setup` fetches.
const PIN: &str = "../../scripts/runtimes/torch-cpu.txt";
const TENSOR: &str = "shim/tensor.cpp";
const SHIM: &str = "shim/torch_shim.cpp";
const ONEDNN: &str = "shim/onednn.cpp";
const PANELS: &str = "shim/panels.cpp";
const SINGLE_ROW: &str = "shim/single_row.cpp";
const AOTI_GRAPH: &str = "shim/aoti_graph.cpp";
const CUDA_GRAPH: &str = "shim/cuda_graph.cpp";

fn main() {
    let headers = ["shim/attempt.h", "shim/panels.h", "shim/single_row.h"];
    for file in
        [PIN, TENSOR, SHIM, ONEDNN, PANELS, SINGLE_ROW, AOTI_GRAPH, CUDA_GRAPH].into_iter().chain(headers)
    {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-env-changed=LIBTORCH");

    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from).unwrap_or_default();
    let (lib, include) = (libtorch.join("lib"), libtorch.join("include"));
    let cuda = libtorch.join("../nvidia/cu13/include");
    let version = include.join("torch/headeronly/version.h");
    let needed = [
        lib.join("libtorch_cpu.so"),
        version.clone(),
        cuda.join("cuda_runtime_api.h"),
        cuda.join("crt/host_defines.h"),
    ];
    for file in &needed[1..] {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    if let Some(missing) = needed.iter().find(|file| !file.exists()) {
        println!("cargo::error=no {} (LIBTORCH={}): run `make setup`", missing.display(), libtorch.display());
        return;
    }
    match check_version(&version) {
        Ok(version) => println!("cargo::rustc-env=LIBTORCH_VERSION={version}"),
        Err(why) => {
            println!("cargo::error={why}");
            return;
        }
    }
    let api = include.join("torch/csrc/api/include");
    compiler(&[&include, &api]).files([TENSOR, SHIM, ONEDNN, AOTI_GRAPH]).compile("torch_shim");
    // at::parallel_for is in a header: threads are those of libtorch, which brings libgomp.so.1. Vectors are wider than the
    // registers of some processors, which changes no function that is called from elsewhere (-Wpsabi).
    compiler(&[&include, &api])
        .flag("-fopenmp")
        .flag("-O3")
        .flag("-Wno-psabi")
        .files([PANELS, SINGLE_ROW])
        .compile("single_row");
    println!("cargo::rustc-link-arg=-l:libgomp.so.1");
    // libtorch's CUDA part is opened when it is needed (src/runtime.rs).
    println!("cargo::rustc-link-search=native={}", lib.display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    build_cuda_graph(&compiler(&[&include, &cuda]));
    set_search_path(&lib);
}

/// C++ has no stable interface: the shims are written for the pinned version's, which is returned.
fn check_version(header: &Path) -> Result<String, String> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let (pins, header_text) = (read(Path::new(PIN))?, read(header)?);
    let pinned = pins.lines().find_map(|line| line.strip_prefix("torch==")?.split(' ').next());
    let pinned = pinned.ok_or_else(|| format!("{PIN}: no torch=="))?;
    let part = |name: &str| {
        let define = format!("#define TORCH_VERSION_{name} ");
        header_text.lines().find_map(|line| line.strip_prefix(&define)).unwrap_or("?").trim()
    };
    let found = ["MAJOR", "MINOR", "PATCH"].map(part).join(".");
    if found == pinned {
        return Ok(found);
    }
    Err(format!("libtorch {found} in {}, but {pinned} is expected: run `make setup`", header.display()))
}

fn compiler(includes: &[&Path]) -> cc::Build {
    // -isystem: warnings in the libraries' headers are not ours.
    let mut build = cc::Build::new();
    for dir in includes {
        build.flag("-isystem").flag(dir);
    }
    // std::string and others as in the wheels' libraries.
    build.define("_GLIBCXX_USE_CXX11_ABI", "1");
    // Debug information of the libraries' templates would take as long as the code.
    build.cpp(true).std("c++17").debug(false).warnings(true).extra_warnings(true);
    build
}

/// A shared library for src/cuda_graph.rs to embed. What it needs of libtorch's CUDA part is looked for when it is opened.
fn build_cuda_graph(build: &cc::Build) {
    let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("cuda_graph.so");
    let mut command = build.get_compiler().to_command();
    command.args(["-O2", "-fPIC", "-shared", "-s", CUDA_GRAPH, "-o"]).arg(&library);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("cargo::error={CUDA_GRAPH}: the compiler ended with {status}: {command:?}"),
        Err(error) => println!("cargo::error={CUDA_GRAPH}: {error}: {command:?}"),
    }
}

/// Where a program looks for libtorch, in this order:
/// - the packages of the Python environment whose `bin` it is in, which are where `machine::runtime_dir` finds them, too (a wheel's
///   programs look nowhere else: scripts/wheel.py);
/// - the checkout's runtime, relative to target/PROFILE and to target/PROFILE/deps: a checkout may be moved or copied;
/// - the runtime beside bin/, as scripts/tarball.py packs it;
/// - for a target directory elsewhere, the folder of this build.
fn set_search_path(lib: &Path) {
    let packages =
        ["lib/python3.{}/site-packages", "lib/python3.{}/dist-packages", "lib64/python3.{}/site-packages"];
    // Those that there are wheels of torch 2.11 and of ONNX Runtime 1.31 for.
    let pythons = packages.iter().flat_map(|packages| {
        ["11", "12", "13", "14", "14t"].map(|minor| format!("../{}", packages.replace("{}", minor)))
    });
    let runtimes = ["../../.runtime", "../../../.runtime", "../.runtime"].map(str::to_owned);
    let profile = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let profile = profile.ancestors().nth(3).unwrap_or(Path::new("")).to_owned();
    let lib = lib.canonicalize().unwrap_or_else(|_| lib.into());
    let is_seen = runtimes
        .iter()
        .any(|folder| profile.join(folder).join("torch/lib").canonicalize().is_ok_and(|seen| seen == lib));
    let folders = pythons.chain(runtimes).map(|folder| format!("$ORIGIN/{folder}/torch/lib"));
    for folder in folders.chain((!is_seen).then(|| lib.display().to_string())) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
    // Functions are bound when they are first called: a program that finds another libtorch mostly starts, and refuses it.
    println!("cargo::rustc-link-arg=-Wl,-z,lazy");
    // RUNPATH, not RPATH: LD_LIBRARY_PATH stays stronger.
    println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags");
}
