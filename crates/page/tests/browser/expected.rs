//! The marks that each plot must have, counted from the records.

use std::collections::{BTreeMap, BTreeSet};

use page::{AuditedRun, Comparison};
use protocol::{CellSize, FailureKind};
use results::Row;

/// The most panels of a plot by size, cells of an overview, bars of a speedup's panel, panels of a token-by-token plot, and lines of an
/// engine in a ratio plot.
const PANELS: usize = 6;
const CELLS: usize = 12;
const BARS: usize = 54;
const TOKEN_PANELS: usize = 12;
const LINES: usize = 24;

/// The engine that speedups are over unless another is chosen.
const USUAL: &str = "pytorch-eager";

/// The marks of every plot of runs of one model, of cells that `is_kept`. The reference of the first speedup is `USUAL`, or else the
/// first engine.
pub(crate) fn marks(
    runs: &[AuditedRun],
    comparisons: &[Comparison],
    is_kept: impl Fn(&Row) -> bool,
) -> BTreeMap<String, u64> {
    let all: Vec<(usize, &Row)> = runs
        .iter()
        .enumerate()
        .flat_map(|(index, run)| {
            run.run.tables.iter().flat_map(move |table| table.rows.iter().map(move |row| (index, row)))
        })
        .collect();
    let kept: Vec<(usize, &Row)> = all.iter().copied().filter(|(_, row)| is_kept(row)).collect();
    let count = |is: &dyn Fn(&Row) -> bool| kept.iter().filter(|(_, row)| is(row)).count();
    let is_measured = |row: &Row| row.figures.is_some();
    let is_out = |row: &Row| row.failure().is_some_and(|failure| failure.kind == FailureKind::OutOfMemory);
    let mut marks = BTreeMap::new();
    let mut put = |id: &str, count: usize| {
        if count > 0 {
            marks.insert(id.to_owned(), count as u64);
        }
    };

    let batches = sizes(&all, |row| row.key.batch_size);
    let prompts = sizes(&all, |row| row.key.prompt_length);
    let (drawn_batches, drawn_prompts) = (thinned(&batches, PANELS), thinned(&prompts, PANELS));
    let by = |put: &mut dyn FnMut(&str, usize), id: &str, is: &dyn Fn(&Row) -> bool| {
        // Of a plot, cells that ran out of memory are crosses.
        if !all.iter().any(|(_, row)| is(row)) {
            return;
        }
        let is = |row: &Row| is(row) || is_out(row);
        let of_prompts = count(&|row| is(row) && drawn_prompts.contains(&row.key.prompt_length));
        let of_batches = count(&|row| is(row) && drawn_batches.contains(&row.key.batch_size));
        put(&format!("{id}-by-batch-size"), of_prompts);
        put(&format!("{id}-by-prompt-length"), of_batches);
    };
    for id in ["prompt-latency", "token-latency", "wall-clock", "token-throughput", "prompt-throughput"] {
        by(&mut put, id, &is_measured);
    }
    by(&mut put, "peak-memory", &|row| is_measured(row) && row.peak_bytes().is_some());
    by(&mut put, "prefill-energy", &|row| row.efficiency.joules_per_prompt_token.is_some());
    by(&mut put, "energy", &|row| row.efficiency.joules_per_token.is_some());
    by(&mut put, "total-energy", &|row| row.efficiency.total_joules_per_token.is_some());
    put("interactivity", count(&|row| is_measured(row) && drawn_prompts.contains(&row.key.prompt_length)));
    put("token-distribution", count(&is_measured));
    put("token-latency-map", kept.len());
    put("token-throughput-map", kept.len());
    if runs.iter().all(|run| run.run.tables.iter().all(|table| table.config.is_some())) {
        put("roofline", 2 * count(&is_measured));
    }
    put("token-by-token", 3 * token_panels(&all).iter().filter(|row| is_kept(row)).count());
    let on_gpu = kept.iter().flat_map(|(_, row)| &row.replicates).filter(|record| record.gpu.is_some());
    put("gpu", 2 * on_gpu.count());

    // All cells of the overview are there, those without figures as crosses: in three panels.
    let mut cells: Vec<CellSize> = all.iter().map(|(_, row)| row.key.size()).collect();
    cells.sort_unstable_by_key(|size| (size.batch_size, size.prompt_length));
    cells.dedup();
    let shown = thinned(&cells, CELLS);
    put("overview", 3 * count(&|row| shown.contains(&row.key.size())));

    let engines = engines(&all);
    let usual = engines.iter().position(|engine| engine == USUAL).unwrap_or(0);
    for (slot, reference) in engines.iter().enumerate() {
        let id = if slot == usual { "speedup".to_owned() } else { format!("speedup-{}", slot + 1) };
        put(&id, (0..runs.len()).map(|run| bars(&all, run, reference, &is_kept)).sum());
    }
    // A mean stays as long as any cell of its engine.
    let has_cell = |engine: &str, size: Option<CellSize>| {
        let is_it = |row: &Row| row.key.engine == engine && size.is_none_or(|size| row.key.size() == size);
        kept.iter().any(|(_, row)| is_it(row))
    };
    for (index, comparison) in comparisons.iter().enumerate() {
        let Ok(report) = &comparison.result else { continue };
        let prefix = if comparisons.len() == 1 { String::new() } else { format!("c{}-", index + 1) };
        let mut overview = 0;
        for (table, compared) in report.tables.iter().enumerate() {
            for section in &compared.sections {
                let engines: BTreeSet<&str> = section.cells.iter().map(|line| line.engine.as_str()).collect();
                let of_engine = |engine: &str| {
                    let lines = section.cells.iter().filter(|line| line.engine == engine);
                    lines.filter(|line| has_cell(engine, line.size)).count().min(LINES)
                };
                let cells: usize = engines.iter().map(|engine| of_engine(engine)).sum();
                let means = section.means.iter().filter(|line| has_cell(&line.engine, None)).count();
                put(&format!("{prefix}ratio-{}-{}", table + 1, section.metric), cells + means);
                overview += engines.iter().filter(|engine| has_cell(engine, None)).count();
            }
        }
        put(&format!("{prefix}ratio-overview"), overview);
    }
    marks
}

