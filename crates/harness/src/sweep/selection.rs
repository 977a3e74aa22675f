//! Flags that choose among the cells of a sweep instead of replacing its lists.

use crate::sweep::keys::SweepKeys;
use crate::sweep::setting::{Setting, SettingsError};
use crate::sweep::values::{SweepRow, brief};

/// The engines, batch sizes and prompt lengths that are asked for; `None` where all are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    engines: Option<Setting<Vec<String>>>,
    batch_sizes: Option<Setting<Vec<u32>>>,
    prompt_lengths: Option<Setting<Vec<u32>>>,
}

impl Selection {
    /// The selection that the grid keys of `keys` make.
    pub(crate) fn new(keys: &SweepKeys) -> Self {
        Self {
            engines: keys.engines.clone(),
            batch_sizes: keys.batch_sizes.clone(),
            prompt_lengths: keys.prompt_lengths.clone(),
        }
    }

    /// Takes the grid keys out of `flags` where they choose among the cells of `run`. Keys that name anything else stay: they
    /// make another sweep of it.
    pub fn take(flags: &mut SweepKeys, run: &SweepKeys) -> Self {
        let selection = Self::new(flags);
        let rows = run.rows.as_ref().map(|rows| rows.value.as_slice());
        let has_engine = |engine: &String| match rows {
            Some(rows) => rows.iter().any(|row| row.0 == *engine),
            None => run.engines.as_ref().is_some_and(|engines| engines.value.contains(engine)),
        };
        let has_size = |size: &u32, of: fn(&SweepRow) -> u32, listed: &Option<Setting<Vec<u32>>>| match rows {
            Some(rows) => rows.iter().any(|row| of(row) == *size),
            None => listed.as_ref().is_some_and(|listed| listed.value.contains(size)),
        };
        let is_part = selection.engines.iter().flat_map(|engines| &engines.value).all(has_engine)
            && values(&selection.batch_sizes).all(|size| has_size(size, |row| row.1, &run.batch_sizes))
            && values(&selection.prompt_lengths).all(|size| has_size(size, |row| row.2, &run.prompt_lengths));
        if !is_part {
            return Self::default();
        }
        (flags.engines, flags.batch_sizes, flags.prompt_lengths) = (None, None, None);
        selection
    }

    /// The flags that make this selection again.
    pub fn words(&self) -> Vec<String> {
        let list =
            |sizes: &Setting<Vec<u32>>| sizes.value.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let engines = self.engines.iter().map(|engines| ("--engine", engines.value.join(",")));
        let batch_sizes = self.batch_sizes.iter().map(|sizes| ("--batch-size", list(sizes)));
        let prompt_lengths = self.prompt_lengths.iter().map(|sizes| ("--prompt-length", list(sizes)));
        let flags = engines.chain(batch_sizes).chain(prompt_lengths);
        flags.flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// Whether a cell is asked for.
    pub fn has(&self, engine: &str, batch_size: u32, prompt_length: u32) -> bool {
        let among = |sizes: &Option<Setting<Vec<u32>>>, size: u32| {
            sizes.as_ref().is_none_or(|sizes| sizes.value.contains(&size))
        };
        self.has_engine(engine)
            && among(&self.batch_sizes, batch_size)
            && among(&self.prompt_lengths, prompt_length)
    }

    /// Whether cells of this engine are asked for.
    pub fn has_engine(&self, engine: &str) -> bool {
        self.engines.as_ref().is_none_or(|engines| engines.value.iter().any(|asked| asked == engine))
    }

    /// The rows that are asked for.
    ///
    /// # Errors
    /// Where one of the values chooses no row, or all of them together choose none; what there is.
    pub(crate) fn rows_of(&self, rows: &[SweepRow]) -> Result<Vec<SweepRow>, SettingsError> {
        let named = |row: &SweepRow| format!("{} {}×{}", row.0, row.1, row.2);
        let all = || brief(&rows.iter().map(named).collect::<Vec<_>>().join(", "));
        if let Some(engines) = &self.engines
            && let Some(engine) = engines.value.iter().find(|engine| rows.iter().all(|row| row.0 != **engine))
        {
            return Err(engines.error(format!("no row of this sweep has engine {engine}: it has {}", all())));
        }
        let sizes = [
            (&self.batch_sizes, "batch size", (|row| row.1) as fn(&SweepRow) -> u32),
            (&self.prompt_lengths, "prompt length", |row| row.2),
        ];
        for (sizes, what, of) in sizes {
            let Some(sizes) = sizes else { continue };
            if let Some(size) = sizes.value.iter().find(|size| rows.iter().all(|row| of(row) != **size)) {
                return Err(sizes.error(format!("no row of this sweep has {what} {size}: it has {}", all())));
            }
        }
        let chosen: Vec<SweepRow> =
            rows.iter().filter(|row| self.has(&row.0, row.1, row.2)).cloned().collect();
        if chosen.is_empty() {
            return Err(self.error(format!("these flags choose no row of this sweep: it has {}", all())));
        }
        Ok(chosen)
    }

    /// An error of the first flag of the selection.
    pub(crate) fn error(&self, what: String) -> SettingsError {
        let sizes =
            [&self.batch_sizes, &self.prompt_lengths].into_iter().flatten().map(|sizes| &sizes.origin);
        let origin = self.engines.iter().map(|engines| &engines.origin).chain(sizes).next();
        let origin = origin.map_or_else(|| "rows".into(), ToString::to_string);
        SettingsError { origin, what }
    }
}

fn values(sizes: &Option<Setting<Vec<u32>>>) -> impl Iterator<Item = &u32> {
    sizes.iter().flat_map(|sizes| &sizes.value)
}
