//! One side of a comparison: a run, or a file of published tables.

use std::collections::BTreeMap;

use indexmap::IndexSet;
use protocol::{Environment, Fidelity, Pair, Verification};
use results::{HeadingPrecision, PublishedFile, ResultRow, ResultTable, Run, Source, scripted_words};

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
    /// The precision that was chosen, which need not be the other side's.
    pub(crate) chosen_precision: Option<HeadingPrecision>,
    /// The same tables of a file, where several stand below one heading: each with the prompts and first tokens of all.
    joined: Option<Vec<ResultTable<'a>>>,
}

/// What a run was measured with.
#[derive(Debug)]
pub(crate) struct MeasuredWith<'a> {
    pub(crate) environment: &'a Environment,
    /// Its sweep by dotted key.
    pub(crate) settings: &'a BTreeMap<String, String>,
    verifications: &'a [Verification],
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
            run: Some(MeasuredWith { environment, settings, verifications: &run.verifications }),
            missing: run.missing(),
            tables: run.result_tables(),
            chosen_precision: None,
            joined: None,
        })
    }

    /// Leaves only the tables in one precision, which may then be compared with those in another.
    ///
    /// # Errors
    /// Where there is no such table.
    pub fn in_precision(mut self, precision: HeadingPrecision) -> Result<Self, Refused> {
        let precisions = |tables: &[ResultTable<'_>]| -> IndexSet<String> {
            let headings = tables.iter().filter_map(|table| table.heading.as_ref().ok());
            headings.map(|heading| heading.precision.to_string()).collect()
        };
        let known = precisions(&self.tables);
        let is_in = |table: &ResultTable<'_>| {
            table.heading.as_ref().is_ok_and(|heading| heading.precision == precision)
        };
        self.tables.retain(is_in);
        self.joined.iter_mut().for_each(|tables| tables.retain(is_in));
        if self.tables.is_empty() {
            let known: Vec<String> = known.into_iter().collect();
            let known = if known.is_empty() { "no table that names one".into() } else { known.join(", ") };
            return Err(Refused(format!("{} has no table in {precision}; it has {known}", self.name)));
        }
        Ok(Self { chosen_precision: Some(precision), ..self })
    }

    /// Its name, with the precision where one was chosen.
    pub(crate) fn label(&self) -> String {
        match self.chosen_precision {
            Some(precision) => format!("{} in {precision}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Whether this and another side are of one run.
    pub(crate) fn is_same_run_as(&self, other: &Self) -> bool {
        let id = |subject: &Self| subject.run.as_ref()?.environment.id.clone();
        match (id(self), id(other)) {
            (Some(id), Some(other)) => id == other,
            _ => self.run.is_some() && self.name == other.name,
        }
    }

    /// Whether both are chosen precisions, and not the same.
    pub(crate) fn differs_in_precision_from(&self, other: &Self) -> bool {
        let (one, other) = (self.chosen_precision, other.chosen_precision);
        one.is_some() && other.is_some() && one != other
    }

    /// Takes a file of published tables.
    ///
    /// # Errors
    /// Where a table, or two tables below the same heading, have a cell twice.
    pub fn published(file: &'a PublishedFile) -> Result<Self, Refused> {
        let tables = file.tables();
        refuse_duplicates(&tables)?;
        let joined = (tables.len() > 1).then(|| results::joined(tables.clone()));
        Ok(Self { name: &file.name, run: None, missing: 0, tables, chosen_precision: None, joined })
    }

    /// The tables as they are compared.
    pub(crate) fn compared_tables(&self) -> &[ResultTable<'a>] {
        self.joined.as_ref().unwrap_or(&self.tables)
    }

    /// How far the quantized weights of a run's table are from the unquantized ones, by the last comparison.
    pub(crate) fn fidelity(&self, table: &ResultTable<'_>) -> Option<&'a Fidelity> {
        let (run, heading) = (self.run.as_ref()?, table.heading.as_ref().ok()?);
        let is_of_table = |one: &&Verification| {
            (one.model.as_str(), Some(one.precision)) == (&*heading.model, heading.precision.precision())
        };
        run.verifications.iter().rev().filter(is_of_table).find_map(|one| one.fidelity.as_ref())
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
