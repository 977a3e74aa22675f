//! Documents, names and answers that no honest file or worker has: each is one error that says where, in bounded memory.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{MOCK, Place, bound_memory, worker};

/// The memory of each process of a test, in bytes: less than a 64 MiB document of JSON or TOML values takes.
const MEMORY: u64 = 700 << 20;

/// The one error of the program with these arguments.
fn error(place: &Place, arguments: &[&str]) -> String {
    let mut command = Command::new(worker("llama2-bench"));
    command.args(arguments).current_dir(place.path(""));
    bound_memory(&mut command, MEMORY);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.len() < 2000, "{stderr}");
    stderr
}

/// A place with the model `m`.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("m")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mha");
        fs::copy(fixture.join(name), place.path("m").join(name)).unwrap();
    }
    place.write(
        "sweep.toml",
        &MOCK.replace("llama2-15m", "m").replace("generation_length = 256", "generation_length = 2"),
    );
    place
}

#[test]
fn checkpoint_files_are_bounded() {
    let place = place();
    let list = ["run", "sweep.toml", "--list"];
    let numbers = |bytes: usize| format!("[{}0]", "0,".repeat(bytes / 2));
    let write = |name: &str, text: &[u8]| fs::write(place.path("m").join(name), text).unwrap();

    let config = fs::read_to_string(place.path("m/config.json")).unwrap();
    write("config.json", config.replacen('{', &format!("{{\"x\": {},", numbers(1 << 20)), 1).as_bytes());
    assert!(error(&place, &list).contains("m/config.json: more than 1048576 bytes"));
    write("config.json", config.as_bytes());

    let mut header = (9u64 << 20).to_le_bytes().to_vec();
    header.extend(format!("{{\"__metadata__\":{}}}", numbers(9 << 20)).bytes());
    write("model.safetensors", &header);
    let said = error(&place, &list);
    assert!(
        said.contains("model.safetensors: not a whole safetensors file: a header of 9437184 bytes"),
        "{said}"
    );

    fs::remove_file(place.path("m/model.safetensors")).unwrap();
    write("model.safetensors.index.json", numbers(9 << 20).as_bytes());
    let said = error(&place, &list);
    assert!(said.contains("m/model.safetensors.index.json: more than 8388608 bytes"), "{said}");
}

#[test]
fn settings_are_bounded() {
    let place = place();
    let many = "a = 1\n".repeat(1 << 20);
    place.write("many.toml", &many);
    for arguments in [
        &["run", "many.toml", "--list"][..],
        &["run", "sweep.toml", "--list", "--engines-file", "many.toml"],
        &["audit", "llama2-a100", "--hardware", "many.toml"],
    ] {
        assert_eq!(error(&place, arguments), "error: many.toml: more than 4194304 bytes\n");
    }
    let engine = "e".repeat(256);
    place.write("engines.toml", &format!("{engine} = {{ command = [\"a\"] }}\n"));
    let said = error(&place, &["run", "sweep.toml", "--list", "--engines-file", "engines.toml"]);
    assert!(said.ends_with("eee…: expected a name of at most 255 bytes\n"), "{said}");
    let deep = 100_000;
    for text in [
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}", "{a=".repeat(deep), "}".repeat(deep)),
    ] {
        place.write("deep.toml", &text);
        assert!(error(&place, &["run", "deep.toml", "--list"]).contains("deep.toml:1: "));
    }
}

#[test]
fn names_and_tables_are_bounded() {
    let place = Place::new();
    let table = |heading: &str, engine: &str| {
        format!(
            "## {heading} FP16 CUDA (1 A100 80GB)\n\n| Engine | Batch Size | Prompt Length | Prompt Latency (ms) |\n|---|---|---|---|\n\
             | {engine} | 1 | 16 | 2.5 |\n\n"
        )
    };
    place.write("good.md", &table("m", "a"));
    place.bench(&["compare", "good.md", "good.md"]).assert().success();
    for (text, said) in [
        (
            table("m", &"a".repeat(10 << 20)),
            "bad.md:5: engine: expected a name of at most 255 bytes, found 10485760",
        ),
        (
            table(&"m".repeat(10 << 20), "a"),
            "bad.md:3: heading: expected a name of at most 1000 bytes, found 10485784",
        ),
        (
            table("m", "a").repeat(1001),
            "bad.md: expected at most 1000 tables in a file, found 1001: split it",
        ),
        (
            table("m", "a").trim_end().to_owned() + &"\n| a | 1 | 16 | 2.5 |".repeat(100_000),
            "bad.md: expected at most 100000 rows in a file, found 100001: split it",
        ),
    ] {
        place.write("bad.md", &text);
        for arguments in [&["compare", "good.md", "bad.md"][..], &["audit", "bad.md"], &["table", "bad.md"]] {
            assert_eq!(error(&place, arguments), format!("error: {said}\n"));
        }
    }
}

/// A worker that says more than one has to say has failed.
#[test]
fn worker_notes_are_bounded() {
    let place = Place::new();
    place.write(
        "worker.py",
        r#"import json, sys
def say(**reply): print(json.dumps(reply), flush=True)
say(reply="hello", protocol=1, engine="noisy", libraries=[], devices=[{"device": "cpu", "unusable": None}])
sys.stdin.readline()
say(reply="loaded", weights_bytes=1, notes=[str(n) for n in range(90000)])
sys.stdin.readline()
"#,
    );
    place.write("engines.toml", "[noisy]\ncommand = [\"python3\", \"./worker.py\"]\n");
    let sweep =
        MOCK.replace("\"mock\"", "\"noisy\"").replace("[1, 4]", "[1]").replace("[16, 64, 256]", "[16]");
    let more = ["--no-verify", "--no-peaks", "--engines-file", "engines.toml"];
    assert_eq!(place.run(&sweep, &more).0, 1);
    let failure = place.records()[0].failure().unwrap().error.clone();
    assert!(failure.contains("90000 notes, expected at most 100"), "{failure}");
}
