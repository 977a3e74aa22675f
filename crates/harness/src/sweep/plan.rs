//! The plan of a sweep: its cells in the order in which they are measured.

use indexmap::IndexMap;
use llama::cost::{Footprint, MemoryNeed, memory_need};
use llama::{LlamaConfig, TensorParallel};
use protocol::{CellKey, Dtype, Options, Ranks};

use crate::sweep::models::Model;
use crate::sweep::resolve::Sweep;
use crate::sweep::setup::Setup;
use crate::sweep::values::{CellOrder, Isolation, SweepRow};

/// One cell of a sweep, one replicate of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell<'a> {
    /// The model.
    pub model: &'a Model,
    /// The engine.
    pub engine: &'a str,
    /// Batch size.
    pub batch_size: u32,
    /// Prompt length in tokens.
    pub prompt_length: u32,
    /// Replicate, from 0.
    pub replicate: u32,
}

impl Cell<'_> {
    /// The key of the cell's records.
    pub fn key(&self, sweep: &Sweep) -> CellKey {
        let Setup { device, one_rank, ref ranks, .. } = sweep.setup;
        CellKey {
            model: self.model.name.clone(),
            precision: self.model.precision,
            device,
            ranks: Ranks { world_size: ranks.world_size, one_rank },
            engine: self.engine.to_owned(),
            batch_size: self.batch_size,
            prompt_length: self.prompt_length,
            generation_length: sweep.generation_length,
        }
    }

    /// Memory that the cell needs; with several ranks, that of each rank.
    pub fn memory_need(&self, sweep: &Sweep) -> MemoryNeed {
        let [batch, prompt, generation] =
            [self.batch_size, self.prompt_length, sweep.generation_length].map(u64::from);
        let (precision, device) = (self.model.precision, sweep.setup.device);
        let options = sweep.setup.options_of(self.engine);
        let footprint = footprint(self.engine, &options, precision.activations(device));
        memory_need(&self.rank_config(sweep), precision, device, [batch, prompt, generation], footprint)
    }

    /// The config of a rank's share of the model.
    pub(crate) fn rank_config(&self, sweep: &Sweep) -> LlamaConfig {
        let world_size = sweep.setup.ranks.world_size as usize;
        // A sweep is refused where a model can't be shared.
        TensorParallel::new(&self.model.config, 0, world_size)
            .map_or_else(|_| self.model.config.clone(), |rank| rank.config(&self.model.config))
    }

    /// The least time of the cell's forwards, warm-ups included, on a device that computes and reads this much a second.
    pub fn least_seconds(&self, sweep: &Sweep, flops_per_second: f64, bytes_per_second: f64) -> f64 {
        let [batch, prompt, generation] =
            [self.batch_size, self.prompt_length, sweep.generation_length].map(u64::from);
        let config = self.rank_config(sweep);
        let seconds = |new, past| {
            let flops = llama::cost::forward_flops(&config, batch, new, past, 1);
            let bytes = llama::cost::decode_read_bytes(&config, self.model.precision, batch, past);
            (flops / flops_per_second).max(bytes as f64 / bytes_per_second)
        };
        let procedure = &sweep.procedure;
        // A cell that stops early has at least so many.
        let fewest =
            |count: u32| if procedure.until.is_some() { count.min(procedure.min_runs) } else { count };
        let [warmups, prompts, generations] =
            [procedure.warmup_runs, fewest(procedure.prompt_runs), fewest(procedure.generations)]
                .map(f64::from);
        (warmups + prompts + generations) * seconds(prompt, 0)
            + (generations * generation as f64 + warmups) * seconds(1, prompt + generation / 2)
    }

    /// Floating-point operations of everything that the procedure runs for this cell.
    pub fn flops(&self, sweep: &Sweep) -> f64 {
        let [batch, prompt, generation] =
            [self.batch_size, self.prompt_length, sweep.generation_length].map(u64::from);
        let procedure = &sweep.procedure;
        let forward = |new, past| llama::cost::forward_flops(&self.model.config, batch, new, past, 1);
        let [warmups, prompts, generations] =
            [procedure.warmup_runs, procedure.prompt_runs, procedure.generations].map(f64::from);
        let prefills = warmups + prompts + generations + 1.0;
        let decodes = generations * generation as f64 + warmups;
        // Reading weights limits a decode forward, whatever the batch size: it counts as about four sequences' arithmetic.
        prefills * forward(prompt, 0)
            + decodes * forward(1, prompt + generation / 2) * (4.0 / batch as f64).max(1.0)
    }
}

