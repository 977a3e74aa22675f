//! Tables to sort and copy: the published columns, percentiles, efficiency.

use maud::{Markup, html};
use report::markdown;
use results::{COLUMNS, Grid, Table};

use super::figure::{MOST_ROWS, table};
use crate::scene::{Group, MOST, Scene, listed};

pub(super) fn section(scene: &Scene<'_>, groups: &[Group<'_>]) -> Markup {
    html! {
        section id="tables" {
            h2 { "Tables" }
            @for (run, table) in groups.iter().flat_map(|group| &group.tables) {
                (one(table, &format!("{}{}", table.heading, scene.run_suffix(*run))))
            }
        }
    }
}

fn one(of: &Table, title: &str) -> Markup {
    let columns = of.columns();
    let headers: Vec<&str> =
        COLUMNS[..3].iter().copied().chain(columns.iter().map(|column| column.header())).collect();
    let rows: Vec<Vec<String>> = listed(of)
        .iter()
        .map(|row| {
            let head = [
                results::one_line(&row.key.engine),
                row.key.batch_size.to_string(),
                row.key.prompt_length.to_string(),
            ];
            head.into_iter().chain(columns.iter().map(|column| row.text(*column))).collect()
        })
        .collect();
    let grids = [Grid::percentiles(of), Grid::efficiency(of)].into_iter().flatten().map(|mut grid| {
        grid.rows.truncate(MOST);
        grid
    });
    html! {
        h3 { (title) }
        (copy(listed(of).len(), || markdown::rows(listed(of), &columns)))
        (table(&headers, &rows, title))
        @for grid in grids {
            h3 { (grid.caption) }
            (copy(grid.rows.len(), || markdown::grid(&grid)))
            (table(&grid.names(), &grid.rows, &grid.caption))
        }
    }
}

/// A button that copies the table below it: as markdown, or the text that a large one is.
fn copy(rows: usize, markdown: impl FnOnce() -> String) -> Markup {
    html! {
        p class="copy" hidden {
            @if rows > MOST_ROWS {
                button type="button" class="copier" { "Copy as tab-separated values" }
            } @else {
                button type="button" class="copier" { "Copy as markdown" }
                textarea readonly hidden aria-label="the table as markdown" { (markdown().trim()) }
            }
        }
    }
}
