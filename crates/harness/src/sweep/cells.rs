//! Which cells a sweep has: a grid of engines, batch sizes and prompt lengths, or rows listed one by one.

use serde::Serialize;
use toml::Value;

use crate::sweep::settings::Setting;
use crate::{Engines, Settings, SettingsError};

const GRID: [&str; 3] = ["engines", "batch_sizes", "prompt_lengths"];

/// A row of a table: `["onnxruntime", 1, 16]` in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweepRow(pub String, pub u32, pub u32);

/// What a sweep says of its cells.
pub(crate) struct Cells {
    pub(crate) engines: Vec<String>,
    pub(crate) batch_sizes: Vec<u32>,
    pub(crate) prompt_lengths: Vec<u32>,
    /// `None` where it is the whole grid.
    pub(crate) rows: Option<Vec<SweepRow>>,
    pub(crate) batch_setting: Setting,
    pub(crate) lengths_setting: Setting,
}

impl Cells {
    /// Takes `rows`, or `engines`, `batch_sizes` and `prompt_lengths`.
    pub(crate) fn take(settings: &mut Settings, engines: &Engines) -> Result<Self, SettingsError> {
        let Some(setting) = settings.take("rows") else { return Self::take_grid(settings, engines) };
        if let Some(grid) = GRID.iter().find_map(|key| settings.take(key)) {
            return Err(grid.error("this sweep lists its rows: leave one of the two out"));
        }
        let rows = read_rows(&setting, engines)?;
        Ok(Self {
            engines: once(rows.iter().map(|row| row.0.clone())),
            batch_sizes: once(rows.iter().map(|row| row.1)),
            prompt_lengths: once(rows.iter().map(|row| row.2)),
            rows: Some(rows),
            batch_setting: setting.clone(),
            lengths_setting: setting,
        })
    }

    fn take_grid(settings: &mut Settings, engines: &Engines) -> Result<Self, SettingsError> {
        let engine_setting = settings.need("engines")?;
        let names = engine_setting.words()?;
        for name in &names {
            engines.find(name).map_err(|what| engine_setting.error(what))?;
        }
        let [batch_setting, lengths_setting] =
            [settings.need("batch_sizes")?, settings.need("prompt_lengths")?];
        Ok(Self {
            engines: names,
            batch_sizes: batch_setting.sizes()?,
            prompt_lengths: lengths_setting.sizes()?,
            rows: None,
            batch_setting,
            lengths_setting,
        })
    }

    /// Cells of one model and replicate.
    pub(crate) fn count(&self) -> usize {
        let grid = [self.engines.len(), self.batch_sizes.len(), self.prompt_lengths.len()];
        let product = || grid.iter().fold(1, |product: usize, &length| product.saturating_mul(length));
        self.rows.as_ref().map_or_else(product, Vec::len)
    }
}

fn read_rows(setting: &Setting, engines: &Engines) -> Result<Vec<SweepRow>, SettingsError> {
    let expected = || {
        setting.error(format!(
            "expected rows such as [\"onnxruntime\", 1, 16], each once, found {}",
            setting.value
        ))
    };
    let size = |value: &Value| {
        let size = value.as_integer().and_then(|number| u32::try_from(number).ok());
        size.filter(|&size| size > 0).ok_or_else(expected)
    };
    let mut rows: Vec<SweepRow> = Vec::new();
    for row in setting.value.as_array().ok_or_else(expected)? {
        let [engine, batch_size, prompt_length] = row.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(expected());
        };
        let engine = engine.as_str().ok_or_else(expected)?;
        engines.find(engine).map_err(|what| setting.error(what))?;
        rows.push(SweepRow(engine.to_owned(), size(batch_size)?, size(prompt_length)?));
    }
    let mut sorted: Vec<_> =
        rows.iter().map(|SweepRow(engine, batch, prompt)| (engine, batch, prompt)).collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if rows.is_empty() || repeated { Err(expected()) } else { Ok(rows) }
}

/// The items, each at its first place.
fn once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut once, item| {
        if !once.contains(&item) {
            once.push(item);
        }
        once
    })
}
