//! One side of a comparison: a run, or a file of published tables.

use std::collections::BTreeMap;

use indexmap::IndexSet;
use protocol::{Environment, Pair};
use results::{PublishedFile, ResultRow, ResultTable, Run, Source, scripted_words};

use crate::Refused;

/// One side of a comparison.
#[derive(Debug)]
pub struct Subject<'a> {
    pub(crate) name: &'a str,
    /// What a run was measured with; nothing is known of a published table.
    pub(crate) run: Option<MeasuredWith<'a>>,
    /// Records that its sweep asks for and that it lacks.
    pub(crate) missing: usize,
    pub(crate) tables: Vec<ResultTable<'a>>,
    /// The same tables of a file, where several stand below one heading: each with the prompts and first tokens of all.
    joined: Option<Vec<ResultTable<'a>>>,
}

/// What a run was measured with.
#[derive(Debug)]
pub(crate) struct MeasuredWith<'a> {
    pub(crate) environment: &'a Environment,
    /// Its sweep by dotted key.
    pub(crate) settings: &'a BTreeMap<String, String>,
}

impl<'a> Subject<'a> {
    /// Takes a run or a file of published tables.
    ///
    /// # Errors
    /// Where a run's cells were measured in several ways, or a table has a cell twice.
    pub fn new(source: &'a Source) -> Result<Self, Refused> {
        match source {
            Source::Run(run) => Self::from_run(run),
            Source::File(file) => Self::published(file),
        }
    }

    /// Whether its engines took turns: then its replicates are turns of one worker, else replicates of a fresh one each.
    pub(crate) fn is_of_turns(&self) -> bool {
        let isolation = self.run.as_ref().and_then(|run| run.settings.get("isolation"));
        isolation.is_some_and(|isolation| isolation == "\"turn\"")
    }

    /// Whether the sweep of a run has the model of this table.
    pub(crate) fn has_model_of(&self, table: &ResultTable<'_>) -> bool {
        let models = self.run.as_ref().and_then(|run| run.settings.get("models"));
        models
            .zip(table.heading.as_ref().ok())
            .is_some_and(|(models, heading)| models.contains(&format!("\"{}\"", heading.model)))
    }

    /// Takes a run.
    ///
    /// # Errors
    /// Where its cells were measured in several ways.
    pub fn from_run(run: &'a Run) -> Result<Self, Refused> {
        let ([environment], [settings]) = (&run.environments[..], &run.settings[..]) else {
            return Err(Refused(format!(
                "{}: its cells were measured in {} different ways (--allow-mixed), so it can't be compared",
                run.dir,
                run.environments.len()
            )));
        };
        Ok(Self {
            name: &run.dir,
            run: Some(MeasuredWith { environment, settings }),
            missing: run.missing(),
            tables: run.result_tables(),
            joined: None,
        })
    }

    /// Takes a file of published tables.
    ///
    /// # Errors
    /// Where a table, or two tables below the same heading, have a cell twice.
    pub fn published(file: &'a PublishedFile) -> Result<Self, Refused> {
        let tables = file.tables();
        refuse_duplicates(&tables)?;
        let joined = (tables.len() > 1).then(|| results::joined(tables.clone()));
        Ok(Self { name: &file.name, run: None, missing: 0, tables, joined })
    }

    /// The tables as they are compared.
    pub(crate) fn compared_tables(&self) -> &[ResultTable<'a>] {
        self.joined.as_ref().unwrap_or(&self.tables)
    }

    /// The engines of its tables, each once.
    pub(crate) fn engines(&self) -> IndexSet<&str> {
        self.tables.iter().flat_map(|table| &table.rows).map(|row| row.engine).collect()
    }

    /// That latencies of its engines are scripted, not measured; `None` where all are measured.
    pub(crate) fn scripted(&self) -> Option<String> {
        let engines = self.scripted_engines();
        (!engines.is_empty()).then(|| scripted_words(engines))
    }

    /// The engines whose latencies are scripted.
    pub(crate) fn scripted_engines(&self) -> Vec<&str> {
        let known = self.run.as_ref().map(|run| &run.environment.engines);
        let hello = |engine: &str| known.and_then(|known| known.get(engine));
        self.engines()
            .into_iter()
            .filter(|engine| hello(engine).is_some_and(|hello| hello.virtual_clock))
            .collect()
    }

    pub(crate) fn pair(&self) -> Option<&Pair> {
        self.run.as_ref()?.environment.pair.as_ref()
    }
}

/// Refuses tables in which a cell stands twice: which of the two rows counts is not known. Tables below the same heading may have
/// other columns of the same cells.
fn refuse_duplicates(tables: &[ResultTable<'_>]) -> Result<(), Refused> {
    let mut rows: BTreeMap<_, Vec<(usize, &ResultRow<'_>)>> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        for row in &table.rows {
            let ResultRow { line, engine, size, .. } = row;
            let others = rows.entry((&table.title, *engine, *size)).or_default();
            let is_twice =
                |(other, first): &&(usize, &ResultRow<'_>)| *other == index || share_figure(first, row);
            if let Some((_, ResultRow { line: first, .. })) = others.iter().find(is_twice) {
                return Err(Refused(format!(
                    "{}:{line}: {engine} {size} appears twice, first in line {first}: remove one",
                    table.file
                )));
            }
            others.push((index, row));
        }
    }
    Ok(())
}

/// Whether two rows of generations of one length have a figure in the same column.
fn share_figure(one: &ResultRow<'_>, other: &ResultRow<'_>) -> bool {
    let mut values = one.values.iter().zip(&other.values);
    one.generation_length.tokens == other.generation_length.tokens
        && values.any(|(one, other)| one.figure().is_some() && other.figure().is_some())
}
