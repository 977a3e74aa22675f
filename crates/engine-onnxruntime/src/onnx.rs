//! The part of ONNX's schema that a LLaMA graph needs.
//!
//! Field numbers are those of [onnx.proto](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); whatever stands
//! beside them in a file is skipped when it is read. The schema is proto2: a field that is set to its default must be
//! there all the same, hence the `optional`s.

use prost::{Enumeration, Message, Oneof};
use protocol::Dtype;

/// The domain of ONNX's own operators.
pub(crate) const ONNX: &str = "";
/// The domain of ONNX Runtime's: attention, and a product with a transposed weight.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// The version of the file format: that of ONNX 1.18, the first with operator set 23.
const IR_VERSION: i64 = 11;

/// A model's file.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSetIdProto>,
}

impl ModelProto {
    /// A model of this program, with version `opset` of ONNX's operators.
    pub(crate) fn new(graph: GraphProto, opset: i64) -> Self {
        let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version };
        Self {
            ir_version: IR_VERSION,
            producer_name: "llama2-bench".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![set(ONNX, opset), set(MICROSOFT, 1)],
        }
    }

    /// Makes the operators of another domain known.
    pub(crate) fn import(&mut self, domain: &str, version: i64) {
        self.opset_import.push(OperatorSetIdProto { domain: Some(domain.into()), version });
    }
}

/// The version of a domain's operators; the empty domain is ONNX's own.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct OperatorSetIdProto {
    #[prost(string, optional, tag = "1")]
    pub(crate) domain: Option<String>,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

/// Nodes in topological order, with what goes in and out.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfoProto>,
}

/// One operation. An empty name stands for an optional input or output that is left out.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

impl NodeProto {
    /// A node of one of the two domains.
    pub(crate) fn new(
        domain: &str,
        op_type: &str,
        name: &str,
        input: &[&str],
        output: &[&str],
        attribute: &[AttributeProto],
    ) -> Self {
        Self {
            input: input.iter().map(ToString::to_string).collect(),
            output: output.iter().map(ToString::to_string).collect(),
            name: name.into(),
            op_type: op_type.into(),
            attribute: attribute.into(),
            domain: domain.into(),
        }
    }
}

/// A named constant of a node.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub(crate) r#type: i32,
}

/// What an [`AttributeProto`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub(crate) enum AttributeType {
    Undefined = 0,
    Float = 1,
    Int = 2,
}

impl AttributeProto {
    /// A whole number.
    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), f: None, r#type: AttributeType::Int.into() }
    }

    /// A floating-point number.
    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), i: None, r#type: AttributeType::Float.into() }
    }
}

/// A constant tensor: its bytes in `raw_data` (little-endian), or elsewhere, as `external_data` says.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(enumeration = "DataType", tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) raw_data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<StringStringEntryProto>,
    #[prost(enumeration = "DataLocation", optional, tag = "14")]
    pub(crate) data_location: Option<i32>,
}

impl TensorProto {
    /// A tensor whose bytes are in the file itself.
    pub(crate) fn raw(name: &str, data_type: DataType, dims: &[i64], bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            dims: dims.into(),
            data_type: data_type.into(),
            raw_data: Some(bytes),
            ..Self::default()
        }
    }

    /// Whole numbers, in the file itself.
    pub(crate) fn int64(name: &str, dims: &[i64], values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::raw(name, DataType::Int64, dims, bytes)
    }

    /// Says where the bytes are: in the file `location` beside the model, at `offset`.
    pub(crate) fn place(&mut self, location: &str, offset: usize, length: usize) {
        let entry = |key: &str, value: &dyn ToString| StringStringEntryProto {
            key: key.into(),
            value: value.to_string(),
        };
        self.external_data =
            vec![entry("location", &location), entry("offset", &offset), entry("length", &length)];
        self.data_location = Some(DataLocation::External.into());
    }

    /// Bytes of the tensor in memory: as its type and shape say, else as its data says.
    pub(crate) fn bytes(&self) -> u64 {
        let Some(bits) = element_bits(self.data_type) else {
            let length = self.external_data.iter().find(|entry| entry.key == "length");
            let inside = || self.raw_data.as_ref().map_or(0, |bytes| bytes.len() as u64);
            return length.and_then(|entry| entry.value.parse().ok()).unwrap_or_else(inside);
        };
        // Negative or huge dimensions are ONNX Runtime's to refuse.
        let numbers = self.dims.iter().map(|&dim| dim.max(0) as u64).fold(1, u64::saturating_mul);
        numbers.saturating_mul(bits).div_ceil(8)
    }
}

/// Bits of a number of ONNX's `TensorProto.DataType`; `None` for strings and for types that came later.
fn element_bits(data_type: i32) -> Option<u64> {
    Some(match data_type {
        // UINT4, INT4, FLOAT4E2M1.
        21..=23 => 4,
        // UINT8, INT8, BOOL, and the four of FLOAT8.
        2 | 3 | 9 | 17..=20 => 8,
        // UINT16, INT16, FLOAT16, BFLOAT16.
        4 | 5 | 10 | 16 => 16,
        // FLOAT, INT32, UINT32.
        1 | 6 | 12 => 32,
        // INT64, DOUBLE, UINT64, COMPLEX64.
        7 | 11 | 13 | 14 => 64,
        // COMPLEX128.
        15 => 128,
        _ => return None,
    })
}

/// A key and its value.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// Where a tensor's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub(crate) enum DataLocation {
    Default = 0,
    External = 1,
}

/// An input or output of the graph.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<TypeProto>,
}

/// A type. Only tensors are described here.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorTypeProto>,
}

/// A tensor's type.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct TensorTypeProto {
    #[prost(enumeration = "DataType", tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
}

/// A tensor's dimensions.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

/// One dimension of a [`TensorShapeProto`].
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub(crate) struct Dimension {
    #[prost(oneof = "Dim", tags = "1, 2")]
    pub(crate) value: Option<Dim>,
}

/// A dimension's size, or a name for it where it is known at run time only.
#[derive(Clone, PartialEq, Oneof)]
#[allow(missing_docs)]
pub(crate) enum Dim {
    #[prost(int64, tag = "1")]
    Size(i64),
    #[prost(string, tag = "2")]
    Name(String),
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Self::Size(size as i64)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl ValueInfoProto {
    /// A tensor of the graph's interface.
    pub(crate) fn tensor(name: &str, data_type: DataType, dims: impl IntoIterator<Item = Dim>) -> Self {
        let dim = dims.into_iter().map(|dim| Dimension { value: Some(dim) }).collect();
        let tensor = TensorTypeProto { elem_type: data_type.into(), shape: Some(TensorShapeProto { dim }) };
        Self { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    }
}

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub(crate) enum DataType {
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int32 = 6,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
    Bfloat16 = 16,
}

impl From<Dtype> for DataType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Fp32 => Self::Float,
            Dtype::Fp16 => Self::Float16,
            Dtype::Bf16 => Self::Bfloat16,
        }
    }
}
