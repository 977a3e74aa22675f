//! The page: one self-contained file.

mod facts;
mod figure;
mod series;
mod summary;
mod tables;

use std::fmt::Write as _;

use crate::caveats::caveats;
use crate::plot::palette;
use crate::plot::text::escape;
use crate::plots;
use crate::scene::{AuditedRun, Comparison, MOST, Scene};
use crate::{Error, Plot};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page on one or several runs.
pub struct Page<'a> {
    runs: &'a [AuditedRun],
    comparisons: &'a [Comparison],
    /// The plots of each group of tables.
    groups: Vec<Vec<Plot>>,
    /// The plots of each comparison.
    ratios: Vec<Vec<Plot>>,
}

impl<'a> Page<'a> {
    /// Draws the plots of `runs` and of their comparisons.
    ///
    /// # Errors
    /// Where a plot can't be drawn.
    pub fn new(runs: &'a [AuditedRun], comparisons: &'a [Comparison]) -> Result<Self, Error> {
        let scene = Scene::new(runs);
        let groups = scene.groups();
        let is_one = groups.len() == 1;
        let mut of_groups: Vec<Vec<Plot>> = Vec::new();
        for group in &groups {
            of_groups
                .push(plots::named(plots::of_group(&scene, group)?, (!is_one).then_some(group.id.as_str())));
        }
        let mut ratios: Vec<Vec<Plot>> = Vec::new();
        for (index, comparison) in comparisons.iter().enumerate() {
            let prefix = (comparisons.len() > 1).then(|| format!("c{}", index + 1));
            ratios.push(plots::named(plots::of_comparisons(comparison)?, prefix.as_deref()));
        }
        Ok(Self { runs, comparisons, groups: of_groups, ratios })
    }

    /// Every plot, in the page's order.
    pub fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.ratios.iter().chain(&self.groups).flatten()
    }

    /// The page as HTML.
    pub fn html(&self) -> String {
        let scene = Scene::new(self.runs);
        let groups = scene.groups();
        let title = groups.first().map_or("No cells", |group| group.title.as_str());
        let mut body = facts::header(&scene, &groups);
        body.push_str(&summary::section(&scene, &groups));
        body.push_str(&caveats_section(self.runs));
        for (comparison, plots) in self.comparisons.iter().zip(&self.ratios) {
            body.push_str(&compared(comparison, plots));
        }
        for (group, plots) in groups.iter().zip(&self.groups) {
            let title = if groups.len() == 1 { "Plots" } else { &group.title };
            let _ = writeln!(body, "<section id=\"{}\"><h2>{}</h2>", group.id, escape(title));
            let cells = group.tables.iter().map(|(_, table)| table.rows.len()).max().unwrap_or(0);
            if cells > MOST {
                let _ = writeln!(
                    body,
                    "<p>Only the first {MOST} of {cells} cells are shown; table.md and summary.csv have all.</p>"
                );
            }
            plots.iter().for_each(|plot| body.push_str(&figure::figure(plot)));
            body.push_str("</section>\n");
        }
        body.push_str(&tables::section(&scene, &groups));
        body.push_str(&series::section(self.runs));
        body.push_str(&facts::details(&scene));
        page(title, &body)
    }
}

fn page(title: &str, body: &str) -> String {
    let (light, dark) = (palette::variables(false), palette::variables(true));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\n\
         <title>{}</title>\n<style>\n:root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n@media print{{:root{{color-scheme:light;{light}}}}}\n\
         {}{STYLE}</style>\n</head>\n<body>\n\
         <svg width=\"0\" height=\"0\" aria-hidden=\"true\" class=\"defs\"><defs>{}</defs></svg>\n\
         <main>\n{body}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title),
        palette::sheet(),
        crate::plot::HATCH
    )
}

fn caveats_section(runs: &[AuditedRun]) -> String {
    let mut text = String::from("<section id=\"caveats\"><h2>Caveats</h2>\n");
    for audited in runs {
        if runs.len() > 1 {
            let _ = writeln!(text, "<h3>{}</h3>", escape(&audited.run.name));
        }
        let _ = writeln!(text, "<p class=\"fine\">Audit: {}.</p>", escape(&audited.audit.summary()));
        let caveats = caveats(audited);
        if caveats.is_empty() {
            text.push_str("<p class=\"fine\">No caveats found.</p>\n");
            continue;
        }
        text.push_str("<ul class=\"caveats\">\n");
        for caveat in caveats {
            let (class, word) = (caveat.class(), caveat.word());
            let _ = writeln!(
                text,
                "<li class=\"{class}\"><b>{word}</b> <span>{}</span></li>",
                escape(&caveat.words)
            );
        }
        text.push_str("</ul>\n");
    }
    text + "</section>\n"
}

fn compared(comparison: &Comparison, plots: &[Plot]) -> String {
    let Comparison { result, baseline, candidate } = comparison;
    let mut text = format!(
        "<section class=\"compared\"><h2><bdi>{}</bdi> compared with <bdi>{}</bdi></h2>\n",
        escape(candidate),
        escape(baseline)
    );
    match result {
        Err(why) => {
            let _ = writeln!(text, "<p class=\"refused\">Not compared: {}</p>", escape(why));
        }
        Ok(report) => {
            let counts = report.counts();
            let _ = writeln!(
                text,
                "<p>Verdicts over all cells, metrics and means: {}.</p>",
                escape(&counts.to_string())
            );
            let differences = report.differences.iter().map(|one| {
                let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".into());
                format!("{}: {} → {}", one.what, side(&one.baseline), side(&one.candidate))
            });
            let lines: Vec<String> = differences.chain(report.notes.iter().cloned()).collect();
            if !lines.is_empty() {
                text.push_str("<details><summary>Differences and notes</summary><ul>\n");
                for line in lines {
                    let _ = writeln!(text, "<li>{}</li>", escape(&line));
                }
                text.push_str("</ul></details>\n");
            }
            plots.iter().for_each(|plot| text.push_str(&figure::figure(plot)));
        }
    }
    text + "</section>\n"
}
