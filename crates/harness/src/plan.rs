//! The cells of a sweep, in the order of the tables' rows.

use llama::cost::{Footprint, MemoryNeed, memory_need};
use protocol::Options;

use crate::{Model, Sweep, SweepRow};

/// One cell of a sweep, one replicate of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell<'a> {
    /// The model.
    pub model: &'a Model,
    /// The engine.
    pub engine: &'a str,
    /// Sequences at once.
    pub batch_size: u32,
    /// Tokens of the prompt.
    pub prompt_length: u32,
    /// Which repetition, from 0.
    pub replicate: u32,
}

impl Cell<'_> {
    /// What the cell will need in memory.
    pub fn memory_need(&self, sweep: &Sweep) -> MemoryNeed {
        let [batch, prompt, generation] =
            [self.batch_size, self.prompt_length, sweep.generation_length].map(u64::from);
        let footprint = footprint(self.engine, &sweep.setup.options_of(self.engine));
        memory_need(&self.model.config, sweep.setup.precision, batch, prompt, generation, footprint)
    }

    /// Floating-point operations of everything that the procedure has this cell run.
    pub fn flops(&self, sweep: &Sweep) -> f64 {
        let [batch, prompt, generation] =
            [self.batch_size, self.prompt_length, sweep.generation_length].map(u64::from);
        let procedure = &sweep.procedure;
        let forward = |new, past| llama::cost::forward_flops(&self.model.config, batch, new, past, 1);
        let [warmups, prompts, generations] =
            [procedure.warmup_runs, procedure.prompt_runs, procedure.generations].map(f64::from);
        let prefills = warmups + prompts + generations + 1.0;
        let decodes = generations * generation as f64 + warmups;
        // A decode forward is bound by reading weights, whatever the batch: about four sequences' worth of arithmetic.
        prefills * forward(prompt, 0)
            + decodes * forward(1, prompt + generation / 2) * (4.0 / batch as f64).max(1.0)
    }
}

/// Every cell: model, replicate, engine, batch size, prompt length, from the outermost to the innermost; or the rows in
/// their order in place of the last three.
pub fn plan(sweep: &Sweep) -> Vec<Cell<'_>> {
    let mut cells = Vec::new();
    for model in &sweep.models {
        for replicate in 0..sweep.replicates {
            if let Some(rows) = &sweep.rows {
                cells.extend(rows.iter().map(|SweepRow(engine, batch_size, prompt_length)| Cell {
                    model,
                    engine,
                    batch_size: *batch_size,
                    prompt_length: *prompt_length,
                    replicate,
                }));
                continue;
            }
            for engine in &sweep.engines {
                for &batch_size in &sweep.batch_sizes {
                    for &prompt_length in &sweep.prompt_lengths {
                        cells.push(Cell { model, engine, batch_size, prompt_length, replicate });
                    }
                }
            }
        }
    }
    cells
}

/// What is known of how an engine with these options holds what it computes with.
pub fn footprint(engine: &str, options: &Options) -> Footprint {
    let is = |name: &str, word: &str| options.get(name).is_some_and(|value| value == word);
    Footprint {
        attention_scores: is("attention", "eager"),
        growing_cache: match engine {
            "onnxruntime" => is("kv_cache", "dynamic"),
            _ => engine.starts_with("pytorch") && !is("kv_cache", "static"),
        },
        all_logits: is("logits", "all"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Engines, QUICK_SWEEP};

    #[test]
    fn the_longest_procedure_is_counted() {
        let most = u32::MAX;
        let text = QUICK_SWEEP.replace("warmup_runs = 3", &format!("warmup_runs = {most}"));
        let text = text.replace("prompt_runs = 10", &format!("prompt_runs = {most}"));
        let settings = Sweep::settings(&text, "a.toml", Path::new("")).unwrap();
        let sweep = Sweep::resolve(settings, &Engines::built_in()).unwrap();
        let cell = plan(&sweep)[0];
        let forward = llama::cost::forward_flops(&cell.model.config, 1, 16, 0, 1);
        assert!(cell.flops(&sweep) > 2.0 * f64::from(most) * forward);
    }
}