/// The bars of a run over a reference: the other engines' cells that both measured, in three phases.
fn bars(all: &[(usize, &Row)], run: usize, reference: &str, is_kept: impl Fn(&Row) -> bool) -> usize {
    let of_run = || all.iter().filter(|(of, row)| *of == run && row.figures.is_some()).map(|(_, row)| *row);
    let own: Vec<CellSize> =
        of_run().filter(|row| row.key.engine == reference).map(|row| row.key.size()).collect();
    let others = || of_run().filter(|row| row.key.engine != reference && own.contains(&row.key.size()));
    let engines: BTreeSet<&str> = others().map(|row| row.key.engine.as_str()).collect();
    let mut sizes: Vec<CellSize> = Vec::new();
    for row in others() {
        if !sizes.contains(&row.key.size()) {
            sizes.push(row.key.size());
        }
    }
    let shown = thinned(&sizes, (BARS / engines.len().max(1)).max(4));
    3 * others().filter(|row| shown.contains(&row.key.size()) && is_kept(row)).count()
}

/// The smallest, the largest and the least steady cell of each series.
fn token_panels<'a>(all: &[(usize, &'a Row)]) -> Vec<&'a Row> {
    let series: BTreeSet<(usize, &str)> =
        all.iter().map(|(run, row)| (*run, row.key.engine.as_str())).collect();
    let mut chosen = Vec::new();
    for (run, engine) in &series {
        let of_series: Vec<&Row> = all
            .iter()
            .filter(|(of, row)| of == run && row.key.engine == *engine && row.figures.is_some())
            .map(|(_, row)| *row)
            .collect();
        let variation = |row: &Row| row.figures.as_ref().unwrap().token.variation();
        let work = |row: &&&Row| (row.key.batch_size, row.key.prompt_length);
        let three = [
            of_series.iter().max_by(|one, other| variation(one).total_cmp(&variation(other))),
            of_series.iter().min_by_key(work),
            of_series.iter().max_by_key(work),
        ];
        let mut own: Vec<&Row> = Vec::new();
        for row in three.into_iter().flatten() {
            if own.iter().all(|other| other.key != row.key) {
                own.push(row);
            }
        }
        own.truncate((TOKEN_PANELS / series.len()).max(1));
        chosen.extend(own);
    }
    chosen
}

/// The engines in order of appearance: their places are their slots.
pub(crate) fn engines(all: &[(usize, &Row)]) -> Vec<String> {
    let mut engines: Vec<String> = Vec::new();
    for (_, row) in all {
        if !engines.contains(&row.key.engine) {
            engines.push(row.key.engine.clone());
        }
    }
    engines
}

fn sizes(all: &[(usize, &Row)], size: fn(&Row) -> u32) -> Vec<u32> {
    all.iter().map(|(_, row)| size(row)).collect::<BTreeSet<u32>>().into_iter().collect()
}

/// The first, the last, and evenly spaced ones between.
fn thinned<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    if all.len() <= count {
        return all.to_vec();
    }
    (0..count).map(|index| all[index * (all.len() - 1) / (count - 1)]).collect()
}
