//! Every input of the kept corpus, and edited ones, on every target.

use std::panic::catch_unwind;

use fuzz::{BoundedAllocator, Corpus, FuzzTarget, check, repository};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

/// Runs the samples and the corpus of `target`, then `cases` inputs that are made of them.
fn run(target: &FuzzTarget, cases: u32) {
    let kept = target.kept();
    let mut samples = (target.samples)();
    for sample in &samples {
        target.run_bounded(sample).unwrap();
    }
    let mut failed = Vec::new();
    for (path, input) in &kept {
        match catch_unwind(|| target.run_bounded(input)) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failed.push(format!("{}: {failure}", path.display())),
            Err(_) => failed.push(format!("{}: it panicked, see above", path.display())),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    samples.extend(kept.into_iter().map(|(_, input)| input));
    check(cases, Corpus::new(samples, target.words).inputs(), |input| (target.run)(&input.0));
}

macro_rules! targets {
    ($($name:ident: $cases:literal,)*) => {
        /// Every target.
        const TARGETS: &[&FuzzTarget] = &[$(&fuzz::$name::TARGET),*];

        $(#[test]
        fn $name() {
            run(&fuzz::$name::TARGET, $cases);
        })*
    };
}

targets! {
    checkpoint: 1400,
    config: 2000,
    history: 1000,
    page: 400,
    published: 2100,
    records: 2000,
    reply: 3000,
    sweep: 3000,
    tokenizer: 1000,
    words: 2000,
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let programs = std::fs::read_dir(repository("crates/fuzz/fuzz_targets")).unwrap();
    let mut programs: Vec<_> =
        programs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    programs.sort();
    let names: Vec<_> = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    assert_eq!(programs, names);
    let manifest = fuzz::sample("crates/fuzz/Cargo.toml");
    for target in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{}.rs\"", target.name)), "{target:?}");
        assert!(!target.kept().is_empty(), "{target:?}");
    }
}
