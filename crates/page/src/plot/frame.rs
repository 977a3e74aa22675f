//! What every panel has: a title, the unit of its values, axes with ticks, a name below them.

use std::convert::Infallible;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{AXIS, Canvas, GRID, LABEL, PARTS};
use super::{Axis, Panel, Pen, text};

pub(crate) type Area = DrawingArea<Canvas, Cartesian2d<Axis, Axis>>;
pub(crate) type DrawingResult = Result<(), DrawingAreaErrorKind<Infallible>>;

/// Sizes of text in pixels; `plot.css` has them, too.
pub(crate) const NORMAL: f64 = 11.0;
/// The size of text in a cell.
pub(crate) const SMALL: f64 = 9.5;
const TITLE: f64 = 12.0;

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
    /// Pixels.
    pub(crate) size: (u32, u32),
    /// Lines at the ticks of the x axis.
    pub(crate) has_columns: bool,
    /// Lines at the ticks of the y axis.
    pub(crate) has_rows: bool,
}

impl Frame<'_> {
    /// Draws the frame, then what `marks` draws in it.
    pub(crate) fn draw(
        mut self,
        marks: impl FnOnce(&Area, &Pen) -> DrawingResult,
    ) -> Result<Panel, crate::Error> {
        let pen = Pen::default();
        self.draw_on(&pen, marks)
            .map_err(|error| crate::Error::Drawing(format!("{}: {error}", self.title)))?;
        let (body, marks) = pen.finish();
        Ok(Panel { description: self.description, title: self.title, body, size: self.size, marks })
    }

    fn draw_on(&mut self, pen: &Pen, marks: impl FnOnce(&Area, &Pen) -> DrawingResult) -> DrawingResult {
        let (width, height) = self.size;
        let root = Canvas::new(self.size, pen).into_drawing_area();
        let (top, bottom, right) = (40, 36, 14);
        let left = (self.y.label_width(NORMAL) as u32 + 12).max(24);
        self.x.thin(f64::from(width - left - right), NORMAL);
        self.y.thin_rows(f64::from(height - top - bottom), NORMAL);

        let label = |class: &str, words: &str, size: f64, (x, y): (u32, u32), anchor: HPos| {
            pen.class(class);
            let style = TextStyle::from(("sans-serif", size * f64::from(PARTS)).into_font())
                .pos(Pos::new(anchor, VPos::Top));
            root.draw(&Text::new(words.to_owned(), (x as i32 * PARTS, y as i32 * PARTS), style))
        };
        let room = f64::from(width) - 6.0;
        label("h", &text::fit(&self.title, TITLE, room), TITLE, (2, 2), HPos::Left)?;
        label("u", &text::fit(self.unit, NORMAL, room), NORMAL, (2, 19), HPos::Left)?;
        let centre = left + (width - left - right) / 2;
        label("u", self.below, NORMAL, (centre, height - 14), HPos::Center)?;
        pen.reset();

        let parts = |pixels: u32| pixels as i32 * PARTS;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(parts(top))
            .margin_right(parts(right))
            .margin_bottom(parts(16))
            .set_label_area_size(LabelAreaPosition::Left, parts(left))
            .set_label_area_size(LabelAreaPosition::Bottom, parts(bottom - 16))
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let mut mesh = chart.configure_mesh();
        let style = TextStyle::from(("sans-serif", NORMAL * f64::from(PARTS)).into_font()).color(&LABEL);
        mesh.axis_style(AXIS)
            .bold_line_style(GRID)
            .label_style(style)
            .max_light_lines(0)
            .set_all_tick_mark_size(parts(4))
            .x_labels(100)
            .y_labels(100);
        if !self.has_columns {
            mesh.disable_x_mesh();
        }
        if !self.has_rows {
            mesh.disable_y_mesh();
        }
        mesh.draw()?;
        marks(chart.plotting_area(), pen)
    }
}

/// Draws the mark of the engine with this slot at a place: a shape of its own, filled for the first run.
pub(crate) fn mark(area: &Area, slot: usize, at: (f64, f64)) -> DrawingResult {
    let style = BLACK.filled();
    let size = 4 * PARTS;
    match slot % 5 {
        0 => area.draw(&Circle::new(at, size * 9 / 10, style)),
        1 => {
            let half = size * 8 / 10;
            let square = [(-half, -half), (half, -half), (half, half), (-half, half)];
            area.draw(&(EmptyElement::at(at) + Polygon::new(square.to_vec(), style)))
        }
        2 => area.draw(&TriangleMarker::new(at, size * 12 / 10, style)),
        3 => {
            let half = size * 11 / 10;
            let diamond = [(0, -half), (half, 0), (0, half), (-half, 0)];
            area.draw(&(EmptyElement::at(at) + Polygon::new(diamond.to_vec(), style)))
        }
        _ => {
            let (long, short) = (size * 11 / 10, size * 4 / 10);
            let cross = [
                (-short, -long),
                (short, -long),
                (short, -short),
                (long, -short),
                (long, short),
                (short, short),
                (short, long),
                (-short, long),
                (-short, short),
                (-long, short),
                (-long, -short),
                (-short, -short),
            ];
            area.draw(&(EmptyElement::at(at) + Polygon::new(cross.to_vec(), style)))
        }
    }
}

/// The same mark alone, in the middle of 22 × 14 pixels, on a line.
pub(crate) fn sign(line: Option<&str>, class: &str, slot: usize) -> String {
    let pen = Pen::default();
    let area = Canvas::new((22, 14), &pen).into_drawing_area();
    let axis = || Axis::with_ticks(0.0, 1.0, false, Vec::new());
    let area = area.apply_coord_spec(Cartesian2d::new(axis(), axis(), (0..22 * PARTS, 0..14 * PARTS)));
    let drawn = line.map_or(Ok(()), |line| {
        pen.class(line);
        area.draw(&PathElement::new([(0.0, 0.5), (1.0, 0.5)], BLACK))
    });
    pen.class(class);
    let drawn = drawn.and_then(|()| mark(&area, slot, (0.5, 0.5)));
    debug_assert!(drawn.is_ok(), "{drawn:?}");
    pen.finish().0
}
