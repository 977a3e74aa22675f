//! Samples, and the inputs that are made of them.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::edit::{Edit, Material, edits};

/// An input: bytes that look like text.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Vec<u8>);

impl Input {
    /// The input as text; what is no UTF-8 becomes replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Valid samples of what a target reads, and words of its language.
pub struct Corpus {
    material: Material,
}

impl Corpus {
    /// Makes a corpus of these samples; `own_words`, with spaces between them, replace words of theirs.
    pub fn new<S: Into<Vec<u8>>>(samples: impl IntoIterator<Item = S>, own_words: &str) -> Self {
        Self { material: Material::new(samples.into_iter().map(Into::into).collect(), own_words) }
    }

    /// Mostly edited samples; words without an order, and noise.
    pub fn inputs(self) -> impl Strategy<Value = Input> {
        let vocabulary = self.material.words.clone();
        let few = prop::collection::vec(edits(), 0..3);
        let many = prop::collection::vec(edits(), 3..9);
        let edited = (any::<Index>(), prop_oneof![3 => few, 1 => many])
            .prop_map(move |(sample, edits)| edited(&self.material, sample, edits));
        let soup =
            prop::collection::vec(select(vocabulary), 0..12).prop_map(|words| words.concat().into_bytes());
        let noise = prop::collection::vec(any::<u8>(), 0..200);
        prop_oneof![14 => edited, 1 => soup, 1 => noise].prop_map(Input)
    }
}

fn edited(material: &Material, sample: Index, edits: Vec<Edit>) -> Vec<u8> {
    let mut text = sample.get(&material.samples).clone();
    for edit in edits {
        edit.apply(&mut text, material);
    }
    text
}
