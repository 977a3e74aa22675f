use std::collections::BTreeSet;

use super::*;

fn resolve(text: &str) -> Result<Sweep, String> {
    Sweep::settings(text, "a.toml", Path::new(""))
        .and_then(|settings| Sweep::resolve(&settings, &Engines::built_in()))
        .map_err(|error| error.to_string())
}

fn quick_with(line: &str) -> String {
    let key = line.split(['=', ' ']).next().unwrap();
    let kept = QUICK_SWEEP.lines().map(|old| if old.starts_with(key) { line } else { old });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_committed_sweep_resolves_and_reads_back_from_its_own_toml() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut count = 0;
    for entry in std::fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        let is_sweep = path.extension().is_some_and(|e| e == "toml");
        if !is_sweep
            || ["engines.toml", "peers.toml", "hardware.toml"].iter().any(|name| path.ends_with(name))
        {
            continue;
        }
        let peers = std::fs::read_to_string(path.with_file_name("peers.toml")).unwrap();
        let peers = Engines::parse(&peers, "peers.toml", Path::new("")).unwrap();
        let is_of_peers = path.file_stem().unwrap().to_str().unwrap().contains("peers");
        let engines = if is_of_peers { peers } else { Engines::built_in() };
        let resolve = |text: &str| {
            let settings = Sweep::settings(text, "a.toml", Path::new("")).unwrap();
            Sweep::resolve(&settings, &engines).unwrap()
        };
        let sweep = resolve(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(resolve(&sweep.to_toml()), sweep);
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn the_sweep_of_every_kept_run_is_written_as_it_was() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("sweep.toml") {
                // Their checkpoints and engines are not here.
                let text = std::fs::read_to_string(&path).unwrap().replace("/checkpoints/", "");
                let keys = Sweep::settings_of_run(&text, "a.toml", Path::new("")).unwrap();
                let of_rows = keys.rows.iter().flat_map(|rows| rows.value.iter().map(|row| &row.0));
                let names: BTreeSet<&String> =
                    keys.engines.iter().flat_map(|engines| &engines.value).chain(of_rows).collect();
                let engines: String =
                    names.iter().map(|name| format!("[{name}]\ncommand = [\"worker\"]\n")).collect();
                let engines = Engines::parse(&engines, "engines.toml", Path::new("")).unwrap();
                let mut written = Sweep::resolve(&keys, &engines).unwrap().to_toml();
                if !text.contains("\norder = ") {
                    written = written.replace("order = \"table\"\n", "");
                }
                // What is a peak today was called a ceiling then.
                assert_eq!(written, text.replace("ceilings = ", "peaks = "), "{}", path.display());
                count += 1;
            }
        }
    }
    assert_eq!(count, 30);
}

