//! Linear layers by oneDNN, on a CPU, and by loops of our own for a single row: safe wrappers of `shim/onednn.cpp`.

use crate::error::{CText, Result, check};
use crate::tensor::{CTensor, Tensor, make};

// SAFETY: the signatures are those of shim/onednn.cpp. References are to what lives through the call.
unsafe extern "C" {
    fn onednn_pack(weight: &CTensor, rows: i64) -> Option<CText>;
    safe fn onednn_all_in_panels() -> bool;
    safe fn onednn_forget(weight: &CTensor);
    safe fn onednn_linear(input: &CTensor, weight: &CTensor, output: &mut Option<Tensor>) -> Option<CText>;
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
        check(unsafe { onednn_pack(&weight, SEVERAL) })?;
        Ok(Self(weight))
    }

    /// `input` `[…, in]` times the weight's transpose.
    pub(crate) fn linear(&self, input: &Tensor) -> Result<Tensor> {
        make(|output| onednn_linear(input, &self.0, output))
    }
}

/// The note about the weights that are packed now.
pub(crate) fn note() -> String {
    let of_single_row = match onednn_all_in_panels() {
        true => "a single row's by a loop over the same",
        false => "a single row's, but in FP16, by a loop over the weights as they are stored",
    };
    format!("linear layers by oneDNN, on weights laid out anew; {of_single_row}")
}

impl Drop for PackedWeight {
    fn drop(&mut self) {
        onednn_forget(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use protocol::Device;

    use super::*;
    use crate::tensor::Kind;

    fn random(sizes: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(sizes, (Kind::Float, Device::Cpu)).unwrap().to_kind(kind).unwrap()
    }

    fn doubles(tensor: &Tensor) -> Vec<f64> {
        tensor.to_kind(Kind::Double).unwrap().to_vec().unwrap()
    }

    /// Sizes that are and are not multiples of what registers and panels hold, and of the rows that are read side by side.
    #[test]
    fn a_single_row_is_multiplied_as_several_are() {
        for (outputs, inputs) in
            [(1, 1), (7, 15), (8, 16), (9, 33), (17, 31), (64, 288), (288, 65), (2048, 100)]
        {
            for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 1e-2)] {
                let (weight, input) = (random(&[outputs, inputs], kind), random(&[1, 1, inputs], kind));
                let [exact_weight, exact_input] =
                    [&weight, &input].map(|tensor| tensor.to_kind(Kind::Double).unwrap());
                let exact = doubles(&exact_input.linear(&exact_weight).unwrap());
                let found = PackedWeight::new(weight).unwrap().linear(&input).unwrap();
                assert_eq!((found.sizes().unwrap(), found.kind().unwrap()), ([1, 1, outputs], kind));
                let errors =
                    doubles(&found).into_iter().zip(&exact).map(|(found, exact)| (found - exact).abs());
                let error = errors.fold(0.0, f64::max);
                let size = exact.iter().fold(1.0, |size: f64, number| size.max(number.abs()));
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
                let packed = PackedWeight::new(random(&[outputs, inputs], kind)).unwrap();
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
        let weight = random(&[4, 8], Kind::Float);
        let packed = PackedWeight::new(weight.shallow_clone()).unwrap();
        let error = PackedWeight::new(weight.shallow_clone()).err().unwrap().to_string();
        assert!(error.contains("a weight is laid out once"), "{error}");
        drop(packed);
        PackedWeight::new(weight).unwrap();
    }
}
