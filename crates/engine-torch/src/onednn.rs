//! Linear layers by oneDNN, on a CPU, and by loops of our own for a single row: safe wrappers of `shim/onednn.cpp`.

use std::ffi::c_char;
use std::ptr::null_mut;

use tch::Tensor;

use crate::error::Result;
use crate::shim::{CTensor, check};

unsafe extern "C" {
    fn onednn_pack(weight: *const CTensor, rows: i64) -> *mut c_char;
    fn onednn_all_in_panels() -> bool;
    fn onednn_forget(weight: *const CTensor);
    fn onednn_linear(input: *const CTensor, weight: *const CTensor, output: *mut *mut CTensor)
    -> *mut c_char;
}

/// The fewest rows from which oneDNN always wants one layout: that of a prompt.
const SEVERAL: i64 = 256;

/// The weight of a linear layer without a bias, `[out, in]`, and a copy of it that is laid out as oneDNN multiplies several rows
/// fastest. A single row is multiplied by `shim/panels.cpp` with the copy, too, or where that is laid out otherwise by
/// `shim/single_row.cpp` with the weight itself; in FP16 by oneDNN.
pub(crate) struct PackedWeight(Tensor);

impl PackedWeight {
    pub(crate) fn new(weight: Tensor) -> Result<Self> {
        // SAFETY: the weight is alive, and is until `drop` has its copy forgotten.
        unsafe { check(onednn_pack(weight.as_ptr().cast(), SEVERAL))? };
        Ok(Self(weight))
    }

    /// `input` `[…, in]` times the weight's transpose.
    pub(crate) fn linear(&self, input: &Tensor) -> Result<Tensor> {
        let mut output = null_mut();
        // SAFETY: both tensors are alive and borrowed for the duration of the call; a null error means that `output` is a new
        // tensor.
        unsafe {
            check(onednn_linear(input.as_ptr().cast(), self.0.as_ptr().cast(), &raw mut output))?;
            Ok(Tensor::from_ptr(output.cast()))
        }
    }
}

/// The note about the weights that are packed now.
pub(crate) fn note() -> String {
    // SAFETY: nothing is asked of the caller.
    let of_single_row = match unsafe { onednn_all_in_panels() } {
        true => "a single row's by a loop over the same",
        false => "a single row's, but in FP16, by a loop over the weights as they are stored",
    };
    format!("linear layers by oneDNN, on weights laid out anew; {of_single_row}")
}

impl Drop for PackedWeight {
    fn drop(&mut self) {
        // SAFETY: the weight is alive.
        unsafe { onednn_forget(self.0.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tch::{Device, Kind};

    use super::*;

    /// Sizes that are and are not multiples of what registers and panels hold, and of the rows that are read side by side.
    #[test]
    fn a_single_row_is_multiplied_as_several_are() {
        for (outputs, inputs) in
            [(1, 1), (7, 15), (8, 16), (9, 33), (17, 31), (64, 288), (288, 65), (2048, 100)]
        {
            for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 1e-2)] {
                let random = |sizes: &[i64]| Tensor::randn(sizes, (Kind::Float, Device::Cpu)).to_kind(kind);
                let (weight, input) = (random(&[outputs, inputs]), random(&[1, 1, inputs]));
                let exact =
                    input.to_kind(Kind::Double).linear(&weight.to_kind(Kind::Double), None::<&Tensor>);
                let found = PackedWeight::new(weight).unwrap().linear(&input).unwrap();
                assert_eq!((found.size(), found.kind()), (vec![1, 1, outputs], kind));
                let error = (found.to_kind(Kind::Double) - &exact).abs().max().double_value(&[]);
                let size = exact.abs().max().double_value(&[]).max(1.0);
                assert!(error < tolerance * size, "{outputs}×{inputs} {kind:?}: {error:e} of {size}");
            }
        }
    }

    /// A layout that is not recognised costs a second copy, and a third of a decode. In a process of its own: the note is of all
    /// weights that are packed.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn with_avx512_a_single_row_is_multiplied_with_the_copy() {
        let name = "onednn::tests::with_avx512_every_layout_is_recognised";
        let mut test = Command::new(std::env::current_exe().unwrap());
        let done = test.args(["--exact", name, "--ignored"]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "the test above runs it, alone"]
    #[cfg(target_arch = "x86_64")]
    fn with_avx512_every_layout_is_recognised() {
        let has_avx512 = crate::runtime::cpu_capability() == "AVX512";
        let has_pairs = has_avx512 && is_x86_feature_detected!("avx512bf16");
        let kinds = [(Kind::Float, has_avx512), (Kind::BFloat16, has_pairs)];
        for (kind, _) in kinds.into_iter().filter(|(_, has_instructions)| *has_instructions) {
            for (outputs, inputs) in [(288, 288), (32000, 288), (256, 2048), (768, 288)] {
                let weight = Tensor::randn([outputs, inputs], (Kind::Float, Device::Cpu)).to_kind(kind);
                let packed = PackedWeight::new(weight).unwrap();
                assert!(note().ends_with("a loop over the same"), "{outputs}×{inputs} {kind:?}");
                drop(packed);
            }
        }
    }

    /// The loops for processors with fewer instructions, each in a process of its own: libtorch asks once.
    #[test]
    fn a_single_row_is_multiplied_with_fewer_instructions() {
        for instructions in ["avx2", "default"] {
            let mut test = Command::new(std::env::current_exe().unwrap());
            test.args(["--exact", "onednn::tests::a_single_row_is_multiplied_as_several_are"]);
            let done = test.env("ATEN_CPU_CAPABILITY", instructions).output().unwrap();
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && said.contains("1 passed"), "{instructions}: {said}");
        }
    }

    #[test]
    fn a_weight_is_laid_out_once_until_it_is_dropped() {
        let weight = Tensor::ones([4, 8], (Kind::Float, Device::Cpu));
        let packed = PackedWeight::new(weight.shallow_clone()).unwrap();
        let error = PackedWeight::new(weight.shallow_clone()).err().unwrap().to_string();
        assert!(error.contains("a weight is laid out once"), "{error}");
        drop(packed);
        PackedWeight::new(weight).unwrap();
    }
}
