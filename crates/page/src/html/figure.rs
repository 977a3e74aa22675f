//! A plot in the page: its panels, legend, caption and data.

use std::fmt::Write as _;

use crate::plot::text::escape;
use crate::plot::{DataTable, LegendEntry, Plot, svg_of_panel};

pub(super) fn figure(plot: &Plot) -> String {
    let (id, title, caption) = (escape(&plot.id), escape(&plot.title), escape(&plot.caption));
    let mut text =
        format!("<figure id=\"{id}\" class=\"plot\" data-marks=\"{}\">\n<h3>{title}</h3>\n", plot.marks());
    text.push_str("<ul class=\"legend\">\n");
    for LegendEntry { sign, width, words } in &plot.legend.0 {
        let _ = writeln!(
            text,
            "<li><svg class=\"sign\" width=\"{width}\" height=\"14\" viewBox=\"0 0 {width} 14\" aria-hidden=\"true\">{sign}</svg>\
             <span>{}</span></li>",
            escape(words)
        );
    }
    text.push_str("</ul>\n<div class=\"panels\">\n");
    for (index, panel) in plot.panels.iter().enumerate() {
        text.push_str(&svg_of_panel(panel, &format!("{id}-{}", index + 1)));
    }
    let _ = write!(
        text,
        "</div>\n<figcaption>{caption}</figcaption>\n<details class=\"data\"><summary>Data</summary>\n{}</details>\n</figure>\n",
        table(&plot.table.columns, &plot.table.rows, &title)
    );
    text
}

/// A table that can be sorted by each of its columns.
pub(super) fn table<C: AsRef<str>>(columns: &[C], rows: &[Vec<String>], caption: &str) -> String {
    let mut text = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table class=\"sortable\">\n<thead><tr>"
    );
    for column in columns {
        let _ = write!(
            text,
            "<th scope=\"col\"><button type=\"button\">{}</button></th>",
            escape(column.as_ref())
        );
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for cell in row {
            let class = if is_number(cell) { "<td>" } else { "<td class=\"x\">" };
            let _ = write!(text, "{class}{}</td>", escape(cell));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody>\n</table></div>\n"
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
