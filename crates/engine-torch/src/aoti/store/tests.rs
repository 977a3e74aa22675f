use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::TorchEngine;

fn config() -> LlamaConfig {
    let config = json!({
        "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4,
    });
    LlamaConfig::from_json(&config, "").unwrap()
}

fn recipe(config: &LlamaConfig) -> Recipe<'_> {
    Recipe { config, dtype: Dtype::Fp32, gpu: None, options: options("last"), threads: 2, torch: "2.11.0" }
}

const H100: TargetGpu = TargetGpu { index: 0, capability: (9, 0) };

fn options(logits: &str) -> TorchOptions {
    let options = protocol::Options::from([("logits".into(), logits.into())]);
    TorchOptions::read(TorchEngine::Aoti, &options).unwrap()
}

/// A store whose Python is this shell script; `$package` is the file that it is to write.
fn store(script: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::in_folder(dir.path());
    fs::create_dir_all(store.python.parent().unwrap()).unwrap();
    fs::write(&store.python, format!("#!/bin/sh\nfor package; do :; done\n{script}\n")).unwrap();
    fs::set_permissions(&store.python, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, store)
}

#[test]
fn what_kernels_depend_on_is_in_the_name_and_weights_are_not() {
    let config = config();
    let name = recipe(&config).file_name();
    assert!(name.starts_with("llama-2x32-fp32-torch-2.11.0-") && name.ends_with(".pt2"), "{name}");
    let same = LlamaConfig { rope_theta: 1e6, max_position_embeddings: 64, ..config.clone() };
    assert_eq!(recipe(&same).file_name(), name);
    let wider = LlamaConfig { vocab_size: 97, ..config.clone() };
    let others = [
        recipe(&wider),
        Recipe { dtype: Dtype::Fp16, ..recipe(&config) },
        Recipe { gpu: Some(H100), ..recipe(&config) },
        Recipe { options: options("all"), ..recipe(&config) },
        Recipe { options: TorchOptions { linear: LinearKind::OneDnn, ..options("last") }, ..recipe(&config) },
        Recipe { threads: 1, ..recipe(&config) },
        Recipe { torch: "2.12.0", ..recipe(&config) },
    ];
    assert!(others.iter().all(|other| other.file_name() != name));
    assert_eq!(
        Recipe { gpu: Some(TargetGpu { index: 1, ..H100 }), ..recipe(&config) }.file_name(),
        others[2].file_name()
    );
}

#[test]
fn a_gpu_of_another_compute_capability_has_a_package_of_its_own() {
    let config = config();
    let name = |capability| {
        let gpu = Some(TargetGpu { index: 0, capability });
        Recipe { gpu, ..recipe(&config) }.file_name()
    };
    let (hopper, ampere) = (name((9, 0)), name((8, 0)));
    assert!(hopper.starts_with("llama-2x32-fp32-sm_90-torch-2.11.0-"), "{hopper}");
    assert!(ampere.starts_with("llama-2x32-fp32-sm_80-torch-2.11.0-"), "{ampere}");
    // The request is another, too: a renamed file is not taken for it.
    assert_ne!(hopper.rsplit('-').next(), ampere.rsplit('-').next());

    let (_dir, store) = store("exit 1");
    fs::create_dir_all(&store.packages).unwrap();
    fs::write(store.packages.join(&hopper), "").unwrap();
    let taken = |capability| {
        let gpu = Some(TargetGpu { index: 0, capability });
        store.package(&Recipe { gpu, ..recipe(&config) }, &Reporter::silent())
    };
    assert!(taken((9, 0)).is_ok());
    assert!(taken((8, 0)).is_err());
}

#[test]
fn only_a_gpu_graph_of_one_row_is_tuned() {
    let config = config();
    assert_eq!(recipe(&config).request()["flags_of_graphs"], json!({}));
    assert_eq!(recipe(&config).request()["capability"], Value::Null);
    let request = Recipe { gpu: Some(H100), ..recipe(&config) }.request();
    let tuned = json!({ "coordinate_descent_tuning": true, "assert_indirect_indexing": false });
    assert_eq!(request["flags_of_graphs"], json!({ "decode_one": tuned }));
    assert_eq!(request["capability"], json!([9, 0]));
}

