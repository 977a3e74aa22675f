//! A run's records as tables: one a model, the rows in the order in which the cells were asked for.

use protocol::{
    CellSize, CollectiveShares, Device, Environment, Measurement, Outcome, Phase, Precision, Verification,
};

mod efficiency;
mod figures;
mod gpu_notes;
mod heading;
mod notes;

pub use efficiency::{Efficiency, Grid, GridColumn};
pub use figures::{COLUMNS, Figures};
pub use heading::{Machine, heading};

use crate::format_g10;
use efficiency::Scale;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The engine.
    pub engine: String,
    /// Sequences at once.
    pub batch_size: u32,
    /// Tokens of the prompt.
    pub prompt_length: u32,
    /// How it ended; of several replicates, the first that did not end well.
    pub outcome: Outcome,
    /// Where it ended, when not well.
    pub phase: Option<Phase>,
    /// What was reported, when not well.
    pub error: Option<String>,
    /// Its figures, when all replicates ended well.
    pub figures: Option<Figures>,
    /// How much of the device it made use of.
    pub efficiency: Efficiency,
    /// Replicates.
    pub replicates: usize,
    /// The most memory that a replicate held.
    pub peak_bytes: Option<u64>,
    /// The hash of its greedy tokens.
    pub tokens_sha256: Option<String>,
    /// The cell whose end this one repeats, where it was not tried itself.
    pub inferred_from: Option<CellSize>,
    /// Of several ranks: the share of the time in collectives, where that was measured.
    pub collectives: Option<CollectiveShares>,
    /// What is to be said of its GPU's clocks and memory, one line each.
    pub gpu_notes: Vec<String>,
    /// What its workers said of how they built the model, each once.
    pub engine_notes: Vec<String>,
    /// The parts of the run that its replicates belong to, from 1, each once.
    pub parts: Vec<u32>,
}

impl Row {
    fn of(replicates: &[&Measurement], scale: Option<&Scale<'_>>) -> Self {
        let first = replicates[0];
        let bad = replicates.iter().find(|record| record.outcome != Outcome::Ok);
        // What was measured otherwise is not averaged.
        let is_one = bad.is_none() && parts_of(replicates).len() == 1;
        let figures = if is_one { Figures::of(replicates) } else { None };
        Self {
            engine: first.engine.clone(),
            batch_size: first.batch_size,
            prompt_length: first.prompt_length,
            outcome: bad.map_or(Outcome::Ok, |record| record.outcome),
            phase: bad.and_then(|record| record.phase),
            error: bad.and_then(|record| record.error.clone()),
            efficiency: figures
                .as_ref()
                .map(|figures| Efficiency::of(replicates, figures, scale))
                .unwrap_or_default(),
            figures,
            replicates: replicates.len(),
            peak_bytes: replicates.iter().filter_map(|record| record.memory.peak_bytes).max(),
            tokens_sha256: first.tokens_sha256.clone(),
            collectives: first.collectives,
            gpu_notes: gpu_notes::of(replicates),
            engine_notes: engine_notes_of(replicates),
            inferred_from: bad.and_then(|record| record.inferred_from),
            parts: parts_of(replicates),
        }
    }

    /// How notes name the cell.
    pub(crate) fn cell_name(&self) -> String {
        format!("{}×{}", self.batch_size, self.prompt_length)
    }

    /// The eight figures as the documents print them: `%.10g`, or what happened instead.
    pub fn texts(&self) -> [String; 8] {
        match &self.figures {
            Some(figures) => figures.columns().map(|figure| figure.map_or_else(|| "N/A".into(), format_g10)),
            None => [(); 8].map(|()| self.outcome_text().to_owned()),
        }
    }

    /// What stands in the columns of a cell that has no figures.
    pub fn outcome_text(&self) -> &'static str {
        outcome_text(self.outcome)
    }
}

