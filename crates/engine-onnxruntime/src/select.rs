//! Greedy selection: each row's most probable token, the lowest id among equals.
//!
//! A GPU runs a graph of its own, so that logits and tokens stay there. The processor runs the loop below:
//! ONNX Runtime's `ArgMax` takes 30 µs for 32000 logits, this one 3.

use anyhow::Result;
use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, TensorElementType};
use prost::Message;
use protocol::{Device, Dtype};

use crate::library::OnnxRuntimeLibrary;
use crate::onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, ONNX, TensorProto, ValueInfoProto,
};
use crate::session::{SessionSettings, run, unsynchronized};

/// Selects on a device.
pub(crate) enum Selector {
    /// The processor; with room for a row of wide numbers.
    Host(Vec<f32>),
    /// A GPU.
    Device {
        /// The session of [`graph`].
        session: Box<Session>,
        /// The options of its runs.
        options: RunOptions,
    },
}

/// A selection from one forward's logits.
pub(crate) enum TokenSelection {
    /// Reads them in place.
    Host,
    /// They are bound to the graph.
    Device(Box<IoBinding>),
}

impl Selector {
    /// Selects from `[batch, rows, vocab_size]` logits in `dtype`.
    pub(crate) fn new(
        library: &OnnxRuntimeLibrary,
        settings: &SessionSettings,
        dtype: Dtype,
        vocab_size: usize,
    ) -> Result<Self> {
        if settings.device == Device::Cpu {
            return Ok(Self::Host(Vec::new()));
        }
        let settings = SessionSettings { threads: 1, cuda_graph: false, ..settings.clone() };
        let model = graph(dtype, vocab_size).encode_to_vec();
        let session = settings.builder(library, false)?.commit_from_memory(&model)?;
        Ok(Self::Device { session: Box::new(session), options: unsynchronized()? })
    }

    /// Prepares to select from `logits`, forward after forward.
    pub(crate) fn bind(&self, logits: &DynTensor) -> ort::Result<TokenSelection> {
        let Self::Device { session, .. } = self else { return Ok(TokenSelection::Host) };
        let mut binding = session.create_binding()?;
        binding.bind_input("logits", logits)?;
        Ok(TokenSelection::Device(Box::new(binding)))
    }

    /// Writes the tokens chosen from the last of each row's `logits` into `ids`, int64 `[batch, 1]`.
    pub(crate) fn select(
        &mut self,
        selection: &mut TokenSelection,
        logits: &DynTensor,
        ids: &mut DynTensor,
    ) -> ort::Result<()> {
        match (self, selection) {
            (Self::Device { session, options }, TokenSelection::Device(binding)) => {
                binding.bind_output("ids", ids)?;
                run(session, binding, options)
            }
            (Self::Host(wide), _) => select_on_host(logits, ids, wide),
            (Self::Device { .. }, TokenSelection::Host) => unreachable!("a selection of this selector"),
        }
    }
}

fn select_on_host(logits: &DynTensor, ids: &mut DynTensor, wide: &mut Vec<f32>) -> ort::Result<()> {
    let &[_, rows, vocab_size] = &logits.shape()[..] else { unreachable!("logits have three dimensions") };
    let (rows, vocab_size) = (rows as usize, vocab_size as usize);
    let (_, ids) = ids.try_extract_tensor_mut::<i64>()?;
    for (sequence, id) in ids.iter_mut().enumerate() {
        let end = (sequence + 1) * rows * vocab_size;
        let last = end - vocab_size..end;
        *id = match logits.data_type() {
            TensorElementType::Float16 => {
                wide.resize(vocab_size, 0.0);
                logits.try_extract_tensor::<f16>()?.1[last].convert_to_f32_slice(wide);
                argmax(wide)
            }
            _ => argmax(&logits.try_extract_tensor::<f32>()?.1[last]),
        } as i64;
    }
    Ok(())
}

/// The first index of the largest value. NaN is never the largest.
fn argmax(values: &[f32]) -> usize {
    // The largest of a block is found in lanes; only the block that has the largest of all is searched for it.
    const BLOCK: usize = 1024;
    let (mut best, mut start) = (f32::NEG_INFINITY, 0);
    for (index, block) in values.chunks(BLOCK).enumerate() {
        let largest = largest(block);
        if largest > best {
            (best, start) = (largest, index * BLOCK);
        }
    }
    start + values[start..].iter().position(|&value| value == best).unwrap_or(0)
}

fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

