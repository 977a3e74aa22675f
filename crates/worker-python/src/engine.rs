//! An object of Python's as an engine.

use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use protocol::{Device, Hello, Library, LoadRequest, Loaded, PROTOCOL, ProductInputs, UsableDevice};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pythonize::{depythonize, pythonize};
use serde::Deserialize;
use serde_json::Value;
use worker::{Engine, PeakMemory, Prompt, Reporter, resolve_options};

use crate::error::told;

/// An engine whose methods are Python's, looked up once.
///
/// Its class must have, in the order of calls and as [`Engine`] means them:
///
/// - `hello()`: a dict of `engine`, `libraries` and `devices`, as in docs/reference/protocol.md;
/// - `load(request)`: the request's fields as a dict, with `options` checked and complete and `threads` a number; returns a dict of
///   `weights_bytes` and `notes`, after which the attributes `vocab_size` and `max_position_embeddings` are the model's;
/// - `begin(prompt_ids, generation_length)`, of a list of ids for each row; `reset()`, `prefill()`, `select()`, `decode()`, `end()`;
/// - `tokens()`: a list of ints for each row;
/// - `logits()`: for each row a buffer of `float` (a row of a NumPy array, an `array.array("f")`). None at all where the engine did
///   not keep them: the attribute `keeps_logits`, set before `begin`, says whether they are asked for after every forward.
///
/// It may have `synchronize()`, `mark()`, `device_seconds()`, `kv_cache_bytes()` and `device_peak_bytes()`; the last three may return
/// `None`. So may it have the attributes `options`, a dict of the values that each option can have, the default first, with none where
/// any will do; `bounds_device_memory`, where it keeps to `device_memory_limit_bytes`; and, after `load`, `product_inputs`, as the reply
/// to `generate` has it, or `None`.
///
/// An exception fails the request, in the words of [`told`].
pub(crate) struct PythonEngine<'py> {
    object: Bound<'py, PyAny>,
    hello: Hello,
    /// The options as they were declared, in that order.
    options: Vec<(String, Vec<Value>)>,
    begin: Bound<'py, PyAny>,
    reset: Bound<'py, PyAny>,
    prefill: Bound<'py, PyAny>,
    select: Bound<'py, PyAny>,
    decode: Bound<'py, PyAny>,
    tokens: Bound<'py, PyAny>,
    logits: Bound<'py, PyAny>,
    end: Bound<'py, PyAny>,
    synchronize: Option<Bound<'py, PyAny>>,
    mark: Option<Bound<'py, PyAny>>,
    device_seconds: Option<Bound<'py, PyAny>>,
    kv_cache_bytes: Option<Bound<'py, PyAny>>,
    device_peak_bytes: Option<Bound<'py, PyAny>>,
    is_on_cpu: bool,
    vocab_size: usize,
    max_position_embeddings: usize,
    product_inputs: Option<ProductInputs>,
    batch_size: usize,
}

/// What an engine says of itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Introduction {
    engine: String,
    libraries: Vec<Library>,
    devices: Vec<UsableDevice>,
}

impl<'py> PythonEngine<'py> {
    /// Asks `object` for its hello.
    pub(crate) fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let method = |name| object.getattr(name);
        let optional = |name| object.getattr_opt(name);
        let options = declared_options(object)?;
        let Introduction { engine, mut libraries, devices } = depythonize(&object.call_method0("hello")?)
            .map_err(|error| PyValueError::new_err(format!("hello: {error}")))?;
        libraries.push(this_library(object.py())?);
        let bounds_device_memory = optional("bounds_device_memory")?;
        let hello = Hello {
            protocol: PROTOCOL,
            engine,
            libraries,
            devices,
            options: options.iter().cloned().collect(),
            device_memory_limit: bounds_device_memory.is_some_and(|does| does.is_truthy().unwrap_or(false)),
            ..Hello::default()
        };
        Ok(Self {
            object: object.clone(),
            hello,
            options,
            begin: method("begin")?,
            reset: method("reset")?,
            prefill: method("prefill")?,
            select: method("select")?,
            decode: method("decode")?,
            tokens: method("tokens")?,
            logits: method("logits")?,
            end: method("end")?,
            synchronize: optional("synchronize")?,
            mark: optional("mark")?,
            device_seconds: optional("device_seconds")?,
            kv_cache_bytes: optional("kv_cache_bytes")?,
            device_peak_bytes: optional("device_peak_bytes")?,
            is_on_cpu: true,
            vocab_size: 0,
            max_position_embeddings: 0,
            product_inputs: None,
            batch_size: 0,
        })
    }

    /// Runs `work`; an exception is told.
    fn attempt<T>(&self, work: impl FnOnce(Python<'py>) -> PyResult<T>) -> Result<T> {
        let py = self.object.py();
        work(py).map_err(|error| told(py, &error))
    }

    fn call(&self, method: &Bound<'py, PyAny>) -> Result<()> {
        self.attempt(|_| method.call0().map(drop))
    }

    fn call_if_there(&self, method: Option<&Bound<'py, PyAny>>) -> Result<()> {
        method.map_or(Ok(()), |method| self.call(method))
    }

    /// What `method` returns; nothing where it is not there or returns `None`.
    fn figure<T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(
        &self,
        method: Option<&Bound<'py, PyAny>>,
    ) -> Result<Option<T>> {
        let Some(method) = method else { return Ok(None) };
        self.attempt(|_| method.call0()?.extract())
    }

    fn begin_cell(&mut self, prompt: &Prompt, generation_length: usize, keeps_logits: bool) -> Result<()> {
        self.batch_size = prompt.batch_size;
        let rows: Vec<&[i64]> = prompt.ids.chunks(prompt.length).collect();
        self.attempt(|_| {
            self.object.setattr("keeps_logits", keeps_logits)?;
            self.begin.call1((rows, generation_length)).map(drop)
        })
    }
}

