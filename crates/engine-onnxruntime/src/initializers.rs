//! The weights as the graph's external data.
//!
//! ONNX Runtime takes the files that external data is in from memory. A stored weight's file is the checkpoint's own
//! map; a weight that was converted or made from a seed is a file of its own, called as the weight.

use std::ffi::CString;
use std::ptr::from_ref;

use anyhow::{Result, bail};
use llama::{Weight, WeightData, Weights};
use ort::session::builder::SessionBuilder;
use ort::{AsPointer, ortsys};
use protocol::{Phase, Precision};
use worker::Reporter;

use crate::onnx::ModelProto;

/// Whether weights are laid out anew by all threads, or by one after the other.
pub(crate) const PARALLEL_PREPACKING: &str = "session.prepack.enable_parallel";

/// Every weight of a model, in one precision.
pub(crate) struct Initializers<'a> {
    source: &'a Weights,
    weights: Vec<Weight<'a>>,
}

impl<'a> Initializers<'a> {
    /// Takes the weights of `source`: stored ones stay where they are, the others are made now.
    pub(crate) fn new(source: &'a Weights, precision: Precision, reporter: &Reporter) -> Self {
        let specs = source.specs();
        reporter.phase(Phase::Load, specs.len() as u32);
        let take = |spec| {
            let weight = source.get(spec, precision);
            reporter.advance();
            weight
        };
        Self { source, weights: specs.iter().map(take).collect() }
    }

    /// Whether every weight is stored as it is needed. A session then reads the checkpoint's map for as long as it
    /// lives; of other weights it keeps a copy of its own.
    pub(crate) fn all_stored(&self) -> bool {
        self.weights.iter().all(|weight| matches!(weight.data, WeightData::Stored { .. }))
    }

    /// Points the initializers of `model` at their bytes.
    pub(crate) fn place(&self, model: &mut ModelProto) {
        let files = self.stored_files();
        for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            let Some(weight) = self.weights.iter().find(|weight| weight.spec.name == tensor.name) else {
                continue;
            };
            match &weight.data {
                WeightData::Stored { stored, bytes } => {
                    let (file_name, _) = files[stored.shard];
                    tensor.place(file_name, stored.offset, bytes.len());
                }
                WeightData::Made(values) => tensor.place(&weight.spec.name, 0, values.bytes().len()),
            }
        }
    }

    /// Gives the files to the session that `builder` will make.
    ///
    /// # Safety
    /// The source of the weights must outlive the session where [`Initializers::all_stored`]; `self` must outlive the
    /// making of it.
    pub(crate) unsafe fn add_to(&self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        let borrow = if self.all_stored() { "1" } else { "0" };
        let mut builder = builder
            .with_config_entry("session.use_external_initializer_file_buffers_directly", borrow)?
            // A copy is freed once it is laid out anew for the kernels; in parallel, none is before all are.
            .with_config_entry(PARALLEL_PREPACKING, borrow)?;

        let made = self.weights.iter().filter_map(|weight| match &weight.data {
            WeightData::Made(values) => Some((weight.spec.name.as_str(), values.bytes())),
            WeightData::Stored { .. } => None,
        });
        let files: Vec<(&str, &[u8])> = self.stored_files().into_iter().chain(made).collect();
        let names = files.iter().map(|(name, _)| CString::new(*name)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let buffers: Vec<_> = files.iter().map(|(_, bytes)| from_ref(*bytes).cast_mut().cast()).collect();
        let sizes: Vec<_> = files.iter().map(|(_, bytes)| bytes.len()).collect();
        // SAFETY: the three arrays have one length and outlive the call, which copies the names; it takes the buffers
        // as mutable and only reads them. That they live long enough is the caller's promise.
        ortsys![unsafe AddExternalInitializersFromMemory(
            builder.ptr_mut(),
            names.as_ptr(),
            buffers.as_ptr(),
            sizes.as_ptr(),
            files.len(),
        )?];
        Ok(builder)
    }

    fn stored_files(&self) -> Vec<(&str, &[u8])> {
        self.source.files().iter().map(|file| (file.file_name.as_str(), file.bytes())).collect()
    }
}

/// Checks that the weights that have to be made fit into `limit`: twice, as the session copies what is made.
pub(crate) fn check_made(source: &Weights, precision: Precision, limit: Option<u64>) -> Result<()> {
    let made = source.specs().into_iter().filter(|spec| !source.is_stored(spec, precision));
    let bytes: u64 = made.map(|spec| spec.len() as u64 * precision.bytes()).sum();
    if let Some(limit) = limit.filter(|&limit| 2 * bytes > limit) {
        bail!("out of memory: {bytes} bytes of weights are made, then copied; the limit is {limit}");
    }
    Ok(())
}