/// All cells of a sweep in the order in which they are measured; see [`interleaved`].
pub fn plan(sweep: &Sweep) -> Vec<Cell<'_>> {
    interleaved(sweep, 1).into_iter().map(|(_, cell)| cell).collect()
}

/// All cells of `sides` runs of a sweep that are measured together. The order is model, replicate, precision, engine, side, and the
/// cells of one worker, from the outermost to the innermost. Where engines take turns, it is model, precision, size, replicate, engine
/// and side. Every other replicate visits precisions, engines and sides backwards (A B B A), so that a steady drift affects all of them
/// alike.
pub fn interleaved<'a>(sweep: &'a Sweep, sides: usize) -> Vec<(usize, Cell<'a>)> {
    let mut cells_in_order = Vec::new();
    for models in sweep.models.chunk_by(|one, next| one.name == next.name) {
        // Each round is measured before the next replicate begins, worker by worker.
        let mut rounds = Vec::new();
        if sweep.isolation == Isolation::Turn {
            for cells in models.iter().flat_map(|model| by_size(cells_of(sweep, model, 0), sweep)) {
                let round = |replicate| {
                    let worker = |cell: &Cell<'a>| vec![Cell { replicate, ..*cell }];
                    (replicate, cells.iter().map(worker).collect::<Vec<_>>())
                };
                rounds.extend((0..sweep.replicates).map(round));
            }
        } else {
            let round = |replicate| {
                let cells = models.iter().flat_map(|model| cells_of(sweep, model, replicate));
                (replicate, by_worker(&cells.collect::<Vec<_>>(), sweep))
            };
            rounds.extend((0..sweep.replicates).map(round));
        }
        for (replicate, workers) in rounds {
            let mut turns: Vec<(usize, &[Cell<'a>])> =
                workers.iter().flat_map(|cells| (0..sides).map(move |side| (side, &**cells))).collect();
            if replicate % 2 == 1 {
                turns.reverse();
            }
            for (side, cells) in turns {
                cells_in_order.extend(cells.iter().map(|cell| (side, *cell)));
            }
        }
    }
    cells_in_order
}

/// The cells of a model and replicate in the order of the table's rows.
fn cells_of<'a>(sweep: &'a Sweep, model: &'a Model, replicate: u32) -> Vec<Cell<'a>> {
    let cell =
        |(engine, batch_size, prompt_length)| Cell { model, engine, batch_size, prompt_length, replicate };
    rows(sweep).map(cell).collect()
}

/// The cells of each worker, shuffled if the sweep asks for it.
fn by_worker<'a>(rows: &[Cell<'a>], sweep: &Sweep) -> Vec<Vec<Cell<'a>>> {
    let workers = rows.chunk_by(|one, next| {
        let is_same = (one.engine, &one.model.label) == (next.engine, &next.model.label);
        is_same && sweep.isolation == Isolation::Engine
    });
    let mut workers: Vec<Vec<Cell<'a>>> = workers.map(<[Cell<'a>]>::to_vec).collect();
    if sweep.order == CellOrder::Shuffled {
        for cells in &mut workers {
            cells.sort_by_cached_key(|cell| draw(sweep.seed, cell));
        }
        if sweep.isolation == Isolation::Cell {
            workers.sort_by_cached_key(|cells| cells.first().map(|cell| draw(sweep.seed, cell)));
        }
    }
    workers
}

