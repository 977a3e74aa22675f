//! Writes a checkpoint's graph as a file that any ONNX Runtime can run, beside weights in HF's format.
//!
//! The folder is a checkpoint itself: `model.onnx` has no weights of its own but points into the safetensors files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use llama::{
    LARGEST_CONFIG, ONNX_FILE, TOKENIZER_FILES, Weights, from_python_json, read_text_up_to, to_python_json,
    write_checkpoint,
};
use prost::Message;
use protocol::{Device, Dtype, Precision};
use worker::Reporter;

use crate::fused::Fused;
use crate::graph::{self, Interface};
use crate::initializers::Initializers;
use crate::library::OnnxRuntimeLibrary;
use crate::model::check_kernels;
use crate::session::SessionSettings;

/// What to write.
#[derive(Debug, Clone)]
pub struct Export {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// The folder to write: it must not exist, or be empty.
    pub out: PathBuf,
    /// The precision of the weights and of all computation.
    pub precision: Precision,
    /// Write the graph also as ONNX Runtime optimises it for its CPU provider.
    pub optimized: bool,
}

const OPTIMIZED_FILE: &str = "model.optimized.onnx";
const OPTIMIZED_DATA: &str = "model.optimized.onnx.data";
const INDEX_FILE: &str = "model.safetensors.index.json";

impl Export {
    /// Writes the folder: whole, or not at all.
    pub fn run(&self) -> Result<()> {
        let weights = Weights::checkpoint(&self.model)?;
        let dtype = self.dtype()?;
        check_kernels(Device::Cpu, dtype)?;
        let occupied = fs::read_dir(&self.out).is_ok_and(|mut entries| entries.next().is_some());
        ensure!(!occupied, "{}: not empty", self.out.display());

        let name =
            self.out.file_name().with_context(|| format!("{}: not a folder's name", self.out.display()))?;
        let partial = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
        let partial = self.out.with_file_name(partial);
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let written = self
            .write(&weights, dtype, &partial)
            .and_then(|()| fs::rename(&partial, &self.out).with_context(|| self.out.display().to_string()));
        if written.is_err() {
            // A failure to remove the unfinished folder is not the error to report.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    fn dtype(&self) -> Result<Dtype> {
        let precision = self.precision;
        ensure!(
            precision.quantization().is_none(),
            "{precision}: a graph with quantized weights can't be exported: `llama2-bench quantize` writes a checkpoint"
        );
        Ok(precision.unquantized())
    }

    fn write(&self, weights: &Weights, dtype: Dtype, dir: &Path) -> Result<()> {
        // Not one that is there already, or a link to it.
        fs::create_dir(dir).with_context(|| dir.display().to_string())?;
        if weights.specs().iter().all(|spec| weights.is_stored(spec, dtype)) {
            for shard in weights.files() {
                copy(&self.model, dir, &shard.file_name)?;
            }
            copy_if_there(&self.model, dir, INDEX_FILE)?;
        } else {
            write_checkpoint(weights, self.precision, dir)?;
        }
        self.write_config(dtype, dir)?;
        for name in TOKENIZER_FILES {
            copy_if_there(&self.model, dir, name)?;
        }

        let written = Weights::checkpoint(dir)?;
        let mut model = graph::llama(written.config(), dtype, Interface::Exported, Fused::NONE);
        // As stored, so that the file has no weights of its own: fused ones would be copies.
        Initializers::new(&written, dtype, Fused::NONE, &Reporter::silent()).place(&mut model);
        let path = dir.join(ONNX_FILE);
        fs::write(&path, model.encode_to_vec()).with_context(|| path.display().to_string())?;
        if self.optimized { optimize(dir) } else { Ok(()) }
    }

    /// The checkpoint's config with the precision that the weights now have; transformers 4 and 5 call it differently.
    fn write_config(&self, dtype: Dtype, dir: &Path) -> Result<()> {
        let (from, to) = (self.model.join("config.json"), dir.join("config.json"));
        let text = read_text_up_to(&from, LARGEST_CONFIG).with_context(|| from.display().to_string())?;
        let mut config = from_python_json(&text).with_context(|| from.display().to_string())?;
        let name = match dtype {
            Dtype::Fp32 => "float32",
            Dtype::Fp16 => "float16",
            Dtype::Bf16 => "bfloat16",
        };
        let key = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        config[key] = name.into();
        fs::write(&to, to_python_json(&config) + "\n").with_context(|| to.display().to_string())
    }
}

/// Writes the graph as ONNX Runtime runs it on a CPU, with weights of its own: they may be other ones by then.
fn optimize(dir: &Path) -> Result<()> {
    let settings = SessionSettings::on_cpu(1, false);
    let builder = settings.builder(OnnxRuntimeLibrary::load()?, true)?;
    let commit = || -> ort::Result<()> {
        builder
            .with_optimized_model_path(dir.join(OPTIMIZED_FILE))?
            .with_config_entry("session.optimized_model_external_initializers_file_name", OPTIMIZED_DATA)?
            .commit_from_file(dir.join(ONNX_FILE))?;
        Ok(())
    };
    commit().context("optimizing")
}

fn copy_if_there(from: &Path, to: &Path, name: &str) -> Result<()> {
    if from.join(name).is_file() { copy(from, to, name) } else { Ok(()) }
}

/// A copy, not a link: ONNX's checker takes a file of external data with two names for an attack. File systems that
/// can share the blocks do.
fn copy(from: &Path, to: &Path, name: &str) -> Result<()> {
    let (from, to) = (from.join(name), to.join(name));
    fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
