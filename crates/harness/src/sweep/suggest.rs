//! Suggestions for a word that was probably mistyped.

/// The known word that `word` was probably meant to be: equal but for case, or a few letters away.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).min(3);
    // A much longer word is no misspelling of a short one.
    let near = known.iter().filter(|known| word.len() < 2 * known.len());
    let near = near.map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), *known));
    near.filter(|(edits, _)| *edits <= most).min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

/// What to write instead of the unknown `word`: `did you mean NEAREST?`, or `expected one of …`.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_has_a_suggestion() {
        let engines = ["onnxruntime", "pytorch-eager", "pytorch-compile", "mock"];
        assert_eq!(nearest("onnxruntme", &engines), Some("onnxruntime"));
        assert_eq!(nearest("pytorch-eagre", &engines), Some("pytorch-eager"));
        assert_eq!(nearest("Mock", &engines), Some("mock"));
        assert_eq!(nearest("llama2-7B", &["llama2-15m", "llama2-7b", "llama2-70b"]), Some("llama2-7b"));
        assert_eq!(nearest("vllm", &engines), None);
        assert_eq!(suggestion("onnx", &engines), format!("expected one of {}", engines.join(", ")));
    }
}
