//! The heading of a table that follows another below the same one.

/// The heading of the table above, as long as nothing behind it looks like another.
#[derive(Default)]
pub(super) struct HeadingAbove(String);

/// Words of headings.
const WORDS: [&str; 16] = [
    "llama", "cuda", "cpu", "gpu", "fp32", "fp16", "bf16", "fp8", "int8", "int4", "nf4", "awq", "gptq",
    "<summary", "<h", "**",
];

impl HeadingAbove {
    /// Takes the heading of a table.
    pub(super) fn new(heading: &str) -> Self {
        Self(heading.to_owned())
    }

    /// Takes the text behind that table.
    pub(super) fn push(&mut self, text: &str) {
        if text.lines().any(looks_like_heading) {
            self.0.clear();
        }
    }

    /// The heading for a table that has none of its own; empty where there is none.
    pub(super) fn heading(&self) -> &str {
        &self.0
    }
}

/// Whether a line names a model, a precision or a device, or is shown like a heading.
fn looks_like_heading(line: &str) -> bool {
    let lower = line.to_lowercase();
    // `7B`, `1.1B`, `A100`, `4090`
    let is_model_or_device = |word: &str| {
        let size = word.strip_suffix(['b', 'm']).unwrap_or("");
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let digits = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let letters = word.len() - digits.len();
        let is_device = (1..=2).contains(&letters)
            && digits.len() > 1
            && digits.starts_with(|c: char| c.is_ascii_digit());
        is_size || is_device
    };
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '.');
    lower.trim_start().starts_with('#')
        || WORDS.iter().any(|word| lower.contains(word))
        || words.any(|word| is_model_or_device(word.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_another_model_or_device_ends_a_heading() {
        for (text, is_kept) in [
            ("", true),
            ("\nAnd 4 sequences:\n\n", true),
            ("Prompts of 1024 tokens, in ms.\n", true),
            ("And of 13B:\n", false),
            ("The same on an H100.\n", false),
            ("With INT4 weights:\n", false),
            ("**More**\n", false),
            ("<summary>More</summary>\n", false),
        ] {
            let mut above = HeadingAbove::new("a");
            above.push(text);
            assert_eq!(above.heading(), if is_kept { "a" } else { "" }, "{text}");
        }
    }
}
