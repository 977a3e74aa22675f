//! What the page is of: runs, their tables side by side, and the place that each engine has in every legend.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, IndexSet};
use protocol::{CellKey, CellSize, Precision};
use results::hardware::Hardware;
use results::{Figures, Note, NoteKind, NoteSeverity, Row, Run, Table, one_line};

use crate::plot::palette::ENGINES;

/// The most cells of a table that are drawn and listed, and records that are drawn: a browser shows a page of so many at once.
pub(crate) const MOST: usize = 2000;

/// A run with its audit, which is also noted under its tables.
#[derive(Debug)]
pub struct AuditedRun {
    /// The run.
    pub run: Run,
    /// The audit of its tables.
    pub audit: audit::AuditReport,
}

impl AuditedRun {
    /// Audits a run and adds the findings to the notes of its tables.
    pub fn new(mut run: Run) -> Self {
        let audit = audit::audit(&run.result_tables(), &Hardware::built_in());
        for (index, table) in run.tables.iter_mut().enumerate() {
            let groups = audit.groups_of_table(index);
            let notes: Vec<Note> =
                groups.iter().filter(|group| !is_noted(group, Some(table))).map(note).collect();
            table.add_notes(notes);
        }
        Self { run, audit }
    }
}

/// Whether [`results::NoteKind::AbovePeak`] already says under the table what a group finds: figures above a measured peak.
pub(crate) fn is_noted(group: &audit::FindingGroup<'_>, table: Option<&Table>) -> bool {
    let share = |row: &Row| match group.rule {
        "token-bandwidth" => row.efficiency.decode_bandwidth,
        "prompt-compute" => row.efficiency.prefill_flops,
        _ => None,
    };
    let is_above = |row: &Row| {
        group.engine == Some(row.key.engine.as_str()) && share(row).is_some_and(|share| share > 1.0)
    };
    let mut rows = table.iter().flat_map(|table| &table.rows);
    group.severity == audit::Severity::Remarkable && rows.any(is_above)
}

/// A group of findings as a note.
pub(crate) fn note(group: &audit::FindingGroup<'_>) -> Note {
    let severity = match group.severity {
        audit::Severity::Impossible => NoteSeverity::Wrong,
        audit::Severity::Remarkable => NoteSeverity::Caveat,
    };
    Note { kind: NoteKind::Audit, severity, text: format!("audit: {}", group.words()) }
}

/// A comparison of two runs.
#[derive(Debug)]
pub struct Comparison {
    /// The verdicts; or why there are none.
    pub result: Result<compare::Report, String>,
    /// The baseline's name.
    pub baseline: String,
    /// The candidate's name.
    pub candidate: String,
}

/// The runs, with what is the same in all plots.
pub(crate) struct Scene<'a> {
    pub(crate) runs: Vec<&'a Run>,
    /// The engines, in order of first appearance.
    engines: IndexSet<&'a str>,
}

/// Tables of one model, of one or several runs.
pub(crate) struct Group<'a> {
    /// The tables' heading, or the model where they differ.
    pub(crate) title: String,
    /// Its name in links and file names.
    pub(crate) id: String,
    /// Each with its run's index.
    pub(crate) tables: Vec<(usize, &'a Table)>,
    /// The index of its first cell among all that the page lists.
    first_cell: usize,
}

/// A cell that is drawn and listed.
#[derive(Clone, Copy)]
pub(crate) struct ListedRow<'a> {
    /// Its index among all that the page lists.
    pub(crate) index: usize,
    pub(crate) run: usize,
    pub(crate) row: &'a Row,
}

