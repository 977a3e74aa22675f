//! What all users get together against what each of them gets: throughput per device by tokens per second per user, with the Pareto
//! front.

use protocol::Device;

use super::{PANELS, left_out};
use crate::plot::{Anchor, Axis, DataTable, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, number};
use crate::scene::{Group, MeasuredRow, Scene, thinned};

/// The room of a batch size beside the front, in pixels.
const LABEL: (f64, f64) = (30.0, 14.0);

/// A cell: how fast each user gets tokens, and how many a device generates.
struct Operation<'a> {
    cell: MeasuredRow<'a>,
    /// Tokens a second of one sequence.
    per_user: f64,
    /// Tokens a second of one device.
    per_device: f64,
}

pub(super) fn interactivity_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    // One sequence at a time is one point, and no trade-off.
    if group.sizes(|row| row.key.batch_size).len() < 2 {
        return None;
    }
    let operations: Vec<Operation<'_>> = group.measured().into_iter().map(operation).collect();
    let prompts: Vec<u32> = group
        .sizes(|row| row.key.prompt_length)
        .into_iter()
        .filter(|prompt| operations.iter().any(|one| one.cell.row.key.prompt_length == *prompt))
        .collect();
    let device = match operations.first()?.cell.row.key.device {
        Device::Cpu => "machine",
        Device::Cuda(_) => "GPU",
    };
    let shown = thinned(&prompts, PANELS);
    let panels = shown.iter().map(|prompt| panel(scene, group, &operations, *prompt, device)).collect();
    let left_out = left_out(shown.len(), prompts.len(), "prompt lengths");
    let mut legend = Legend::of_series(scene, group);
    legend.0.push(LegendEntry::plain("<path class=\"front\" d=\"M0 7L22 7\"/>", "Pareto front"));
    let row = |one: &Operation<'_>| {
        let head = scene.cell_head(&one.cell.row.key, one.cell.run);
        head.into_iter().chain([one.per_user, one.per_device].map(number)).collect()
    };
    let rows = operations.iter().map(row).collect();
    Some(Plot {
        id: "interactivity".into(),
        title: "Throughput against interactivity".into(),
        caption: format!(
            "Each point is a batch size. Tokens/s per user is 1 over the time per output token (TPOT); tokens/s per {device} is the batch \
             size times that, over the number of devices. A point is on the Pareto front if no other has both higher throughput and higher interactivity; its batch size stands beside it.{left_out}"
        ),
        legend,
        panels,
        table: DataTable::of_cells(["Tokens/s per User".into(), format!("Tokens/s per {device}")], rows),
        reference: None,
    })
}

fn operation(cell: MeasuredRow<'_>) -> Operation<'_> {
    let per_user = 1.0 / cell.figures.tpot.mean;
    let devices = f64::from(cell.row.key.ranks.measured().max(1));
    Operation { cell, per_user, per_device: f64::from(cell.row.key.batch_size) * per_user / devices }
}

/// The points that no other beats in both, by rising first figure.
fn front(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_by(|one, other| other.0.total_cmp(&one.0).then(other.1.total_cmp(&one.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if front.last().is_none_or(|last| point.1 > last.1) {
            front.push(point);
        }
    }
    front.reverse();
    front
}

fn panel(
    scene: &Scene<'_>,
    group: &Group<'_>,
    operations: &[Operation<'_>],
    prompt: u32,
    device: &str,
) -> Panel {
    let here: Vec<&Operation<'_>> =
        operations.iter().filter(|one| one.cell.row.key.prompt_length == prompt).collect();
    let front = front(here.iter().map(|one| (one.per_user, one.per_device)));
    let best = here.iter().max_by(|one, other| one.per_device.total_cmp(&other.per_device));
    let best = best.map_or_else(String::new, |best| {
        format!(
            "most per {device}: {} at batch size {}",
            best.cell.row.key.engine, best.cell.row.key.batch_size
        )
    });
    let x = Axis::from_values(operations.iter().map(|one| one.per_user));
    let y = Axis::from_values(operations.iter().map(|one| one.per_device));
    let frame = Frame {
        title: format!("prompt length {prompt}"),
        description: format!("Throughput per {device} against tokens per second per user; {best}"),
        unit: &format!("tokens/s per {device}{}", y.scale_words()),
        below: &format!("tokens/s per user{}", x.scale_words()),
        x,
        y,
        size: (350, 190),
        has_columns: true,
        has_rows: true,
    };
    frame.draw(|area| {
        area.line("front", &front);
        // A label that would touch another is left out, here as in the page's script.
        let mut labelled: Vec<(f64, f64)> = Vec::new();
        for one in here.iter().filter(|one| front.contains(&(one.per_user, one.per_device))) {
            let batch = one.cell.row.key.batch_size.to_string();
            let (x, y) = area.place((one.per_user, one.per_device));
            let is_free =
                |other: &(f64, f64)| (other.0 - x).abs() >= LABEL.0 || (other.1 - y).abs() >= LABEL.1;
            if labelled.iter().all(is_free) {
                labelled.push((x, y));
                area.note("u batch", &batch, (one.per_user, one.per_device), (7.0, -4.0), Anchor::Start);
            }
        }
        for (run, engine) in group.series() {
            let slot = scene.slot(engine);
            let mut own: Vec<&&Operation<'_>> =
                here.iter().filter(|one| one.cell.run == run && one.cell.row.key.engine == engine).collect();
            own.sort_by_key(|one| one.cell.row.key.batch_size);
            if own.is_empty() {
                continue;
            }
            area.series(slot, |area| {
                let places: Vec<(f64, f64)> = own.iter().map(|one| (one.per_user, one.per_device)).collect();
                if places.len() > 1 {
                    area.line(&format!("{} thin", scene.line(engine, run)), &places);
                }
                for (one, at) in own.iter().zip(places) {
                    let title = format!(
                        "{}: {} tokens/s per user, {} tokens/s per {device}",
                        scene.cell(&one.cell.row.key, run),
                        number(one.per_user),
                        number(one.per_device)
                    );
                    let class = scene.point(engine, run);
                    let label = MarkLabel { class: &class, title: &title, cell: Some(one.cell.index) };
                    area.shape_mark(&label, slot, at);
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::front;

    #[test]
    fn the_front_has_what_no_other_beats_in_both() {
        let points = [(1.0, 9.0), (2.0, 8.0), (2.0, 5.0), (1.5, 3.0), (4.0, 1.0), (0.5, 9.0)];
        assert_eq!(front(points.into_iter()), [(1.0, 9.0), (2.0, 8.0), (4.0, 1.0)]);
        assert_eq!(front(std::iter::empty()), []);
    }
}
