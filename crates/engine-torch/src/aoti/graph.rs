//! Safe wrappers of `shim/aoti_graph.cpp`: a graph that AOTInductor compiled.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use protocol::Device;

use crate::error::{CText, Result, TorchError, check};
use crate::shim::c_string;
use crate::tensor::{CTensor, Tensor, gpu_index, make, pointers};

/// A C++ `Graph` of `aoti_graph.cpp`.
type CAotiGraph = c_void;

unsafe extern "C" {
    fn aoti_open(
        path: *const c_char,
        name: *const c_char,
        device: c_int,
        graph: *mut *mut CAotiGraph,
    ) -> Option<CText>;
    fn aoti_free(graph: *mut CAotiGraph);
    fn aoti_set_weights(
        graph: *mut CAotiGraph,
        names: *const *const c_char,
        tensors: *const *const CTensor,
        count: usize,
    ) -> Option<CText>;
    fn aoti_run(
        graph: *mut CAotiGraph,
        inputs: *const *const CTensor,
        count: usize,
        output: &mut Option<Tensor>,
    ) -> Option<CText>;
}

/// One of the graphs of a package, with its weights.
pub(crate) struct AotiGraph(NonNull<CAotiGraph>);

impl AotiGraph {
    /// Opens the graph `name` of the package at `path`. `weights` are used where they are.
    pub(crate) fn open(
        path: &Path,
        name: &str,
        device: Device,
        weights: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let (path, name) = (c_string(&path.to_string_lossy())?, c_string(name)?);
        let mut graph = null_mut();
        // SAFETY: the texts are C strings for the duration of the call; a null error means that `graph` is a new one.
        unsafe { check(aoti_open(path.as_ptr(), name.as_ptr(), gpu_index(device), &raw mut graph))? };
        let graph = NonNull::new(graph).map(Self).ok_or_else(|| TorchError::new("no graph"))?;

        let names = weights.keys().map(|name| c_string(name)).collect::<Result<Vec<CString>>>()?;
        let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let tensors = pointers(weights.values());
        // SAFETY: the graph is alive, both lists are of one length, and what they point to lives through the call; the graph
        // takes references of its own.
        unsafe {
            check(aoti_set_weights(graph.0.as_ptr(), names.as_ptr(), tensors.as_ptr(), names.len()))?;
        }
        Ok(graph)
    }

    /// Runs the graph, which may write into its inputs; returns its only output.
    pub(crate) fn run(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let inputs = pointers(inputs.iter().copied());
        // SAFETY: the graph and all tensors are alive.
        make(|output| unsafe { aoti_run(self.0.as_ptr(), inputs.as_ptr(), inputs.len(), output) })
    }
}

impl Drop for AotiGraph {
    fn drop(&mut self) {
        // SAFETY: the graph is alive and owned here alone.
        unsafe { aoti_free(self.0.as_ptr()) }
    }
}
