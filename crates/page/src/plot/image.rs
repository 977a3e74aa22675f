//! A plot as a file of its own, and a panel as part of a page.

use std::fmt::Write as _;

use super::{DEFS, Panel, Plot, palette, text};

/// The gap between panels and around them.
const GAP: u32 = 16;

/// A panel as an element of HTML.
pub(crate) fn svg_of_panel(panel: &Panel) -> String {
    let (width, height) = panel.size;
    let wide = if width > 400 { " wide" } else { "" };
    let [title, description] = [&panel.title, &panel.description].map(|words| text::escape(words));
    // A line break between elements is a node of its own in a browser.
    let body: String = panel.body.lines().collect();
    format!(
        "<svg class=\"panel{wide}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{title}: {description}\" data-marks=\"{}\">{body}</svg>\n",
        panel.marks
    )
}

impl Plot {
    /// The plot as a file of SVG, on light ground or on what the reader's screen has.
    pub fn svg(&self) -> String {
        let dark = palette::resolved(true);
        self.document(&format!("{}@media (prefers-color-scheme:dark){{{dark}}}", palette::resolved(false)))
    }

    pub(super) fn document(&self, style: &str) -> String {
        let columns = match self.panels.len() {
            count @ 0..=3 => count.max(1),
            4 => 2,
            _ => 3,
        };
        let widest = self.panels.iter().map(|panel| panel.size.0).max().unwrap_or(300);
        let width = columns as u32 * (widest + GAP) + GAP;
        let room = f64::from(width - 2 * GAP);
        let (legend, legend_height) = self.legend.svg(room);
        let title = text::escape(&text::fit(&self.title, 15.0, room));
        let mut y = 36.0;
        let mut body = format!("<text class=\"hh\" x=\"{GAP}\" y=\"24\">{title}</text>\n");
        let _ = writeln!(body, "<g transform=\"translate({GAP} {y})\">\n{legend}</g>");
        y += legend_height + 10.0;
        for row in self.panels.chunks(columns) {
            for (column, panel) in row.iter().enumerate() {
                let x = GAP + column as u32 * (widest + GAP);
                let description = text::escape(&panel.description);
                let _ = writeln!(
                    body,
                    "<g transform=\"translate({x} {y:.0})\" role=\"img\" aria-label=\"{description}\">\n{}</g>",
                    panel.body
                );
            }
            y += f64::from(row.iter().map(|panel| panel.size.1).max().unwrap_or(0) + GAP);
        }
        let (full, caption) = (text::escape(&self.title), text::escape(&self.caption));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {y:.0}\" width=\"{width}\" height=\"{y:.0}\" \
             role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">{full}</title>\n<desc id=\"desc\">{caption}</desc>\n\
             <style>\n{style}</style>\n<defs>{DEFS}</defs>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{y:.0}\"/>\n{body}</svg>\n"
        )
    }
}
