//! Tensor parallelism: which part of a model each rank holds (Shoeybi et al. 2019, Megatron-LM, section 3).
//!
//! The projections into attention heads and into the MLP's width (`q`, `k`, `v`, `gate`, `up`) are split by their outputs: rows
//! of HF's `[out, in]`, which lie together in a checkpoint. Those back into the residual stream (`o`, `down`) are split by
//! their inputs: columns. What the ranks compute with these are terms of a sum, so an all-reduce follows each: two a layer.
//! Norms, embedding and head are on every rank.

use std::ops::Range;

use crate::{LlamaConfig, WeightSpec};

/// A rank among those that share a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorParallel {
    rank: usize,
    world_size: usize,
}

/// A model that can't be split like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("world_size {world_size}: {why}")]
pub struct WorldSizeError {
    world_size: usize,
    why: String,
}

/// The part of a weight that a rank holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightPart {
    /// All of it.
    Whole,
    /// These rows, dimension 0: one range of a checkpoint's bytes.
    Rows(Range<usize>),
    /// These columns, dimension 1.
    Columns(Range<usize>),
}

impl WorldSizeError {
    /// The reason, without the world size.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl TensorParallel {
    /// One rank that holds everything.
    pub const ALONE: Self = Self { rank: 0, world_size: 1 };

    /// Rank `rank` of `world_size`, of a model of `config`.
    ///
    /// # Errors
    /// Fails where the model can't be split evenly.
    pub fn new(config: &LlamaConfig, rank: usize, world_size: usize) -> Result<Self, WorldSizeError> {
        let error = |why: String| Err(WorldSizeError { world_size, why });
        if rank >= world_size {
            return error(format!("there is no rank {rank}"));
        }
        for (name, size) in [
            ("num_key_value_heads", config.num_key_value_heads),
            ("intermediate_size", config.intermediate_size),
        ] {
            if size % world_size != 0 {
                return error(format!("{name} ({size}) can't be split evenly: {}", possible(config)));
            }
        }
        Ok(Self { rank, world_size })
    }

    /// The config of what one process computes: rank 0 of `ranks` ranks, or the whole model.
    ///
    /// # Errors
    /// Fails where the model can't be split evenly.
    pub fn first_of(config: &LlamaConfig, ranks: Option<u32>) -> Result<LlamaConfig, WorldSizeError> {
        Ok(Self::new(config, 0, ranks.unwrap_or(1) as usize)?.config(config))
    }

