//! Greedy selection: each row's most probable token, the lowest id among equals.
//!
//! On a GPU it is a graph of its own, so that logits and tokens stay there. On the processor it is the loop below:
//! ONNX Runtime's `ArgMax` takes 30 µs for 32000 logits, this one 3.

use anyhow::Result;
use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, TensorElementType};
use prost::Message;
use protocol::{Device, Precision};

use crate::library::Library;
use crate::onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, ONNX, TensorProto, ValueInfoProto,
};
use crate::session::{Settings, run, unsynchronized};

/// Selects on a device.
pub(crate) enum Selector {
    /// The processor; with room for a row of wide numbers.
    Host(Vec<f32>),
    /// A GPU.
    Device {
        /// Of [`graph`].
        session: Box<Session>,
        /// Of its runs.
        options: RunOptions,
    },
}

/// A selection from one forward's logits.
pub(crate) enum Selection {
    /// Reads them in place.
    Host,
    /// They are bound to the graph.
    Device(Box<IoBinding>),
}

impl Selector {
    /// Selects from `[batch, rows, vocab_size]` logits in `precision`.
    pub(crate) fn new(
        library: &Library,
        settings: &Settings,
        precision: Precision,
        vocab_size: usize,
    ) -> Result<Self> {
        if settings.device == Device::Cpu {
            return Ok(Self::Host(Vec::new()));
        }
        let settings = Settings { threads: 1, cuda_graph: false, ..settings.clone() };
        let model = graph(precision, vocab_size).encode_to_vec();
        let session = settings.builder(library, false)?.commit_from_memory(&model)?;
        Ok(Self::Device { session: Box::new(session), options: unsynchronized()? })
    }

    /// Prepares to select from `logits`, forward after forward.
    pub(crate) fn bind(&self, logits: &DynTensor) -> ort::Result<Selection> {
        let Self::Device { session, .. } = self else { return Ok(Selection::Host) };
        let mut binding = session.create_binding()?;
        binding.bind_input("logits", logits)?;
        Ok(Selection::Device(Box::new(binding)))
    }

