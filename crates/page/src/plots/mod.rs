//! What is plotted of runs.

mod distribution;
mod engines;
mod gpu;
mod heat;
mod history;
mod interactivity;
mod measure;
mod overview;
mod ratio;
mod roofline;
mod sizes;
mod speedup;
mod tokens;

use crate::plot::Plot;
use crate::scene::{Comparison, Group, Scene};

pub(crate) use history::{RUNS, history_panel, history_unit, series_name};
pub(crate) use overview::{overview_of_comparison, overview_plot};

/// The most panels of a plot.
const PANELS: usize = 6;

/// Every plot of a group of tables.
pub(crate) fn of_group(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
    let mut plots = sizes::time_plots(scene, group);
    plots.extend(interactivity::interactivity_plot(scene, group));
    plots.extend(speedup::speedup_plots(scene, group));
    plots.extend(distribution::distribution_plot(scene, group));
    plots.extend(sizes::resource_plots(scene, group));
    plots.extend(heat::heat_plots(scene, group));
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

/// The ratio plots of a comparison; none where there is none.
pub(crate) fn of_comparison(scene: &Scene<'_>, comparison: &Comparison) -> Vec<Plot> {
    ratio::ratio_plots(scene, comparison)
}
