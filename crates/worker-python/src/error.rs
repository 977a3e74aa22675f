//! Python's exceptions as errors of the worker's.

use anyhow::Error;
use pyo3::exceptions::{PyAttributeError, PyLookupError, PyMemoryError, PyTypeError};
use pyo3::prelude::*;

/// Prints the traceback to stderr; the error has the exception's message.
pub(crate) fn told(py: Python<'_>, error: &PyErr) -> Error {
    error.display(py);
    Error::msg(words_of(error.value(py)))
}

/// The library's own message; of Python's own exceptions the kind as well, for it says more than `'x'` or nothing.
fn words_of(error: &Bound<'_, PyAny>) -> String {
    let text = error.str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let is_plain = text.is_empty()
        || error.is_instance_of::<PyMemoryError>()
        || error.is_instance_of::<PyLookupError>()
        || error.is_instance_of::<PyTypeError>()
        || error.is_instance_of::<PyAttributeError>();
    if !is_plain {
        return text;
    }
    let kind = error.get_type().name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{kind}: {text}").trim_end_matches([':', ' ']).to_owned()
}
