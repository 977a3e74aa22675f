//! Why a session can't begin or go on.

use llama::CheckpointError;
use results::StoreError;

use crate::SettingsError;

/// Why a session can't begin or go on. What happens to a cell is a record, not an error.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A setting can't be used here.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A model can't be read.
    #[error(transparent)]
    Model(#[from] CheckpointError),
    /// A model is not what it was when the run began; why.
    #[error("{0}")]
    ModelExchanged(String),
    /// A run's folder can't be used.
    #[error(transparent)]
    Folder(#[from] StoreError),
}