#[test]
fn every_key_is_kept() {
    let text = "batch_sizes = 4\nengines = [\"mock\", \"reference\"]\nmodels = \"llama2-15m\"\nprompt_lengths = [16, 8]
        generation_length = 9\ndevice = \"cuda:1\"\nprecision = \"bf16\"\nworld_size = 2\none_rank = true\nthreads = 3
        seed = 7\nmemory_limit = \"1.5GiB\"\ndevice_memory_limit = \"80GB\"\ntimeout_seconds = 60\nisolation = \"cell\"\norder = \"table\"
        peaks = \"cell\"\nprune_oom = true\ncool_down_seconds = 1\nthrottle_retries = 0\nlock_gpu_clocks = \"base\"
        phase_timeout_seconds = { load = 1.5, prompt = 2, decode = 3 }
        procedure = { warmup_runs = 0, prompt_runs = 8, generations = 2, until = \"1%\", min_runs = 3, replicates = 4 }
        options.mock = { noise = 0.25, script = { a = [1, [2.5, \"x\"], { b = true }] } }\n";
    let alone = [
        (
            "rows",
            text.replacen("batch_sizes = 4\nengines", "rows = [[\"mock\", 1, 16]]\n#", 1)
                .replace("prompt_lengths", "#"),
        ),
        ("collectives", text.replace("one_rank", "collectives")),
        ("hostfile", text.replace("one_rank = true", "hostfile = \"Cargo.toml\"").replace("lock_gpu", "#")),
    ];
    let mut kept = String::new();
    for text in alone.iter().map(|(_, text)| text.as_str()).chain([text]) {
        let sweep = resolve(text).unwrap();
        kept += &sweep.to_toml();
        assert_eq!(resolve(&sweep.to_toml()).unwrap(), sweep, "{}", sweep.to_toml());
    }
    for key in SweepKeys::keys() {
        let name = key.path.rsplit('.').next().unwrap().to_owned();
        assert!(kept.contains(&format!("\n{name} = ")) || kept.contains(&format!("[{name}")), "{}", key.path);
    }
}

#[test]
fn a_list_may_have_spaces_and_a_path_commas() {
    let flags = |path: &str, words: &[&str]| {
        let mut keys = SweepKeys::default();
        let words: Vec<String> = words.iter().map(|&word| word.into()).collect();
        keys.set_flag(path, "--flag", &words).map(|()| keys).map_err(|error| error.to_string())
    };
    let sizes = |words: &[&str]| flags("batch_sizes", words).map(|keys| keys.batch_sizes.unwrap().value);
    assert_eq!(sizes(&["1, 4 ,16"]), Ok(vec![1, 4, 16]));
    assert_eq!(sizes(&["1,4", "16"]), Ok(vec![1, 4, 16]));
    for (word, found) in [("1,,4", "[1, \"\", 4]"), ("1,x", "[1, \"x\"]"), ("4, 4", "[4, 4]")] {
        let what = format!("--flag: expected whole numbers from 1, each once, found {found}");
        assert_eq!(sizes(&[word]), Err(what));
    }
    let models = |word: &str| flags("models", &[word]).unwrap().models.unwrap().value;
    assert_eq!(models("/data/a,b"), ["/data/a,b"]);
    assert_eq!(models("./a, b"), ["./a, b"]);
    assert_eq!(models("llama2-15m, path/to/a,b"), ["llama2-15m", "path/to/a,b"]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("a")).unwrap();
    assert_eq!(models(&path("a,b")), [path("a"), "b".into()]);
    std::fs::create_dir(path("a,b")).unwrap();
    assert_eq!(models(&path("a,b")), [path("a,b")]);
    assert_eq!(models(&format!("{}, llama2-15m", path("a,b"))), [path("a,b"), "llama2-15m".into()]);
    assert_eq!(models("src/sweep, src/run,mock"), ["src/sweep", "src/run", "mock"]);
}

#[test]
fn the_condition_of_the_gpu_is_written_only_where_it_is_asked_for() {
    let sweep = resolve(QUICK_SWEEP).unwrap();
    assert_eq!((sweep.cool_down_seconds, sweep.throttle_retries), (0.0, 2));
    let keys = ["cool_down_seconds", "throttle_retries", "lock_gpu_clocks"];
    assert!(keys.iter().all(|key| !sweep.to_toml().contains(key)));
    for (clock, written) in [("1410", "1410"), ("\"1410\"", "1410"), ("\"base\"", "\"base\"")] {
        let on_gpu = quick_with("device = \"cuda\"");
        let lines =
            format!("cool_down_seconds = 2.5\nthrottle_retries = 0\nlock_gpu_clocks = {clock}\n{on_gpu}");
        let sweep = resolve(&lines).unwrap();
        let toml = sweep.to_toml();
        for line in
            ["cool_down_seconds = 2.5", "throttle_retries = 0", &format!("lock_gpu_clocks = {written}")]
        {
            assert!(toml.contains(line), "{toml}");
        }
        assert_eq!(resolve(&toml).unwrap(), sweep);
    }
}

#[test]
fn one_cell_is_left_of_a_sweep_of_any_cells() {
    let mut sweep = resolve(QUICK_SWEEP).unwrap();
    let cell = |batch_size, prompt_length| CellSize { batch_size, prompt_length };
    sweep.narrow_to(cell(3, 7), "--profile").unwrap();
    assert_eq!((&sweep.batch_sizes[..], &sweep.prompt_lengths[..]), (&[3][..], &[7][..]));
    let refused = |cell| sweep.clone().narrow_to(cell, "--profile").unwrap_err().to_string();
    assert!(
        refused(cell(1, 1900)).starts_with("--profile: prompt length 1900 and generation length 256 need")
    );
    assert!(
        refused(cell(1 << 20, 64)).starts_with("--profile: batch size × prompt length: expected at most")
    );
}

#[test]
fn a_malformed_sweep_is_one_error_with_file_line_and_key() {
    let cases = [
        (
            "batch_sizes = [1, 0]",
            "a.toml:5: batch_sizes: expected whole numbers from 1, each once, found [1, 0]",
        ),
        (
            "batch_sizes = [4, 4]",
            "a.toml:5: batch_sizes: expected whole numbers from 1, each once, found [4, 4]",
        ),
        (
            "batch_sizes = \"four\"",
            "a.toml:5: batch_sizes: expected whole numbers from 1, each once, found \"four\"",
        ),
        (
            "engines = [\"onnx\"]",
            "a.toml:4: engines: unknown engine \"onnx\": expected one of onnxruntime, pytorch-eager, pytorch-compile, pytorch-cudagraph, pytorch-aoti, reference, mock",
        ),
        (
            "prompt_lengths = [2000]",
            "a.toml:6: prompt_lengths: prompt length 2000 and generation length 256 need 2256 positions: llama2-15m has 2048 (max_position_embeddings)",
        ),
        ("generation_length = 0", "a.toml:7: generation_length: expected a whole number from 1, found 0"),
        ("models = [\"llama-7b\"]", "a.toml:3: models: no such model \"llama-7b\": did you mean llama2-7b?"),
        ("device = \"gpu\"", "a.toml:8: device: expected cpu, cuda or cuda:N, found \"gpu\""),
        (
            "precision = 16",
            "a.toml:9: precision: expected fp32, fp16, bf16, int8, int8-g128, int8-channel, int4, int4-g128, or a list of these, found 16",
        ),
        ("warmup_runs = -1", "a.toml:12: procedure.warmup_runs: expected a whole number from 0, found -1"),
    ];
    for (line, message) in cases {
        assert_eq!(resolve(&quick_with(line)).unwrap_err(), message);
    }
    let with = |line: &str| resolve(&format!("{line}\n{QUICK_SWEEP}")).unwrap_err();
    for (line, message) in [
        (
            "cool_down_seconds = -1",
            "a.toml:1: cool_down_seconds: expected a number of seconds from 0 to 3600, found -1",
        ),
        (
            "lock_gpu_clocks = \"max\"",
            "a.toml:1: lock_gpu_clocks: expected base or a clock in MHz, found \"max\"",
        ),
        (
            "lock_gpu_clocks = \"base\"",
            "a.toml:1: lock_gpu_clocks: device cpu has no GPU clocks: leave this out, or choose a GPU",
        ),
    ] {
        assert_eq!(with(line), message);
    }
    assert_eq!(
        with("memory_limit = \"lots\""),
        "a.toml:1: memory_limit: expected a size such as \"2GiB\" or \"512MiB\", found \"lots\""
    );
    assert_eq!(with("options.mock = 1"), "a.toml:1: options.mock: expected a table of an engine's options");
    assert_eq!(
        with("options.mock.noise = nan"),
        "a.toml:1: options.mock.noise: expected a value of finite numbers, found nan"
    );
    assert_eq!(
        with("isolation = \"none\""),
        "a.toml:1: isolation: expected \"engine\", \"cell\" or \"turn\", found \"none\""
    );
    assert_eq!(
        with("options.onnx.a = 1"),
        "a.toml:1: options.onnx.a: unknown engine \"onnx\": expected one of onnxruntime, pytorch-eager, pytorch-compile, pytorch-cudagraph, pytorch-aoti, reference, mock"
    );
    assert!(with("batch_sizes = [").starts_with("a.toml:"));
    assert_eq!(
        resolve(&format!("{QUICK_SWEEP}\nreplicates = 4294967295")).unwrap_err(),
        "a.toml:16: procedure.replicates: a sweep has at most 100000 cells, this one would have 77309411310"
    );
    assert!(with("models = [\"mock\"]").starts_with("a.toml:4:"), "a key may be there once");
    assert_eq!(resolve("").unwrap_err(), "a.toml: models is not set");
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    let first = |line: &str| resolve(&format!("{line}\n{QUICK_SWEEP}")).unwrap_err();
    let last = |line: &str| resolve(&format!("{QUICK_SWEEP}{line}")).unwrap_err();
    for (line, key) in
        [("batch_size = [1]", "batch_sizes"), ("batchsizes = 1", "batch_sizes"), ("egnines = 1", "engines")]
    {
        let written = line.split(' ').next().unwrap();
        assert_eq!(first(line), format!("a.toml:1: {written}: unknown key: did you mean {key}?"));
    }
    assert_eq!(
        last("warmup_run = 1"),
        "a.toml:15: procedure.warmup_run: unknown key: did you mean warmup_runs?"
    );
    assert_eq!(
        first("phase_timeout_seconds.prompts = 1"),
        "a.toml:1: phase_timeout_seconds.prompts: unknown key: did you mean prompt?"
    );
    assert_eq!(
        last("repeats = 1"),
        "a.toml:15: procedure.repeats: unknown key: expected one of warmup_runs, prompt_runs, generations, until, min_runs, replicates"
    );
    assert!(first("gpus = 2").starts_with("a.toml:1: gpus: unknown key: expected one of models, engines,"));
    // To TOML it is another key than `warmup_runs` of the table `procedure`.
    let quoted = first("\"procedure.warmup_runs\" = 7");
    assert!(
        quoted.starts_with("a.toml:1: \"procedure.warmup_runs\": unknown key: expected one of"),
        "{quoted}"
    );
    assert_eq!(first("procedure = 7").replace(|c: char| c.is_ascii_digit(), "N"), "a.toml:NN: duplicate key");
}

#[test]
fn errors_have_the_line_of_the_key() {
    let text = String::from(
        "# first\n\nmodels = [\n  \"llama2-15m\",\n]\nengines = [\n  \"mock\",\n]\nbatch_sizes = [\n  1,\n  0,\n]\n",
    );
    for text in [text.clone(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
        assert_eq!(
            resolve(&text).unwrap_err(),
            "a.toml:9: batch_sizes: expected whole numbers from 1, each once, found [1, 0]"
        );
    }
    let nested = format!("{QUICK_SWEEP}\n[options.mock]\nnoise = 1\nscript = {{ a = [\n  1,\n  nan,\n] }}\n");
    assert_eq!(
        resolve(&nested).unwrap_err(),
        "a.toml:18: options.mock.script: expected a value of finite numbers, found { a = [1, nan] }"
    );
}

#[test]
fn device_memory_has_a_limit_of_its_own() {
    let on_gpu = quick_with("device = \"cuda:0\"");
    let with = |lines: &str, sweep: &str| resolve(&format!("{lines}\n{sweep}"));
    let sweep = with("device_memory_limit = \"80GB\"", &on_gpu).unwrap();
    assert_eq!((sweep.setup.device_memory_limit, sweep.setup.memory_limit), (Some(80_000_000_000), None));
    assert_eq!(resolve(&sweep.to_toml()).unwrap(), sweep);
    let binary = with("device_memory_limit = \"80 GiB\"", &on_gpu).unwrap();
    assert_eq!(binary.setup.device_memory_limit, Some(80 << 30));
    assert_eq!(
        with("device_memory_limit = \"80GB\"", QUICK_SWEEP).unwrap_err(),
        "a.toml:1: device_memory_limit: device cpu has no memory of its own: use memory_limit"
    );
    assert_eq!(
        with("device_memory_limit = \"half\"", &on_gpu).unwrap_err(),
        "a.toml:1: device_memory_limit: expected a size such as \"2GiB\" or \"512MiB\", found \"half\""
    );
}

#[test]
fn one_rank_is_one_process_of_a_shared_model() {
    let with = |lines: &str| resolve(&format!("{lines}\n{QUICK_SWEEP}"));
    let sweep = with("one_rank = true\nworld_size = 2").unwrap();
    assert_eq!((sweep.setup.one_rank_of(), sweep.setup.processes()), (Some(2), crate::WorkerProcesses::ONE));
    assert_eq!(resolve(&sweep.to_toml()).unwrap(), sweep);
    let whole = with("one_rank = false\nworld_size = 2").unwrap();
    assert_eq!((whole.setup.one_rank_of(), whole.setup.processes().world_size), (None, 2));
    for (lines, why) in [
        ("one_rank = true", "needs a world_size above 1, of which rank 0 is measured"),
        ("one_rank = 1\nworld_size = 2", "expected true or false, found 1"),
        (
            "one_rank = true\nworld_size = 2\ncollectives = true",
            "a single rank has no collectives: leave its measurement out",
        ),
    ] {
        assert_eq!(with(lines).unwrap_err(), format!("a.toml:1: one_rank: {why}"));
    }
}

#[test]
fn a_procedure_may_say_when_a_mean_is_known_well_enough() {
    let quick = QUICK_SWEEP.replace("generations = 1\n", "");
    let procedure = |lines: &str| resolve(&format!("{quick}\n{lines}")).map(|sweep| sweep.procedure);
    let known =
        Procedure { warmup_runs: 3, prompt_runs: 10, generations: 10, until: Some(0.005), min_runs: 5 };
    assert_eq!(procedure("until = \"0.5%\""), Ok(known));
    assert_eq!(procedure("until = \"0.5 %\"\nmin_runs = 8"), Ok(Procedure { min_runs: 8, ..known }));
    assert_eq!(procedure("until = 0.005\ngenerations = 1"), Ok(Procedure { generations: 1, ..known }));
    for (until, share) in [("\"0.7%\"", 0.7 / 100.0), ("\"10%\"", 0.1), ("\"1e-3%\"", 1e-5)] {
        let sweep = resolve(&format!("{quick}\nuntil = {until}")).unwrap();
        assert_eq!(sweep.procedure.until, Some(share));
        assert_eq!(resolve(&sweep.to_toml()).unwrap(), sweep);
    }

    let line = quick.lines().count() + 2;
    for bad in ["\"0%\"", "\"-1%\"", "\"0.5\"", "0.5", "\"11%\"", "1", "true", "\"nan%\"", "nan"] {
        assert_eq!(
            procedure(&format!("until = {bad}")).unwrap_err(),
            format!(
                "a.toml:{line}: procedure.until: expected a percentage above 0 and of at most 10%, such as \"0.5%\", found {bad}"
            )
        );
    }
    assert_eq!(
        procedure("until = \"1%\"\nmin_runs = 1").unwrap_err(),
        format!("a.toml:{}: procedure.min_runs: expected a whole number from 2, found 1", line + 1)
    );
    assert_eq!(
        procedure("until = \"1%\"\nmin_runs = 11").unwrap_err(),
        format!("a.toml:{}: procedure.min_runs: 11 is more than the 10 of prompt_runs", line + 1)
    );
    assert_eq!(
        procedure("min_runs = 5").unwrap_err(),
        format!("a.toml:{line}: procedure.min_runs: needs until: without it, every run is measured")
    );
}

#[test]
fn rows_may_be_listed_one_by_one() {
    let rows = |rows: &str| {
        let grid = ["engines", "batch_sizes", "prompt_lengths"];
        let rest = QUICK_SWEEP.lines().filter(|line| !grid.iter().any(|key| line.starts_with(key)));
        resolve(&format!("rows = {rows}\norder = \"table\"\n{}", rest.collect::<Vec<_>>().join("\n")))
    };
    let sweep = rows("[[\"mock\", 4, 64], [\"mock\", 1, 16], [\"reference\", 4, 16]]").unwrap();
    let cells: Vec<_> =
        crate::plan(&sweep).iter().map(|cell| (cell.engine, cell.batch_size, cell.prompt_length)).collect();
    assert_eq!(cells, [("mock", 4, 64), ("mock", 1, 16), ("reference", 4, 16)]);
    assert_eq!((&sweep.batch_sizes[..], &sweep.prompt_lengths[..]), (&[4, 1][..], &[64, 16][..]));
    assert_eq!(resolve(&sweep.to_toml()).unwrap(), sweep);

    let expected = "expected rows such as [\"onnxruntime\", 1, 16], each once, found ";
    for bad in ["[]", "[[\"mock\", 1]]", "[[\"mock\", 0, 1]]", "[[\"mock\", 1, 1], [\"mock\", 1, 1]]", "3"] {
        assert_eq!(rows(bad).unwrap_err(), format!("a.toml:1: rows: {expected}{bad}"));
    }
    assert!(rows("[[\"x\", 1, 1]]").unwrap_err().starts_with("a.toml:1: rows: unknown engine \"x\""));
    let both = resolve(&format!("rows = [[\"mock\", 1, 16]]\n{QUICK_SWEEP}")).unwrap_err();
    assert_eq!(both, "a.toml:5: engines: this sweep also lists its cells as rows: leave one of the two out");
}

#[test]
fn flags_choose_among_listed_rows() {
    let text = "models = [\"llama2-15m\"]\norder = \"table\"\nrows = [[\"mock\", 4, 64], [\"mock\", 1, 16], [\"reference\", 4, 16]]\n";
    let cells = |flags: &[(&str, &str, &str)]| {
        let mut keys = Sweep::settings(text, "a.toml", Path::new("")).unwrap();
        for (path, flag, word) in flags {
            keys.set_flag(path, flag, &[(*word).into()]).unwrap();
        }
        let sweep = Sweep::resolve(&keys, &Engines::built_in()).map_err(|error| error.to_string())?;
        let name =
            |cell: &crate::Cell<'_>| format!("{} {}×{}", cell.engine, cell.batch_size, cell.prompt_length);
        Ok::<_, String>(crate::plan(&sweep).iter().map(name).collect::<Vec<_>>().join(", "))
    };
    let (engine, batch, prompt) = (
        |word| ("engines", "--engine", word),
        |word| ("batch_sizes", "--batch-size", word),
        |word| ("prompt_lengths", "--prompt-length", word),
    );
    assert_eq!(cells(&[engine("mock")]).unwrap(), "mock 4×64, mock 1×16");
    assert_eq!(cells(&[batch("4"), prompt("16,64")]).unwrap(), "mock 4×64, reference 4×16");
    let all = "it has mock 4×64, mock 1×16, reference 4×16";
    for (flags, error) in [
        (
            vec![engine("onnxruntime")],
            format!("--engine: no row of this sweep has engine onnxruntime: {all}"),
        ),
        (vec![engine("mok")], "--engine: unknown engine \"mok\": did you mean mock?".into()),
        (vec![batch("4,8")], format!("--batch-size: no row of this sweep has batch size 8: {all}")),
        (vec![prompt("17")], format!("--prompt-length: no row of this sweep has prompt length 17: {all}")),
        (
            vec![engine("reference"), batch("1")],
            format!("--engine: these flags choose no row of this sweep: {all}"),
        ),
    ] {
        assert_eq!(cells(&flags).unwrap_err(), error);
    }
}

#[test]
fn flags_override_the_file_and_are_named_in_errors() {
    let mut settings = Sweep::settings(QUICK_SWEEP, "a.toml", Path::new("")).unwrap();
    settings.set_flag("prompt_lengths", "--prompt-length", &["4000".into()]).unwrap();
    let error = Sweep::resolve(&settings, &Engines::built_in()).unwrap_err().to_string();
    assert!(error.starts_with("--prompt-length: prompt length 4000"), "{error}");
}

#[test]
fn every_default_is_a_value_of_its_key() {
    let defaults = toml::Value::try_from(SweepKeys::default().over_defaults()).unwrap();
    for key in SweepKeys::keys() {
        let value = key.path.split('.').try_fold(&defaults, |table, name| table.get(name));
        assert_eq!(value.is_some_and(|value| !value.is_table()), key.default.is_some(), "{}", key.path);
    }
}

#[test]
fn what_the_program_gives_is_checked_as_what_is_written() {
    let row = || SweepRow("mock".into(), 1, 16);
    let keys = SweepKeys {
        models: Some(Setting::new(vec!["llama2-15m".into()], "table.md:3")),
        rows: Some(Setting::new(vec![row(), row()], "table.md:3")),
        ..SweepKeys::default()
    };
    let refused = |keys: &SweepKeys| Sweep::resolve(keys, &Engines::built_in()).unwrap_err().to_string();
    let expected = "table.md:3: expected rows such as [\"onnxruntime\", 1, 16], each once, found ";
    assert!(refused(&keys).starts_with(expected), "{}", refused(&keys));
    let none = SweepKeys { world_size: Some(Setting::new(Whole(0), "table.md:3")), ..keys };
    assert!(refused(&SweepKeys { rows: None, ..none }).contains("expected a whole number from 1, found 0"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", line in "[a-z_.]{1,12} ?= ?[\\[\\]{}\"0-9a-z, .-]{0,20}") {
        let _ = resolve(&text);
        let _ = resolve(&format!("{line}\n{QUICK_SWEEP}"));
    }
}

/// Time must not grow with the square of it.
#[test]
fn a_sweep_of_as_many_cells_as_there_may_be_is_planned() {
    let most = 100_000;
    let sizes = (1..=most).map(|size| size.to_string()).collect::<Vec<_>>().join(",");
    let rows = (1..=most).map(|size| format!("[\"mock\",{size},16]")).collect::<Vec<_>>().join(",");
    let of_model = "models = [\"llama2-15m\"]\ngeneration_length = 2\n";
    let grid = format!("{of_model}engines = [\"mock\"]\nprompt_lengths = [16]\nbatch_sizes = [{sizes}]\n");
    for text in [
        format!("{of_model}rows = [{rows}]\n"),
        format!("isolation = \"turn\"\n{grid}"),
        format!("{grid}[options.mock]\n{}", sizes.replace(',', " = 1\n") + " = 1\n"),
    ] {
        let keys = Sweep::settings(&text, "a.toml", Path::new("")).unwrap();
        let sweep = Sweep::resolve(&keys, &Engines::built_in()).unwrap();
        assert_eq!(crate::plan(&sweep).len(), most);
    }
}

#[test]
fn what_is_wrong_with_a_long_setting_is_said_in_few_words() {
    let sizes = format!("batch_sizes = [0{}]", ", 1".repeat(100_000));
    for text in [sizes, format!("{} = 1", "k".repeat(100_000))] {
        let error = Sweep::settings(&text, "a.toml", Path::new("")).unwrap_err().to_string();
        assert!(error.starts_with("a.toml:1: ") && error.len() < 1000, "{error}");
    }
}

#[test]
fn a_cell_has_no_more_figures_than_its_record_can_have() {
    let with = |generations: u32| {
        resolve(&format!(
            "models = [\"llama2-15m\"]\nengines = [\"mock\"]\nbatch_sizes = [1]\nprompt_lengths = [16]\ngeneration_length = 198\n\
             [procedure]\nprompt_runs = 200\ngenerations = {generations}"
        ))
    };
    assert!(with(4999).is_ok());
    let error = with(5000).unwrap_err();
    let start = "a.toml:8: procedure.generations: prompt runs + generations × (generation length + 2): expected at most \
                 1000000 figures of a cell, found 1000200";
    assert!(error.starts_with(start), "{error}");
}
