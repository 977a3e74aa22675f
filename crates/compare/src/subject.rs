//! One side of a comparison: a run, or a file of published tables.

use std::collections::{BTreeMap, HashMap};

use protocol::{CellSize, Device, Environment, Measurement, Outcome, Pair, Precision, Throttle};
use results::published::{Document, Heading, PublishedRow, PublishedTable, Value};
use results::{Machine, heading, outcome_text};

use crate::{CellName, Metric};

/// One side of a comparison.
#[derive(Debug)]
pub struct Subject {
    pub(crate) name: String,
    /// What a run was measured with; nothing is known of a published table.
    pub(crate) run: Option<MeasuredWith>,
    /// Records that its sweep asks for and that it lacks.
    pub(crate) missing: usize,
    pub(crate) grids: Vec<Grid>,
}

/// What a run was measured with.
#[derive(Debug)]
pub(crate) struct MeasuredWith {
    pub(crate) environment: Environment,
    /// Its sweep by dotted key.
    pub(crate) settings: BTreeMap<String, String>,
}

/// A table of a subject.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) identity: Identity,
    pub(crate) heading: String,
    pub(crate) cells: Vec<(CellName, Cell)>,
    places: HashMap<CellName, usize>,
}

/// What two tables must share to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Known {
        model: String,
        precision: Precision,
        /// The ranks of which it is rank 0's part alone.
        one_rank_of: Option<u32>,
    },
    /// A heading that does not say it.
    Heading(String),
}

impl Identity {
    /// Whether the two differ only in the ranks of which they are the first alone.
    pub(crate) fn is_of_other_ranks(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Known { model, precision, one_rank_of },
                Self::Known { model: other_model, precision: other_precision, one_rank_of: other_ranks },
            ) => (model, precision) == (other_model, other_precision) && one_rank_of != other_ranks,
            _ => false,
        }
    }
}

/// A cell of a subject.
#[derive(Debug)]
pub(crate) enum Cell {
    /// Measured, in the order of its launches.
    Launches(Vec<Launch>),
    /// Published: metrics with a figure, in seconds.
    Figures(Vec<(Metric, f64)>),
    /// Not measured: `OOM`, `TIMEOUT`, …
    Ended(String),
}

/// What one launch of the worker measured. Seconds, bytes.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) replicate: u32,
    /// From the worker's start to its model being ready, where this cell was its first.
    pub(crate) load_seconds: Option<f64>,
    prompt: Box<[f64]>,
    /// Of all generations, one after the other.
    pub(crate) tokens: Box<[f64]>,
    generation_length: usize,
    walls: Box<[f64]>,
    peak_bytes: Option<f64>,
    pub(crate) tokens_sha256: Option<String>,
    /// Why its GPU's clocks were held down, but for the power limit.
    pub(crate) throttled: Vec<Throttle>,
}

impl Grid {
    fn new(identity: Identity, heading: String) -> Self {
        Self { identity, heading, cells: Vec::new(), places: HashMap::new() }
    }

    pub(crate) fn get(&self, name: &CellName) -> Option<&Cell> {
        self.places.get(name).map(|&place| &self.cells[place].1)
    }

    fn entry(&mut self, name: CellName, empty: impl FnOnce() -> Cell) -> &mut Cell {
        let cells = &mut self.cells;
        let place = *self.places.entry(name).or_insert_with_key(|name| {
            cells.push((name.clone(), empty()));
            cells.len() - 1
        });
        &mut self.cells[place].1
    }
}

impl Launch {
    fn of(record: Measurement) -> Self {
        let walls = record.generations.iter().map(|one| one.wall_seconds).collect();
        let tokens = record.generations.iter().flat_map(|one| &one.token_seconds).copied().collect();
        Self {
            replicate: record.replicate,
            load_seconds: record.load_seconds,
            prompt: record.prompt_seconds.into(),
            tokens,
            generation_length: record.generation_length as usize,
            walls,
            peak_bytes: record.memory.peak_bytes.map(|bytes| bytes as f64),
            tokens_sha256: record.tokens_sha256,
            throttled: record
                .gpu
                .iter()
                .flat_map(|gpu| gpu.throttled_samples.keys().copied())
                .filter(|reason| !reason.is_usual())
                .collect(),
        }
    }

    /// The launch's figures of a metric; none where it does not apply.
    pub(crate) fn series(&self, metric: Metric) -> Vec<f64> {
        let first = |count: usize| {
            let generations = self.tokens.chunks(self.generation_length.max(1));
            let applies = self.generation_length >= count;
            generations
                .filter(|_| applies)
                .flat_map(|tokens| &tokens[..count.min(tokens.len())])
                .copied()
                .collect()
        };
        match metric {
            Metric::Prompt => self.prompt.to_vec(),
            Metric::First128 => first(128),
            Metric::First256 => first(256),
            Metric::Token if self.generation_length < 128 => self.tokens.to_vec(),
            Metric::Token => Vec::new(),
            Metric::Wall => self.walls.to_vec(),
            Metric::Memory => self.peak_bytes.into_iter().collect(),
        }
    }
}

