//! The process that tokenizes, on the inputs of the target `tokenizer`.

use std::path::Path;
use std::time::Duration;

use fuzz::tokenizer::{PROMPT, TARGET, write};
use fuzz::{BoundedAllocator, Corpus, check, folder};
use proptest::prelude::*;
use tokenizer::GiveUp;
use tokenizer_worker::CheckedFiles;

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

/// Runs before `main`: where a test has started this program to tokenize, it does that instead of testing.
#[used]
#[unsafe(link_section = ".init_array")]
static TOKENIZE_IF_ASKED: extern "C" fn() = {
    #[expect(clippy::exit, reason = "`main` would run the tests")]
    extern "C" fn tokenize_if_asked() {
        if tokenizer_worker::answer_if_asked().is_some() {
            std::process::exit(0);
        }
    }
    tokenize_if_asked
};

const THIS_PROGRAM: &str = "/proc/self/exe";

#[test]
fn the_samples_are_tokenizers() {
    let dir = folder();
    let never = GiveUp { after: Duration::MAX, when: || false };
    for input in (TARGET.samples)() {
        TARGET.run_bounded(&input).unwrap();
        write(dir.path(), &input);
        CheckedFiles::read(dir.path()).unwrap();
        let prompt = tokenizer::encode(Path::new(THIS_PROGRAM), dir.path(), PROMPT, never).unwrap();
        assert!(prompt.ids.len() > 1, "{}", String::from_utf8_lossy(&input));
        tokenizer::decode(Path::new(THIS_PROGRAM), dir.path(), &[prompt.ids], never).unwrap();
    }
}

/// However the process ends, the answer is one, or an error that names a file, the prompt or what was decoded. Each case
/// starts a process, some two.
#[test]
fn any_file_is_tokenized_or_refused() {
    let dir = folder();
    let soon = GiveUp { after: Duration::from_secs(1), when: || false };
    let place = dir.path().display().to_string();
    check(40, Corpus::new((TARGET.samples)(), TARGET.words).inputs(), |input| {
        write(dir.path(), &input.0);
        let rows = [vec![1, 3, u32::MAX], vec![]];
        let texts = tokenizer::encode(Path::new(THIS_PROGRAM), dir.path(), PROMPT, soon)
            .and_then(|_| tokenizer::decode(Path::new(THIS_PROGRAM), dir.path(), &rows, soon));
        match texts.map_err(|error| format!("{error:#}")) {
            Ok(texts) => prop_assert_eq!(texts.len(), rows.len()),
            Err(error) => {
                let has_place = ["--prompt: ", "decoding: ", &place].iter().any(|at| error.starts_with(at));
                prop_assert!(has_place && !error.contains("panicked"), "{}", error);
            }
        }
        Ok(())
    });
}
