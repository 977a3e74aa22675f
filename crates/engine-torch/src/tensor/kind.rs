//! Types of numbers.

use std::ffi::c_int;

use crate::error::{Result, TorchError};

/// The type of a tensor's numbers: those of `at::ScalarType` that the engines use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) enum Kind {
    UInt8 = 0,
    Int8 = 1,
    Int32 = 3,
    Int64 = 4,
    Half = 5,
    Float = 6,
    Double = 7,
    Bool = 11,
    BFloat16 = 15,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::UInt8,
        Self::Int8,
        Self::Int32,
        Self::Int64,
        Self::Half,
        Self::Float,
        Self::Double,
        Self::Bool,
        Self::BFloat16,
    ];

    /// The kind with this number in `c10/core/ScalarType.h`.
    pub(crate) fn from_scalar_type(number: c_int) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|&kind| kind as c_int == number);
        found.ok_or_else(|| TorchError::new(&format!("unknown kind: {number}")))
    }
}

/// A type of Rust whose values are numbers of a kind.
///
/// # Safety
/// The numbers of [`Element::KIND`] must have this type's size, and all their bytes must be values of it.
pub(crate) unsafe trait Element: Copy + Default {
    const KIND: Kind;
}

// SAFETY: 8 bits, any of which is a number.
unsafe impl Element for u8 {
    const KIND: Kind = Kind::UInt8;
}

// SAFETY: 8 bits, any of which is a number.
unsafe impl Element for i8 {
    const KIND: Kind = Kind::Int8;
}

// SAFETY: 32 bits, any of which is a number.
unsafe impl Element for i32 {
    const KIND: Kind = Kind::Int32;
}

// SAFETY: 64 bits, any of which is a number.
unsafe impl Element for i64 {
    const KIND: Kind = Kind::Int64;
}

// SAFETY: 32 bits, any of which is a number.
unsafe impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

// SAFETY: 64 bits, any of which is a number.
#[cfg(test)]
unsafe impl Element for f64 {
    const KIND: Kind = Kind::Double;
}
