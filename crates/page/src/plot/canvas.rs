//! The backend that plotters draws on: SVG whose colours are names, which a style sheet gives values to.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;

use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
};

use super::text;

/// Parts of a pixel: plotters' coordinates are whole numbers.
pub(crate) const PARTS: i32 = 10;

/// What plotters draws of itself, told apart by colours that never show.
pub(crate) const AXIS: RGBColor = RGBColor(1, 0, 0);
/// Lines of the grid.
pub(crate) const GRID: RGBColor = RGBColor(2, 0, 0);
/// Labels of the ticks.
pub(crate) const LABEL: RGBColor = RGBColor(3, 0, 0);

/// What is drawn next, and what was drawn.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    body: String,
    class: Option<String>,
    title: Option<String>,
    marks: usize,
}

/// Says what the next shapes are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pen(Rc<RefCell<Sheet>>);

impl Pen {
    /// The next shapes are of this class, and no marks.
    pub(crate) fn class(&self, class: &str) {
        let mut sheet = self.0.borrow_mut();
        sheet.class = Some(class.to_owned());
        sheet.title = None;
    }

    /// The next shapes are plotters' own.
    pub(crate) fn reset(&self) {
        let mut sheet = self.0.borrow_mut();
        (sheet.class, sheet.title) = (None, None);
    }

    /// The next shape is a mark: it stands for figures, and `title` says which.
    pub(crate) fn mark(&self, class: &str, title: &str) {
        let mut sheet = self.0.borrow_mut();
        sheet.class = Some(format!("m {class}"));
        sheet.title = Some(text::escape(title));
    }

    /// What was drawn, and how many marks are in it.
    pub(crate) fn finish(&self) -> (String, usize) {
        let mut sheet = self.0.borrow_mut();
        (std::mem::take(&mut sheet.body), sheet.marks)
    }
}

/// The backend.
pub(crate) struct Canvas {
    size: (u32, u32),
    pen: Pen,
}

impl Canvas {
    /// A canvas of a width and height in pixels.
    pub(crate) fn new(size: (u32, u32), pen: &Pen) -> Self {
        Self { size: (size.0 * PARTS as u32, size.1 * PARTS as u32), pen: pen.clone() }
    }

    /// A shape: its tag, and its other attributes.
    fn shape(&self, tag: &str, color: BackendColor, attributes: &str) {
        let mut sheet = self.pen.0.borrow_mut();
        let Sheet { body, class, title, marks } = &mut *sheet;
        let class = class.as_deref().unwrap_or_else(|| own_class(color));
        let _ = write!(body, "<{tag} class=\"{class}\"{attributes}");
        match title {
            Some(title) => {
                *marks += 1;
                let _ = writeln!(body, "><title>{title}</title></{tag}>");
            }
            None => body.push_str("/>\n"),
        }
    }
}

/// The class of what plotters draws of itself.
fn own_class(color: BackendColor) -> &'static str {
    match color.rgb {
        (1, _, _) => "axis",
        (2, _, _) => "grid",
        _ => "t",
    }
}

/// A number of parts as pixels: `12.3`, `7`.
fn pixels(parts: i32) -> String {
    match parts % PARTS {
        0 => (parts / PARTS).to_string(),
        _ => format!("{:.1}", f64::from(parts) / f64::from(PARTS)),
    }
}

fn path(points: impl IntoIterator<Item = BackendCoord>, end: &str) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.into_iter().enumerate() {
        let _ = write!(d, "{}{} {}", if index == 0 { "M" } else { "L" }, pixels(x), pixels(y));
    }
    format!(" d=\"{d}{end}\"")
}

type CanvasResult = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> CanvasResult {
        Ok(())
    }

    fn present(&mut self) -> CanvasResult {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> CanvasResult {
        self.draw_rect((x, y), (x + PARTS, y + PARTS), &color, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> CanvasResult {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        _fill: bool,
    ) -> CanvasResult {
        let (left, right) = (left.min(right), left.max(right));
        let (top, bottom) = (top.min(bottom), top.max(bottom));
        let [x, y, width, height] = [left, top, right - left, bottom - top].map(pixels);
        let attributes = format!(" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
        self.shape("rect", style.color(), &attributes);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> CanvasResult {
        self.shape("path", style.color(), &path(points, ""));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        _fill: bool,
    ) -> CanvasResult {
        let [x, y, radius] = [x, y, radius as i32].map(pixels);
        self.shape("circle", style.color(), &format!(" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\""));
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> CanvasResult {
        self.shape("path", style.color(), &path(points, "Z"));
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        words: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> CanvasResult {
        let anchor = style.anchor();
        let place = match anchor.h_pos {
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        let below = match anchor.v_pos {
            VPos::Top => 0.8,
            VPos::Center => 0.35,
            VPos::Bottom => -0.2,
        };
        debug_assert!(matches!(style.transform(), FontTransform::None), "no text is turned");
        let y = y + (style.size() * below) as i32;
        let mut sheet = self.pen.0.borrow_mut();
        let class = sheet.class.clone().unwrap_or_else(|| "t".into());
        let (x, y, words) = (pixels(x), pixels(y), text::escape(words));
        let _ = writeln!(sheet.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{place}>{words}</text>");
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        words: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok(((text::width(words, style.size())) as u32, style.size() as u32))
    }
}
