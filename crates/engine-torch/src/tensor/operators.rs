//! libtorch's operators, in the order of their names. An operator that ends with `_` writes into its first tensor.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ops::Deref;

use protocol::Device;

use super::{CTensor, Kind, Tensor, gpu_index, make, no_tensor, pointers};
use crate::error::{CText, Result, check};

/// An `&[i64]`, as `shim/tensor.cpp` takes it.
#[repr(C)]
struct Ints<'a> {
    first: *const i64,
    count: usize,
    of: PhantomData<&'a [i64]>,
}

impl<'a> From<&'a [i64]> for Ints<'a> {
    fn from(numbers: &'a [i64]) -> Self {
        Self { first: numbers.as_ptr(), count: numbers.len(), of: PhantomData }
    }
}

type Out<'a> = &'a mut Option<Tensor>;

// SAFETY: the signatures are those of shim/tensor.cpp. Safe functions need no more than what their types say: references are to what lives
// through the call.
#[rustfmt::skip]
unsafe extern "C" {
    fn tensor_cat(tensors: *const *const CTensor, count: usize, dim: i64, output: Out) -> Option<CText>;

    safe fn tensor_arange(start: i64, end: i64, kind: Kind, gpu: c_int, output: Out) -> Option<CText>;
    safe fn tensor_empty(size: Ints, kind: Kind, gpu: c_int, output: Out) -> Option<CText>;
    safe fn tensor_randn(size: Ints, kind: Kind, gpu: c_int, output: Out) -> Option<CText>;
    safe fn tensor_zeros(size: Ints, kind: Kind, gpu: c_int, output: Out) -> Option<CText>;

    safe fn tensor_add(this: &CTensor, other: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_add_scalar(this: &CTensor, other: f64, output: Out) -> Option<CText>;
    safe fn tensor_contiguous(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_convert_weight_to_int4pack(this: &CTensor, inner_k_tiles: i64, output: Out) -> Option<CText>;
    safe fn tensor_convert_weight_to_int4pack_for_cpu(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_copy(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_copy_(this: &CTensor, source: &CTensor) -> Option<CText>;
    safe fn tensor_cos(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_embedding(weight: &CTensor, indices: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_expand(this: &CTensor, size: Ints, output: Out) -> Option<CText>;
    safe fn tensor_fill_(this: &CTensor, value: i64) -> Option<CText>;
    safe fn tensor_index_copy_(this: &CTensor, dim: i64, index: &CTensor, source: &CTensor) -> Option<CText>;
    safe fn tensor_index_select(this: &CTensor, dim: i64, index: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_le(this: &CTensor, other: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_linear(input: &CTensor, weight: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_matmul(this: &CTensor, other: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_max_dim(this: &CTensor, dim: i64, keepdim: bool, values: Out, indices: Out) -> Option<CText>;
    safe fn tensor_mean(this: &CTensor, dims: Ints, keepdim: bool, output: Out) -> Option<CText>;
    safe fn tensor_mm(this: &CTensor, mat2: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_mm_out(out: &CTensor, this: &CTensor, mat2: &CTensor) -> Option<CText>;
    safe fn tensor_mul(this: &CTensor, other: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_mul_scalar(this: &CTensor, other: f64, output: Out) -> Option<CText>;
    safe fn tensor_narrow(this: &CTensor, dim: i64, start: i64, length: i64, output: Out) -> Option<CText>;
    safe fn tensor_neg(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_pow(this: &CTensor, exponent: i64, output: Out) -> Option<CText>;
    safe fn tensor_reshape(this: &CTensor, shape: Ints, output: Out) -> Option<CText>;
    safe fn tensor_rsqrt(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_scaled_dot_product_attention(
        query: &CTensor, key: &CTensor, value: &CTensor, mask: Option<&CTensor>, is_causal: bool, scale: f64, enable_gqa: bool, output: Out,
    ) -> Option<CText>;
    safe fn tensor_select(this: &CTensor, dim: i64, index: i64, output: Out) -> Option<CText>;
    safe fn tensor_silu(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_sin(this: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_slice(this: &CTensor, dim: i64, start: Option<&i64>, end: Option<&i64>, output: Out) -> Option<CText>;
    safe fn tensor_softmax(this: &CTensor, dim: i64, kind: Kind, output: Out) -> Option<CText>;
    safe fn tensor_sub_scalar(this: &CTensor, other: i64, output: Out) -> Option<CText>;
    safe fn tensor_sum(this: &CTensor, kind: Kind, output: Out) -> Option<CText>;
    safe fn tensor_to_device(this: &CTensor, gpu: c_int, output: Out) -> Option<CText>;
    safe fn tensor_to_kind(this: &CTensor, kind: Kind, output: Out) -> Option<CText>;
    safe fn tensor_transpose(this: &CTensor, dim0: i64, dim1: i64, output: Out) -> Option<CText>;
    safe fn tensor_unsqueeze(this: &CTensor, dim: i64, output: Out) -> Option<CText>;
    safe fn tensor_view(this: &CTensor, size: Ints, output: Out) -> Option<CText>;
    safe fn tensor_view_dtype(this: &CTensor, kind: Kind, output: Out) -> Option<CText>;
    safe fn tensor_weight_int4pack_mm(
        this: &CTensor, mat2: &CTensor, group_size: i64, scales_and_zeros: &CTensor, output: Out,
    ) -> Option<CText>;
    safe fn tensor_weight_int4pack_mm_for_cpu(
        this: &CTensor, mat2: &CTensor, group_size: i64, scales_and_zeros: &CTensor, output: Out,
    ) -> Option<CText>;
    safe fn tensor_weight_int8pack_mm(this: &CTensor, mat2: &CTensor, scales: &CTensor, output: Out) -> Option<CText>;
    safe fn tensor_where_scalar_other(condition: &CTensor, this: &CTensor, other: f64, output: Out) -> Option<CText>;
}

/// Constructors.
impl Tensor {
    /// `start`, `start + 1`… up to `end`, without it.
    pub(crate) fn arange(start: i64, end: i64, (kind, device): (Kind, Device)) -> Result<Self> {
        make(|output| tensor_arange(start, end, kind, gpu_index(device), output))
    }

    /// Numbers that were never set.
    pub(crate) fn empty(size: &[i64], (kind, device): (Kind, Device)) -> Result<Self> {
        make(|output| tensor_empty(size.into(), kind, gpu_index(device), output))
    }

    /// Random numbers of the standard normal distribution.
    pub(crate) fn randn(size: &[i64], (kind, device): (Kind, Device)) -> Result<Self> {
        make(|output| tensor_randn(size.into(), kind, gpu_index(device), output))
    }

    /// Zeros.
    pub(crate) fn zeros(size: &[i64], (kind, device): (Kind, Device)) -> Result<Self> {
        make(|output| tensor_zeros(size.into(), kind, gpu_index(device), output))
    }
}

/// Operators.
impl Tensor {
    pub(crate) fn add(&self, other: &Self) -> Result<Self> {
        make(|output| tensor_add(self, other, output))
    }

    pub(crate) fn add_scalar(&self, other: f64) -> Result<Self> {
        make(|output| tensor_add_scalar(self, other, output))
    }

    pub(crate) fn cat<'a>(tensors: impl IntoIterator<Item = &'a Self>, dim: i64) -> Result<Self> {
        let tensors = pointers(tensors);
        // SAFETY: all of them live through the call.
        make(|output| unsafe { tensor_cat(tensors.as_ptr(), tensors.len(), dim, output) })
    }

    /// Itself, or a copy where its numbers don't lie row after row.
    pub(crate) fn contiguous(&self) -> Result<Self> {
        make(|output| tensor_contiguous(self, output))
    }

    /// A copy of its numbers: `to` with `copy`.
    pub(crate) fn copy(&self) -> Result<Self> {
        make(|output| tensor_copy(self, output))
    }

    pub(crate) fn copy_(&mut self, source: &Self) -> Result<()> {
        check(tensor_copy_(self, source))
    }

    pub(crate) fn cos(&self) -> Result<Self> {
        make(|output| tensor_cos(self, output))
    }

    /// The rows of `weight` at `indices`.
    pub(crate) fn embedding(weight: &Self, indices: &Self) -> Result<Self> {
        make(|output| tensor_embedding(weight, indices, output))
    }

    /// A view in which dimensions of size 1 have another size; -1 leaves one as it is.
    pub(crate) fn expand(&self, size: &[i64]) -> Result<Self> {
        make(|output| tensor_expand(self, size.into(), output))
    }

    pub(crate) fn fill_(&mut self, value: i64) -> Result<()> {
        check(tensor_fill_(self, value))
    }

    /// Copies `source` to the positions `index` of dimension `dim`.
    pub(crate) fn index_copy_(&mut self, dim: i64, index: &Self, source: &Self) -> Result<()> {
        check(tensor_index_copy_(self, dim, index, source))
    }

    /// Copies the positions `index` of dimension `dim`.
    pub(crate) fn index_select(&self, dim: i64, index: &Self) -> Result<Self> {
        make(|output| tensor_index_select(self, dim, index, output))
    }

    /// Whether each number is at most the other.
    pub(crate) fn le(&self, other: &Self) -> Result<Self> {
        make(|output| tensor_le(self, other, output))
    }

    /// Itself times the transpose of `weight`, `[out, in]`.
    pub(crate) fn linear(&self, weight: &Self) -> Result<Self> {
        make(|output| tensor_linear(self, weight, output))
    }

    pub(crate) fn matmul(&self, other: &Self) -> Result<Self> {
        make(|output| tensor_matmul(self, other, output))
    }

    /// The maxima over dimension `dim`, and where each is first.
    pub(crate) fn max_dim(&self, dim: i64, keepdim: bool) -> Result<(Self, Self)> {
        let mut values = None;
        let indices = make(|indices| tensor_max_dim(self, dim, keepdim, &mut values, indices))?;
        Ok((values.ok_or_else(no_tensor)?, indices))
    }

    pub(crate) fn mean(&self, dims: &[i64], keepdim: bool) -> Result<Self> {
        make(|output| tensor_mean(self, dims.into(), keepdim, output))
    }

    pub(crate) fn mm(&self, mat2: &Self) -> Result<Self> {
        make(|output| tensor_mm(self, mat2, output))
    }

    /// Writes `input` times `mat2` into `out`.
    pub(crate) fn mm_out(out: &mut Self, input: &Self, mat2: &Self) -> Result<()> {
        check(tensor_mm_out(out, input, mat2))
    }

    pub(crate) fn mul(&self, other: &Self) -> Result<Self> {
        make(|output| tensor_mul(self, other, output))
    }

    pub(crate) fn mul_scalar(&self, other: f64) -> Result<Self> {
        make(|output| tensor_mul_scalar(self, other, output))
    }

    /// A view of `length` positions of dimension `dim`.
    pub(crate) fn narrow(&self, dim: i64, start: i64, length: i64) -> Result<Self> {
        make(|output| tensor_narrow(self, dim, start, length, output))
    }

    pub(crate) fn neg(&self) -> Result<Self> {
        make(|output| tensor_neg(self, output))
    }

    pub(crate) fn pow(&self, exponent: i64) -> Result<Self> {
        make(|output| tensor_pow(self, exponent, output))
    }

    /// A view of another shape, or a copy where there is none.
    pub(crate) fn reshape(&self, shape: &[i64]) -> Result<Self> {
        make(|output| tensor_reshape(self, shape.into(), output))
    }

    pub(crate) fn rsqrt(&self) -> Result<Self> {
        make(|output| tensor_rsqrt(self, output))
    }

    /// Attention without dropout. With `enable_gqa`, `key` and `value` may have fewer heads than `query`.
    pub(crate) fn scaled_dot_product_attention(
        query: &Self,
        key: &Self,
        value: &Self,
        mask: Option<&Self>,
        is_causal: bool,
        scale: f64,
        enable_gqa: bool,
    ) -> Result<Self> {
        let mask = mask.map(Deref::deref);
        make(|output| {
            tensor_scaled_dot_product_attention(query, key, value, mask, is_causal, scale, enable_gqa, output)
        })
    }

    /// A view of one position of dimension `dim`, without that dimension.
    pub(crate) fn select(&self, dim: i64, index: i64) -> Result<Self> {
        make(|output| tensor_select(self, dim, index, output))
    }

    pub(crate) fn silu(&self) -> Result<Self> {
        make(|output| tensor_silu(self, output))
    }

    pub(crate) fn sin(&self) -> Result<Self> {
        make(|output| tensor_sin(self, output))
    }

    /// A view of the positions from `start` up to `end` of dimension `dim`; negative ones are counted from the end.
    pub(crate) fn slice(&self, dim: i64, start: Option<i64>, end: Option<i64>) -> Result<Self> {
        make(|output| tensor_slice(self, dim, start.as_ref(), end.as_ref(), output))
    }

    /// The softmax of its numbers in `kind`.
    pub(crate) fn softmax(&self, dim: i64, kind: Kind) -> Result<Self> {
        make(|output| tensor_softmax(self, dim, kind, output))
    }

    pub(crate) fn sub_scalar(&self, other: i64) -> Result<Self> {
        make(|output| tensor_sub_scalar(self, other, output))
    }

    /// The sum of all numbers, in `kind`.
    pub(crate) fn sum(&self, kind: Kind) -> Result<Self> {
        make(|output| tensor_sum(self, kind, output))
    }

    /// Itself, or a copy where it is on another device.
    pub(crate) fn to_device(&self, device: Device) -> Result<Self> {
        make(|output| tensor_to_device(self, gpu_index(device), output))
    }

    /// Itself, or its numbers converted to `kind`.
    pub(crate) fn to_kind(&self, kind: Kind) -> Result<Self> {
        make(|output| tensor_to_kind(self, kind, output))
    }

    pub(crate) fn transpose(&self, dim0: i64, dim1: i64) -> Result<Self> {
        make(|output| tensor_transpose(self, dim0, dim1, output))
    }

    /// A view with one more dimension, of size 1, at `dim`.
    pub(crate) fn unsqueeze(&self, dim: i64) -> Result<Self> {
        make(|output| tensor_unsqueeze(self, dim, output))
    }

    /// A view of another shape; -1 is what is left.
    pub(crate) fn view(&self, size: &[i64]) -> Result<Self> {
        make(|output| tensor_view(self, size.into(), output))
    }

    /// A view of its bytes as numbers of `kind`.
    pub(crate) fn view_dtype(&self, kind: Kind) -> Result<Self> {
        make(|output| tensor_view_dtype(self, kind, output))
    }

    /// 4-bit codes, two a byte, as [`Tensor::weight_int4pack_mm`] takes them.
    pub(crate) fn convert_weight_to_int4pack(codes: &Self, inner_k_tiles: i64) -> Result<Self> {
        make(|output| tensor_convert_weight_to_int4pack(codes, inner_k_tiles, output))
    }

    /// 4-bit codes, each in 32 bits, as [`Tensor::weight_int4pack_mm_for_cpu`] takes them: by the CPU's vectors.
    pub(crate) fn convert_weight_to_int4pack_for_cpu(codes: &Self) -> Result<Self> {
        make(|output| tensor_convert_weight_to_int4pack_for_cpu(codes, output))
    }

    /// On a GPU, the product of rows with packed 4-bit weights; `[groups, out, 2]` are scales and zeros.
    pub(crate) fn weight_int4pack_mm(
        &self,
        packed: &Self,
        group_size: i64,
        scales_and_zeros: &Self,
    ) -> Result<Self> {
        make(|output| tensor_weight_int4pack_mm(self, packed, group_size, scales_and_zeros, output))
    }

    /// On a CPU, the product of rows with packed 4-bit weights; `[groups, out, 2]` are scales and zeros.
    pub(crate) fn weight_int4pack_mm_for_cpu(
        &self,
        packed: &Self,
        group_size: i64,
        scales_and_zeros: &Self,
    ) -> Result<Self> {
        make(|output| tensor_weight_int4pack_mm_for_cpu(self, packed, group_size, scales_and_zeros, output))
    }

    /// The product of rows with 8-bit weights, `[out, in]`, and the scale of each channel.
    pub(crate) fn weight_int8pack_mm(&self, weight: &Self, scales: &Self) -> Result<Self> {
        make(|output| tensor_weight_int8pack_mm(self, weight, scales, output))
    }

    /// Numbers of `input` where `condition` holds, `other` elsewhere.
    pub(crate) fn where_scalar_other(condition: &Self, input: &Self, other: f64) -> Result<Self> {
        make(|output| tensor_where_scalar_other(condition, input, other, output))
    }
}