/// The cells of each size, one for each engine that takes turns. Sizes are shuffled if the sweep asks for it.
fn by_size<'a>(rows: Vec<Cell<'a>>, sweep: &Sweep) -> Vec<Vec<Cell<'a>>> {
    let mut sizes: IndexMap<(u32, u32), Vec<Cell<'a>>> = IndexMap::new();
    for cell in rows {
        sizes.entry((cell.batch_size, cell.prompt_length)).or_default().push(cell);
    }
    let mut sizes: Vec<Vec<Cell<'a>>> = sizes.into_values().collect();
    if sweep.order == CellOrder::Shuffled {
        sizes.sort_by_cached_key(|cells| draw(sweep.seed, &Cell { engine: "", ..cells[0] }));
    }
    sizes
}

/// A cell's place in a shuffled order. It depends on the seed and the cell alone.
fn draw(seed: u32, cell: &Cell<'_>) -> String {
    let Cell { model, engine, batch_size, prompt_length, replicate } = cell;
    let name = &model.label;
    llama::sha256_hex(format!("{seed} {name} {engine} {batch_size} {prompt_length} {replicate}").as_bytes())
}

/// Engine, batch size and prompt length of every row of a table.
fn rows(sweep: &Sweep) -> Box<dyn Iterator<Item = (&str, u32, u32)> + '_> {
    if let Some(rows) = &sweep.rows {
        return Box::new(rows.iter().map(|SweepRow(engine, batch, prompt)| (&**engine, *batch, *prompt)));
    }
    Box::new(sweep.engines.iter().flat_map(move |engine| {
        let sizes = sweep
            .batch_sizes
            .iter()
            .flat_map(|&batch| sweep.prompt_lengths.iter().map(move |&prompt| (batch, prompt)));
        sizes.map(move |(batch, prompt)| (&**engine, batch, prompt))
    }))
}