/// `logits` `[batch, rows, vocab_size]` to `ids` `[batch, 1]`: one `TopK` of the last row.
///
/// It takes the lowest id of equal values. ONNX's `TopK` does (since version 11), and so does the CUDA provider of ONNX Runtime
/// 1.31: for the last axis and up to 256 values it sorts parts of a row, then their best, by keys in which the value comes first and
/// the id, inverted, second (`core/providers/cuda/math/topk_hybrid.cuh`, `FindPartitionTopK` and `CooperativeReduce`;
/// `core/providers/cuda/cu_inc/topk_warp_sort.cuh`, `PackStableSortKey`). A row of 32000 is 14 parts, each a block of threads: three
/// launches. Versions without `topk_hybrid.cuh` give a row to one block, and take of equal values whichever thread finds first
/// (`topk_impl.cuh`, `RadixTopK`).
///
/// `ArgMax` would be one node, too, but on a GPU it is cuDNN's reduction (`core/providers/cuda/reduction/reduction_ops.cc`,
/// `CUDNN_REDUCE_TENSOR_FLATTENED_INDICES`): which of equal values it takes is up to cuDNN, and with two of cuDNN's reductions a
/// choice for several sequences took 4 ms on an H100 (`results/llama2-7b-h100`).
///
/// The values are widened first: `TopK` knows BF16 only from version 24 on.
fn graph(dtype: Dtype, vocab_size: usize) -> ModelProto {
    let logits = ["batch".into(), "rows".into(), vocab_size.into()];
    let last_row = [AttributeProto::int("axis", 1)];
    let to_float = [AttributeProto::int("to", DataType::Float as i64)];
    let graph = GraphProto {
        name: "select".into(),
        input: vec![ValueInfoProto::tensor("logits", dtype.into(), logits)],
        initializer: vec![TensorProto::int64("last_row", &[], &[-1]), TensorProto::int64("one", &[1], &[1])],
        node: vec![
            NodeProto::new(ONNX, "Gather", "last", &["logits", "last_row"], &["last"], &last_row),
            NodeProto::new(ONNX, "Cast", "wide", &["last"], &["wide"], &to_float),
            NodeProto::new(ONNX, "TopK", "ids", &["wide", "one"], &["largest", "ids"], &[]),
        ],
        output: vec![ValueInfoProto::tensor("ids", DataType::Int64, ["batch".into(), 1.into()])],
    };
    ModelProto::new(graph, 18)
}

#[cfg(test)]
mod tests {
    use ort::memory::Allocator;
    use ort::value::Tensor;

    use super::*;

    /// Three sequences with two rows of logits each; the second row decides. Two of them have equals.
    fn logits(vocab_size: usize) -> (Vec<f32>, [i64; 3]) {
        let mut rows = Vec::new();
        for (sequence, best) in [[4999, 4999], [1023, 1024], [0, 3000]].into_iter().enumerate() {
            let noise =
                |row: usize| move |id: usize| ((id * 7919 + row * 31 + sequence) % 1000) as f32 / 1000.0;
            let mut last: Vec<f32> = (0..vocab_size).map(noise(1)).collect();
            best.iter().for_each(|&id| last[id] = 2.0);
            rows.extend((0..vocab_size).map(noise(0)).map(|value| value + 5.0));
            rows.extend(last);
        }
        (rows, [4999, 1023, 0])
    }

    #[test]
    fn the_processor_takes_the_first_of_the_largest() {
        OnnxRuntimeLibrary::load().unwrap();
        let (values, expected) = logits(5000);
        let mut ids = Tensor::<i64>::new(&Allocator::default(), [3usize, 1]).unwrap().upcast();
        let wide = Tensor::from_array(([3usize, 2, 5000], values.clone())).unwrap().upcast();
        let half: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
        let half = Tensor::from_array(([3usize, 2, 5000], half)).unwrap().upcast();
        for logits in [wide, half] {
            select_on_host(&logits, &mut ids, &mut Vec::new()).unwrap();
            assert_eq!(ids.try_extract_tensor::<i64>().unwrap().1, expected);
        }
    }

    #[test]
    fn the_graph_takes_the_first_of_the_largest() {
        let library = OnnxRuntimeLibrary::load().unwrap();
        for vocab_size in [5000, 5003] {
            let (values, expected) = logits(vocab_size);
            let model = graph(Dtype::Fp32, vocab_size).encode_to_vec();
            let session = Session::builder(&library.environment).unwrap().commit_from_memory(&model).unwrap();
            let mut selector =
                Selector::Device { session: Box::new(session), options: RunOptions::new().unwrap() };

            let logits = Tensor::from_array(([3, 2, vocab_size], values)).unwrap().upcast();
            let mut ids = Tensor::<i64>::new(&Allocator::default(), [3usize, 1]).unwrap().upcast();
            let mut selection = selector.bind(&logits).unwrap();
            selector.select(&mut selection, &logits, &mut ids).unwrap();
            assert_eq!(ids.try_extract_tensor::<i64>().unwrap().1, expected);
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_selected() {
        assert_eq!(argmax(&[f32::NAN, 1.0, f32::NAN, 2.0, 2.0]), 3);
        assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY]), 1);
        assert_eq!(argmax(&[f32::NAN; 3]), 0);
    }
}
