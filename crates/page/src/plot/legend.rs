//! What a plot's colours, shapes and lines mean.

use super::{sign, text};
use crate::scene::{Group, Scene};

/// A sign and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LegendEntry {
    /// Elements of SVG, 14 pixels high.
    pub(crate) sign: String,
    /// And so many wide.
    pub(crate) width: f64,
    pub(crate) words: String,
    /// The slot of the engine that it belongs to.
    pub(crate) engine: Option<usize>,
}

impl LegendEntry {
    /// A key of the usual width that belongs to the engine with this slot.
    pub(crate) fn of_engine(slot: usize, sign: &str, words: &str) -> Self {
        Self { engine: Some(slot), ..Self::plain(sign, words) }
    }

    /// A key of the usual width that belongs to no engine.
    pub(crate) fn plain(sign: &str, words: &str) -> Self {
        Self { sign: sign.to_owned(), width: 22.0, words: words.to_owned(), engine: None }
    }

    /// The cross of cells without figures.
    pub(crate) fn cross(words: &str) -> Self {
        Self::plain("<use class=\"x\" href=\"#kx\" x=\"11\" y=\"7\"/>", words)
    }
}

/// All signs of a plot.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Legend(pub(crate) Vec<LegendEntry>);

impl Legend {
    /// The engines of a group, and of several runs which.
    pub(crate) fn of_series(scene: &Scene<'_>, group: &Group<'_>) -> Self {
        let key = |(run, engine): (usize, &str)| {
            let slot = scene.slot(engine);
            let sign = sign(Some(&scene.line(engine, run)), &scene.point(engine, run), slot);
            LegendEntry::of_engine(slot, &sign, &scene.series(engine, run))
        };
        Self(group.series().into_iter().map(key).collect())
    }

    /// The same with signs of another kind.
    pub(crate) fn with_signs(scene: &Scene<'_>, group: &Group<'_>, sign: impl Fn(&str) -> String) -> Self {
        let mut legend = Self::of_series(scene, group);
        for (entry, (_, engine)) in legend.0.iter_mut().zip(group.series()) {
            entry.sign = sign(engine);
        }
        legend
    }

    /// Writes SVG in lines of at most `width` pixels; returns it with its height.
    pub(crate) fn svg(&self, width: f64) -> (String, f64) {
        let (mut body, mut x, mut y) = (String::new(), 0.0, 0.0);
        for LegendEntry { sign, width: sign_width, words, .. } in &self.0 {
            let begin = sign_width + 4.0;
            let words = text::fit(words, 11.0, width - begin);
            let long = begin + text::width(&words, 11.0) + 14.0;
            if x > 0.0 && x + long > width {
                (x, y) = (0.0, y + 18.0);
            }
            let words = text::escape(&words);
            body.push_str(&format!(
                "<g transform=\"translate({x:.0} {y:.0})\">{sign}<text class=\"t\" x=\"{begin:.0}\" y=\"11\">{words}</text></g>\n"
            ));
            x += long;
        }
        (body, if self.0.is_empty() { 0.0 } else { y + 18.0 })
    }
}
