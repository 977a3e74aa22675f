//! A run's records as tables: one a model, the rows in the order in which the cells were asked for.

mod efficiency;
mod figures;
mod gpu_notes;
mod grid;
mod load_notes;
mod note;
mod notes;
mod percentiles;
mod row;

pub use efficiency::Efficiency;
pub use figures::Figures;
pub use grid::{Grid, GridColumn};
pub use load_notes::{busy_machine_words, share_used_by_others};
pub use note::{Note, NoteKind, NoteSeverity};
pub use notes::{fidelity_words, scripted_words};
pub use row::Row;

use indexmap::IndexMap;
use llama::LlamaConfig;
use protocol::{CellKey, Environment, Measurement, TableKey, Verification};

use crate::{Column, Heading, Machine};
use efficiency::Scale;

/// The table of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What its cells have in common.
    pub key: TableKey,
    /// Its heading.
    pub heading: Heading,
    /// The model's config as the run had it; `None` where the run does not say.
    pub config: Option<LlamaConfig>,
    /// The cells.
    pub rows: Vec<Row>,
    /// The peaks of [`Efficiency`], in words; `None` where none is known.
    pub scale: Option<String>,
    /// The notes under it, [`NoteKind::Engine`] last.
    pub notes: Vec<Note>,
    /// Its records in their order: row, and place among the row's replicates.
    order: Vec<(usize, usize)>,
}

/// Groups a run's records into tables; `environments` are those of the run's parts. Models, and cells within them, keep
/// the order of their first record.
pub fn tables(
    records: Vec<Measurement>,
    verifications: &[Verification],
    environments: &[Environment],
) -> Vec<Table> {
    let mut groups: IndexMap<TableKey, RecordsByCell> = IndexMap::new();
    for record in records {
        groups.entry(record.key.table()).or_default().push(record);
    }
    groups.into_iter().map(|(key, cells)| Table::new(key, cells, verifications, environments)).collect()
}

/// A table's records by cell.
#[derive(Default)]
struct RecordsByCell {
    replicates: IndexMap<CellKey, Vec<Measurement>>,
    /// Where each record went, in their order: its cell, and its place there.
    order: Vec<(usize, usize)>,
}

impl RecordsByCell {
    fn push(&mut self, record: Measurement) {
        let entry = self.replicates.entry(record.key.clone());
        let cell = entry.index();
        let replicates = entry.or_default();
        self.order.push((cell, replicates.len()));
        replicates.push(record);
    }
}

impl Table {
    fn new(
        key: TableKey,
        RecordsByCell { replicates, order }: RecordsByCell,
        verifications: &[Verification],
        environments: &[Environment],
    ) -> Self {
        let part = replicates.values().flatten().map(|record| record.part).next().unwrap_or(1);
        let environment = environments.get((part as usize).wrapping_sub(1));
        let machine = environment.map(Machine::from).unwrap_or_default();
        let facts = environments.iter().find_map(|environment| environment.models.get(&key.model));
        let config = facts.and_then(|facts| LlamaConfig::from_json(&facts.config, &key.model).ok());
        // Peaks are measured at the beginning of a run: its parts are of one machine, or told apart below the table.
        let scale = config.as_ref().and_then(|config| Scale::new(environments, environment, config, &key));
        let rows: Vec<Row> = replicates
            .into_iter()
            .map(|(cell, replicates)| Row::new(cell, replicates, environments, scale.as_ref()))
            .collect();
        let parts: Vec<u32> = rows.iter().flat_map(Row::parts).collect();
        let is_of_table = |one: &&Verification| {
            (&one.model, one.precision) == (&key.model, key.precision) && parts.contains(&one.part)
        };
        let verifications = verifications.iter().filter(is_of_table);
        Self {
            heading: Heading::new(&key, &machine),
            scale: scale.as_ref().map(|scale| scale.words(&rows)),
            notes: notes::notes(&key, &rows, verifications, environments, part),
            key,
            config,
            rows,
            order,
        }
    }

    /// The columns of figures that it shows.
    pub fn columns(&self) -> Vec<Column> {
        Column::of_generation(self.key.generation_length)
    }

    /// Adds notes before those of the engines.
    pub fn add_notes(&mut self, notes: impl IntoIterator<Item = Note>) {
        let place =
            self.notes.iter().position(|note| note.kind == NoteKind::Engine).unwrap_or(self.notes.len());
        self.notes.splice(place..place, notes);
    }

    /// Notes that its engines took turns.
    pub(crate) fn note_turns(&mut self) {
        let text =
            "engines took turns with one worker each: ± and intervals leave out how far workers differ";
        self.add_notes([Note::new(NoteKind::Turns, text.into())]);
    }

    /// Its records, in the order in which they were measured.
    pub fn records(&self) -> impl Iterator<Item = &Measurement> {
        self.order.iter().map(|&(row, replicate)| &self.rows[row].replicates[replicate])
    }
}