    /// Which of the ranks, from 0.
    pub fn rank(self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn world_size(self) -> usize {
        self.world_size
    }

    /// The model that a rank computes: its share of the heads and of the MLP's width.
    pub fn config(self, whole: &LlamaConfig) -> LlamaConfig {
        LlamaConfig {
            num_attention_heads: whole.num_attention_heads / self.world_size,
            num_key_value_heads: whole.num_key_value_heads / self.world_size,
            intermediate_size: whole.intermediate_size / self.world_size,
            ..whole.clone()
        }
    }

    /// Which part of the weight `spec`, in the whole model's shape, this rank holds.
    pub fn part(self, spec: &WeightSpec) -> WeightPart {
        let share = |size: usize| {
            let each = size / self.world_size;
            self.rank * each..(self.rank + 1) * each
        };
        if self.world_size == 1 {
            return WeightPart::Whole;
        }
        let module = spec.name.rsplit('.').nth(1).unwrap_or_default();
        match module {
            "q_proj" | "k_proj" | "v_proj" | "gate_proj" | "up_proj" => {
                WeightPart::Rows(share(spec.shape[0]))
            }
            "o_proj" | "down_proj" => WeightPart::Columns(share(spec.shape[1])),
            _ => WeightPart::Whole,
        }
    }
}

/// The world sizes that a model of `config` can have.
fn possible(config: &LlamaConfig) -> String {
    let divides = |size: &usize| {
        config.num_key_value_heads.is_multiple_of(*size) && config.intermediate_size.is_multiple_of(*size)
    };
    let sizes: Vec<String> =
        (1..=config.num_key_value_heads).filter(divides).map(|size| size.to_string()).collect();
    format!("this model can have {}", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use protocol::{Dtype, ModelSource};
    use serde_json::json;

    use super::*;
    use crate::{WeightData, WeightKind, Weights, weight_specs, write_checkpoint};

    fn config_json() -> serde_json::Value {
        json!({
            "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 64,
        })
    }

    fn config() -> LlamaConfig {
        LlamaConfig::from_json(&config_json(), "config.json").unwrap()
    }

    fn seeded() -> ModelSource {
        ModelSource::Seeded { config: config_json(), seed: 5 }
    }

    #[test]
    fn impossible_world_sizes_are_refused_with_the_reason() {
        let error = |rank, size| TensorParallel::new(&config(), rank, size).unwrap_err().to_string();
        assert_eq!(
            error(0, 3),
            "world_size 3: num_key_value_heads (4) can't be split evenly: this model can have 1, 2, 4"
        );
        assert_eq!(
            error(0, 8),
            "world_size 8: num_key_value_heads (4) can't be split evenly: this model can have 1, 2, 4"
        );
        assert_eq!(error(2, 2), "world_size 2: there is no rank 2");
        assert_eq!(error(0, 0), "world_size 0: there is no rank 0");
        let odd = LlamaConfig { intermediate_size: 26, ..config() };
        assert_eq!(
            TensorParallel::new(&odd, 0, 4).unwrap_err().to_string(),
            "world_size 4: intermediate_size (26) can't be split evenly: this model can have 1, 2"
        );
    }

    #[test]
    fn every_published_model_can_be_split_as_far_as_it_has_heads() {
        for (text, most) in [
            (include_str!("../../../configs/models/llama2-7b.json"), 32),
            (include_str!("../../../configs/models/llama2-70b.json"), 8),
            (include_str!("../../../configs/models/tinyllama-1.1b.json"), 4),
        ] {
            let config = LlamaConfig::parse(text, "config.json").unwrap();
            let sizes = (0..).map(|power| 1 << power).take_while(|size| *size <= most);
            assert!(sizes.into_iter().all(|size| TensorParallel::new(&config, size - 1, size).is_ok()));
            assert!(TensorParallel::new(&config, 0, 2 * most).is_err());
        }
    }

    /// The parts of all ranks put together again.
    fn joined(parts: &[Vec<f32>], part: &WeightPart, shape: &[usize]) -> Vec<f32> {
        match part {
            WeightPart::Whole => parts[0].clone(),
            WeightPart::Rows(_) => parts.concat(),
            WeightPart::Columns(columns) => (0..shape[0])
                .flat_map(|row| {
                    parts.iter().flat_map(move |part| &part[row * columns.len()..(row + 1) * columns.len()])
                })
                .copied()
                .collect(),
        }
    }

    fn check_parts(source: &ModelSource, dtype: Dtype) {
        let whole = Weights::open(source).unwrap();
        for world_size in [1, 2, 4] {
            let ranks: Vec<Weights> =
                (0..world_size).map(|rank| Weights::open_part(source, rank, world_size).unwrap()).collect();
            for (index, spec) in whole.specs().iter().enumerate() {
                let parts: Vec<Vec<f32>> = ranks
                    .iter()
                    .map(|rank| {
                        let spec = rank.specs().swap_remove(index);
                        let weight = rank.get(&spec, dtype);
                        assert_eq!(weight.bytes().len() as u64, spec.len() as u64 * dtype.bytes());
                        weight.to_f32()
                    })
                    .collect();
                let part = TensorParallel::new(&config(), 0, world_size).unwrap().part(spec);
                assert_eq!(part == WeightPart::Whole, world_size == 1 || parts[0].len() == spec.len());
                let values = whole.get(spec, dtype).to_f32();
                assert_eq!(joined(&parts, &part, &spec.shape), values, "{} of {world_size}", spec.name);
            }
        }
    }

    #[test]
    fn joined_weights_are_one_after_the_other_on_every_rank() {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&Weights::open(&seeded()).unwrap(), protocol::Precision::Fp16, dir.path()).unwrap();
        for source in [seeded(), ModelSource::Checkpoint { dir: dir.path().into() }] {
            for (rank, world_size) in [(0, 1), (1, 2), (3, 4)] {
                let weights = Weights::open_part(&source, rank, world_size).unwrap();
                // Rows, columns and a whole one.
                let wanted = ["q_proj", "v_proj", "o_proj", "input_layernorm"];
                let is_wanted = |spec: &WeightSpec| wanted.iter().any(|name| spec.name.contains(name));
                let specs: Vec<WeightSpec> = weights.specs().into_iter().filter(is_wanted).collect();
                for dtype in [Dtype::Fp16, Dtype::Fp32] {
                    let each = specs.iter().flat_map(|spec| weights.get(spec, dtype).bytes().to_vec());
                    let expected: Vec<u8> = each.collect();
                    assert_eq!(weights.joined(&specs, dtype).bytes(), expected);
                }
            }
        }
    }

    #[test]
    fn the_parts_of_all_ranks_are_the_weight() {
        check_parts(&seeded(), Dtype::Fp32);
        check_parts(&seeded(), Dtype::Fp16);
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&Weights::open(&seeded()).unwrap(), protocol::Precision::Fp16, dir.path()).unwrap();
        let stored = ModelSource::Checkpoint { dir: dir.path().into() };
        for dtype in [Dtype::Fp16, Dtype::Fp32, Dtype::Bf16] {
            check_parts(&stored, dtype);
        }
    }

