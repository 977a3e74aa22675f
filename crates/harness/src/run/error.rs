//! Errors that end a session.

use llama::CheckpointError;
use results::StoreError;

use crate::SettingsError;

/// An error that ends a session. A failed cell is a record, not an error.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// An unusable setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An unreadable model.
    #[error(transparent)]
    Model(#[from] CheckpointError),
    /// A model that changed since the run began; why.
    #[error("{0}")]
    ModelExchanged(String),
    /// An unusable run folder.
    #[error(transparent)]
    Folder(#[from] StoreError),
}
