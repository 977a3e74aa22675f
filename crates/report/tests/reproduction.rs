//! Every verdict of a reproduction.

use protocol::Measurement;
use report::reproduction::{Known, Reproduction, ReproductionVerdict};
use results::published::PublishedTable;
use results::{ResultRow, ResultTable};

mod measured;
use measured::{ended, environment, measured, with_cell};

/// Latencies of every forward 1 ms a token there; here as `records` have them.
fn reproduce(
    records: &[Measurement],
    there: &PublishedTable,
    other_kind: Option<&str>,
    known: impl Fn(&ResultRow<'_>) -> Option<Known>,
) -> Reproduction {
    let here = results::tables(records.to_vec(), &[], &[environment()]);
    let (here, there) = (ResultTable::measured("run", &here[0]), ResultTable::published("a.md", there));
    Reproduction::new(&there, Some(&here), 0.1, other_kind, known)
}

/// What this run would be as a published table.
fn published(records: &[Measurement]) -> PublishedTable {
    PublishedTable::from(&results::tables(records.to_vec(), &[], &[environment()])[0])
}

fn scaled(record: &Measurement, prompt: f64, rest: f64) -> Measurement {
    with_cell(record.clone(), |cell| {
        cell.series.prompt_seconds.iter_mut().for_each(|seconds| *seconds *= prompt);
        for generation in &mut cell.series.generations {
            generation.token_seconds.iter_mut().for_each(|seconds| *seconds *= rest);
            generation.wall_seconds *= rest;
        }
    })
}

fn verdict(here: &Measurement, there: &Measurement) -> ReproductionVerdict {
    let there = published(std::slice::from_ref(there));
    reproduce(std::slice::from_ref(here), &there, None, |_| Some(Known::default())).rows[0].verdict.clone()
}

#[test]
fn ratios_give_the_verdict_at_the_tolerance() {
    let there = measured("a", 1, 16, 256);
    for (prompt, rest, expected) in [
        (1.0, 1.0, ReproductionVerdict::Reproduced),
        (1.099, 1.0 / 1.099, ReproductionVerdict::Reproduced),
        (1.11, 1.0, ReproductionVerdict::Slower),
        (1.0, 1.5, ReproductionVerdict::Slower),
        (0.9, 0.5, ReproductionVerdict::Faster),
        (0.5, 2.0, ReproductionVerdict::Mixed),
    ] {
        assert_eq!(verdict(&scaled(&there, prompt, rest), &there), expected, "{prompt} {rest}");
    }
}

#[test]
fn cells_without_figures_have_verdicts_of_their_own() {
    use protocol::FailureKind::{Crashed, OutOfMemory};
    let fine = measured("a", 1, 16, 256);
    let oom = ended("a", 1, 16, OutOfMemory, "std::bad_alloc");
    let crashed = ended("a", 1, 16, Crashed, "ended by SIGSEGV");
    assert_eq!(verdict(&oom, &oom), ReproductionVerdict::Reproduced);
    assert_eq!(verdict(&oom, &fine), ReproductionVerdict::OomHere);
    assert_eq!(verdict(&fine, &oom), ReproductionVerdict::OomThere);
    assert_eq!(verdict(&crashed, &fine), ReproductionVerdict::Ended("CRASHED"));
    assert_eq!(
        verdict(&fine, &crashed),
        ReproductionVerdict::NotComparable("no latency on both sides".into())
    );
}

#[test]
fn another_device_is_no_verdict_and_what_was_not_run_is_said() {
    let here = [measured("a", 1, 16, 256)];
    let there = published(&[measured("a", 1, 16, 256), measured("b", 1, 16, 256), measured("c", 1, 16, 256)]);
    let known = |row: &ResultRow<'_>| match row.engine {
        "c" => None,
        engine => Some(Known { not_run: Some(format!("no {engine}")), impossible: false }),
    };
    let other = reproduce(&here, &there, Some("another device"), known);
    let verdicts: Vec<_> = other.rows.iter().map(|row| row.verdict.to_string()).collect();
    assert_eq!(verdicts, ["not comparable: another device", "not run: no b"]);
    assert_eq!(
        (other.holds(), other.rows[0].ratios[0].map(|ratio| (ratio - 1.0).abs() < 1e-9)),
        (None, Some(true))
    );

    // Another device has other memory: that it runs out, or does not, is no verdict either.
    use protocol::FailureKind::OutOfMemory;
    let oom = [ended("a", 1, 16, OutOfMemory, "std::bad_alloc")];
    for (here, there, words) in
        [(&oom, &here, "OOM here"), (&here, &oom, "OOM there"), (&oom, &oom, "OOM here and there")]
    {
        let other = reproduce(here, &published(there), Some("another device"), |_| Some(Known::default()));
        assert_eq!(
            other.rows[0].verdict,
            ReproductionVerdict::NotComparable(format!("another device, {words}"))
        );
        assert_eq!(other.holds(), None);
    }

    let impossible = reproduce(&here, &there, None, |_| Some(Known { not_run: None, impossible: true }));
    assert_eq!(impossible.rows[0].verdict, ReproductionVerdict::ImpossibleThere);
    assert_eq!(impossible.rows[1].verdict, ReproductionVerdict::NotRun("no record of it".into()));
    assert_eq!(impossible.holds(), Some(false));
    insta::assert_snapshot!(impossible.to_markdown());
}
