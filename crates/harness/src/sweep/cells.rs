//! The cells of a sweep: a grid of engines, batch sizes and prompt lengths, or rows listed one by one.

use std::hash::Hash;

use indexmap::IndexSet;

use crate::sweep::engines::Engines;
use crate::sweep::keys::SweepKeys;
use crate::sweep::selection::Selection;
use crate::sweep::setting::{Origin, Setting, SettingsError};
use crate::sweep::values::SweepRow;

/// The cells of a sweep, as its file and flags list them.
pub(crate) struct SweepCells {
    pub(crate) engines: Vec<String>,
    pub(crate) batch_sizes: Vec<u32>,
    pub(crate) prompt_lengths: Vec<u32>,
    /// `None` for the whole grid.
    pub(crate) rows: Option<Vec<SweepRow>>,
    pub(crate) batch_origin: Origin,
    pub(crate) lengths_origin: Origin,
}

impl SweepCells {
    /// Takes `rows`, of which flags choose some, or `engines`, `batch_sizes` and `prompt_lengths`.
    pub(crate) fn read(keys: &SweepKeys, engines: &Engines) -> Result<Self, SettingsError> {
        let Some(Setting { value: rows, origin }) = &keys.rows else { return Self::read_grid(keys, engines) };
        let of_engines = keys.engines.as_ref().map(|setting| &setting.origin);
        let of_batches = keys.batch_sizes.as_ref().map(|setting| &setting.origin);
        let of_lengths = keys.prompt_lengths.as_ref().map(|setting| &setting.origin);
        let mut of_grid = [of_engines, of_batches, of_lengths].into_iter().flatten();
        if let Some(grid) = of_grid.find(|origin| !origin.is_flag()) {
            return Err(grid.error("this sweep also lists its cells as rows: leave one of the two out"));
        }
        for SweepRow(engine, ..) in rows {
            engines.find(engine).map_err(|what| origin.error(what))?;
        }
        let asked =
            keys.engines.iter().flat_map(|names| names.value.iter().map(|name| (name, &names.origin)));
        for (engine, origin) in asked {
            engines.find(engine).map_err(|what| origin.error(what))?;
        }
        let rows = Selection::new(keys).rows_of(rows)?;
        Ok(Self {
            engines: once(rows.iter().map(|row| row.0.clone())),
            batch_sizes: once(rows.iter().map(|row| row.1)),
            prompt_lengths: once(rows.iter().map(|row| row.2)),
            rows: Some(rows),
            batch_origin: origin.clone(),
            lengths_origin: origin.clone(),
        })
    }

    fn read_grid(keys: &SweepKeys, engines: &Engines) -> Result<Self, SettingsError> {
        let names = keys.needed("engines", &keys.engines)?;
        for name in &names.value {
            engines.find(name).map_err(|what| names.error(what))?;
        }
        let batch_sizes = keys.needed("batch_sizes", &keys.batch_sizes)?;
        let prompt_lengths = keys.needed("prompt_lengths", &keys.prompt_lengths)?;
        Ok(Self {
            engines: names.value.clone(),
            batch_sizes: batch_sizes.value.clone(),
            prompt_lengths: prompt_lengths.value.clone(),
            rows: None,
            batch_origin: batch_sizes.origin.clone(),
            lengths_origin: prompt_lengths.origin.clone(),
        })
    }

    /// Cells of one model and replicate.
    pub(crate) fn count(&self) -> usize {
        let grid = [self.engines.len(), self.batch_sizes.len(), self.prompt_lengths.len()];
        let product = || grid.iter().fold(1, |product: usize, &length| product.saturating_mul(length));
        self.rows.as_ref().map_or_else(product, Vec::len)
    }
}

/// The items, each at its first place.
pub(crate) fn once<T: Eq + Hash>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<IndexSet<T>>().into_iter().collect()
}
