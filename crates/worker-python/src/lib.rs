//! `crates/worker` for engines in Python: the module `llama2_bench_worker`, which has the one timing loop, the pipe, options and
//! memory. An engine is a class that can compute (`PythonEngine` lists its methods); `scripts/workers/` has those of the peers.
//!
//! The library lies beside the program `llama2-bench` and is loaded from there, so both are always of one build. It needs Python 3.11
//! or newer when it is imported, and none when it is built.

mod engine;
mod error;

use pyo3::prelude::*;

/// What an engine in Python runs on: `take_stdout`, then its imports, then `serve`.
#[pymodule]
mod llama2_bench_worker {
    use std::io;
    use std::sync::OnceLock;

    use pyo3::exceptions::{PyRuntimeError, PySystemExit};
    use pyo3::prelude::*;
    use worker::Replies;

    use crate::engine::PythonEngine;
    use crate::error::told;

    /// The pipe to the harness.
    static REPLIES: OnceLock<Replies> = OnceLock::new();

    fn replies() -> PyResult<&'static Replies> {
        REPLIES.get().ok_or_else(|| PyRuntimeError::new_err("take_stdout() has not been called"))
    }

    /// Takes stdout for replies alone: what is printed from now on goes to stderr. An exception that nothing catches is told to the
    /// harness in the place of hello. To be called before the engine's libraries are imported.
    #[pyfunction]
    fn take_stdout(py: Python<'_>) -> PyResult<()> {
        let taken = Replies::take_stdout(true)?;
        REPLIES.set(taken).map_err(|_| PyRuntimeError::new_err("take_stdout() has been called already"))?;
        let sys = py.import("sys")?;
        sys.setattr("stdout", sys.getattr("stderr")?)?;
        sys.setattr("excepthook", wrap_pyfunction!(fail_before_hello, py)?)
    }

    /// Python's `sys.excepthook`.
    #[pyfunction]
    fn fail_before_hello(
        _kind: &Bound<'_, PyAny>,
        error: Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = error.py();
        let message = told(py, &PyErr::from_value(error)).to_string();
        replies()?.fail(message).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    /// Serves requests with `engine` until `shutdown` or the end of stdin. Python's lock is held from a request to its answer, so that
    /// a call costs no more than a call, and released while a request is waited for.
    #[pyfunction]
    #[expect(clippy::print_stderr, reason = "stderr is the log of a worker")]
    fn serve(engine: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = engine.py();
        let mut engine = PythonEngine::new(engine)?;
        let mut requests = std::iter::from_fn(|| py.detach(|| io::stdin().lines().next()));
        replies()?.serve(&mut engine, &mut requests).map_err(|error| {
            eprintln!("{error:#}");
            PySystemExit::new_err(1)
        })
    }

    /// The environment variable, and its value, with which Python must be started for large allocations to be in huge pages; `None`
    /// where that would change nothing.
    #[pyfunction]
    fn huge_pages_variable() -> Option<(&'static str, String)> {
        worker::huge_pages_variable()
    }

    /// Moves what is allocated in small pages to huge ones. To be called when the weights are where they will stay; the note for
    /// `loaded`, or `None`.
    #[pyfunction]
    fn move_to_huge_pages() -> Option<String> {
        worker::move_to_huge_pages()
    }
}
