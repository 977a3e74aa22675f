//! `device_memory_limit`: how much of a GPU's memory an engine may use; and what `--list` says fits into it.

mod common;

use std::collections::BTreeSet;

use common::{MOCK, Place, worker};
use predicates::str::contains;
use protocol::{CellSize, FailureKind};
use results::PublishedFile;

/// 60 MB of weights (FP32) beside what positions take: 1 MB each.
const ON_GPU: &str = "device = \"cuda:0\"\ndevice_memory_limit = \"180MB\"\n";

fn engines(place: &Place) {
    let mock = worker("llama2-bench-mock");
    // A worker that has never heard of such a limit.
    let hello = r#"{"reply":"hello","protocol":1,"engine":"old","libraries":[],"devices":[]}"#;
    place.write("old.sh", &format!("echo '{hello}'\nread line\n"));
    let script = place.path("old.sh");
    place.write(
        "engines.toml",
        &format!("[mock]\ncommand = [{mock:?}, \"--gpu\"]\n[old]\ncommand = [\"/bin/sh\", {script:?}]\n"),
    );
}

#[test]
fn cells_beyond_it_are_out_of_memory_and_the_next_ones_are_measured() {
    let place = Place::new();
    engines(&place);
    let sweep = format!(
        "{ON_GPU}{}\n[options.mock]\nbytes_per_position = 1000000\n",
        MOCK.replace("generation_length = 256", "generation_length = 4").replace("[1, 4]", "[4, 1]")
    );
    let (code, table) = place.run(&sweep, &["--engines-file", "engines.toml"]);
    assert_eq!(code, 0, "{table}");
    let records = place.records();
    let ends: Vec<_> = records
        .iter()
        .map(|record| (record.key.batch_size, record.key.prompt_length, record.failure_kind()))
        .collect();
    let (ok, out_of_memory) = (None, Some(FailureKind::OutOfMemory));
    assert_eq!(
        ends,
        [
            (4, 16, ok),
            (4, 64, out_of_memory),
            (4, 256, out_of_memory),
            (1, 16, ok),
            (1, 64, ok),
            (1, 256, out_of_memory)
        ]
    );
    assert!(records.iter().all(|record| record.device_memory_limit_bytes == Some(180_000_000)));
    assert!(table.contains("- device memory limited to 180 MB\n"), "{table}");

    // It is a setting like others: another one is another run, and a difference that is told.
    let other = ["run", "--resume", "run", "--engines-file", "engines.toml", "--device-memory-limit", "1GB"];
    let what = "device_memory_limit: \"180000000B\", here \"1000000000B\"";
    place.bench(&other).assert().code(2).stderr(contains(what));
    place.write("wide.toml", &sweep.replace("180MB", "1GB"));
    place.bench(&["run", "wide.toml", "--out", "wide", "--engines-file", "engines.toml"]).assert().success();
    place.bench(&["compare", "run", "wide"]).assert().stdout(contains("device_memory_limit"));
}

#[test]
fn a_model_beyond_it_is_out_of_memory_when_it_is_loaded() {
    let place = Place::new();
    engines(&place);
    let sweep = format!("{}{MOCK}", ON_GPU.replace("180MB", "10MB"));
    let (code, _) = place.run(&sweep, &["--engines-file", "engines.toml", "--batch-size", "1"]);
    assert_eq!(code, 0);
    let records = place.records();
    let is_out = |record: &protocol::Measurement| {
        (record.failure_kind(), record.failure().and_then(|failure| failure.phase))
            == (Some(FailureKind::OutOfMemory), Some(protocol::Phase::Load))
    };
    assert!(records.len() == 3 && records.iter().all(is_out), "{records:?}");
}

#[test]
fn it_is_refused_in_a_line_where_nothing_would_heed_it() {
    let place = Place::new();
    engines(&place);
    place.write("sweep.toml", &format!("{ON_GPU}{MOCK}"));
    let refused = |arguments: &[&str], what: &str| {
        let arguments = [&["run", "sweep.toml", "--engines-file", "engines.toml"], arguments].concat();
        place.bench(&arguments).assert().code(2).stderr(format!("error: {what}\n"));
    };
    refused(
        &["--device", "cpu"],
        "sweep.toml:2: device_memory_limit: device cpu has no memory of its own: use memory_limit",
    );
    refused(&["--engine", "old"], "sweep.toml:2: device_memory_limit: old can't limit device memory");
    refused(
        &["--engine", "old", "--device-memory-limit", "1GiB"],
        "--device-memory-limit: old can't limit device memory",
    );
    refused(
        &["--device-memory-limit", "most"],
        "--device-memory-limit: expected a size such as \"2GiB\" or \"512MiB\", found \"most\"",
    );
    assert!(!place.path("runs").exists());
}

/// What an A100 of 80 GB leaves to a process.
const A100: &str = "79.15GiB";

#[test]
fn of_the_published_cells_exactly_those_that_ran_out_of_memory_do_not_fit_into_an_a100() {
    let place = Place::new();
    let loop_of_published = "attention = \"eager\"\nlogits = \"all\"\nkeep_outputs = true\n";
    place.write(
        "sweep.toml",
        &format!(
            "models = [\"llama2-7b\", \"llama2-13b\"]\nengines = [\"onnxruntime\", \"pytorch-eager\", \"pytorch-compile\"]\n\
             batch_sizes = [1, 4, 16]\nprompt_lengths = [16, 64, 256, 1024, 2048, 3840]\ndevice = \"cuda:0\"\nprecision = \"fp16\"\n\
             [options.pytorch-eager]\n{loop_of_published}[options.pytorch-compile]\n{loop_of_published}"
        ),
    );
    let list = |limit: &str| {
        let assert =
            place.bench(&["run", "sweep.toml", "--list", "--device-memory-limit", limit]).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let listed = |text: &str, mark: &str| -> BTreeSet<String> {
        let marked = text.lines().filter(|line| line.contains(mark));
        marked.map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ")).collect()
    };
    let text = list(A100);
    let (fit, too_large) = (listed(&text, "  fits"), listed(&text, "  does not fit"));
    let (mut checked, mut out_of_memory) = (0, BTreeSet::new());
    for table in PublishedFile::built_in().tables() {
        let heading = table.heading.unwrap();
        for row in table.rows.iter().filter(|_| heading.count == 1) {
            let CellSize { batch_size, prompt_length } = row.size;
            let cell = format!("{} {} {batch_size} {prompt_length}", heading.model, row.engine);
            let is_out = row.ended() == Some(FailureKind::OutOfMemory);
            assert_eq!((too_large.contains(&cell), fit.contains(&cell)), (is_out, !is_out), "{cell}");
            checked += 1;
            if is_out {
                out_of_memory.insert(cell);
            }
        }
    }
    assert_eq!((checked, out_of_memory.len()), (90, 6));
    assert_eq!(listed(&text, "(published: OOM)"), out_of_memory);
    assert!(text.contains(
        "device memory: 79.15 GiB (device_memory_limit); a cell fits if its total plus 20 % (allocator overhead) is within this\n"
    ));
    // An H200 has room for the two at 68 and 69 GiB, not for the third.
    assert_eq!(out_of_memory.intersection(&listed(&list("140.4GiB"), "  does not fit")).count(), 2);
    // As the engines compute by default nothing of it runs out.
    place.write(
        "sweep.toml",
        &std::fs::read_to_string(place.path("sweep.toml")).unwrap().replace("= true", "= false"),
    );
    let without = listed(&list(A100), "  does not fit");
    assert!(!without.contains("llama2-7b pytorch-eager 16 2048"), "{without:?}");
}
