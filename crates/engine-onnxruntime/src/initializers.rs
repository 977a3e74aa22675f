//! The weights as the graph's external data.
//!
//! ONNX Runtime takes the files that external data is in from memory. A stored weight's file is the checkpoint's own
//! map; a weight that was converted, joined or made from a seed is a file of its own, called as the weight. A session reads them
//! there, or keeps a copy on the host: see [`Initializers::lifetime`].

use std::ffi::CString;
use std::ptr::from_ref;

use anyhow::{Result, bail};
use llama::{Values, WeightData, WeightKind, Weights};
use ort::session::builder::SessionBuilder;
use ort::{AsPointer, ortsys};
use protocol::{Device, Phase};
use worker::Reporter;

use crate::fused::{Fused, graph_weights};
use crate::onnx::ModelProto;
use crate::quantized::{NumberFormats, codes_name, scales_name};

/// Whether all threads repack weights, or one after the other does.
pub(crate) const PARALLEL_PREPACKING: &str = "session.prepack.enable_parallel";

/// Every weight of a graph.
pub(crate) struct Initializers<'a> {
    source: &'a Weights,
    tensors: Vec<Initializer<'a>>,
}

/// A tensor that is a weight, several joined ones, or the codes or scales of such.
struct Initializer<'a> {
    name: String,
    kind: WeightKind,
    is_joined: bool,
    data: Data<'a>,
}

/// How long a session reads weights where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The session reads them for as long as it lives.
    Session,
    /// While it is made: it copies them to its device then. Files stay mapped as long as it lives, as its contract asks.
    Load,
    /// While it is made: it copies them on the host, and frees each copy that it lays out anew.
    Copied,
}

/// Where a weight's bytes are.
pub(crate) enum Data<'a> {
    /// A part of a checkpoint's file, as it is.
    Stored { shard: usize, offset: usize, bytes: &'a [u8] },
    /// Made in memory.
    Made(Values),
}

impl Data<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored { bytes, .. } => bytes,
            Self::Made(values) => values.bytes(),
        }
    }
}

impl<'a> Initializers<'a> {
    /// Takes the weights of `source`: stored ones stay where they are, the others are made now.
    pub(crate) fn new(
        source: &'a Weights,
        formats: impl Into<NumberFormats>,
        fused: Fused,
        reporter: &Reporter,
    ) -> Self {
        let NumberFormats { dtype, quantized } = formats.into();
        let weights = graph_weights(source.config(), fused);
        reporter.phase(Phase::Load, weights.len() as u32);
        let mut tensors = Vec::new();
        for weight in weights {
            let (kind, is_joined) = (weight.kind, weight.parts.len() > 1);
            let mut add = |name, data| tensors.push(Initializer { name, kind, is_joined, data });
            match (quantized.filter(|_| weight.is_projection()), weight.parts.as_slice()) {
                (Some(quantized), _) => {
                    let [codes, scales] = quantized.data(source, &weight, dtype);
                    add(codes_name(&weight.name), codes);
                    add(scales_name(&weight.name), scales);
                }
                (None, [spec]) => match source.get(spec, dtype).data {
                    WeightData::Stored { stored, bytes } => {
                        add(weight.name, Data::Stored { shard: stored.shard, offset: stored.offset, bytes });
                    }
                    WeightData::Made(values) => add(weight.name, Data::Made(values)),
                },
                (None, parts) => add(weight.name.clone(), Data::Made(source.joined(parts, dtype))),
            }
            reporter.advance();
        }
        Self { source, tensors }
    }

    /// How long a session on `device` reads these weights. Weights in memory that are laid out `anew` are copied: nothing says
    /// when the last of them is no longer read.
    pub(crate) fn lifetime(&self, device: Device, anew: bool) -> Lifetime {
        let all_stored = self.tensors.iter().all(|tensor| matches!(tensor.data, Data::Stored { .. }));
        match device {
            Device::Cuda(_) => Lifetime::Load,
            Device::Cpu if all_stored || !anew => Lifetime::Session,
            Device::Cpu => Lifetime::Copied,
        }
    }