impl Cell {
    /// The replicates that were measured, in order; none where they are not known.
    pub(crate) fn replicates(&self) -> Option<Vec<u32>> {
        match self {
            Self::Launches(launches) => Some(launches.iter().map(|launch| launch.replicate).collect()),
            _ => None,
        }
    }
}

/// A run that is read record by record.
#[derive(Debug)]
pub struct RunSubject {
    name: String,
    tables: Vec<(TableKey, Grid)>,
    records: usize,
}

/// Model, precision, device, and the ranks with whether the first alone was measured.
type TableKey = (String, Precision, Device, (u32, bool));

impl RunSubject {
    /// A run of this name, without a record so far.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), tables: Vec::new(), records: 0 }
    }

    /// Takes in the next record.
    pub fn add(&mut self, record: Measurement) {
        self.records += 1;
        let Measurement { precision, device, world_size, one_rank, batch_size, prompt_length, .. } = record;
        let (ranks, one_rank_of) = ((world_size, one_rank), record.one_rank_of());
        let is_its = |(key, _): &(TableKey, Grid)| {
            key.0 == record.model && (key.1, key.2, key.3) == (precision, device, ranks)
        };
        let place = self.tables.iter().position(is_its).unwrap_or_else(|| {
            let identity = Identity::Known { model: record.model.clone(), precision, one_rank_of };
            let key = (record.model.clone(), precision, device, ranks);
            self.tables.push((key, Grid::new(identity, String::new())));
            self.tables.len() - 1
        });
        let name = CellName { engine: record.engine.clone(), size: CellSize { batch_size, prompt_length } };
        let cell = self.tables[place].1.entry(name, || Cell::Launches(Vec::new()));
        match (&mut *cell, record.outcome) {
            (Cell::Launches(launches), Outcome::Ok) => launches.push(Launch::of(record)),
            (Cell::Launches(_), outcome) => *cell = Cell::Ended(outcome_text(outcome).into()),
            _ => {}
        }
    }

    /// The whole run: its first part's environment and settings, and how many records its sweep asks for.
    pub fn finish(
        self,
        environment: &Environment,
        settings: BTreeMap<String, String>,
        expected: usize,
    ) -> Subject {
        let machine = Machine::of(environment);
        let tables = self.tables.into_iter().map(|((model, precision, device, ranks), mut grid)| {
            grid.heading = heading(&model, precision, device, ranks, &machine);
            for (_, cell) in &mut grid.cells {
                if let Cell::Launches(launches) = cell {
                    launches.sort_by_key(|launch| launch.replicate);
                }
            }
            grid
        });
        Subject {
            name: self.name,
            run: Some(MeasuredWith { environment: environment.clone(), settings }),
            missing: expected.saturating_sub(self.records),
            grids: tables.collect(),
        }
    }
}

impl Subject {
    /// A file of published tables.
    pub fn published(name: &str, document: &Document) -> Self {
        Self {
            name: name.into(),
            run: None,
            missing: 0,
            grids: document.tables().map(published_grid).collect(),
        }
    }

    pub(crate) fn pair(&self) -> Option<&Pair> {
        self.run.as_ref()?.environment.pair.as_ref()
    }
}

fn published_grid(table: &PublishedTable) -> Grid {
    let identity = match Heading::parse(&table.heading) {
        Ok(Heading { model, precision, one_rank_of, .. }) => {
            Identity::Known { model, precision, one_rank_of }
        }
        Err(_) => Identity::Heading(table.heading.clone()),
    };
    let mut grid = Grid::new(identity, table.heading.clone());
    for row in &table.rows {
        let size = CellSize { batch_size: row.batch_size, prompt_length: row.prompt_length };
        // Of rows that are there twice the first counts.
        grid.entry(CellName { engine: row.engine.clone(), size }, || published_cell(row));
    }
    grid
}

fn published_cell(row: &PublishedRow) -> Cell {
    let columns = [
        (Metric::Prompt, 0, 1e-3),
        (Metric::First128, 2, 1e-3),
        (Metric::First256, 4, 1e-3),
        (Metric::Wall, 6, 1.0),
    ];
    let ended = row.cells.iter().find_map(|cell| match cell.value() {
        Value::OutOfMemory => Some("OOM".to_owned()),
        Value::Ended(word) => Some(word.to_owned()),
        _ => None,
    });
    if let Some(ended) = ended {
        return Cell::Ended(ended);
    }
    let figures = columns.into_iter().filter_map(|(metric, column, unit)| {
        let seconds = row.cells[column].number()?.value * unit;
        (seconds > 0.0 && seconds.is_finite()).then_some((metric, seconds))
    });
    Cell::Figures(figures.collect())
}
