//! A plot in the page: its panels, legend, caption and data.

use maud::{Markup, PreEscaped, html};
use unicode_width::UnicodeWidthStr;

use crate::plot::{DataTable, Legend, Plot, svg_of_panel};

/// Larger tables are plain text, which the script makes a table of when asked to: a browser takes seconds to lay out that many cells.
pub(super) const MOST_ROWS: usize = 400;

/// The widest column of such a text, in characters.
const WIDEST: usize = 32;

/// Plots one after the other. Those relative to other engines than the first are folded; data that is the last plot's is not repeated.
pub(super) fn figures<'p>(plots: impl Iterator<Item = &'p Plot>) -> Markup {
    let plots: Vec<&Plot> = plots.collect();
    let runs = plots.chunk_by(|one, other| one.reference.is_some() && other.reference.is_some());
    let mut last: Option<&Plot> = None;
    html! {
        @for run in runs {
            (figure(run[0], last.replace(run[0])))
            @if run.len() > 1 {
                details class="references" {
                    summary { "Speedup over other engines" }
                    @for plot in &run[1..] { (figure(plot, None)) }
                }
            }
        }
    }
}

/// Links to plots; of those that differ in their reference, to the first.
pub(super) fn contents<'p>(plots: impl Iterator<Item = &'p Plot>) -> Markup {
    let plots: Vec<&Plot> = plots.collect();
    let runs = plots.chunk_by(|one, other| one.reference.is_some() && other.reference.is_some());
    html! {
        ul class="contents" { @for run in runs { li { a href=(format!("#{}", run[0].id)) { (run[0].title) } } } }
    }
}

/// A plot, after `last` whose data may be the same.
pub(super) fn figure(plot: &Plot, last: Option<&Plot>) -> Markup {
    let same = last.filter(|last| last.table == plot.table);
    html! {
        figure id=(plot.id) class="plot" data-marks=(plot.marks()) data-reference=[plot.reference] {
            h3 { (plot.title) }
            (legend(&plot.legend))
            div class="panels" {
                @for panel in &plot.panels { (PreEscaped(svg_of_panel(panel))) }
            }
            figcaption { (plot.caption) }
            @if let Some(same) = same {
                p class="fine" { "Data: " a href=(format!("#{}", same.id)) { "the same as " (same.title) } "." }
            } @else {
                details class="data" {
                    summary { "Data" }
                    (table(&plot.table.columns, &plot.table.rows, &plot.title))
                }
            }
        }
    }
}

/// What the signs of a plot mean.
pub(super) fn legend(legend: &Legend) -> Markup {
    html! {
        ul class="legend" {
            @for entry in &legend.0 {
                li data-e=[entry.engine] {
                    svg class="sign" width=(entry.width) height="14" viewBox=(format!("0 0 {} 14", entry.width)) aria-hidden="true" {
                        (PreEscaped(&entry.sign))
                    }
                    span { (entry.words) }
                }
            }
        }
    }
}

/// A table that the script can sort by each of its columns.
pub(super) fn table<C: AsRef<str>>(columns: &[C], rows: &[Vec<String>], caption: &str) -> Markup {
    if rows.len() > MOST_ROWS {
        let columns = columns.iter().map(|column| column.as_ref().to_owned()).collect();
        return text(&DataTable { columns, rows: rows.to_vec() }, caption);
    }
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table class="sortable" {
                thead { tr { @for column in columns { th scope="col" { (column.as_ref()) } } } }
                tbody {
                    @for row in rows {
                        tr { @for cell in row { td class=[(!is_number(cell)).then_some("x")] { (cell) } } }
                    }
                }
            }
        }
    }
}

/// A table as tab-separated text.
fn text(table: &DataTable, caption: &str) -> Markup {
    let widths = table.rows.iter().flatten().chain(&table.columns).map(|cell| cell.width());
    let widest = widths.max().unwrap_or(0).min(WIDEST);
    html! {
        pre class="scroll" tabindex="0" role="region" aria-label=(caption) style=(format!("tab-size:{}", widest + 2)) {
            (table.tsv())
        }
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && text.chars().all(|c| !c.is_alphabetic() || c == 'e')
}

impl DataTable {
    /// The figures as tab-separated values.
    pub fn tsv(&self) -> String {
        let line = |cells: &[String]| {
            cells.iter().map(|cell| results::one_line(cell).replace('\t', " ")).collect::<Vec<_>>().join("\t")
                + "\n"
        };
        line(&self.columns) + &self.rows.iter().map(|row| line(row)).collect::<String>()
    }
}
