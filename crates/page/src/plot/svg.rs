//! Elements of SVG. Colours are class names, which a style sheet gives values to; marks are the elements that stand for figures.

use std::fmt::Write as _;

use super::text;

/// What stands once in each file for all plots: the shapes of the engines' marks, which `<use>` places, and the hatching of cells
/// without figures.
pub(crate) const DEFS: &str = "\
<circle id=\"k0\" r=\"3.6\"/>\
<path id=\"k1\" d=\"M-3.2-3.2H3.2V3.2H-3.2Z\"/>\
<path id=\"k2\" d=\"M0-4.8L4.2 2.4H-4.2Z\"/>\
<path id=\"k3\" d=\"M0-4.4L4.4 0L0 4.4L-4.4 0Z\"/>\
<path id=\"k4\" d=\"M-1.6-4.4H1.6V-1.6H4.4V1.6H1.6V4.4H-1.6V1.6H-4.4V-1.6H-1.6Z\"/>\
<path id=\"kx\" d=\"M-3.6-3.6L3.6 3.6M3.6-3.6L-3.6 3.6\"/>\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path class=\"hatch\" d=\"M0 0L0 6\"/></pattern>";

/// How many shapes tell engines apart; further ones begin anew.
const SHAPES: usize = 5;

/// Where text stands beside its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// What a mark stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MarkLabel<'a> {
    /// Its classes.
    pub(crate) class: &'a str,
    /// The figures, in words.
    pub(crate) title: &'a str,
    /// The cell, by its index in the page; `None` where it stands for several.
    pub(crate) cell: Option<usize>,
}

/// Elements, in pixels from the upper left corner.
#[derive(Debug, Clone, Default)]
pub(crate) struct SvgBody {
    text: String,
    marks: usize,
}

impl SvgBody {
    /// The elements, and how many marks are among them.
    pub(crate) fn into_parts(self) -> (String, usize) {
        (self.text, self.marks)
    }

    /// An element without a meaning of its own: `tag` with its attributes.
    fn plain(&mut self, class: &str, element: &str) {
        let _ = writeln!(self.text, "<{element} class=\"{class}\"/>");
    }

    fn mark(&mut self, label: &MarkLabel<'_>, tag: &str, attributes: &str) {
        self.marks += 1;
        let cell = label.cell.map(|cell| format!(" data-c=\"{cell}\"")).unwrap_or_default();
        let (class, title) = (label.class, text::escape(label.title));
        let _ = writeln!(
            self.text,
            "<{tag} class=\"m {class}\"{attributes}{cell}><title>{title}</title></{tag}>"
        );
    }

    /// Begins a group that belongs to the engine with this slot.
    pub(crate) fn begin_series(&mut self, slot: usize) {
        let _ = writeln!(self.text, "<g class=\"series\" data-e=\"{slot}\">");
    }

    /// Ends a group.
    pub(crate) fn end_series(&mut self) {
        self.text.push_str("</g>\n");
    }

    /// Begins a link.
    pub(crate) fn begin_link(&mut self, address: &str) {
        let _ = writeln!(self.text, "<a href=\"{}\">", text::escape(address));
    }

    /// Ends a link.
    pub(crate) fn end_link(&mut self) {
        self.text.push_str("</a>\n");
    }