    #[test]
    fn rows_of_a_checkpoint_are_used_in_place_and_columns_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&Weights::open(&seeded()).unwrap(), protocol::Precision::Fp32, dir.path()).unwrap();
        let stored = ModelSource::Checkpoint { dir: dir.path().into() };
        let weights = Weights::open_part(&stored, 1, 2).unwrap();
        let files = weights.files();
        for spec in weights.specs() {
            let columns = spec.name.contains("o_proj") || spec.name.contains("down_proj");
            assert_eq!(weights.is_stored(&spec, Dtype::Fp32), !columns, "{}", spec.name);
            assert!(!weights.is_stored(&spec, Dtype::Fp16), "{}", spec.name);
            match weights.get(&spec, Dtype::Fp32).data {
                WeightData::Stored { stored, bytes } => {
                    assert!(!columns, "{}", spec.name);
                    let file = files[stored.shard].bytes();
                    assert_eq!(&file[stored.offset..stored.offset + stored.len], bytes);
                    assert!(file.as_ptr_range().contains(&bytes.as_ptr()), "{}", spec.name);
                }
                WeightData::Made(_) => assert!(columns, "{}", spec.name),
            }
        }
    }

    #[test]
    fn ranks_hold_their_share_of_the_projections_and_all_of_the_rest() {
        let config = config();
        for world_size in [2, 4] {
            let part = TensorParallel::new(&config, 0, world_size).unwrap();
            let bytes = |config: &LlamaConfig, projections: bool| -> usize {
                let specs = weight_specs(config).into_iter();
                let is_projection =
                    |spec: &WeightSpec| spec.kind == WeightKind::Linear && spec.name != crate::LM_HEAD;
                specs.filter(|spec| is_projection(spec) == projections).map(|spec| spec.len()).sum()
            };
            let of_rank = part.config(&config);
            assert_eq!(bytes(&of_rank, true) * world_size, bytes(&config, true));
            assert_eq!(bytes(&of_rank, false), bytes(&config, false));
        }
    }
}
