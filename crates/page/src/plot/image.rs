//! A plot as a file of its own, and a panel as part of a page.

use std::fmt::Write as _;
use std::sync::Arc;

use resvg::usvg::fontdb::Database;
use resvg::{tiny_skia, usvg};

use super::{Panel, Plot, palette, text};
use crate::Error;

/// The gap between panels and around them.
const GAP: u32 = 16;

/// Pixels of an image for one of the plot.
const SCALE: f32 = 2.0;

/// DejaVu Sans 2.37 (dejavu-fonts.github.io), regular and bold, cut down to Latin-1, dashes, quotes and some signs by
/// fontTools' `pyftsubset`: whole, they are a tenth of the program. A text in another script is boxes in an image.
const FONTS: [&[u8]; 2] =
    [include_bytes!("../../fonts/DejaVuSans.ttf"), include_bytes!("../../fonts/DejaVuSans-Bold.ttf")];

/// What `.oom` is filled with.
pub(crate) const HATCH: &str = "<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
     patternTransform=\"rotate(45)\"><path class=\"hatch\" d=\"M0 0L0 6\"/></pattern>";

/// A panel as an element of HTML.
pub(crate) fn svg_of_panel(panel: &Panel, id: &str) -> String {
    let (width, height) = panel.size;
    let wide = if width > 400 { " wide" } else { "" };
    let [title, description] = [&panel.title, &panel.description].map(|words| text::escape(words));
    format!(
        "<svg class=\"panel{wide}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\" data-marks=\"{}\"><title id=\"{id}-t\">{title}</title>\
         <desc id=\"{id}-d\">{description}</desc>\n{}</svg>\n",
        panel.marks, panel.body
    )
}

impl Plot {
    /// The plot as a file of SVG, on light ground or on what the reader's screen has.
    pub fn svg(&self) -> String {
        let dark = palette::resolved(true);
        self.document(&format!("{}@media (prefers-color-scheme:dark){{{dark}}}", palette::resolved(false)))
    }

    /// The plot as an image on light ground, two pixels for one.
    ///
    /// # Errors
    /// Where it is too large for an image.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let error = |what: String| Error::Image(format!("{}: {what}", self.id));
        let mut fonts = Database::new();
        for font in FONTS {
            fonts.load_font_data(font.to_vec());
        }
        fonts.set_sans_serif_family("DejaVu Sans");
        let options = usvg::Options { fontdb: Arc::new(fonts), ..usvg::Options::default() };
        let tree = usvg::Tree::from_str(&self.document(&palette::resolved(false)), &options)
            .map_err(|what| error(what.to_string()))?;
        let [width, height] =
            [tree.size().width(), tree.size().height()].map(|size| (size * SCALE).ceil() as u32);
        let mut image = tiny_skia::Pixmap::new(width, height)
            .ok_or_else(|| error(format!("{width} × {height} pixels are too many")))?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut image.as_mut());
        image.encode_png().map_err(|what| error(what.to_string()))
    }

    fn document(&self, style: &str) -> String {
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
             <style>\n{style}</style>\n<defs>{HATCH}</defs>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{y:.0}\"/>\n{body}</svg>\n"
        )
    }
}
