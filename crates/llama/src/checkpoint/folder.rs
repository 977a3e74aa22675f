//! Reads a checkpoint's folder: the weights' file names, or what to do where none can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::CheckpointError;
use crate::{LARGEST_INDEX, from_python_json, read_text_up_to};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
const CONFIG_FILE: &str = "config.json";

/// The file that makes a folder an exported model: ONNX Runtime runs it as it is.
pub const ONNX_FILE: &str = "model.onnx";

/// The files of a tokenizer, each of which a checkpoint may have.
pub const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// Whether the folder has weights in safetensors files, or says that it should.
pub(super) fn has_weights(dir: &Path) -> bool {
    dir.join(SINGLE_FILE).exists() || dir.join(INDEX_FILE).exists()
}

/// The names of the files that weights are read from; those of [`ONNX_FILE`] and its data, too.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    let mut onnx: Vec<String> = names(dir).into_iter().filter(|name| name.starts_with(ONNX_FILE)).collect();
    if onnx.is_empty() || has_weights(dir) {
        onnx.extend(shard_names(dir)?);
    }
    onnx.sort();
    Ok(onnx)
}

/// The shards' file names, in order.
fn shard_names(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    Ok(shard_files(dir)?.0)
}

/// The shards' file names, in order, and the file of each tensor: from the index where there is one, else the single file alone.
pub(super) fn shard_files(dir: &Path) -> Result<(Vec<String>, BTreeMap<String, String>), CheckpointError> {
    let path = dir.join(INDEX_FILE);
    if dir.join(SINGLE_FILE).exists() {
        return Ok((vec![SINGLE_FILE.into()], BTreeMap::new()));
    }
    if !path.exists() {
        return Err(CheckpointError::File { path: dir.into(), why: why_no_weights(dir) });
    }
    let fail = |why: String| CheckpointError::File { path: path.clone(), why };
    let text = read_text_up_to(&path, LARGEST_INDEX).map_err(|error| fail(error.to_string()))?;
    let index = from_python_json(&text).map_err(|error| fail(error.to_string()))?;
    let map = index.get("weight_map").and_then(|map| map.as_object());
    let map =
        map.ok_or_else(|| fail("weight_map: expected an object of tensor names to file names".into()))?;
    let mut files = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().unwrap_or_default();
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
            return Err(fail(format!(
                "weight_map: {tensor}: expected the name of a file in this folder, found {file:?}"
            )));
        }
        files.insert(tensor.clone(), file.to_owned());
    }
    let names: BTreeSet<&str> = files.values().map(String::as_str).collect();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !dir.join(name).exists()).collect();
    match (names.len(), missing.first()) {
        (0, _) => Err(fail("weight_map: empty".into())),
        (all, Some(first)) => Err(fail(format!(
            "weight_map: {} of {all} files are missing, such as {first}: download them, too",
            missing.len()
        ))),
        _ => Ok((names.into_iter().map(Into::into).collect(), files)),
    }
}

/// The checkpoint's `config.json`.
///
/// # Errors
/// Fails where there is none, with what the folder is instead.
pub(super) fn config_file(dir: &Path) -> Result<PathBuf, CheckpointError> {
    let path = dir.join(CONFIG_FILE);
    if path.exists() || !dir.is_dir() {
        return Ok(path);
    }
    let snapshot = names(&dir.join("snapshots"))
        .into_iter()
        .map(|name| dir.join("snapshots").join(name))
        .find(|snapshot| snapshot.join(CONFIG_FILE).exists());
    let why = match (snapshot, advice(dir, &WHOLE_MODELS)) {
        (Some(snapshot), _) => {
            format!("a repository's folder in the hub's cache: its checkpoint is {}", snapshot.display())
        }
        (None, Some(other)) => format!("no {CONFIG_FILE}, but {other}"),
        (None, None) => format!("no {CONFIG_FILE}: expected a checkpoint in Hugging Face's format"),
    };
    Err(CheckpointError::File { path: dir.into(), why })
}

