//! One engine in several precisions of one model: how many times as fast as in the one of the most bits, with how much of its memory.

use std::cmp::Reverse;

use indexmap::IndexMap;
use protocol::Fidelity;
use results::{HeadingPrecision, ResultTable};

use crate::ratio::RowRatios;
use crate::ratios::{KnownRatio, RatioLine, known};
use crate::subject::Subject;

/// The precisions of one model, measured with one engine.
#[derive(Debug)]
pub struct PrecisionRatios {
    /// The heading of the tables, without a precision.
    model: String,
    /// The same with the engine, and what its precisions are compared with.
    pub(crate) heading: String,
    /// The precision of the most bits.
    pub(crate) compared_with: HeadingPrecision,
    pub(crate) lines: Vec<RatioLine>,
    /// How far the weights of each precision are from the unquantized ones, by the precision's name, where that is known.
    pub(crate) fidelities: IndexMap<String, Fidelity>,
}

impl PrecisionRatios {
    /// Compares each precision of a model with the one of the most bits in which `engine` has figures: for every model that the subject has
    /// in several precisions, and every cell that the engine has in both.
    pub fn compare(subject: &Subject<'_>, engine: &str) -> Vec<Self> {
        let mut models: IndexMap<_, Vec<(HeadingPrecision, &ResultTable<'_>)>> = IndexMap::new();
        for table in subject.compared_tables() {
            let (Ok(heading), Some(row)) = (&table.heading, table.rows.first()) else { continue };
            let same = (heading.without_precision(), row.generation_length.tokens);
            models.entry(same).or_default().push((heading.precision, table));
        }
        let of_model =
            |((heading, _), mut tables): ((String, u32), Vec<(HeadingPrecision, &ResultTable<'_>)>)| {
                let has_figures = |table: &ResultTable<'_>| {
                    table.rows.iter().any(|row| row.engine == engine && row.ended().is_none())
                };
                tables.retain(|(_, table)| has_figures(table));
                tables.sort_by_key(|(precision, _)| Reverse(*precision));
                let ((base, base_table), others) = tables.split_first()?;
                let base_cells = base_table.cells();
                let line = |precision: &HeadingPrecision, table: &ResultTable<'_>| {
                    let cells = table.cells();
                    let rows = cells.into_iter().filter(|((name, _), _)| *name == engine);
                    let line = |((_, size), row)| {
                        let other = base_cells.get(&(engine, size))?;
                        let (name, base) = (precision.to_string(), base.to_string());
                        let ratios = RowRatios::new((&name, row), (&base, other), subject.run.is_some());
                        // Engines that take turns have ended with one precision before they begin with the next.
                        let ratios = if subject.is_of_turns() { ratios.without_intervals() } else { ratios };
                        Some(RatioLine { name, size, ratios })
                    };
                    rows.filter_map(line).collect::<Vec<_>>()
                };
                let lines: Vec<RatioLine> =
                    others.iter().flat_map(|(precision, table)| line(precision, table)).collect();
                let fidelity = |(precision, table): &(HeadingPrecision, &ResultTable<'_>)| {
                    Some((precision.to_string(), subject.fidelity(table)?.clone()))
                };
                (!lines.is_empty()).then(|| Self {
                    heading: format!("{heading}: {engine} by precision, compared with {base}"),
                    model: heading,
                    compared_with: *base,
                    lines,
                    fidelities: others.iter().filter_map(fidelity).collect(),
                })
            };
        models.into_iter().filter_map(of_model).collect()
    }

    /// The heading of the tables, without a precision.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The precision that the others are compared with.
    pub fn compared_with(&self) -> HeadingPrecision {
        self.compared_with
    }

    /// How far the weights of each precision are from the unquantized ones, by the precision's name, where that is known.
    pub fn fidelities(&self) -> &IndexMap<String, Fidelity> {
        &self.fidelities
    }

    /// Every ratio that is known, precision by precision.
    pub fn known(&self) -> impl Iterator<Item = KnownRatio<'_>> {
        known(&self.heading, &self.lines)
    }
}