/// The footprint of an engine with these options, as far as it is known.
pub fn footprint(engine: &str, options: &Options, dtype: Dtype) -> Footprint {
    let is = |name: &str, word: &str| options.get(name).is_some_and(|value| value == word);
    Footprint {
        attention_scores: is("attention", "eager"),
        growing_cache: match engine {
            "onnxruntime" => is("kv_cache", "dynamic"),
            _ => engine.starts_with("pytorch") && !is("kv_cache", "static"),
        },
        all_logits: is("logits", "all"),
        kept_logit_bytes: if options.get("keep_outputs").is_none_or(|value| *value != true && value != "true")
        {
            0
        } else if engine == "onnxruntime" {
            // It keeps logits as they were computed; the other engines widen them.
            dtype.bytes()
        } else {
            Dtype::Fp32.bytes()
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Engines, QUICK_SWEEP};

    fn sweep(text: &str) -> Sweep {
        let settings = Sweep::settings(text, "a.toml", Path::new("")).unwrap();
        Sweep::resolve(&settings, &Engines::built_in()).unwrap()
    }

    #[test]
    fn every_other_replicate_is_in_reverse_order() {
        let text = QUICK_SWEEP.replace("[1, 4]", "[1]").replace("[16, 64, 256]", "[16, 64]");
        let text = format!("order = \"table\"\n{}", text.replace(", \"pytorch-compile\"", ""));
        let names = |text: &str, sides| {
            let sweep = sweep(text);
            let name = |(side, cell): (usize, Cell<'_>)| {
                format!("{}{}{side}.{}", &cell.engine[..1], cell.prompt_length, cell.replicate)
            };
            interleaved(&sweep, sides).into_iter().map(name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names(&format!("{text}\nreplicates = 2"), 1),
            "o160.0 o640.0 p160.0 p640.0 p160.1 p640.1 o160.1 o640.1"
        );
        assert_eq!(
            names(&format!("{text}\nreplicates = 2").replace(", 64]", "]"), 2),
            "o160.0 o161.0 p160.0 p161.0 p161.1 p160.1 o161.1 o160.1"
        );
        let cells = format!("isolation = \"cell\"\n{text}");
        assert_eq!(names(&cells, 2), "o160.0 o161.0 o640.0 o641.0 p160.0 p161.0 p640.0 p641.0");
        let turns = format!("isolation = \"turn\"\n{text}\nreplicates = 2");
        assert_eq!(names(&turns, 1), "o160.0 p160.0 p160.1 o160.1 o640.0 p640.0 p640.1 o640.1");
        assert_eq!(
            names(&turns.replace(", 64]", "]"), 2),
            "o160.0 o161.0 p160.0 p161.0 p161.1 p160.1 o161.1 o160.1"
        );
    }

    #[test]
    fn precisions_are_interleaved_replicate_by_replicate() {
        let text = QUICK_SWEEP.replace("[1, 4]", "[1]").replace("[16, 64, 256]", "[16]");
        let text = text
            .replace("\"onnxruntime\", \"pytorch-eager\", \"pytorch-compile\"", "\"onnxruntime\", \"mock\"");
        let text =
            text.replace("precision = \"fp32\"", "precision = [\"fp32\", \"int4\"]") + "\nreplicates = 2";
        let order = |text: &str| {
            let name = |cell: &Cell<'_>| {
                format!("{}.{}.{}", &cell.engine[..1], cell.model.precision, cell.replicate)
            };
            plan(&sweep(text)).iter().map(name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&text), "o.fp32.0 m.fp32.0 o.int4.0 m.int4.0 m.int4.1 o.int4.1 m.fp32.1 o.fp32.1");
        assert_eq!(
            order(&format!("isolation = \"turn\"\n{text}")),
            "o.fp32.0 m.fp32.0 m.fp32.1 o.fp32.1 o.int4.0 m.int4.0 m.int4.1 o.int4.1"
        );
    }

    #[test]
    fn sizes_are_shuffled_by_the_seed_without_loading_a_model_again() {
        let order = |text: &str| {
            let sweep = sweep(text);
            let name =
                |cell: &Cell<'_>| format!("{} {}x{}", cell.engine, cell.batch_size, cell.prompt_length);
            plan(&sweep).iter().map(name).collect::<Vec<_>>()
        };
        let table = order(&format!("order = \"table\"\n{QUICK_SWEEP}"));
        for isolation in ["engine", "cell", "turn"] {
            let text = format!("isolation = \"{isolation}\"\n{QUICK_SWEEP}");
            let shuffled = order(&text);
            assert_eq!(shuffled, order(&text));
            let sorted = |cells: &[String]| {
                let mut cells = cells.to_vec();
                cells.sort();
                cells
            };
            assert_eq!(sorted(&shuffled), sorted(&table));
            assert_ne!(shuffled, table);
            assert_ne!(shuffled, order(&format!("seed = 1\n{text}")), "{isolation}");
            let engines: Vec<&str> = shuffled.iter().map(|cell| cell.split(' ').next().unwrap()).collect();
            let changes = engines.windows(2).filter(|pair| pair[0] != pair[1]).count();
            match isolation {
                "engine" => assert_eq!(changes, 2, "each engine is loaded once"),
                "turn" => assert_eq!(changes, engines.len() - 1, "engines alternate"),
                _ => {}
            }
        }
    }

    #[test]
    fn the_longest_procedure_is_counted() {
        let most = u32::MAX;
        let text = QUICK_SWEEP.replace("warmup_runs = 3", &format!("warmup_runs = {most}"));
        let text = text.replace("prompt_runs = 10", "prompt_runs = 900000");
        let sweep = sweep(&text);
        let cell = plan(&sweep)[0];
        let forward = llama::cost::forward_flops(&cell.model.config, 1, 16, 0, 1);
        assert!(cell.flops(&sweep) > (f64::from(most) + 9e5) * forward);
    }
}
