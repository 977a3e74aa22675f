//! Where compiled packages are kept, and how one is made that is not there yet: by `export.py`, in the Python that `make
//! peers` installs.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use llama::LlamaConfig;
use protocol::{Phase, Precision};
use serde_json::{Value, json};
use worker::Reporter;

use super::cuda_environment::Search;
use crate::options::{LinearKind, LogitsKept, Options};
use crate::runtime;

const SCRIPT: &str = include_str!("export.py");
/// Lines that the script writes: for each of three graphs that it is exported, and that it is compiled.
const STEPS: u32 = 6;

/// What a package depends on, beside the script.
pub(crate) struct Recipe<'a> {
    pub(crate) config: &'a LlamaConfig,
    pub(crate) precision: Precision,
    /// None for the CPU.
    pub(crate) gpu: Option<Gpu>,
    pub(crate) options: Options,
    /// Compiled in: a kernel that asks how many there are starts all of them for whatever little it has to do.
    pub(crate) threads: u32,
    /// libtorch's version.
    pub(crate) torch: &'a str,
}

/// A GPU to compile for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpu {
    pub(crate) index: usize,
    /// Its compute capability: (9, 0) is sm_90. Code for one runs on no other.
    pub(crate) capability: (i32, i32),
}

impl Recipe<'_> {
    /// What the script is told.
    fn request(&self) -> Value {
        json!({
            "config": {
                "vocab_size": self.config.vocab_size,
                "hidden_size": self.config.hidden_size,
                "intermediate_size": self.config.intermediate_size,
                "num_hidden_layers": self.config.num_hidden_layers,
                "num_attention_heads": self.config.num_attention_heads,
                "num_key_value_heads": self.config.num_key_value_heads,
                "head_dim": self.config.head_dim,
                "rms_norm_eps": self.config.rms_norm_eps,
                "tie_word_embeddings": self.config.tie_word_embeddings,
            },
            "precision": self.precision,
            "device": if self.gpu.is_none() { "cpu" } else { "cuda" },
            "capability": self.gpu.map(|gpu| [gpu.capability.0, gpu.capability.1]),
            "linear": if self.options.linear == LinearKind::Aten { "aten" } else { "onednn" },
            "logits": if self.options.logits == LogitsKept::All { "all" } else { "last" },
            "torch": self.torch,
            "flags": self.flags(),
            "flags_of_graphs": self.flags_of_graphs(),
        })
    }

    /// Flags of one graph only: with them inductor computes single-row products as reductions, of which it tries out block sizes
    /// one after the other. gpt-fast gets most of a GPU's bandwidth this way.
    fn flags_of_graphs(&self) -> Value {
        match self.gpu {
            None => json!({}),
            Some(_) => json!({
                "decode_one": { "coordinate_descent_tuning": true, "assert_indirect_indexing": false },
            }),
        }
    }

    /// Inductor's, where they are not its defaults. Without libtorch's name in it a package uses the one that is loaded, not the
    /// one that it was compiled beside; and of a constant that is not kept the values would be in the code.
    fn flags(&self) -> Value {
        json!({
            "always_keep_tensor_constants": true,
            "aot_inductor.package_constants_in_so": false,
            "aot_inductor.link_libtorch": false,
            "cpp.enable_floating_point_contract_flag": "fast",
            "cpp.threads": self.threads,
        })
    }

    /// Another script, request or processor is another file: kernels are compiled for the instructions of this one.
    fn file_name(&self) -> String {
        let Self { config, precision, torch, .. } = self;
        let key = llama::sha256_hex(format!("{}\n{}\n{SCRIPT}", self.request(), processor()).as_bytes());
        let shape = format!("{}x{}", config.num_hidden_layers, config.hidden_size);
        let gpu = self.gpu.map(|Gpu { capability: (major, minor), .. }| format!("-sm_{major}{minor}"));
        format!("llama-{shape}-{precision}{}-torch-{torch}-{}.pt2", gpu.unwrap_or_default(), &key[..16])
    }
}

/// The instructions that this processor has.
fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default().into()
}

/// A compiled package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) path: PathBuf,
    /// What a reader should know of how it was made.
    pub(crate) note: String,
}

impl Package {
    /// Of a package that can't be run.
    pub(crate) fn spoiled(&self, why: &dyn std::fmt::Display) -> anyhow::Error {
        anyhow!("{}: {why}: delete the file, and it is compiled anew", self.path.display())
    }
}