    /// The weights in memory: to be kept where a session reads them for as long as it lives.
    pub(crate) fn into_made(self) -> Vec<Values> {
        let made = self.tensors.into_iter().filter_map(|tensor| match tensor.data {
            Data::Made(values) => Some(values),
            Data::Stored { .. } => None,
        });
        made.collect()
    }

    /// Bytes that a session reads as they are stored for as long as it lives: of all stored weights, or, where what is
    /// multiplied with is laid out `anew`, of the rest.
    pub(crate) fn mapped_bytes(&self, anew: bool) -> u64 {
        let stays = |tensor: &&Initializer<'_>| !(anew && tensor.kind == WeightKind::Linear);
        let stored = self.tensors.iter().filter(stays).filter_map(|tensor| match tensor.data {
            Data::Stored { bytes, .. } => Some(bytes.len() as u64),
            _ => None,
        });
        stored.sum()
    }

    /// Bytes of the weights that are several of the model's.
    pub(crate) fn joined_bytes(&self) -> u64 {
        let joined = self.tensors.iter().filter(|tensor| tensor.is_joined);
        joined.map(|tensor| tensor.data.bytes().len() as u64).sum()
    }

    /// Points the initializers of `model` at their bytes.
    pub(crate) fn place(&self, model: &mut ModelProto) {
        let files = self.source.files();
        for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            let Some(Initializer { name, data, .. }) =
                self.tensors.iter().find(|one| one.name == tensor.name)
            else {
                continue;
            };
            match data {
                Data::Stored { shard, offset, bytes } => {
                    tensor.place(&files[*shard].file_name, *offset, bytes.len());
                }
                Data::Made(values) => tensor.place(name, 0, values.bytes().len()),
            }
        }
    }

    /// Gives the files to the session that `builder` will make.
    ///
    /// # Safety
    /// The source of the weights and what is made must outlive the making of the session; with [`Lifetime::Session`], the session.
    /// The source must outlive the session with [`Lifetime::Load`], and generated weights must outlive all copies of them to the device.
    pub(crate) unsafe fn add_to(
        &self,
        builder: SessionBuilder,
        lifetime: Lifetime,
    ) -> ort::Result<SessionBuilder> {
        let in_place = if lifetime == Lifetime::Copied { "0" } else { "1" };
        let mut builder = builder
            .with_config_entry("session.use_external_initializer_file_buffers_directly", in_place)?
            // A copy is freed once it is laid out anew for the kernels; in parallel, none is before all are.
            .with_config_entry(PARALLEL_PREPACKING, in_place)?;

        let made = self.tensors.iter().filter_map(|tensor| match &tensor.data {
            Data::Made(values) => Some((tensor.name.as_str(), values.bytes())),
            Data::Stored { .. } => None,
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

/// Checks that the weights that have to be made fit into `limit`: twice where they are laid out `anew`, for the session copies
/// them then.
pub(crate) fn check_made(
    source: &Weights,
    NumberFormats { dtype, quantized }: NumberFormats,
    fused: Fused,
    anew: bool,
    limit: Option<u64>,
) -> Result<()> {
    let weights = graph_weights(source.config(), fused).into_iter();
    let made =
        weights.map(|weight| match (quantized.filter(|_| weight.is_projection()), weight.parts.as_slice()) {
            // Stored codes, too: the checkpoint's scales are the smaller part.
            (Some(quantized), _) => quantized.bytes(&weight, dtype),
            (None, [spec]) if source.is_stored(spec, dtype) => 0,
            (None, _) => weight.shape.iter().product::<usize>() as u64 * dtype.bytes(),
        });
    let bytes: u64 = made.sum();
    let (times, then) = if anew { (2, ", then copied") } else { (1, "") };
    if let Some(limit) = limit.filter(|&limit| times * bytes > limit) {
        bail!("out of memory: {bytes} bytes of weights are made{then}; the limit is {limit}");
    }
    Ok(())
}
