//! A row of a table: a cell, its records, and what they say.

use indexmap::IndexSet;
use protocol::{CellFailure, CellKey, CollectiveShares, Environment, FailureKind, Measurement};

use super::efficiency::{Efficiency, Scale};
use super::figures::Figures;
use crate::{Column, format_g10};

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The cell.
    pub key: CellKey,
    /// Its records, in the order in which they were measured; at least one.
    pub replicates: Vec<Measurement>,
    /// Its figures, where all replicates were measured, and in the same part of the run.
    pub figures: Option<Figures>,
    /// How much of the device it used.
    pub efficiency: Efficiency,
    /// Whether its engine's latencies are scripted, on a virtual clock, and none was measured.
    pub is_scripted: bool,
}

impl Row {
    pub(super) fn new(
        key: CellKey,
        replicates: Vec<Measurement>,
        environments: &[Environment],
        scale: Option<&Scale<'_>>,
    ) -> Self {
        let is_scripted = replicates.iter().any(|record| {
            let environment = environments.get((record.part as usize).wrapping_sub(1));
            let hello = environment.and_then(|environment| environment.engines.get(&key.engine));
            hello.is_some_and(|hello| hello.virtual_clock)
        });
        let mut row = Self { key, replicates, figures: None, efficiency: Efficiency::default(), is_scripted };
        // What was measured differently is not averaged.
        if row.parts().len() == 1 {
            row.figures = Figures::new(&row.replicates);
        }
        if let Some(figures) = &row.figures {
            row.efficiency = Efficiency::new(&row.replicates, figures, scale);
        }
        row
    }

    /// Why it was not measured: the first replicate that was not; `None` where all were.
    pub fn failure(&self) -> Option<&CellFailure> {
        self.replicates.iter().find_map(Measurement::failure)
    }

    /// Whether it was not measured because memory ran out.
    pub fn is_out_of_memory(&self) -> bool {
        self.failure().is_some_and(|failure| failure.kind == FailureKind::OutOfMemory)
    }

    /// How it ended: `ok`, or the failure's word.
    pub fn outcome_word(&self) -> &'static str {
        self.failure().map_or("ok", |failure| failure.kind.word())
    }

    /// What stands in the columns of a cell that has no figures.
    pub fn outcome_text(&self) -> &'static str {
        self.failure().map_or("N/A", |failure| failure.kind.table_word())
    }

    /// The published figures as text: `%.10g`, or what happened instead.
    pub fn texts(&self) -> [String; 8] {
        Column::PUBLISHED.map(|column| self.text(column))
    }

    /// One of [`Row::texts`].
    pub fn text(&self, column: Column) -> String {
        match &self.figures {
            Some(figures) => figures.get(column).map_or_else(|| "N/A".into(), format_g10),
            None => self.outcome_text().to_owned(),
        }
    }

    /// The most memory that a replicate held. Bytes.
    pub fn peak_bytes(&self) -> Option<u64> {
        self.replicates.iter().filter_map(|record| record.series()?.memory.peak_bytes).max()
    }

    /// The hash of the first replicate's greedy tokens.
    pub fn tokens_sha256(&self) -> Option<&str> {
        self.replicates[0]
            .series()
            .map(|series| series.tokens_sha256.as_str())
            .filter(|hash| !hash.is_empty())
    }

    /// The share of the time that several ranks spend in collectives, where that was measured.
    pub fn collectives(&self) -> Option<CollectiveShares> {
        self.replicates[0].series()?.collectives
    }

    /// What the workers said of how they built the model, each once.
    pub fn engine_notes(&self) -> Vec<&str> {
        let notes = self.replicates.iter().filter_map(Measurement::measured).flat_map(|one| &one.notes);
        notes.map(String::as_str).collect::<IndexSet<_>>().into_iter().collect()
    }

    /// The parts of the run that the replicates belong to, rising.
    pub fn parts(&self) -> Vec<u32> {
        let mut parts: Vec<u32> = self.replicates.iter().map(|record| record.part).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}
