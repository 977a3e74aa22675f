//! What the page is of: runs, their tables side by side, and the place that each engine has in every legend.

use std::collections::BTreeMap;

use protocol::{Device, Environment, Measurement, Precision, Verification};
use results::{Figures, Row, Table, one_line};

use crate::plot::palette::ENGINES;

/// A run, as the page takes it.
#[derive(Debug)]
pub struct Run {
    /// What readers know it by.
    pub name: String,
    /// Its tables, as [`results::tables`] makes them of its records.
    pub tables: Vec<Table>,
    /// Its records.
    pub records: Vec<Measurement>,
    /// Of each of its parts.
    pub environments: Vec<Environment>,
    /// How its engines stood to each other.
    pub verifications: Vec<Verification>,
    /// How many records its sweep asks for.
    pub expected: usize,
    /// What the audit says of its tables.
    pub audit: audit::Report,
}

impl Run {
    /// The records that one of its tables is of.
    pub(crate) fn records_of(&self, table: &Table) -> Vec<&Measurement> {
        fn key(record: &Measurement) -> (&str, Precision, Device, (u32, bool), u32) {
            let Measurement { precision, device, world_size, one_rank, generation_length, .. } = *record;
            (&record.model, precision, device, (world_size, one_rank), generation_length)
        }
        // Tables stand in the order in which the first record of each was measured.
        let mut keys = Vec::new();
        for record in &self.records {
            let its = key(record);
            if !keys.contains(&its) {
                keys.push(its);
            }
        }
        let place = self.tables.iter().position(|other| std::ptr::eq(other, table));
        let Some(its) = place.and_then(|place| keys.get(place)) else { return Vec::new() };
        self.records.iter().filter(|record| key(record) == *its).collect()
    }
}

/// A run held against another.
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
    pub(crate) runs: &'a [Run],
    /// In the order in which they are met first.
    engines: Vec<&'a str>,
}

/// Tables of one model, of one or several runs.
pub(crate) struct Group<'a> {
    /// The tables' heading, or the model where they differ.
    pub(crate) title: String,
    /// In links and file names.
    pub(crate) id: String,
    /// Each with its run's index.
    pub(crate) tables: Vec<(usize, &'a Table)>,
}

/// A measured cell.
#[derive(Clone, Copy)]
pub(crate) struct Measured<'a> {
    pub(crate) run: usize,
    pub(crate) row: &'a Row,
    pub(crate) figures: &'a Figures,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(runs: &'a [Run]) -> Self {
        let mut engines: Vec<&str> = Vec::new();
        for row in runs.iter().flat_map(|run| &run.tables).flat_map(|table| &table.rows) {
            if !engines.contains(&row.engine.as_str()) {
                engines.push(&row.engine);
            }
        }
        Self { runs, engines }
    }

    /// An engine's place.
    pub(crate) fn slot(&self, engine: &str) -> usize {
        self.engines.iter().position(|other| *other == engine).unwrap_or_default()
    }

    /// The class of an engine's colour.
    pub(crate) fn colour(&self, engine: &str) -> String {
        format!("e{}", self.slot(engine) % ENGINES)
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

    /// A series' name: the engine, and of several runs which.
    pub(crate) fn series(&self, engine: &str, run: usize) -> String {
        let engine = one_line(engine);
        if self.runs.len() == 1 { engine } else { format!("{engine}, {}", one_line(&self.runs[run].name)) }
    }

    /// The tables, those of one model side by side.
    pub(crate) fn groups(&self) -> Vec<Group<'a>> {
        type Key<'a> = (&'a str, Option<u32>, usize);
        let mut groups: Vec<(Key<'_>, Group<'a>)> = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            let mut met: BTreeMap<(&str, Option<u32>), usize> = BTreeMap::new();
            for table in &run.tables {
                let (model, one_rank_of) = (table.model.as_str(), table.one_rank_of);
                let count = met.entry((model, one_rank_of)).or_default();
                let key = (model, one_rank_of, *count);
                *count += 1;
                match groups.iter_mut().find(|(other, _)| *other == key) {
                    Some((_, group)) => group.tables.push((index, table)),
                    None => {
                        let id = format!("g{}", groups.len() + 1);
                        groups.push((key, Group { title: String::new(), id, tables: vec![(index, table)] }));
                    }
                }
            }
        }
        let mut groups: Vec<Group<'a>> = groups.into_iter().map(|(_, group)| group).collect();
        for group in &mut groups {
            let mut headings: Vec<&str> =
                group.tables.iter().map(|(_, table)| table.heading.as_str()).collect();
            headings.dedup();
            group.title = headings.join(" · ");
        }
        groups
    }
}

impl<'a> Group<'a> {
    /// Its cells that have figures.
    pub(crate) fn measured(&self) -> Vec<Measured<'a>> {
        let rows = self.tables.iter().flat_map(|(run, table)| table.rows.iter().map(move |row| (*run, row)));
        rows.filter_map(|(run, row)| Some(Measured { run, row, figures: row.figures.as_ref()? })).collect()
    }

    /// Its series: engine and run, in the order of the runs.
    pub(crate) fn series(&self) -> Vec<(usize, &'a str)> {
        let mut series = Vec::new();
        for (run, table) in &self.tables {
            for row in &table.rows {
                let one = (*run, row.engine.as_str());
                if !series.contains(&one) {
                    series.push(one);
                }
            }
        }
        series
    }

    /// Its batch sizes, or prompt lengths, rising.
    pub(crate) fn sizes(&self, size: fn(&Row) -> u32) -> Vec<u32> {
        let mut sizes: Vec<u32> =
            self.tables.iter().flat_map(|(_, table)| table.rows.iter().map(size)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// At most `count` of them: the first, the last, and evenly between.
pub(crate) fn thinned<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    if all.len() <= count {
        return all.to_vec();
    }
    (0..count).map(|index| all[index * (all.len() - 1) / (count - 1)]).collect()
}
