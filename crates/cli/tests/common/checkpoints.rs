//! Checkpoints made for tests: the variants of `fixtures/variants.json`, which `scripts/make_fixtures.py` asked transformers about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llama::{from_python_json, to_python_json};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// One way to store `tiny-f16`.
pub(crate) struct Variant {
    pub(crate) name: String,
    steps: Value,
    pub(crate) prompt_ids: Value,
    /// Those that transformers chooses.
    pub(crate) tokens: Value,
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name).canonicalize().unwrap()
}

pub(crate) fn variants() -> Vec<Variant> {
    let text = std::fs::read_to_string(fixture("variants.json")).unwrap();
    let variants = from_python_json(&text).unwrap();
    let variant = |variant: &Value| Variant {
        name: variant["name"].as_str().unwrap().into(),
        steps: variant["steps"].clone(),
        prompt_ids: variant["prompt_ids"].clone(),
        tokens: variant["tokens"].clone(),
    };
    variants.as_array().unwrap().iter().map(variant).collect()
}

/// A tensor of FP16: shape and bytes.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

/// The tensors of `tiny-f16`.
pub(crate) fn tensors() -> Tensors {
    let bytes = std::fs::read(fixture("tiny-f16").join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let tensor =
        |(name, view): (String, TensorView<'_>)| (name, (view.shape().to_vec(), view.data().to_vec()));
    stored.tensors().into_iter().map(tensor).collect()
}

/// The config of `tiny-f16`.
pub(crate) fn config() -> Value {
    let text = std::fs::read_to_string(fixture("tiny-f16").join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Writes a checkpoint into `dir`, which is made.
pub(crate) fn write(dir: &Path, config: &Value, tensors: &Tensors) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("config.json"), to_python_json(config)).unwrap();
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(safetensors::Dtype::F16, shape.clone(), bytes).unwrap())
    });
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

impl Variant {
    /// Writes it into `dir`. The steps are those of `VARIANT_STEPS` in the script.
    pub(crate) fn write(&self, dir: &Path) {
        let object = |step: &str| self.steps[step].as_object().cloned().unwrap_or_default();
        let list = |step: &str| self.steps[step].as_array().cloned().unwrap_or_default();
        let text = |step: &str| self.steps[step].as_str().unwrap_or_default().to_owned();
        let mut config = config();
        for (key, value) in object("set") {
            config[key] = value;
        }
        for key in list("remove") {
            config.as_object_mut().unwrap().remove(key.as_str().unwrap());
        }
        let mut stored = tensors();
        for (new, old) in object("copy") {
            let tensor = stored[old.as_str().unwrap()].clone();
            stored.insert(new, tensor);
        }
        let dropped = list("drop");
        let renames = object("rename");
        let (strip, add) = (text("strip_prefix"), text("add_prefix"));
        let mut tensors: Tensors = stored
            .into_iter()
            .filter(|(name, _)| !dropped.iter().any(|dropped| dropped == name))
            .map(|(name, tensor)| {
                let name = renames.get(&name).and_then(Value::as_str).unwrap_or(&name);
                (add.clone() + name.strip_prefix(&strip).unwrap_or(name), tensor)
            })
            .collect();
        for (name, filling) in object("fill") {
            let sizes = filling[0].as_array().unwrap().iter();
            let shape: Vec<usize> = sizes.map(|size| size.as_u64().unwrap() as usize).collect();
            let value = half::f16::from_f64(filling[1].as_f64().unwrap()).to_le_bytes();
            tensors.insert(name, (shape.clone(), value.repeat(shape.iter().product())));
        }
        write(dir, &config, &tensors);
    }
}
