//! `scripts/side-by-side`: engines that are loaded at once and take turns.

mod common;

use std::process::{Command, Output};

use common::{Place, worker};

const ENGINES: &str = r#"
quick = { command = ["llama2-bench-mock"] }
slow = { command = ["llama2-bench-mock"], options = { slowdown = 2.0 } }
"#;

fn side_by_side(place: &Place, engines: &[&str]) -> Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut command = Command::new(format!("{root}/scripts/side-by-side"));
    let options = "--engines-file engines.toml --rounds 3 --prompt-length 4 --out turns.jsonl";
    command.args(options.split(' '));
    command.args(["--model", &format!("{root}/fixtures/tiny-mha"), "--programs"]);
    command.arg(worker("llama2-bench-mock").parent().unwrap()).args(engines);
    command.current_dir(place.path("")).output().unwrap()
}

#[test]
fn an_engine_is_as_many_times_as_fast_as_its_latencies_say() {
    let place = Place::new();
    place.write("engines.toml", ENGINES);
    let output = side_by_side(&place, &["quick", "slow"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("- tokens: the same from all\n"), "{printed}");
    assert!(printed.contains("| slow | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) |\n"), "{printed}");
    assert_eq!(std::fs::read_to_string(place.path("turns.jsonl")).unwrap().lines().count(), 6);
}

#[test]
fn an_engine_that_is_not_there_is_one_line() {
    let place = Place::new();
    place.write("engines.toml", ENGINES);
    let output = side_by_side(&place, &["quick", "quicker"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(told, "error: engines.toml has no engine quicker: it has quick, slow\n");
}