    /// A line through points.
    pub(crate) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        self.plain(class, &format!("path d=\"{}\"", path(points)));
    }

    /// A line with gaps: through the points of each segment.
    pub(crate) fn segments(&mut self, class: &str, segments: &[Vec<(f64, f64)>]) {
        let d: String = segments.iter().map(|segment| path(segment)).collect();
        self.plain(class, &format!("path d=\"{d}\""));
    }

    /// A line that belongs to a cell, such as a whisker.
    pub(crate) fn cell_line(&mut self, class: &str, cell: usize, points: &[(f64, f64)]) {
        self.plain(class, &format!("path data-c=\"{cell}\" d=\"{}\"", path(points)));
    }

    /// Short lines that belong to a cell, in one element.
    pub(crate) fn cell_ticks(&mut self, class: &str, cell: usize, ticks: &[[(f64, f64); 2]]) {
        let d: String = ticks.iter().map(|tick| path(tick)).collect();
        self.plain(class, &format!("path data-c=\"{cell}\" d=\"{d}\""));
    }

    /// A line that is a mark.
    pub(crate) fn line_mark(&mut self, label: &MarkLabel<'_>, points: &[(f64, f64)]) {
        self.mark(label, "path", &format!(" d=\"{}\"", path(points)));
    }

    /// A filled polygon that is a mark.
    pub(crate) fn polygon_mark(&mut self, label: &MarkLabel<'_>, points: &[(f64, f64)]) {
        self.mark(label, "path", &format!(" d=\"{}Z\"", path(points)));
    }

    /// A rectangle between two corners.
    pub(crate) fn rect(&mut self, class: &str, one: (f64, f64), other: (f64, f64)) {
        self.plain(class, &format!("rect{}", corners(one, other)));
    }

    /// A rectangle that is a mark.
    pub(crate) fn rect_mark(&mut self, label: &MarkLabel<'_>, one: (f64, f64), other: (f64, f64)) {
        self.mark(label, "rect", &corners(one, other));
    }

    /// The shape of the engine with this slot.
    pub(crate) fn shape_mark(&mut self, label: &MarkLabel<'_>, slot: usize, (x, y): (f64, f64)) {
        let attributes = format!(" href=\"#k{}\" x=\"{}\" y=\"{}\"", slot % SHAPES, pixels(x), pixels(y));
        self.mark(label, "use", &attributes);
    }

    /// A cross: a cell without figures.
    pub(crate) fn cross_mark(&mut self, label: &MarkLabel<'_>, (x, y): (f64, f64)) {
        self.mark(label, "use", &format!(" href=\"#kx\" x=\"{}\" y=\"{}\"", pixels(x), pixels(y)));
    }

    /// The shape of a slot that stands for no figure.
    pub(crate) fn shape(&mut self, class: &str, slot: usize, (x, y): (f64, f64)) {
        let shape = slot % SHAPES;
        self.plain(class, &format!("use href=\"#k{shape}\" x=\"{}\" y=\"{}\"", pixels(x), pixels(y)));
    }

    /// Text whose baseline is at `y`.
    pub(crate) fn text(&mut self, class: &str, words: &str, (x, y): (f64, f64), anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y, words) = (pixels(x), pixels(y), text::escape(words));
        let _ = writeln!(self.text, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{words}</text>");
    }
}

/// The mark of an engine alone, in the middle of 22 × 14 pixels, on a line where one is given.
pub(crate) fn sign(line: Option<&str>, class: &str, slot: usize) -> String {
    let mut body = SvgBody::default();
    if let Some(line) = line {
        body.line(line, &[(0.0, 7.0), (22.0, 7.0)]);
    }
    body.shape(class, slot, (11.0, 7.0));
    body.into_parts().0
}

fn corners((left, top): (f64, f64), (right, bottom): (f64, f64)) -> String {
    let (left, right) = (left.min(right), left.max(right));
    let (top, bottom) = (top.min(bottom), top.max(bottom));
    let [x, y, width, height] = [left, top, right - left, bottom - top].map(pixels);
    format!(" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"")
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{} {}", if index == 0 { "M" } else { "L" }, pixels(*x), pixels(*y));
    }
    d
}

/// Tenths of a pixel at most: `12.3`, `7`.
fn pixels(value: f64) -> String {
    let tenths = (value * 10.0).round();
    // Minus zero would have its sign.
    let tenths = if tenths == 0.0 { 0.0 } else { tenths };
    if tenths % 10.0 == 0.0 { format!("{:.0}", tenths / 10.0) } else { format!("{:.1}", tenths / 10.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_have_at_most_one_decimal() {
        assert_eq!([0.0, -0.01, 7.0, 12.34, -3.96].map(pixels), ["0", "0", "7", "12.3", "-4"]);
    }

    #[test]
    fn marks_are_counted_and_their_words_stay_text() {
        let mut body = SvgBody::default();
        body.line("l", &[(0.0, 0.0), (1.0, 2.0)]);
        let label = MarkLabel { class: "p", title: "<b>", cell: Some(3) };
        body.shape_mark(&label, 7, (1.0, 2.0));
        let (text, marks) = body.into_parts();
        assert_eq!(marks, 1);
        assert!(text.contains("<path d=\"M0 0L1 2\" class=\"l\"/>"), "{text}");
        assert!(
            text.contains(
                "<use class=\"m p\" href=\"#k2\" x=\"1\" y=\"2\" data-c=\"3\"><title>&lt;b&gt;</title></use>"
            ),
            "{text}"
        );
    }
}