    /// Writes the tokens chosen from the last of each row's `logits` into `ids`, int64 `[batch, 1]`.
    pub(crate) fn select(
        &mut self,
        selection: &mut Selection,
        logits: &DynTensor,
        ids: &mut DynTensor,
    ) -> ort::Result<()> {
        match (self, selection) {
            (Self::Device { session, options }, Selection::Device(binding)) => {
                binding.bind_output("ids", ids)?;
                run(session, binding, options)
            }
            (Self::Host(wide), _) => select_on_host(logits, ids, wide),
            (Self::Device { .. }, Selection::Host) => unreachable!("a selection of this selector"),
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

/// `logits` `[batch, rows, vocab_size]` to `ids` `[batch, 1]`.
///
/// `ArgMax` would be one node, but which of equal values it takes on a GPU is up to cuDNN; in half precision the two
/// largest of 32000 are often equal. So the largest value comes first, then the lowest id of it. Neither by a `Reduce…`, which
/// is cuDNN's, too: with two of them a choice for several sequences took 4 ms on an H100 (`results/llama2-7b-h100`). `TopK` sorts
/// up to 256 numbers in the memory that a block of threads shares: so first of short parts of a row, then of the parts.
fn graph(precision: Precision, vocab_size: usize) -> ModelProto {
    let node = |op: &str, inputs: &[&str], output: &str, attributes: &[AttributeProto]| {
        NodeProto::new(ONNX, op, output, inputs, &[output], attributes)
    };
    let size = vocab_size as i64;
    let parts = parts(size);
    // Exact in FP32 up to 16.7 million.
    let every_id: Vec<f32> = (0..vocab_size).map(|id| -(id as f32)).collect();
    let largest = |of: &str, output: &str| -> Vec<NodeProto> {
        let mut nodes = Vec::new();
        let mut input = of.to_owned();
        for level in 0..parts.len() {
            let [cut, index] = ["cut", "index"].map(|name| format!("{output}_{name}_{level}"));
            let is_last = level + 1 == parts.len();
            let of_parts = if is_last { output.to_owned() } else { format!("{output}_{level}") };
            nodes.push(node("Reshape", &[&input, &shape_name(level)], &cut, &[]));
            nodes.push(NodeProto::new(ONNX, "TopK", &of_parts, &[&cut, "one"], &[&of_parts, &index], &[]));
            input = of_parts;
        }
        nodes
    };
    let shape = |(level, &part): (usize, &i64)| TensorProto::int64(&shape_name(level), &[2], &[-1, part]);
    let logits = ["batch".into(), "rows".into(), vocab_size.into()];
    let graph = GraphProto {
        name: "select".into(),
        input: vec![ValueInfoProto::tensor("logits", precision.into(), logits)],
        initializer: [
            TensorProto::int64("last_row", &[], &[-1]),
            TensorProto::int64("one", &[1], &[1]),
            TensorProto::float("every_id", &[size], &every_id),
            // Where nothing is the largest, for all are NaN, it is the last.
            TensorProto::float("no_id", &[], &[1.0 - size as f32]),
        ]
        .into_iter()
        .chain(parts.iter().enumerate().map(shape))
        .collect(),
        node: [
            vec![
                node("Gather", &["logits", "last_row"], "last", &[AttributeProto::int("axis", 1)]),
                node("Cast", &["last"], "wide", &[AttributeProto::int("to", DataType::Float as i64)]),
            ],
            largest("wide", "largest"),
            vec![
                node("Equal", &["wide", "largest"], "is_largest", &[]),
                node("Where", &["is_largest", "every_id", "no_id"], "candidates", &[]),
            ],
            largest("candidates", "lowest"),
            vec![
                node("Neg", &["lowest"], "id", &[]),
                node("Cast", &["id"], "ids", &[AttributeProto::int("to", DataType::Int64 as i64)]),
            ],
        ]
        .concat(),
        output: vec![ValueInfoProto::tensor("ids", DataType::Int64, ["batch".into(), 1.into()])],
    };
    // Of later versions of Equal the CUDA provider has no kernels.
    ModelProto::new(graph, 18)
}

fn shape_name(level: usize) -> String {
    format!("part_{level}")
}

/// How long the parts are that a row of `size` numbers is cut into, then the row of these parts' largest, until one is left: parts
/// that are sorted at once, or all that is left where it can't be cut into some of at least 32.
fn parts(size: i64) -> Vec<i64> {
    let mut parts = Vec::new();
    let mut left = size;
    loop {
        let cut = || (32..=256).rev().find(|part| left % part == 0);
        let part = if left <= 256 { left } else { cut().unwrap_or(left) };
        parts.push(part);
        left /= part;
        if left == 1 {
            return parts;
        }
    }
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
        Library::load().unwrap();
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
        let library = Library::load().unwrap();
        // Of 250 numbers and then of 20; and a prime, a row that can't be cut.
        for vocab_size in [5000, 5003] {
            let (values, expected) = logits(vocab_size);
            let model = graph(Precision::Fp32, vocab_size).encode_to_vec();
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
    fn rows_are_cut_into_parts_that_are_sorted_at_once() {
        assert_eq!(parts(32_000), [256, 125]);
        assert_eq!(parts(128_256), [256, 167, 3]);
        assert_eq!(parts(50_257), [50_257]);
        assert_eq!(parts(256), [256]);
        assert_eq!(parts(1), [1]);
    }

    #[test]
    fn what_is_not_a_number_is_not_selected() {
        assert_eq!(argmax(&[f32::NAN, 1.0, f32::NAN, 2.0, 2.0]), 3);
        assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY]), 1);
        assert_eq!(argmax(&[f32::NAN; 3]), 0);
    }
}
