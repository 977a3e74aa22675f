//! A variant during a session.

use std::collections::BTreeMap;

use results::RunFolder;

use crate::Variant;
use crate::run::model_files::ModelFiles;
use crate::run::verify::Verifier;
use crate::run::workers::Workers;

/// A variant that is measured, with its folder, workers and verifiers.
pub(crate) struct VariantRun<'a> {
    pub(crate) variant: &'a Variant,
    pub(crate) folder: &'a mut RunFolder,
    pub(crate) workers: Workers,
    /// The files of each model, by its name.
    pub(crate) models: BTreeMap<String, ModelFiles<'a>>,
    /// One verifier for each model in a precision, by its label; none where engines are not verified.
    pub(crate) verifiers: BTreeMap<String, Verifier<'a>>,
}
