//! A run's records as tables: one a model, the rows in the order in which the cells were asked for.

mod efficiency;
mod figures;
mod gpu_notes;
mod note;
mod notes;
mod row;

pub use efficiency::{Efficiency, Grid, GridColumn};
pub use figures::Figures;
pub use note::{Note, NoteKind, NoteSeverity};
pub use row::Row;

use indexmap::IndexMap;
use llama::LlamaConfig;
use protocol::{CellKey, Environment, Measurement, TableKey, Verification};

use crate::{Heading, Machine};
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
    /// What the shares of [`Efficiency`] are of, in words; `None` where it was not measured.
    pub scale: Option<String>,
    /// What a reader must know of them: [`NoteKind::Engine`] last.
    pub notes: Vec<Note>,
}

/// Groups a run's records into tables; `environments` are those of the run's parts. Models, and cells within them, keep
/// the order of their first record.
pub fn tables(
    records: Vec<Measurement>,
    verifications: &[Verification],
    environments: &[Environment],
) -> Vec<Table> {
    let mut groups: IndexMap<TableKey, IndexMap<CellKey, Vec<Measurement>>> = IndexMap::new();
    for record in records {
        let cells = groups.entry(record.key.table()).or_default();
        cells.entry(record.key.clone()).or_default().push(record);
    }
    groups.into_iter().map(|(key, cells)| Table::new(key, cells, verifications, environments)).collect()
}

impl Table {
    fn new(
        key: TableKey,
        cells: IndexMap<CellKey, Vec<Measurement>>,
        verifications: &[Verification],
        environments: &[Environment],
    ) -> Self {
        let part = cells.values().flatten().map(|record| record.part).next().unwrap_or(1);
        let environment = environments.get((part as usize).wrapping_sub(1));
        let machine = environment.map(Machine::from).unwrap_or_default();
        let facts = environments.iter().find_map(|environment| environment.models.get(&key.model));
        let config = facts.and_then(|facts| LlamaConfig::from_json(&facts.config, &key.model).ok());
        // Peaks are measured at the beginning of a run: its parts are of one machine, or told apart below the table.
        let scale = config.as_ref().and_then(|config| Scale::new(environments, config, &key));
        let rows: Vec<Row> =
            cells.into_iter().map(|(cell, replicates)| Row::new(cell, replicates, scale.as_ref())).collect();
        let verifications = verifications.iter().filter(|one| one.model == key.model);
        Self {
            heading: Heading::new(&key, &machine),
            scale: scale.as_ref().map(|scale| scale.words(&rows)),
            notes: notes::notes(&key, &rows, verifications, environments, part),
            key,
            config,
            rows,
        }
    }

    /// Adds notes before those of the engines.
    pub fn add_notes(&mut self, notes: impl IntoIterator<Item = Note>) {
        let place =
            self.notes.iter().position(|note| note.kind == NoteKind::Engine).unwrap_or(self.notes.len());
        self.notes.splice(place..place, notes);
    }

    /// Its records, replicate by replicate, as a sweep measures them.
    pub fn records(&self) -> impl Iterator<Item = &Measurement> {
        let mut records: Vec<&Measurement> = self.rows.iter().flat_map(|row| &row.replicates).collect();
        records.sort_by_key(|record| record.replicate);
        records.into_iter()
    }
}
