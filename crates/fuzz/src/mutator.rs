//! Edits as changes that libFuzzer makes.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::FuzzTarget;
use crate::edit::{Edit, Material, edits};

/// One change in so many begins with a sample, so that a corpus needs none.
const FROM_SAMPLE: u32 = 32;

/// Makes half of libFuzzer's changes.
pub struct Mutator {
    material: Material,
    edits: BoxedStrategy<(Index, Vec<Edit>)>,
}

impl fmt::Debug for Mutator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutator")
    }
}

impl Mutator {
    /// Takes the samples and the words of `target`.
    pub fn new(target: &FuzzTarget) -> Self {
        let edits = (any::<Index>(), prop::collection::vec(edits(), 1..4)).boxed();
        Self { material: Material::new((target.samples)(), target.words), edits }
    }

    /// Edits the first `size` bytes of `data` by what `seed` says, and returns how many bytes there are then, at most
    /// `max_size`; `None` where libFuzzer's own change is to be made.
    ///
    /// # Panics
    /// Where `data` is shorter than the sizes.
    pub fn mutate(&self, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
        if seed.is_multiple_of(2) {
            return None;
        }
        let mut random = [0; 32];
        random[..4].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &random);
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        let (sample, edits) = self.edits.new_tree(&mut runner).expect("nothing is filtered").current();
        let from_sample = (seed / 2).is_multiple_of(FROM_SAMPLE);
        let mut text =
            if from_sample { sample.get(&self.material.samples).clone() } else { data[..size].to_vec() };
        text.truncate(max_size);
        for edit in edits {
            let mut edited = text.clone();
            edit.apply(&mut edited, &self.material);
            if edited.len() <= max_size {
                text = edited;
            }
        }
        data[..text.len()].copy_from_slice(&text);
        Some(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_change_of_a_limited_size() {
        let mutator = Mutator::new(&crate::reply::TARGET);
        let mut changed = 0;
        for seed in 0..500 {
            let mut outcomes = Vec::new();
            for _ in 0..2 {
                let mut data = vec![b' '; 400];
                data[..9].copy_from_slice(br#"{"a":[1]}"#);
                outcomes.push(mutator.mutate(&mut data, 9, 300, seed).map(|size| data[..size].to_vec()));
            }
            assert_eq!(outcomes[0], outcomes[1]);
            assert_eq!(outcomes[0].is_none(), seed % 2 == 0);
            changed += usize::from(
                outcomes[0].as_ref().is_some_and(|text| text != br#"{"a":[1]}"# && text.len() <= 300),
            );
        }
        assert!(changed > 200, "{changed}");
    }
}