/// A file name, and what to do with a folder that has such a file in place of another.
type Advice = (fn(&str) -> bool, &'static str);

/// Formats that have no `config.json`.
const WHOLE_MODELS: [Advice; 3] = [
    (
        |name| name == "adapter_config.json" || name.starts_with("adapter_model."),
        "of an adapter: merge it with its base model (PEFT's `merge_and_unload`) and save that",
    ),
    (
        |name| name.starts_with("consolidated.") || name == "params.json",
        "of Meta's own format: transformers' convert_llama_weights_to_hf.py converts it",
    ),
    (|name| name.ends_with(".gguf"), "of llama.cpp's format: download the model in Hugging Face's format"),
];

/// Weights that are not read.
const WEIGHTS: [Advice; 5] = [
    (
        |name| name.ends_with(".safetensors") && name.contains("-of-"),
        "a part of several: download model.safetensors.index.json, too",
    ),
    (
        |name| name.ends_with(".safetensors"),
        "another name: rename it to model.safetensors if it holds all weights",
    ),
    (
        |name| name.starts_with("pytorch_model") && name.ends_with(".bin"),
        "pickled weights, which are not read: transformers converts them, with \
         AutoModelForCausalLM.from_pretrained(\"this folder\").save_pretrained(\"a new folder\")",
    ),
    (
        |name| name.ends_with(".h5") || name.ends_with(".msgpack"),
        "weights of TensorFlow or Flax: download the safetensors files",
    ),
    (
        |name| name == ONNX_FILE,
        "an exported graph, which engine onnxruntime alone can run: others need the checkpoint that it was made from",
    ),
];

fn why_no_weights(dir: &Path) -> String {
    let expected = format!("no {SINGLE_FILE} and no {INDEX_FILE}");
    match advice(dir, &WHOLE_MODELS).or_else(|| advice(dir, &WEIGHTS)) {
        Some(other) => format!("{expected}, but {other}"),
        None => format!("{expected}: download the weights, too"),
    }
}

/// The first file that one of `advice` is about, with what to do.
fn advice(dir: &Path, advice: &[Advice]) -> Option<String> {
    let names = names(dir);
    advice.iter().find_map(|(is_one, what)| {
        let name = names.iter().find(|name| is_one(name))?;
        Some(format!("{name}, {what}"))
    })
}

/// The names of what is in the folder, in order; links to nothing are left out.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries =
        std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().exists());
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn what_stands_there_in_place_of_weights_is_named_with_what_to_do() {
        for (files, words) in [
            (&[][..], "no model.safetensors and no model.safetensors.index.json: download the weights, too"),
            (
                &["pytorch_model.bin"],
                "but pytorch_model.bin, pickled weights, which are not read: transformers converts them",
            ),
            (
                &["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
                "but pytorch_model-00001-of-00002.bin, pickled",
            ),
            (
                &["model-00001-of-00002.safetensors"],
                "but model-00001-of-00002.safetensors, a part of several: download",
            ),
            (
                &["model.fp16.safetensors"],
                "but model.fp16.safetensors, another name: rename it to model.safetensors if it holds all",
            ),
            (
                &["adapter_model.safetensors", "adapter_config.json"],
                "but adapter_config.json, of an adapter: merge it",
            ),
            (
                &["consolidated.00.pth", "params.json"],
                "but consolidated.00.pth, of Meta's own format: transformers' convert",
            ),
            (&["q4.gguf"], "but q4.gguf, of llama.cpp's format: download the model in Hugging Face's format"),
            (&["model.onnx"], "but model.onnx, an exported graph, which engine onnxruntime alone can run"),
        ] {
            let dir = folder(files);
            let message = shard_names(dir.path()).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{}: no model.safetensors", dir.path().display())),
                "{message}"
            );
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_link_to_nothing_is_no_file() {
        let dir = folder(&[]);
        std::os::unix::fs::symlink("../../blobs/0f1e", dir.path().join("model.safetensors")).unwrap();
        let message = shard_names(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with("no model.safetensors.index.json: download the weights, too"), "{message}");
    }

    #[test]
    fn what_stands_there_in_place_of_a_config_is_named() {
        let message = |files: &[&str]| {
            let dir = folder(files);
            let message = config_file(dir.path()).unwrap_err().to_string();
            message.replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(message(&[]), "DIR: no config.json: expected a checkpoint in Hugging Face's format");
        assert_eq!(
            message(&["refs/main", "snapshots/0f1e/config.json"]),
            "DIR: a repository's folder in the hub's cache: its checkpoint is DIR/snapshots/0f1e"
        );
        assert!(
            message(&["consolidated.00.pth"]).starts_with("DIR: no config.json, but consolidated.00.pth")
        );
    }

    #[test]
    fn files_that_an_index_names_are_there() {
        let dir = folder(&["a.safetensors"]);
        let index = r#"{"metadata": {"total_size": NaN}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
        std::fs::write(dir.path().join(INDEX_FILE), index).unwrap();
        let message = shard_names(dir.path()).unwrap_err().to_string();
        let words = "weight_map: 1 of 2 files are missing, such as b.safetensors: download them, too";
        assert!(message.ends_with(words), "{message}");
        std::fs::write(dir.path().join("b.safetensors"), "").unwrap();
        assert_eq!(shard_names(dir.path()).unwrap(), ["a.safetensors", "b.safetensors"]);
    }

    #[test]
    fn a_model_is_its_weights_and_its_graph() {
        let files = |files: &[&str]| weight_files(folder(files).path()).ok();
        assert_eq!(files(&["model.safetensors", "x"]), Some(vec!["model.safetensors".into()]));
        assert_eq!(
            files(&["model.onnx", "model.onnx_data"]),
            Some(vec!["model.onnx".into(), "model.onnx_data".into()])
        );
        assert_eq!(files(&["model.onnx", "model.safetensors"]).map(|files| files.len()), Some(2));
        assert_eq!(files(&["config.json"]), None);
    }
}