/// A Python that says where torch is when asked, and otherwise writes down how it was started.
#[test]
fn python_is_told_of_the_gpu_of_cuda_and_of_threads() {
    let (dir, mut store) = store(
        "case $3 in *find_spec*) echo $(dirname $0)/../lib/torch/__init__.py; exit;; esac\n\
         env > $package; echo device $8 >> $package",
    );
    let home = dir.path().join("peers/lib/nvidia/cu13");
    fs::create_dir_all(home.join("include")).unwrap();
    fs::create_dir_all(dir.path().join("peers/lib/torch")).unwrap();
    fs::write(home.join("include/cuda_runtime_api.h"), "").unwrap();
    let config = config();
    let started = |store: &Store, gpu| {
        let package = dir.path().join("package.pt2");
        let recipe = Recipe { gpu, ..recipe(&config) };
        store.compile(&recipe, &package, &Reporter::silent()).map(|()| fs::read_to_string(package).unwrap())
    };
    let cpu = started(&store, None).unwrap();
    assert!(cpu.contains("TORCHINDUCTOR_COMPILE_THREADS=1\n") && cpu.ends_with("device cpu\n"), "{cpu}");

    let gpu = Some(TargetGpu { index: 3, ..H100 });
    let error = started(&store, gpu).unwrap_err().to_string();
    assert!(error.starts_with("no libcuda.so.1 is loaded"), "{error}");
    store.driver = Some("/lib/libcuda.so.580".into());
    let gpu = started(&store, gpu).unwrap();
    let value = |name: &str| {
        let line = gpu.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}: {gpu}")).to_owned()
    };
    assert!(gpu.ends_with("device cuda:3\n"), "{gpu}");
    assert_eq!(value("TORCHINDUCTOR_COMPILE_THREADS"), cores().to_string());
    assert_eq!(fs::canonicalize(value("CUDA_HOME")).unwrap(), home);
    let links = dir.path().join("aoti/driver");
    assert!(value("LIBRARY_PATH").starts_with(links.to_str().unwrap()), "{gpu}");
    assert_eq!(fs::read_link(links.join("libcuda.so")).unwrap(), Path::new("/lib/libcuda.so.580"));
}

#[test]
fn without_python_only_what_was_compiled_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, config) = (Store::in_folder(dir.path()), config());
    let why = store.unusable().unwrap();
    assert!(why.ends_with("/peers/bin/python: `make peers` in a clone installs it"), "{why}");
    let error = store.package(&recipe(&config), &Reporter::silent()).unwrap_err();
    assert_eq!(error.to_string(), why);

    fs::create_dir(&store.packages).unwrap();
    fs::write(store.packages.join(recipe(&config).file_name()), "").unwrap();
    assert_eq!(store.unusable(), None);
    let package = store.package(&recipe(&config), &Reporter::silent()).unwrap();
    assert!(package.note.starts_with("compiled by AOTInductor earlier, with "), "{}", package.note);
}

#[test]
fn a_package_is_made_once_and_whole() {
    let (_dir, store) = store("echo exported; echo compiled; echo package > \"$package\"");
    let config = config();
    let package = store.package(&recipe(&config), &Reporter::silent()).unwrap();
    assert!(package.note.starts_with("compiled by AOTInductor in 0 s, with "), "{}", package.note);
    assert_eq!(fs::read_to_string(&package.path).unwrap(), "package\n");
    fs::write(&store.python, "").unwrap();
    assert_eq!(store.package(&recipe(&config), &Reporter::silent()).unwrap().path, package.path);
    let left: Vec<_> = fs::read_dir(&store.packages).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.iter().all(|path| *path == package.path || path.extension().unwrap() == "lock"), "{left:?}");
}

#[test]
fn what_python_says_last_is_the_error() {
    let (_dir, store) =
        store("echo some; echo 'Traceback\nRuntimeError: no g++' >&2; echo half > \"$package\"; exit 1");
    let config = config();
    let error = store.package(&recipe(&config), &Reporter::silent()).unwrap_err().to_string();
    let start = "the model could not be compiled (exit status: 1): RuntimeError: no g++; all of it: ";
    assert!(error.starts_with(start) && error.ends_with(".log"), "{error}");
    assert!(!store.packages.join(recipe(&config).file_name()).exists());
}
