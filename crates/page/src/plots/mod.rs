//! What is plotted of runs.

mod distribution;
mod engines;
mod gpu;
mod heat;
mod history;
mod interactivity;
mod measure;
mod overview;
mod precisions;
mod ratio;
mod ratio_bars;
mod roofline;
mod sizes;
mod speedup;
mod tokens;

use results::format_short;
use stats::Interval;

use crate::plot::{Plot, text};
use crate::scene::{Group, Scene};

pub(crate) use history::{RUNS, history_panel, history_unit, series_name};
pub(crate) use overview::overview_plot;
pub(crate) use precisions::{ModelPrecisions, of_runs as precisions_of_runs, precision_plots};
pub(crate) use ratio::{overview_of_comparison, ratio_plots};

/// The most panels of a plot.
const PANELS: usize = 6;

/// Says that some panels are not drawn; nothing where all are.
fn left_out(shown: usize, all: usize, what: &str) -> String {
    if shown == all {
        return String::new();
    }
    format!(" Only {shown} of {all} {what} are drawn; the data below has all.")
}

/// An engine's name where there is little room.
fn short_name(engine: &str) -> String {
    text::fit(engine, 11.0, 150.0)
}

/// An interval in a table; empty where there is none.
fn interval_text(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |Interval { low, high }| {
        format!("{} to {}", format_short(low), format_short(high))
    })
}

/// Every plot of a group of tables.
pub(crate) fn of_group(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
    // Where no line can be drawn, bars replace lines and maps.
    let has_lines = !engines::has_no_lines(group);
    let mut plots = if has_lines {
        sizes::time_plots(scene, group)
    } else {
        engines::resource_plot(scene, group).into_iter().collect()
    };
    plots.extend(interactivity::interactivity_plot(scene, group));
    plots.extend(speedup::speedup_plots(scene, group));
    plots.extend(distribution::distribution_plot(scene, group));
    if has_lines {
        plots.extend(sizes::resource_plots(scene, group));
        plots.extend(heat::heat_plots(scene, group));
    }
    plots.extend(roofline::roofline_plot(scene, group));
    plots.extend(tokens::token_plot(scene, group));
    plots.extend(gpu::gpu_plot(scene, group));
    plots
}

/// Gives the plots of a page names that are each its own.
pub(crate) fn named(mut plots: Vec<Plot>, prefix: Option<&str>) -> Vec<Plot> {
    if let Some(prefix) = prefix {
        for plot in &mut plots {
            plot.id = format!("{prefix}-{}", plot.id);
        }
    }
    plots
}
