//! Where compiled packages are kept, and how one is made that is not there yet: by `export.py`, in the Python that `make
//! peers` installs.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use llama::LlamaConfig;
use protocol::{Dtype, Phase};
use serde_json::{Value, json};
use worker::Reporter;

use super::cuda_environment::Search;
use crate::options::{LinearKind, LogitsKept, TorchOptions};
use crate::runtime;

const SCRIPT: &str = include_str!("export.py");
/// Lines that the script writes: for each of three graphs that it is exported, and that it is compiled.
const STEPS: u32 = 6;

/// What a package depends on, beside the script.
pub(crate) struct Recipe<'a> {
    pub(crate) config: &'a LlamaConfig,
    pub(crate) dtype: Dtype,
    /// None for the CPU.
    pub(crate) gpu: Option<TargetGpu>,
    pub(crate) options: TorchOptions,
    /// Compiled in: a kernel that asks how many there are starts all of them for whatever little it has to do.
    pub(crate) threads: u32,
    /// libtorch's version.
    pub(crate) torch: &'a str,
}

/// A GPU to compile for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TargetGpu {
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
            "precision": self.dtype,
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
        let Self { config, dtype, torch, .. } = self;
        let key = llama::sha256_hex(format!("{}\n{}\n{SCRIPT}", self.request(), processor()).as_bytes());
        let shape = format!("{}x{}", config.num_hidden_layers, config.hidden_size);
        let gpu = self.gpu.map(|TargetGpu { capability: (major, minor), .. }| format!("-sm_{major}{minor}"));
        format!("llama-{shape}-{dtype}{}-torch-{torch}-{}.pt2", gpu.unwrap_or_default(), &key[..16])
    }
}

/// The instructions that this processor has, which the kernel calls "flags" on x86_64 and "Features" on ARM.
fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_list = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    cpuinfo.lines().find(is_list).unwrap_or_default().into()
}

/// A compiled package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) path: PathBuf,
    /// What a reader should know of how it was made.
    pub(crate) note: String,
}

impl Package {
    /// The error for a package that can't be run.
    pub(crate) fn spoiled(&self, why: &dyn std::fmt::Display) -> anyhow::Error {
        anyhow!("{}: {why}: delete the file to compile it again", self.path.display())
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
        // Not one below the working folder, which a program that pip installed leaves alone.
        let beside = || env::current_exe().unwrap_or_default().with_file_name(".runtime");
        let store = Self::in_folder(&machine::checkout_runtime().unwrap_or_else(beside));
        let cuda_home = env::var_os("CUDA_HOME").or_else(|| env::var_os("CUDA_PATH"));
        Self { cuda_home, driver: runtime::driver_library(), ..store }
    }

    fn in_folder(runtime: &Path) -> Self {
        let runtime = std::path::absolute(runtime).unwrap_or_else(|_| runtime.into());
        let (packages, python) = (runtime.join("aoti"), runtime.join("peers/bin/python"));
        Self { runtime, packages, python, cuda_home: None, driver: None }
    }

    /// The reason why no model can be run.
    pub(crate) fn unusable(&self) -> Option<String> {
        let is_package = |entry: fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "pt2");
        let has_packages = || fs::read_dir(&self.packages).is_ok_and(|all| all.flatten().any(is_package));
        (!self.python.exists() && !has_packages()).then(|| self.no_python())
    }

    fn no_python(&self) -> String {
        let python = self.python.display();
        format!(
            "torch compiles the model in Python, once, and there is no {python}: `make peers` in a clone installs it"
        )
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
        let lock = create(&lock).and_then(|file| file.lock().map(|()| file)).with_context(|| fail(&lock))?;
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
        let stderr = create(&log).with_context(|| log.display().to_string())?;
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

/// Creates or empties a file of the store, and follows no link.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests;
