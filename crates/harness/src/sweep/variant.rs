//! A variant of a sweep: its options and the workers that measure it.

use std::path::Path;

use crate::{Engines, SettingsError, Sweep, SweepKeys};

/// A sweep, and the engines that measure it.
///
/// A baseline and a candidate are two variants of one sweep. What differs is here, whatever says so: an engine's option in
/// `sweep.setup` (the engines' file, below the sweep's file, below a flag), a worker's command in `engines`.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The sweep, with the options of its engines.
    pub sweep: Sweep,
    /// The engines to choose from.
    pub engines: Engines,
}

impl Variant {
    /// Checks everything that can be checked without starting anything.
    ///
    /// # Errors
    /// The first unusable setting, with where it was written.
    pub fn resolve(settings: &SweepKeys, engines: Engines) -> Result<Self, SettingsError> {
        Ok(Self { sweep: Sweep::resolve(settings, &engines)?, engines })
    }

    /// The same sweep with the workers of another build, in `dir`; `origin` is where the folder was given.
    ///
    /// # Errors
    /// Where the worker of one of the sweep's engines is missing, since it would be compared with itself.
    pub fn with_workers_of(self, dir: &Path, origin: &str) -> Result<Self, SettingsError> {
        let engines = self.engines.from_build(dir);
        for command in self.sweep.engines.iter().filter_map(|engine| engines.get(engine)) {
            if command.program.parent() != Some(dir) {
                let name = Path::new(command.program.file_name().unwrap_or_default()).display();
                let what = format!("there is no {name}, the worker of {}", command.engine);
                return Err(SettingsError { origin: origin.into(), what });
            }
        }
        Ok(Self { engines, ..self })
    }
}
