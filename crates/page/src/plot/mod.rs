//! A plot: panels of SVG, a legend, the figures as a table.

mod axis;
mod frame;
mod image;
mod legend;
pub(crate) mod palette;
#[cfg(feature = "png")]
mod png;
pub(crate) mod svg;
pub(crate) mod text;
mod unit;

pub(crate) use axis::{Axis, ends, grouped};
pub(crate) use frame::{Frame, PlotArea, SMALL, cross_shift};
pub(crate) use image::svg_of_panel;
pub(crate) use legend::{Legend, LegendEntry};
pub(crate) use svg::{Anchor, DEFS, MarkLabel, sign};
pub(crate) use unit::{ChosenUnit, FigureQuantity, in_unit, number};

use results::COLUMNS;

/// A plot of one or several panels.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Its name in files and links: `token-latency-by-batch-size`.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What a reader must know to read it.
    pub caption: String,
    pub(crate) legend: Legend,
    pub(crate) panels: Vec<Panel>,
    /// The figures that it shows.
    pub table: DataTable,
    /// The engine, by its slot, that the figures are relative to, where one can choose it.
    pub(crate) reference: Option<usize>,
}

/// One coordinate system of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// What it shows, in words: its alternative text.
    pub(crate) description: String,
    pub(crate) title: String,
    /// Elements of SVG.
    pub(crate) body: String,
    /// Pixels.
    pub(crate) size: (u32, u32),
    pub(crate) marks: usize,
}

/// Figures with their column names and units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataTable {
    /// Names of the columns, with units.
    pub columns: Vec<String>,
    /// Rows of as many texts.
    pub rows: Vec<Vec<String>>,
}

impl DataTable {
    /// A table whose first columns say which cell a row is of.
    pub(crate) fn of_cells(figures: impl IntoIterator<Item = String>, rows: Vec<Vec<String>>) -> Self {
        Self { columns: COLUMNS[..3].iter().map(|&name| name.to_owned()).chain(figures).collect(), rows }
    }
}

impl Plot {
    /// How many marks it has: points, cells, bars and bands that stand for figures.
    pub fn marks(&self) -> usize {
        self.panels.iter().map(|panel| panel.marks).sum()
    }
}
