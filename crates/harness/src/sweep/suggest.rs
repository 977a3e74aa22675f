//! Suggestions for a word that was probably mistyped.

/// The known word that `word` was probably meant to be: equal but for case, or a few letters away. Of several as near, one that begins with
/// `word`.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let most = (length / 4).clamp(usize::from(length >= 3), 3);
    // A much longer word is no misspelling of a short one.
    let near = known.iter().filter(|known| word.len() < 2 * known.len());
    let near = near.filter_map(|known| {
        let lower = known.to_lowercase();
        let edits = strsim::damerau_levenshtein(&word, &lower);
        let is_near = edits <= most && !has_another_number(&word, &lower);
        is_near.then(|| ((edits, !lower.starts_with(&word)), *known))
    });
    near.min_by_key(|(rank, _)| *rank).map(|(_, known)| known)
}

/// Whether the words name different things, such as `llama2-7b` and `llama3-8b`, or `a100` and `h100`: their digits differ, or a short part
/// that has some.
fn has_another_number(word: &str, known: &str) -> bool {
    let differ = |(a, b): (char, char)| a != b && a.is_ascii_digit() && b.is_ascii_digit();
    let has_digit = |part: &str| part.contains(|c: char| c.is_ascii_digit());
    word.chars().zip(known.chars()).any(differ)
        || word
            .split('-')
            .zip(known.split('-'))
            .any(|(a, b)| a != b && a.len() == b.len() && a.len() <= 4 && has_digit(a) && has_digit(b))
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
        let models = ["llama2-15m", "llama2-7b", "llama2-70b"];
        assert_eq!(nearest("llama2-70", &models), Some("llama2-70b"));
        assert_eq!(nearest("lama2-7b", &models), Some("llama2-7b"));
        assert_eq!(nearest("llama3-8b", &models), None);
        assert_eq!(nearest("llama2-h100", &["llama2-a100"]), None);
        assert_eq!(nearest("metal", &["model"]), None);
        assert_eq!(nearest("vllm", &engines), None);
        assert_eq!(suggestion("onnx", &engines), format!("expected one of {}", engines.join(", ")));
    }
}
