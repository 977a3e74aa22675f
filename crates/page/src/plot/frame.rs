//! What every panel has: a title, the unit of its values, axes with ticks, a name below them.

use super::axis::Tick;
use super::svg::{Anchor, MarkLabel, SvgBody};
use super::{Axis, Panel, text};

/// Sizes of text in pixels; `plot.css` has them, too.
pub(crate) const NORMAL: f64 = 11.0;
/// The size of text in a cell.
pub(crate) const SMALL: f64 = 9.5;
const TITLE: f64 = 12.0;

/// The height of a line of a title, of a unit, and of a row of labels.
const TITLE_LINE: f64 = 16.0;
const UNIT_LINE: f64 = 14.0;
const LABEL_LINE: f64 = 13.0;
const RIGHT: f64 = 14.0;
/// The least length of a bar.
const THINNEST: f64 = 1.5;

/// A panel to be drawn.
pub(crate) struct Frame<'a> {
    /// Which of the plot's panels it is.
    pub(crate) title: String,
    /// What it shows, in words.
    pub(crate) description: String,
    /// What the values are, and their unit.
    pub(crate) unit: &'a str,
    /// What the axis below is.
    pub(crate) below: &'a str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Pixels: the width of the panel, and the height of the area between its axes.
    pub(crate) size: (u32, u32),
    /// Lines at the ticks of the x axis.
    pub(crate) has_columns: bool,
    /// Lines at the ticks of the y axis.
    pub(crate) has_rows: bool,
}

/// The area between the axes, in which figures have their places.
pub(crate) struct PlotArea {
    body: SvgBody,
    x: Axis,
    y: Axis,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// Pixels by which the crosses of several engines at one place stand side by side.
pub(crate) fn cross_shift(slot: usize) -> f64 {
    8.0 * (slot % 6) as f64
}

impl Frame<'_> {
    /// Draws the frame, then what `marks` draws in it.
    pub(crate) fn draw(mut self, marks: impl FnOnce(&mut PlotArea)) -> Panel {
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        self.y.thin_rows(height, NORMAL);
        let left = (self.y.label_width(NORMAL) + 12.0).max(24.0);
        let inner = (width - left - RIGHT).max(1.0);
        let reach = |tick: &Tick| self.x.share(tick.value) * inner + text::width(&tick.label, NORMAL) / 2.0;
        let farthest = self.x.ticks().iter().map(reach).fold(0.0, f64::max);
        // The last label may need more room than there is beside the axis.
        let inner = (inner - (farthest - inner - RIGHT).max(0.0)).max(1.0);
        let label_rows = self.x.place_labels(inner, NORMAL).max(1);

        let mut body = SvgBody::default();
        let room = width - 6.0;
        let mut y = 0.0;
        for line in text::wrapped(&self.title, TITLE, room) {
            body.text("h", &line, (2.0, y + 12.0), Anchor::Start);
            y += TITLE_LINE;
        }
        for line in text::wrapped(self.unit, NORMAL, room) {
            body.text("u", &line, (2.0, y + 11.0), Anchor::Start);
            y += UNIT_LINE;
        }
        let (top, bottom) = (y + 10.0, y + 10.0 + height);
        let mut area = PlotArea { body, x: self.x, y: self.y, left, top, width: inner, height };
        area.draw_axes(self.has_columns, self.has_rows);
        let below = bottom + 10.0 + LABEL_LINE * label_rows as f64;
        area.body.text("u", self.below, (left + inner / 2.0, below + 8.0), Anchor::Middle);
        marks(&mut area);
        let (body, marks) = area.body.into_parts();
        let size = (self.size.0, (below + 14.0).ceil() as u32);
        Panel { description: self.description, title: self.title, body, size, marks }
    }
}

impl PlotArea {
    fn draw_axes(&mut self, has_columns: bool, has_rows: bool) {
        let (left, top) = (self.left, self.top);
        let (right, bottom) = (left + self.width, top + self.height);
        let (x_ticks, y_ticks) = (self.x.ticks().to_vec(), self.y.ticks().to_vec());
        for tick in &y_ticks {
            let y = self.place((0.0, tick.value)).1;
            if has_rows {
                self.body.line("grid", &[(left, y), (right, y)]);
            }
            self.body.text("t", &tick.label, (left - 7.0, y + NORMAL * 0.35), Anchor::End);
        }
        for tick in &x_ticks {
            let x = self.place((tick.value, 0.0)).0;
            if has_columns {
                self.body.line("grid", &[(x, top), (x, bottom)]);
            }
            let row = LABEL_LINE * tick.row as f64;
            self.body.line("axis", &[(x, bottom), (x, bottom + 4.0 + row)]);
            self.body.text("t", &tick.label, (x, bottom + 15.0 + row), Anchor::Middle);
        }
        self.body.line("axis", &[(left, top), (left, bottom), (right, bottom)]);
    }

