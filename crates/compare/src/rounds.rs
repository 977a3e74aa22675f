//! What a comparison leaves open, measured again.

use indexmap::IndexSet;
use protocol::CellSize;
use stats::Verdict;

use crate::{ComparedFigure, ComparedTable, Report};

impl Report {
    /// The cells of regressed and inconclusive lines, those that regressed first; all cells of an engine whose mean is one. A regression
    /// that a later round confirmed is not open.
    pub fn open_cells(&self) -> Vec<(String, CellSize)> {
        let mut open = IndexSet::new();
        for verdict in [Verdict::Regressed, Verdict::Inconclusive] {
            for table in &self.tables {
                for section in &table.sections {
                    let cells = |line: &ComparedFigure| {
                        let is_of_it = |cell: &&ComparedFigure| {
                            cell.engine == line.engine && line.size.is_none_or(|size| cell.size == Some(size))
                        };
                        let cells = section.cells.iter().filter(is_of_it);
                        cells.filter_map(|cell| Some((cell.engine.clone(), cell.size?))).collect::<Vec<_>>()
                    };
                    let lines = section.cells.iter().chain(&section.means);
                    let is_open = |line: &&ComparedFigure| {
                        line.verdict == verdict && !(verdict == Verdict::Regressed && line.round > 0)
                    };
                    open.extend(lines.filter(is_open).flat_map(cells));
                }
                let ends = table.ends.iter().filter(|end| end.verdict == Some(verdict));
                open.extend(ends.map(|end| (end.engine.clone(), end.size)));
            }
        }
        open.into_iter().collect()
    }

    /// How many cells it compares.
    pub fn cell_count(&self) -> usize {
        let cells = |table: &ComparedTable| {
            let cells = table.sections.iter().flat_map(|section| &section.cells);
            cells.filter_map(|cell| Some((cell.engine.clone(), cell.size?))).collect::<IndexSet<_>>().len()
        };
        self.tables.iter().map(cells).sum()
    }

    /// The most replicates a side that an inconclusive line asks for; `None` where none says a number.
    pub fn replicates_needed(&self) -> Option<usize> {
        self.lines().filter_map(|(_, line)| line.replicates_needed).max()
    }

    /// The same with the lines and ends of what `again` measured in the place of the earlier ones; an engine's mean only where all of
    /// its cells were measured again.
    #[must_use]
    pub fn measured_again(mut self, again: Self, round: usize) -> Self {
        for table in again.tables {
            let is_same =
                |one: &&mut ComparedTable| one.baseline == table.baseline && one.candidate == table.candidate;
            let Some(of_before) = self.tables.iter_mut().find(is_same) else { continue };
            let cells: IndexSet<(String, CellSize)> = table
                .sections
                .iter()
                .flat_map(|section| &section.cells)
                .filter_map(|cell| Some((cell.engine.clone(), cell.size?)))
                .chain(table.ends.iter().map(|end| (end.engine.clone(), end.size)))
                .collect();
            of_before.ends.retain(|end| !cells.contains(&(end.engine.clone(), end.size)));
            of_before.ends.extend(table.ends);
            for section in table.sections {
                let Some(before) = of_before.sections.iter_mut().find(|one| one.metric == section.metric)
                else {
                    of_before.sections.push(section);
                    continue;
                };
                for mean in section.means {
                    let count = |cells: &[ComparedFigure]| {
                        cells.iter().filter(|cell| cell.engine == mean.engine).count()
                    };
                    if count(&before.cells) == count(&section.cells) {
                        replace(&mut before.means, mean, round);
                    }
                }
                section.cells.into_iter().for_each(|cell| replace(&mut before.cells, cell, round));
            }
        }
        self.notes
            .extend(again.notes.into_iter().filter(|note| !self.notes.contains(note)).collect::<Vec<_>>());
        self
    }
}

/// A round that does not say takes no verdict of change back, and what was decided otherwise was not asked again.
fn replace(lines: &mut Vec<ComparedFigure>, line: ComparedFigure, round: usize) {
    let line = ComparedFigure { round, ..line };
    let is_settled = |before: &ComparedFigure| {
        (before.verdict.is_change() && line.verdict == Verdict::Inconclusive)
            || !matches!(before.verdict, Verdict::Regressed | Verdict::Inconclusive)
    };
    match lines.iter_mut().find(|one| one.engine == line.engine && one.size == line.size) {
        Some(before) if is_settled(before) => {}
        Some(before) => *before = line,
        None => lines.push(line),
    }
}
