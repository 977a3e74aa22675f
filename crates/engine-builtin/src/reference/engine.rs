//! The reference as a worker's engine.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use llama::Weights;
use protocol::{Device, Hello, Library, LoadRequest, Loaded, PROTOCOL, UsableDevice};
use worker::{Engine, Prompt, Reporter, unknown_options};

use crate::model::{Cache, ReferenceModel};

/// Runs [`ReferenceModel`] over a batch, one row after the other.
#[derive(Default)]
pub(crate) struct Reference {
    model: Option<ReferenceModel>,
    prompt: Option<Prompt>,
    caches: Vec<Cache>,
    /// Each row's last logits.
    logits: Vec<Vec<f64>>,
    /// Each row's tokens since reset.
    selected: Vec<Vec<u32>>,
}

impl Reference {
    fn model(&self) -> Result<&ReferenceModel> {
        self.model.as_ref().context("no model is loaded")
    }

    fn prompt(&self) -> Result<&Prompt> {
        self.prompt.as_ref().context("no cell has begun")
    }
}

impl Engine for Reference {
    fn hello(&mut self) -> Hello {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Hello {
            protocol: PROTOCOL,
            engine: "reference".into(),
            libraries: vec![Library { name: "reference".into(), version, path: None }],
            devices: vec![UsableDevice { device: "cpu".into(), unusable: None }],
            options: BTreeMap::new(),
            virtual_clock: false,
            tensor_parallel: false,
            device_memory_limit: false,
            one_rank: false,
            ranks: Vec::new(),
        }
    }

    /// The precision asked for rounds the weights, or quantizes them; arithmetic is in `f64` whatever it is.
    fn load(&mut self, request: &LoadRequest, _: &Reporter) -> Result<Loaded> {
        ensure!(request.device == Device::Cpu, "the reference runs on cpu, not on {}", request.device);
        unknown_options(&request.options, &[])?;
        let weights = Weights::open(&request.model)?.in_precision(request.precision)?;
        let weights_bytes = llama::cost::weights_bytes(weights.config(), protocol::Precision::Fp32);
        self.model = Some(ReferenceModel::new(&weights, request.precision.unquantized()));
        Ok(Loaded { weights_bytes, notes: vec!["plain Rust in double precision".into()] })
    }

    fn vocab_size(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.vocab_size)
    }

    fn max_position_embeddings(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.config.max_position_embeddings)
    }

    fn begin(&mut self, prompt: &Prompt, _generation_length: usize) -> Result<()> {
        self.prompt = Some(prompt.clone());
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        let batch_size = self.prompt()?.batch_size;
        let config = &self.model()?.config;
        self.caches = (0..batch_size).map(|_| Cache::new(config)).collect();
        self.selected = vec![Vec::new(); batch_size];
        self.logits = Vec::new();
        Ok(())
    }

    fn prefill(&mut self) -> Result<()> {
        let model = self.model.as_ref().context("no model is loaded")?;
        let prompt = self.prompt.as_ref().context("no cell has begun")?;
        let rows = prompt.ids.chunks(prompt.length).zip(&mut self.caches);
        self.logits = rows
            .map(|(row, cache)| {
                let hidden = row.iter().map(|&id| model.forward(id as usize, cache)).last();
                model.logits(&hidden.unwrap_or_default())
            })
            .collect();
        Ok(())
    }

    fn select(&mut self) -> Result<()> {
        for (row, logits) in self.selected.iter_mut().zip(&self.logits) {
            row.push(argmax(logits));
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        let model = self.model.as_ref().context("no model is loaded")?;
        let rows = self.selected.iter().zip(&mut self.caches);
        self.logits = rows
            .map(|(row, cache)| {
                let token = *row.last().context("decode before select")?;
                Ok(model.logits(&model.forward(token as usize, cache)))
            })
            .collect::<Result<_>>()?;
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        Ok(self.selected.clone())
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        Ok(self.logits.iter().flatten().map(|&logit| logit as f32).collect())
    }

    fn kv_cache_bytes(&self) -> Option<u64> {
        Some(self.caches.iter().map(|cache| cache.bytes() as u64).sum())
    }

    fn end(&mut self) -> Result<()> {
        self.caches = Vec::new();
        self.prompt = None;
        Ok(())
    }
}

/// The lowest id among the most probable.
fn argmax(logits: &[f64]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use protocol::{Options, Precision};

    use super::*;

    #[test]
    fn tokens_match_transformers_and_logits_are_within_tolerance() {
        for name in testing::parity::FIXTURES {
            let mut engine = Reference::default();
            let tolerance = testing::parity::FP32_TOLERANCE;
            let error = testing::parity::check(&mut engine, name, Precision::Fp32, Options::new(), tolerance)
                .unwrap();
            println!("{name}: largest error of a logit {error:e}");
        }
    }
}
