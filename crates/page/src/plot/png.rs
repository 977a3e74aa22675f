//! A plot as an image. Behind a feature: the renderer of SVG and of fonts is a third of the program's dependencies.

use std::sync::Arc;

use resvg::usvg::fontdb::Database;
use resvg::{tiny_skia, usvg};

use super::{Plot, palette};
use crate::Error;

/// Pixels of an image for one of the plot.
const SCALE: f32 = 2.0;

/// DejaVu Sans 2.37 (dejavu-fonts.github.io), regular and bold, cut down to Latin-1, dashes, quotes and some signs by
/// fontTools' `pyftsubset`: whole, they are a tenth of the program. A text in another script is boxes in an image.
const FONTS: [&[u8]; 2] =
    [include_bytes!("../../fonts/DejaVuSans.ttf"), include_bytes!("../../fonts/DejaVuSans-Bold.ttf")];

impl Plot {
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
}