/// The attribute `options`, in its order.
fn declared_options(object: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Vec<Value>)>> {
    let Some(options) = object.getattr_opt("options")? else { return Ok(Vec::new()) };
    let declared = |(name, values): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        Ok((name.extract()?, depythonize(&values).map_err(PyErr::from)?))
    };
    options.cast::<PyDict>()?.iter().map(declared).collect()
}

/// This extension, told apart from other builds of it: it times what the engine computes.
fn this_library(py: Python<'_>) -> PyResult<Library> {
    let path: PathBuf = py.import("llama2_bench_worker")?.getattr("__file__")?.extract()?;
    let bytes = PyBytes::new(py, &std::fs::read(&path)?);
    let digest = py.import("hashlib")?.call_method1("sha256", (bytes,))?.call_method0("hexdigest")?;
    let digest: String = digest.extract()?;
    let version = format!("{} ({})", env!("CARGO_PKG_VERSION"), &digest[..12]);
    Ok(Library { name: "llama2-bench worker".into(), version, path: Some(path) })
}

impl Engine for PythonEngine<'_> {
    fn hello(&mut self) -> Hello {
        self.hello.clone()
    }

    fn load(&mut self, request: &LoadRequest, _: &Reporter) -> Result<Loaded> {
        ensure!(
            request.device_memory_limit_bytes.is_none() || self.hello.device_memory_limit,
            "device_memory_limit: this engine can't limit the device memory that it uses"
        );
        ensure!(request.one_rank_of.is_none(), "one_rank: this engine can't measure one rank of several");
        let one_a_core = || available_parallelism().map_or(1, |count| count.get() as u32);
        let request = LoadRequest {
            options: resolve_options(&request.options, &self.options)?,
            threads: Some(request.threads.unwrap_or_else(one_a_core)),
            ..request.clone()
        };
        self.is_on_cpu = request.device == Device::Cpu;
        let loaded;
        (loaded, self.vocab_size, self.max_position_embeddings, self.product_inputs) =
            self.attempt(|py| {
                let loaded = self.object.call_method1("load", (pythonize(py, &request)?,))?;
                let loaded =
                    depythonize(&loaded).map_err(|error| PyValueError::new_err(format!("load: {error}")))?;
                let number = |name| self.object.getattr(name)?.extract();
                let product_inputs = match self.object.getattr_opt("product_inputs")? {
                    Some(inputs) => depythonize(&inputs)
                        .map_err(|error| PyValueError::new_err(format!("product_inputs: {error}")))?,
                    None => None,
                };
                Ok((loaded, number("vocab_size")?, number("max_position_embeddings")?, product_inputs))
            })?;
        Ok(loaded)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    fn begin(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        self.begin_cell(prompt, generation_length, false)
    }

    fn begin_keeping_logits(&mut self, prompt: &Prompt, generation_length: usize) -> Result<()> {
        self.begin_cell(prompt, generation_length, true)
    }

    fn reset(&mut self) -> Result<()> {
        self.call(&self.reset)
    }

    fn prefill(&mut self) -> Result<()> {
        self.call(&self.prefill)
    }

    fn select(&mut self) -> Result<()> {
        self.call(&self.select)
    }

    fn decode(&mut self) -> Result<()> {
        self.call(&self.decode)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.call_if_there(self.synchronize.as_ref())
    }

    fn mark(&mut self) -> Result<()> {
        self.call_if_there(self.mark.as_ref())
    }

    fn device_seconds(&mut self) -> Result<Option<f64>> {
        self.figure(self.device_seconds.as_ref())
    }

    fn tokens(&mut self) -> Result<Vec<Vec<u32>>> {
        self.attempt(|_| self.tokens.call0()?.extract())
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        let logits = self.attempt(|py| {
            let mut logits = Vec::new();
            for row in self.logits.call0()?.try_iter()? {
                logits.extend(PyBuffer::<f32>::get(&row?)?.to_vec(py)?);
            }
            Ok(logits)
        })?;
        let (found, rows, columns) = (logits.len(), self.batch_size, self.vocab_size);
        ensure!(
            found == 0 || found == rows * columns,
            "logits: expected {rows} rows of {columns} (vocab_size), found {found} numbers"
        );
        Ok(logits)
    }

    fn product_inputs(&self) -> Option<ProductInputs> {
        self.product_inputs
    }

    fn kv_cache_bytes(&self) -> Option<u64> {
        self.figure(self.kv_cache_bytes.as_ref()).unwrap_or_default()
    }

    fn peak_memory(&self) -> PeakMemory {
        if self.is_on_cpu {
            return PeakMemory::OfProcess;
        }
        PeakMemory::OfDevice(self.figure(self.device_peak_bytes.as_ref()).unwrap_or_default())
    }

    fn end(&mut self) -> Result<()> {
        self.call(&self.end)
    }
}
