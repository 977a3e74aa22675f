//! Compiles the C++ shim and lets the built programs find libtorch without `LD_LIBRARY_PATH`.

use std::env;
use std::path::{Path, PathBuf};

const SHIM: &str = "shim/torch_shim.cpp";

fn main() {
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-env-changed=LIBTORCH");

    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from).unwrap_or_default();
    let (lib, include) = (libtorch.join("lib"), libtorch.join("include"));
    let version = include.join("torch/headeronly/version.h");
    println!("cargo::rerun-if-changed={}", version.display());
    if !lib.join("libtorch_cpu.so").exists() || !version.exists() {
        println!("cargo::error=no libtorch in {} (LIBTORCH): run `make setup`", libtorch.display());
        return;
    }
    compile_shim(&include);
    set_search_path(&lib);
}

fn compile_shim(include: &Path) {
    // -isystem: warnings in libtorch's headers are not ours.
    let mut build = cc::Build::new();
    for dir in [include, &include.join("torch/csrc/api/include")] {
        build.flag("-isystem").flag(dir);
    }
    build.cpp(true).std("c++17").warnings(true).extra_warnings(true).file(SHIM).compile("torch_shim");
}

/// The checkout's runtime first, seen from target/PROFILE and from target/PROFILE/deps, so that a checkout that was moved
/// or copied still runs; then the folder of this build, for a target directory elsewhere.
fn set_search_path(lib: &Path) {
    let lib = lib.canonicalize().unwrap_or_else(|_| lib.into());
    let folders = ["$ORIGIN/../../.runtime/torch/lib", "$ORIGIN/../../../.runtime/torch/lib"];
    for folder in folders.map(Path::new).into_iter().chain([lib.as_path()]) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
    // RUNPATH, not RPATH: LD_LIBRARY_PATH stays stronger.
    println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags");
}
