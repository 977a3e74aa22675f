//! Tables to sort and copy: the published columns, percentiles, efficiency.

use std::fmt::Write as _;

use report::markdown;
use results::{COLUMNS, Grid, Table};

use super::figure::table;
use crate::plot::text::escape;
use crate::scene::{Group, MOST, Scene, listed};

pub(super) fn section(scene: &Scene<'_>, groups: &[Group<'_>]) -> String {
    let mut text = String::from("<section id=\"tables\"><h2>Tables</h2>\n");
    for group in groups {
        for (run, table) in &group.tables {
            let run_name =
                if scene.runs.len() == 1 { String::new() } else { format!(", {}", scene.runs[*run].name) };
            text.push_str(&one(table, &format!("{}{run_name}", table.heading)));
        }
    }
    text + "</section>\n"
}

fn one(of: &Table, title: &str) -> String {
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
    let title = escape(title);
    let mut text = format!("<h3>{title}</h3>\n{}", copy(&markdown::rows(listed(of), &columns)));
    text.push_str(&table(&headers, &rows, &title));
    for mut grid in [Grid::percentiles(of), Grid::efficiency(of)].into_iter().flatten() {
        grid.rows.truncate(MOST);
        let caption = escape(&grid.caption);
        let _ = write!(
            text,
            "<h3>{caption}</h3>\n{}{}",
            copy(&markdown::grid(&grid)),
            table(&grid.names(), &grid.rows, &caption)
        );
    }
    text
}

/// A button that copies `markdown`.
fn copy(markdown: &str) -> String {
    format!(
        "<p class=\"copy\"><button type=\"button\" class=\"copier\">Copy as markdown</button><textarea readonly hidden \
         aria-label=\"the table as markdown\">{}</textarea></p>\n",
        escape(markdown.trim())
    )
}
