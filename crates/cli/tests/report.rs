//! `report`: the page in a run's folder, made again; its plots; several runs.

mod common;

use common::{MOCK, Place};

#[test]
fn a_run_has_its_page_which_is_made_again_byte_for_byte() {
    let place = Place::new();
    let (code, _) = place.run(MOCK, &["--no-verify"]);
    assert_eq!(code, 0);
    let page = std::fs::read(place.path("run/report.html")).unwrap();
    place.bench(&["report", "run", "-o", "again.html"]).assert().code(0);
    assert!(page == std::fs::read(place.path("again.html")).unwrap());
    let text = String::from_utf8(page).unwrap();
    assert!(text.contains("latencies of mock are scripted, not measured"));
    assert!(!text.contains(place.path("").to_str().unwrap()), "no path of this machine");
}

#[test]
fn what_is_no_file_is_written_to_and_a_link_leads_to_what_is_replaced() {
    let place = Place::new();
    place.run(MOCK, &["--no-verify"]);
    let printed = place.bench(&["report", "run", "-o", "/dev/stdout"]).output().unwrap().stdout;
    assert!(printed.starts_with(b"<!DOCTYPE html>"));
    place.write("page.html", "old");
    std::os::unix::fs::symlink("page.html", place.path("link.html")).unwrap();
    place.bench(&["report", "run", "-o", "link.html"]).assert().code(0);
    assert!(place.path("link.html").is_symlink());
    assert!(std::fs::read(place.path("page.html")).unwrap() == printed);
}

#[test]
fn plots_are_files_of_both_kinds() {
    let place = Place::new();
    place.run(MOCK, &["--no-verify"]);
    place.bench(&["report", "run", "--plots", "plots"]).assert().code(0);
    let names = |ending: &str| {
        let files = std::fs::read_dir(place.path("plots")).unwrap().flatten();
        let mut names: Vec<String> = files
            .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(ending)?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let images = if cfg!(feature = "png") { names(".svg") } else { Vec::new() };
    assert_eq!(names(".png"), images);
    for plot in [
        "token-latency-by-batch-size",
        "prompt-throughput-by-prompt-length",
        "token-latency-map",
        "token-by-token",
    ] {
        assert!(names(".svg").iter().any(|name| name == plot), "{plot}: {:?}", names(".svg"));
    }
    assert!(place.path("report.html").is_file(), "the default is beside");
}

#[test]
fn several_runs_are_held_against_the_first() {
    let place = Place::new();
    place.run(MOCK, &["--no-verify", "--replicates", "5"]);
    std::fs::rename(place.path("run"), place.path("before")).unwrap();
    place.run(MOCK, &["--no-verify", "--replicates", "5", "--option", "mock.slowdown=1.3"]);
    place.bench(&["report", "before", "run", "-o", "both.html"]).assert().code(0);
    let text = std::fs::read_to_string(place.path("both.html")).unwrap();
    assert!(text.contains("id=\"ratio-1-first-256\""), "a plot of ratios");
    let counts = text.split("Verdicts over all cells").nth(1).unwrap_or_default();
    assert!(counts.get(..80).unwrap_or_default().contains(" regressed, "), "{counts}");
}

#[test]
fn what_is_no_run_is_refused_and_nothing_is_written() {
    let place = Place::new();
    place.write("table.md", "| Engine |\n");
    let refused = place.bench(&["report", "table.md"]).assert().code(2);
    let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(error.contains("table.md: a report needs a run's folder"), "{error}");
    place.bench(&["report", "nowhere"]).assert().code(2);
    assert!(!place.path("report.html").exists());
    place.run(MOCK, &["--no-verify"]);
    let refused = place.bench(&["report", "run", "-o", "nowhere/report.html"]).assert().code(2);
    let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(error.contains("nowhere/report.html: its folder does not exist"), "{error}");
}

#[test]
fn off_a_terminal_watch_changes_nothing() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let output = |more: &[&str], out: &str| {
        let arguments = [&["run", "sweep.toml", "--no-verify", "--out", out], more].concat();
        let output = place.bench(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let stderr = String::from_utf8(output.stderr).unwrap().replace(out, "run");
        let (shares, lines): (Vec<_>, Vec<_>) =
            stderr.lines().map(str::to_owned).partition(|line| line.starts_with("Finished in "));
        assert_eq!(shares.len(), 1, "of the time, which is another one: {stderr}");
        lines
    };
    assert_eq!(output(&["--watch"], "watched"), output(&[], "plain"));
}

#[test]
fn nothing_that_stands_in_the_way_is_written_through_or_taken_away() {
    let place = Place::new();
    place.run(MOCK, &["--no-verify"]);
    place.write("victim", "mine");
    let link = |name: &str| std::os::unix::fs::symlink("victim", place.path(name)).unwrap();
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    // Names that a temporary file could have.
    let readme = "# Mine\n<!-- llama2-bench:table -->\n<!-- llama2-bench:end -->\n";
    place.write("README.md", readme);
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&place.path(name).metadata().unwrap().permissions())
    };
    let own_mode = mode("README.md");
    ["README.md.partial", "page.html.partial", "run/.table.md.partial"].into_iter().for_each(link);
    place.write("other.html.partial", "mine");
    place.bench(&["report", "run", "--splice", "README.md"]).assert().success();
    place.bench(&["report", "run", "-o", "page.html"]).assert().success();
    place.bench(&["report", "run", "-o", "other.html"]).assert().success();
    assert!(read("README.md").contains("| mock") && mode("README.md") == own_mode);
    assert!(!place.path("README.md").is_symlink() && !place.path("page.html").is_symlink());
    assert_eq!((read("victim"), read("other.html.partial")), ("mine".into(), "mine".into()));

    // A session that goes on replaces its own files, and no file that a link in their place leads to.
    let against = ["--against-option", "mock.slowdown=1.0", "--replicates", "2"];
    place.bench(&[&["run", "sweep.toml", "--out", "ab"], &against[..]].concat()).output().unwrap();
    for name in ["comparison.md", "report.html"] {
        std::fs::remove_file(place.path("ab").join(name)).unwrap();
        std::os::unix::fs::symlink("../victim", place.path("ab").join(name)).unwrap();
    }
    place.bench(&[&["run", "--resume", "ab"], &against[..2]].concat()).output().unwrap();
    assert_eq!(read("victim"), "mine");
    assert!(
        read("ab/comparison.md").contains("llama2-bench") && read("ab/report.html").contains("<!DOCTYPE")
    );

    // Files that are named for the user are new ones.
    for (name, more) in [
        ("comparison.md", &["--against-option", "mock.slowdown=1.0"][..]),
        ("report.html", &["--against-option", "mock.slowdown=1.0"]),
        ("report.html", &[]),
    ] {
        std::fs::create_dir(place.path("out")).unwrap();
        std::os::unix::fs::symlink("../victim", place.path("out").join(name)).unwrap();
        let arguments = [&["run", "sweep.toml", "--out", "out"], more].concat();
        place.bench(&arguments).assert().code(2).stderr(format!(
            "error: out: no run and not empty (it holds {name}): choose a new or empty folder with --out\n"
        ));
        assert_eq!(read("victim"), "mine");
        std::fs::remove_dir_all(place.path("out")).unwrap();
    }
}