/// The folder of packages, and the Python that makes them.
pub(crate) struct Store {
    runtime: PathBuf,
    packages: PathBuf,
    python: PathBuf,
    /// Where the user says that CUDA is.
    cuda_home: Option<OsString>,
    /// The driver's library, where it is loaded.
    driver: Option<PathBuf>,
}

impl Store {
    /// Those of the runtimes' folder.
    pub(crate) fn of_runtime() -> Self {
        let store = Self::in_folder(&worker::runtime_dir().unwrap_or_else(|| ".runtime".into()));
        let cuda_home = env::var_os("CUDA_HOME").or_else(|| env::var_os("CUDA_PATH"));
        Self { cuda_home, driver: runtime::driver_library(), ..store }
    }

    fn in_folder(runtime: &Path) -> Self {
        let runtime = std::path::absolute(runtime).unwrap_or_else(|_| runtime.into());
        let (packages, python) = (runtime.join("aoti"), runtime.join("peers/bin/python"));
        Self { runtime, packages, python, cuda_home: None, driver: None }
    }

    /// Why no model can be run, whichever it is.
    pub(crate) fn unusable(&self) -> Option<String> {
        let is_package = |entry: fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "pt2");
        let has_packages = || fs::read_dir(&self.packages).is_ok_and(|all| all.flatten().any(is_package));
        (!self.python.exists() && !has_packages()).then(|| self.no_python())
    }

    fn no_python(&self) -> String {
        let python = self.python.display();
        format!("a model is compiled by torch in Python, once, and there is no {python}: run `make peers`")
    }

    /// The package for `recipe`, made now or earlier.
    pub(crate) fn package(&self, recipe: &Recipe<'_>, reporter: &Reporter) -> Result<Package> {
        let path = self.packages.join(recipe.file_name());
        let note = |when: String| {
            let set = |(name, value): (&String, &Value)| format!("{name} = {value}");
            let mut flags: Vec<_> = recipe.flags().as_object().into_iter().flatten().map(set).collect();
            for (graph, of_graph) in recipe.flags_of_graphs().as_object().into_iter().flatten() {
                let set = of_graph.as_object().into_iter().flatten().map(set);
                flags.extend(set.map(|flag| format!("{flag} ({graph})")));
            }
            format!("compiled by AOTInductor {when}, with {}", flags.join(", "))
        };
        let earlier = |path: &Path| Package { path: path.into(), note: note("earlier".into()) };
        if path.exists() {
            return Ok(earlier(&path));
        }
        ensure!(self.python.exists(), "{}", self.no_python());
        let fail = |path: &Path| format!("{}: no compiled model can be written there", path.display());
        fs::create_dir_all(&self.packages).with_context(|| fail(&self.packages))?;
        // Of several workers one compiles.
        let lock = path.with_extension("lock");
        let lock =
            File::create(&lock).and_then(|file| file.lock().map(|()| file)).with_context(|| fail(&lock))?;
        if path.exists() {
            return Ok(earlier(&path));
        }
        let start = Instant::now();
        let partial = path.with_extension("partial.pt2");
        self.compile(recipe, &partial, reporter)?;
        fs::rename(&partial, &path).with_context(|| fail(&path))?;
        drop(lock);
        let seconds = start.elapsed().as_secs_f64();
        Ok(Package { path, note: note(format!("in {seconds:.0} s")) })
    }

    fn compile(&self, recipe: &Recipe<'_>, package: &Path, reporter: &Reporter) -> Result<()> {
        let log = package.with_extension("log");
        let stderr = File::create(&log).with_context(|| log.display().to_string())?;
        let mut python = Command::new(&self.python);
        // Of the user's own libraries none is looked at; `-B` writes no .pyc.
        let device = recipe.gpu.map_or("cpu".into(), |gpu| format!("cuda:{}", gpu.index));
        python.args(["-s", "-B", "-W", "ignore", "-c", SCRIPT, &recipe.request().to_string(), &device]);
        python.arg(package);
        python.env("TORCHINDUCTOR_CACHE_DIR", self.packages.join("inductor"));
        // For a CPU there is one file to compile.
        let threads = if recipe.gpu.is_some() { cores() } else { 1 };
        python.env("TORCHINDUCTOR_COMPILE_THREADS", threads.to_string());
        if recipe.gpu.is_some() {
            python.envs(self.cuda_environment()?);
        }
        python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut python = python.spawn().with_context(|| self.python.display().to_string())?;
        reporter.phase(Phase::Load, STEPS);
        for line in python.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            line.context("the compiling Python's stdout")?;
            reporter.advance();
        }
        let status = python.wait()?;
        if !status.success() || !package.exists() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            bail!(
                "the model could not be compiled ({status}): {}; all of it: {}",
                last.trim(),
                log.display()
            );
        }
        let _ = fs::remove_file(&log);
        Ok(())
    }

    /// What the Python needs to compile for a GPU.
    fn cuda_environment(&self) -> Result<Vec<(&'static str, OsString)>> {
        let search = Search {
            named: self.cuda_home.clone(),
            site_packages: self.site_packages(),
            runtime: &self.runtime,
            installed: Path::new("/usr/local/cuda"),
            driver: self.driver.clone(),
            links: self.packages.join("driver"),
        };
        search.environment()
    }

    /// The folder that the Python finds torch in, which that is not imported for.
    fn site_packages(&self) -> Option<PathBuf> {
        let mut python = Command::new(&self.python);
        python.args(["-s", "-c", "import importlib.util as util; print(util.find_spec('torch').origin)"]);
        let found = python.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        // …/site-packages/torch/__init__.py
        let origin = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
        Some(origin.parent()?.parent()?.to_owned()).filter(|folder| folder.is_dir())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
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
        Recipe {
            config,
            precision: Precision::Fp32,
            gpu: None,
            options: options("last"),
            threads: 2,
            torch: "2.11.0",
        }
    }

    const H100: Gpu = Gpu { index: 0, capability: (9, 0) };

    fn options(logits: &str) -> Options {
        let options = protocol::Options::from([("logits".into(), logits.into())]);
        Options::read(TorchEngine::Aoti, &options).unwrap()
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
            Recipe { precision: Precision::Fp16, ..recipe(&config) },
            Recipe { gpu: Some(H100), ..recipe(&config) },
            Recipe { options: options("all"), ..recipe(&config) },
            Recipe { options: Options { linear: LinearKind::OneDnn, ..options("last") }, ..recipe(&config) },
            Recipe { threads: 1, ..recipe(&config) },
            Recipe { torch: "2.12.0", ..recipe(&config) },
        ];
        assert!(others.iter().all(|other| other.file_name() != name));
        assert_eq!(
            Recipe { gpu: Some(Gpu { index: 1, ..H100 }), ..recipe(&config) }.file_name(),
            others[2].file_name()
        );
    }

    #[test]
    fn a_gpu_of_another_compute_capability_has_a_package_of_its_own() {
        let config = config();
        let name = |capability| {
            let gpu = Some(Gpu { index: 0, capability });
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
            let gpu = Some(Gpu { index: 0, capability });
            store.package(&Recipe { gpu, ..recipe(&config) }, &Reporter::silent())
        };
        assert!(taken((9, 0)).is_ok());
        assert!(taken((8, 0)).is_err());
    }

    #[test]
    fn only_a_gpu_s_graph_of_one_row_is_tuned() {
        let config = config();
        assert_eq!(recipe(&config).request()["flags_of_graphs"], json!({}));
        assert_eq!(recipe(&config).request()["capability"], Value::Null);
        let request = Recipe { gpu: Some(H100), ..recipe(&config) }.request();
        let tuned = json!({ "coordinate_descent_tuning": true, "assert_indirect_indexing": false });
        assert_eq!(request["flags_of_graphs"], json!({ "decode_one": tuned }));
        assert_eq!(request["capability"], json!([9, 0]));
    }

    /// Asked where torch is, the Python says so; else it writes down what it was started with.
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
            store
                .compile(&recipe, &package, &Reporter::silent())
                .map(|()| fs::read_to_string(package).unwrap())
        };
        let cpu = started(&store, None).unwrap();
        assert!(cpu.contains("TORCHINDUCTOR_COMPILE_THREADS=1\n") && cpu.ends_with("device cpu\n"), "{cpu}");

        let gpu = Some(Gpu { index: 3, ..H100 });
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
        assert!(why.ends_with("/peers/bin/python: run `make peers`"), "{why}");
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
        let left: Vec<_> =
            fs::read_dir(&store.packages).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(
            left.iter().all(|path| *path == package.path || path.extension().unwrap() == "lock"),
            "{left:?}"
        );
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
}