/// What tables print of a cell that has no figures.
pub fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "N/A",
        Outcome::OutOfMemory => "OOM",
        Outcome::TimedOut => "TIMEOUT",
        Outcome::Crashed => "CRASHED",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "SKIPPED",
    }
}

fn parts_of(replicates: &[&Measurement]) -> Vec<u32> {
    let mut parts: Vec<u32> = replicates.iter().map(|record| record.part).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

fn engine_notes_of(replicates: &[&Measurement]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in replicates.iter().flat_map(|record| &record.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes
}

/// The table of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `LLaMA-2 7B FP16 CUDA (1 A100 80GB)`.
    pub heading: String,
    /// The model's name in the records.
    pub model: String,
    /// Decode forwards of a generation.
    pub generation_length: u32,
    /// The ranks of which it is rank 0's part alone; `None` where the whole model was measured.
    pub one_rank_of: Option<u32>,
    /// The cells.
    pub rows: Vec<Row>,
    /// What the shares of [`Efficiency`] are of, in words; `None` where it was not measured.
    pub scale: Option<String>,
    /// What a reader must know of them, one line each.
    pub notes: Vec<String>,
    /// What the engines' workers said of how they built the model, a line for each engine.
    pub engine_notes: Vec<String>,
}

impl Table {
    /// What stands under the table, one line each.
    pub fn all_notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().chain(&self.engine_notes).map(String::as_str)
    }
}

/// Groups a run's records into tables; `environments` are those of the run's parts. Models, and cells within them, keep
/// the order of their first record.
pub fn tables(
    records: &[Measurement],
    verifications: &[Verification],
    environments: &[Environment],
) -> Vec<Table> {
    type Key<'a> = (&'a str, Precision, Device, (u32, bool), u32);
    let mut groups: Vec<(Key<'_>, Vec<&Measurement>)> = Vec::new();
    for record in records {
        let Measurement { precision, device, world_size, one_rank, generation_length, .. } = *record;
        let key = (record.model.as_str(), precision, device, (world_size, one_rank), generation_length);
        push_grouped(&mut groups, key, record);
    }
    let table = |(key, records): (Key<'_>, Vec<&Measurement>)| {
        let (model, precision, device, ranks, generation_length) = key;
        let one_rank_of = records[0].one_rank_of();
        let machine =
            environments.get((records[0].part as usize).wrapping_sub(1)).map(Machine::of).unwrap_or_default();
        let mut cells = Vec::new();
        for &record in &records {
            push_grouped(
                &mut cells,
                (record.engine.as_str(), record.batch_size, record.prompt_length),
                record,
            );
        }
        // Ceilings are measured at the beginning of a run: its parts are of one machine, or told apart below the table.
        // On a CPU ranks share the one processor, and a rank alone has one device.
        let devices = if device == Device::Cpu || one_rank_of.is_some() { 1 } else { ranks.0 };
        let scale =
            environments.iter().find_map(|one| Scale::of(one, model, precision, devices, one_rank_of));
        let rows: Vec<Row> =
            cells.iter().map(|(_, replicates)| Row::of(replicates, scale.as_ref())).collect();
        Table {
            heading: heading(model, precision, device, ranks, &machine),
            model: model.to_owned(),
            generation_length,
            one_rank_of,
            scale: scale.as_ref().map(|scale| scale.words(&rows)),
            notes: notes::of_table(
                &rows,
                &records,
                verifications.iter().filter(|one| one.model == model),
                environments,
                records[0].part,
            ),
            engine_notes: notes::of_engines(&rows),
            rows,
        }
    };
    groups.into_iter().map(table).collect()
}

fn push_grouped<'a, K: PartialEq>(
    groups: &mut Vec<(K, Vec<&'a Measurement>)>,
    key: K,
    record: &'a Measurement,
) {
    match groups.iter_mut().find(|(other, _)| *other == key) {
        Some((_, members)) => members.push(record),
        None => groups.push((key, vec![record])),
    }
}