/// A measured cell that is drawn and listed.
#[derive(Clone, Copy)]
pub(crate) struct MeasuredRow<'a> {
    pub(crate) index: usize,
    pub(crate) run: usize,
    pub(crate) row: &'a Row,
    pub(crate) figures: &'a Figures,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(runs: &'a [AuditedRun]) -> Self {
        let runs: Vec<&Run> = runs.iter().map(|audited| &audited.run).collect();
        let rows = runs.iter().flat_map(|run| &run.tables).flat_map(|table| &table.rows);
        let engines = rows.map(|row| row.key.engine.as_str()).collect();
        Self { runs, engines }
    }

    /// An engine's place.
    pub(crate) fn slot(&self, engine: &str) -> usize {
        self.engines.get_index_of(engine).unwrap_or_default()
    }

    /// The class of an engine's colour; of engines that share it, the later ones have bars and boxes without a filling.
    pub(crate) fn colour(&self, engine: &str) -> String {
        let slot = self.slot(engine);
        let again = if slot >= ENGINES { " again" } else { "" };
        format!("e{}{again}", slot % ENGINES)
    }

    /// The engines, in the order of their places.
    pub(crate) fn engines(&self) -> impl Iterator<Item = &'a str> {
        self.engines.iter().copied()
    }

    /// The classes of a series' line.
    pub(crate) fn line(&self, engine: &str, run: usize) -> String {
        let dash = ["", " d1", " d2", " d3"][run % 4];
        format!("l {}{dash}", self.colour(engine))
    }

    /// The classes of a series' points: filled for the first run, hollow for others.
    pub(crate) fn point(&self, engine: &str, run: usize) -> String {
        let full = if run == 0 { "full " } else { "" };
        format!("p {full}{}", self.colour(engine))
    }

    /// The classes of a series' bars and boxes: filled for the first run, hollow for others.
    pub(crate) fn filling(&self, engine: &str, run: usize) -> String {
        let hollow = if run == 0 { "" } else { " hollow" };
        format!("{}{hollow}", self.colour(engine))
    }

    /// A series' name: the engine, and of several runs which, by its letter.
    pub(crate) fn series(&self, engine: &str, run: usize) -> String {
        let engine = one_line(engine);
        if self.runs.len() == 1 { engine } else { format!("{engine} ({})", letter(run)) }
    }

    /// A cell's series and sizes: `onnxruntime 1×256`.
    pub(crate) fn cell(&self, key: &CellKey, run: usize) -> String {
        format!("{} {}", self.series(&key.engine, run), key.size())
    }

    /// The texts of a cell in the first columns of a [`crate::plot::DataTable`].
    pub(crate) fn cell_head(&self, key: &CellKey, run: usize) -> [String; 3] {
        [self.series(&key.engine, run), key.batch_size.to_string(), key.prompt_length.to_string()]
    }

    /// What a title ends with where several runs have a panel or a table each.
    pub(crate) fn run_suffix(&self, run: usize) -> String {
        if self.runs.len() == 1 { String::new() } else { format!(", {}", self.runs[run].name) }
    }

    /// The tables, those of one model side by side.
    pub(crate) fn groups(&self) -> Vec<Group<'a>> {
        // A run can have several tables of one model, on other devices or of other lengths: each is in a group of its own. Precisions share a
        // group only if no run has several, so that two runs in one precision each are side by side.
        type Key<'k> = (&'k str, Option<u32>, Option<Precision>, usize);
        let mut several: BTreeSet<&str> = BTreeSet::new();
        for run in &self.runs {
            let is_other = |one: &&Table, other: &Table| {
                one.key.model == other.key.model && one.key.precision != other.key.precision
            };
            let in_several =
                run.tables.iter().filter(|one| run.tables.iter().any(|other| is_other(one, other)));
            several.extend(in_several.map(|table| table.key.model.as_str()));
        }
        let mut groups: IndexMap<Key<'_>, Vec<(usize, &'a Table)>> = IndexMap::new();
        for (index, run) in self.runs.iter().enumerate() {
            let mut met: BTreeMap<(&str, Option<u32>, Option<Precision>), usize> = BTreeMap::new();
            for table in &run.tables {
                let (model, one_rank_of) = (table.key.model.as_str(), table.key.ranks.one_rank_of());
                let precision = several.contains(model).then_some(table.key.precision);
                let count = met.entry((model, one_rank_of, precision)).or_default();
                groups.entry((model, one_rank_of, precision, *count)).or_default().push((index, table));
                *count += 1;
            }
        }
        let mut first_cell = 0;
        let group = |(tables, number): (Vec<(usize, &'a Table)>, usize)| {
            let mut headings: Vec<String> =
                tables.iter().map(|(_, table)| table.heading.to_string()).collect();
            headings.dedup();
            let group = Group { title: headings.join(" · "), id: format!("g{number}"), tables, first_cell };
            first_cell += group.listed().count();
            group
        };
        groups.into_values().zip(1..).map(group).collect()
    }
}

/// What a run is called in a page of several: A, B, …; from the 27th on its number.
pub(crate) fn letter(run: usize) -> String {
    u8::try_from(run)
        .ok()
        .filter(|run| *run < 26)
        .map_or_else(|| (run + 1).to_string(), |run| char::from(b'A' + run).to_string())
}

/// The cells of a table that are drawn and listed.
pub(crate) fn listed(table: &Table) -> &[Row] {
    &table.rows[..table.rows.len().min(MOST)]
}

impl<'a> Group<'a> {
    /// The measured cells that are drawn.
    pub(crate) fn measured(&self) -> Vec<MeasuredRow<'a>> {
        let measured = |ListedRow { index, run, row }| {
            Some(MeasuredRow { index, run, row, figures: row.figures.as_ref()? })
        };
        self.listed().filter_map(measured).collect()
    }

    /// The cells that are drawn and listed.
    pub(crate) fn listed(&self) -> impl Iterator<Item = ListedRow<'a>> {
        let rows =
            self.tables.iter().flat_map(|(run, table)| listed(table).iter().map(move |row| (*run, row)));
        (self.first_cell..).zip(rows).map(|(index, (run, row))| ListedRow { index, run, row })
    }

    /// The index of a cell that is drawn and listed.
    pub(crate) fn cell_index(&self, run: usize, engine: &str, size: CellSize) -> Option<usize> {
        let is_it = |cell: &ListedRow<'_>| {
            cell.run == run && cell.row.key.engine == engine && cell.row.key.size() == size
        };
        self.listed().find(is_it).map(|cell| cell.index)
    }

    /// All its cells, those that are not listed included, each with its run's index.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &'a Row)> {
        self.tables.iter().flat_map(|(run, table)| table.rows.iter().map(move |row| (*run, row)))
    }

    /// Its series: engine and run, in the order of the runs.
    pub(crate) fn series(&self) -> Vec<(usize, &'a str)> {
        self.listed()
            .map(|cell| (cell.run, cell.row.key.engine.as_str()))
            .collect::<IndexSet<_>>()
            .into_iter()
            .collect()
    }

    /// Its batch sizes, or prompt lengths, rising.
    pub(crate) fn sizes(&self, size: fn(&Row) -> u32) -> Vec<u32> {
        let mut sizes: Vec<u32> = self.listed().map(|cell| size(cell.row)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// Thins a slice to at most `count`: the first, the last, and evenly spaced ones between.
pub(crate) fn thinned<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    if all.len() <= count {
        return all.to_vec();
    }
    (0..count).map(|index| all[index * (all.len() - 1) / (count - 1)]).collect()
}
