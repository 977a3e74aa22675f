//! A second table of a run's cells, under the one with the published columns.

use super::{Figures, Row, Table};

/// A second table of a run's cells: caption, columns, rows. Columns without any figure are left out, and so are cells that were
/// not measured.
#[derive(Debug, Clone)]
pub struct Grid {
    /// The text above it.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<&'static GridColumn>,
    /// The rows, with a text for each column.
    pub rows: Vec<Vec<String>>,
}

/// A column of a [`Grid`].
#[derive(Debug)]
pub struct GridColumn {
    /// Its name in a document.
    pub name: &'static str,
    /// Its header on a screen, and when it is left out there: the highest rank first, 0 never. `None` where the first table shows the
    /// same.
    pub screen: Option<(&'static str, u8)>,
    text: fn(&Row, &Figures) -> Option<String>,
}

pub(super) const fn column(
    name: &'static str,
    screen: Option<(&'static str, u8)>,
    text: fn(&Row, &Figures) -> Option<String>,
) -> GridColumn {
    GridColumn { name, screen, text }
}

impl GridColumn {
    /// Whether it has numbers.
    pub fn is_number(&self) -> bool {
        self.name != "Engine"
    }
}

impl Grid {
    /// The names of its columns.
    pub fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.name).collect()
    }

    /// The measured cells of a table; `None` where there are none.
    pub(super) fn new(table: &Table, caption: String, columns: &'static [GridColumn]) -> Option<Self> {
        let measured: Vec<(&Row, &Figures)> =
            table.rows.iter().filter_map(|row| Some((row, row.figures.as_ref()?))).collect();
        let has_figure = |column: &&GridColumn| {
            measured.iter().any(|(row, figures)| (column.text)(row, figures).is_some())
        };
        let columns: Vec<&GridColumn> = columns.iter().filter(has_figure).collect();
        let row = |(row, figures): &(&Row, &Figures)| {
            let text = |column: &&GridColumn| (column.text)(row, figures).unwrap_or_else(|| "N/A".into());
            columns.iter().map(text).collect()
        };
        let rows: Vec<Vec<String>> = measured.iter().map(row).collect();
        (!rows.is_empty()).then_some(Self { caption, columns, rows })
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
