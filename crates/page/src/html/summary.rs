//! A sentence for each engine.

use maud::{Markup, PreEscaped, html};
use protocol::FailureKind;
use results::counted;

use crate::plot::{FigureQuantity, in_unit, number, sign};
use crate::scene::{Group, MeasuredRow, Scene};

pub(super) fn section(scene: &Scene<'_>, groups: &[Group<'_>]) -> Markup {
    let sign = |(run, engine): (usize, &str)| {
        PreEscaped(sign(Some(&scene.line(engine, run)), &scene.point(engine, run), scene.slot(engine)))
    };
    html! {
        section id="engine-summary" {
            h2 { "Engines" }
            @for group in groups {
                @if groups.len() > 1 { h3 { (group.title) } }
                ul class="engines" {
                    @for (run, engine) in group.series() {
                        li {
                            svg class="sign" width="22" height="14" viewBox="0 0 22 14" aria-hidden="true" { (sign((run, engine))) }
                            p {
                                b { bdi { (results::one_line(engine)) } }
                                @if scene.runs.len() > 1 { " (" bdi { (scene.runs[run].name) } ")" }
                                " " (sentence(group, run, engine))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Summarizes an engine in the table of a run.
fn sentence(group: &Group<'_>, run: usize, engine: &str) -> String {
    let cells = group.measured();
    let time = |seconds: f64| in_unit(FigureQuantity::Time, seconds);
    let engine_cells: Vec<&MeasuredRow<'_>> =
        cells.iter().filter(|cell| cell.run == run && cell.row.key.engine == engine).collect();
    let rows = group.tables.iter().filter(|(other, _)| *other == run).flat_map(|(_, table)| &table.rows);
    let ended: Vec<FailureKind> =
        rows.filter(|row| row.key.engine == engine).filter_map(|row| Some(row.failure()?.kind)).collect();
    let mut parts = Vec::new();
    if let Some(cell) = engine_cells.iter().min_by_key(|cell| cell.row.key.size()) {
        parts.push(format!(
            "takes {} per token (p50 {}, p90 {}, p99 {}; TPOT {}) at batch size {}, prompt length {}",
            time(cell.figures.token.mean),
            time(cell.figures.token.median),
            time(cell.figures.token.p90),
            time(cell.figures.token.p99),
            time(cell.figures.tpot.mean),
            cell.row.key.batch_size,
            cell.row.key.prompt_length
        ));
    }
    let decode = |cell: &MeasuredRow<'_>| f64::from(cell.row.key.batch_size) / cell.figures.tpot.mean;
    if let Some(best) = engine_cells.iter().max_by(|one, other| decode(one).total_cmp(&decode(other))) {
        parts.push(format!(
            "generates up to {} tokens/s by TPOT ({})",
            number(decode(best)),
            best.row.key.size()
        ));
    }
    let share = |of: fn(&MeasuredRow<'_>) -> Option<f64>| {
        engine_cells
            .iter()
            .filter_map(|cell| Some((of(cell)?, cell.row.key.size())))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(share, cell)| format!("{:.0} % ({cell})", share * 100.0))
    };
    let bandwidth = share(|cell| cell.row.efficiency.decode_bandwidth);
    let flops = share(|cell| cell.row.efficiency.prefill_flops);
    let sustained = share(|cell| cell.row.efficiency.prefill_sustained_flops);
    let sustained = sustained.map(|share| format!(", {share} of sustained FLOP/s")).unwrap_or_default();
    let mbu = share(|cell| cell.row.efficiency.mbu);
    let mfu = share(|cell| cell.row.efficiency.mfu);
    let shares: Vec<String> = bandwidth
        .map(|share| format!("{share} of peak bandwidth in decode"))
        .into_iter()
        .chain(flops.map(|share| format!("{share} of peak FLOP/s in prefill{sustained}")))
        .chain(mbu.map(|share| format!("an MBU of {share}")))
        .chain(mfu.map(|share| format!("an MFU of {share}")))
        .collect();
    if !shares.is_empty() {
        parts.push(format!("reaches {}", shares.join(", ")));
    } else if !engine_cells.is_empty() {
        parts.push("efficiency unknown: no peaks were measured".into());
    }
    let out_of_memory = ended.iter().filter(|kind| **kind == FailureKind::OutOfMemory).count();
    if out_of_memory > 0 {
        parts.push(format!(
            "ran out of memory in {}",
            cells_of(out_of_memory, engine_cells.len() + ended.len())
        ));
    }
    if ended.len() > out_of_memory {
        parts.push(format!(
            "failed in {}",
            cells_of(ended.len() - out_of_memory, engine_cells.len() + ended.len())
        ));
    }
    parts.join("; ") + "."
}

fn cells_of(count: usize, all: usize) -> String {
    format!("{count} of {}", counted(all, "cell"))
}
