//! A committed run as the side of a comparison.

use std::path::{Path, PathBuf};

use compare::{Criteria, Ratios, Subject, Thresholds, compare};
use results::Run;

fn dir() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/llama2-15m-fp32-cpu")).into()
}

#[test]
fn a_run_has_not_changed_against_itself() {
    let run = Run::read(&dir()).unwrap();
    let [baseline, candidate] = [(); 2].map(|()| Subject::from_run(&run).unwrap());
    let criteria = Criteria::new(Thresholds::all(0.05));
    let counts = compare(&baseline, &candidate, &criteria).unwrap().counts();
    assert!(counts.total() > 0 && counts.improved + counts.regressed == 0, "{counts}");
    assert!(
        Ratios::compare(&baseline, "absent", &[]).is_err_and(|error| error.to_string().contains("it has"))
    );
}

#[test]
fn a_run_that_was_measured_in_two_ways_is_no_side() {
    let mut run = Run { dir: "mixed".into(), ..Run::read(&dir()).unwrap() };
    run.environments.push(run.environments[0].clone());
    let refused = Subject::from_run(&run).unwrap_err().to_string();
    assert_eq!(
        refused,
        "mixed: its cells were measured in 2 different ways (--allow-mixed), so it can't be compared"
    );
}