    /// Where a point of the axes is, in pixels.
    pub(crate) fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.left + self.x.share(x) * self.width, self.top + (1.0 - self.y.share(y)) * self.height)
    }

    fn places(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        points.iter().map(|point| self.place(*point)).collect()
    }

    /// The ends of the axes: the lower left corner, and the upper right one.
    pub(crate) fn ends(&self) -> [(f64, f64); 2] {
        [(self.x.low(), self.y.low()), (self.x.high(), self.y.high())]
    }

    /// Puts what `draw` draws into a group that belongs to the engine with this slot.
    pub(crate) fn series(&mut self, slot: usize, draw: impl FnOnce(&mut Self)) {
        self.body.begin_series(slot);
        draw(self);
        self.body.end_series();
    }

    /// Puts what `draw` draws into a link.
    pub(crate) fn link(&mut self, address: &str, draw: impl FnOnce(&mut Self)) {
        self.body.begin_link(address);
        draw(self);
        self.body.end_link();
    }

    /// A line through points.
    pub(crate) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        self.body.line(class, &self.places(points));
    }

    /// A line with gaps.
    pub(crate) fn segments(&mut self, class: &str, segments: &[Vec<(f64, f64)>]) {
        let places: Vec<Vec<(f64, f64)>> = segments.iter().map(|segment| self.places(segment)).collect();
        self.body.segments(class, &places);
    }

    /// A line that belongs to a cell, such as a whisker.
    pub(crate) fn cell_line(&mut self, class: &str, cell: usize, points: &[(f64, f64)]) {
        self.body.cell_line(class, cell, &self.places(points));
    }

    /// Short lines that belong to a cell.
    pub(crate) fn cell_ticks(&mut self, class: &str, cell: usize, ticks: &[[(f64, f64); 2]]) {
        let ticks: Vec<[(f64, f64); 2]> =
            ticks.iter().map(|tick| tick.map(|point| self.place(point))).collect();
        self.body.cell_ticks(class, cell, &ticks);
    }

    /// A line that is a mark.
    pub(crate) fn line_mark(&mut self, label: &MarkLabel<'_>, points: &[(f64, f64)]) {
        self.body.line_mark(label, &self.places(points));
    }

    /// A filled polygon that is a mark.
    pub(crate) fn polygon_mark(&mut self, label: &MarkLabel<'_>, points: &[(f64, f64)]) {
        self.body.polygon_mark(label, &self.places(points));
    }

    /// A rectangle between two corners.
    pub(crate) fn rect(&mut self, class: &str, one: (f64, f64), other: (f64, f64)) {
        let (one, other) = (self.place(one), self.place(other));
        self.body.rect(class, one, other);
    }

    /// A rectangle that is a mark.
    pub(crate) fn rect_mark(&mut self, label: &MarkLabel<'_>, one: (f64, f64), other: (f64, f64)) {
        let (one, other) = (self.place(one), self.place(other));
        self.body.rect_mark(label, one, other);
    }

    /// A bar between two values, `thickness` pixels thick and moved down by `shift`, at the middle `y`.
    pub(crate) fn bar_mark(
        &mut self,
        label: &MarkLabel<'_>,
        [from, to]: [f64; 2],
        y: f64,
        shift: f64,
        thickness: f64,
    ) {
        let ((left, middle), (right, _)) = (self.place((from, y)), self.place((to, y)));
        // A bar of nothing would look like a missing one.
        let right =
            if (right - left).abs() < THINNEST { left + THINNEST.copysign(right - left) } else { right };
        let (top, bottom) = (middle + shift - thickness / 2.0, middle + shift + thickness / 2.0);
        self.body.rect_mark(label, (left, top), (right, bottom));
    }

    /// A mark of the engine with this slot: a shape of its own.
    pub(crate) fn shape_mark(&mut self, label: &MarkLabel<'_>, slot: usize, at: (f64, f64)) {
        let at = self.place(at);
        self.body.shape_mark(label, slot, at);
    }

    /// A cross: a cell without figures, [`cross_shift`] left of its place.
    pub(crate) fn cross_mark(&mut self, label: &MarkLabel<'_>, slot: usize, at: (f64, f64)) {
        let (x, y) = self.place(at);
        self.body.cross_mark(label, (x - cross_shift(slot), y));
    }

    /// The shape of a slot that stands for no figure.
    pub(crate) fn shape(&mut self, class: &str, slot: usize, at: (f64, f64)) {
        let at = self.place(at);
        self.body.shape(class, slot, at);
    }

    /// A word in the middle of a place, on a plate of the ground's colour if `has_plate`.
    pub(crate) fn label(&mut self, class: &str, words: &str, at: (f64, f64), has_plate: bool) {
        let (x, y) = self.place(at);
        if has_plate {
            let half = text::width(words, SMALL) / 2.0 + 1.0;
            self.body.rect("plate", (x - half, y - 6.5), (x + half, y + 6.5));
        }
        self.body.text(class, words, (x, y + SMALL * 0.35), Anchor::Middle);
    }

    /// Words beside a place, moved by so many pixels.
    pub(crate) fn note(
        &mut self,
        class: &str,
        words: &str,
        at: (f64, f64),
        moved: (f64, f64),
        anchor: Anchor,
    ) {
        let (x, y) = self.place(at);
        self.body.text(class, words, (x + moved.0, y + moved.1), anchor);
    }
}
