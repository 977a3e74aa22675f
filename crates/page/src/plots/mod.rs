//! What is plotted of runs.

mod gpu;
mod heat;
mod measure;
mod ratio;
mod roofline;
mod sizes;
mod tokens;

use crate::Error;
use crate::plot::Plot;
use crate::scene::{Comparison, Group, Scene};

pub(crate) use measure::{MILLISECONDS, number};

/// The most panels of a plot.
const PANELS: usize = 6;

/// Every plot of a group of tables.
pub(crate) fn of_group(scene: &Scene<'_>, group: &Group<'_>) -> Result<Vec<Plot>, Error> {
    let mut plots = sizes::size_plots(scene, group)?;
    plots.extend(heat::heat_plots(scene, group)?);
    plots.extend(roofline::roofline_plot(scene, group)?);
    plots.extend(tokens::token_plot(scene, group)?);
    plots.extend(gpu::gpu_plot(scene, group)?);
    Ok(plots)
}

/// Every plot of a page, with names that are each its own.
pub(crate) fn named(mut plots: Vec<Plot>, prefix: Option<&str>) -> Vec<Plot> {
    if let Some(prefix) = prefix {
        for plot in &mut plots {
            plot.id = format!("{prefix}-{}", plot.id);
        }
    }
    plots
}

/// The ratio plots of a comparison; none where there is none.
pub(crate) fn of_comparisons(comparison: &Comparison) -> Result<Vec<Plot>, Error> {
    comparison.result.as_ref().map_or(Ok(Vec::new()), ratio::ratio_plots)
}
