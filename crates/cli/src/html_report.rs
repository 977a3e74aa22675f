//! The HTML report of runs, and its plots as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use compare::{Criteria, Subject, Thresholds};
use page::{AuditedRun, Comparison, Html, Page};
use results::{Exporter as _, PublishedFile, Run};

use crate::{audited, folders, printer};

/// The report in a run's folder.
pub(crate) const PAGE: &str = "report.html";

/// Writes the report of the runs in `dirs` with `write`; the others are compared with the first. Also writes the plots if `plots` is given.
pub(crate) fn write_page(
    dirs: &[PathBuf],
    out: &Path,
    write: fn(&Path, &[u8]) -> std::io::Result<()>,
    plots: Option<&Path>,
) -> Result<()> {
    let mut runs = Vec::new();
    folders::check(dirs)?;
    for dir in dirs {
        ensure!(
            !PublishedFile::is_named(dir),
            "{}: a report needs a run's folder, and a file of tables has no single latencies: `llama2-bench table` prints it, \
             `llama2-bench compare` compares a run with it",
            dir.display()
        );
        runs.push(audited::read(dir)?);
    }
    name_apart(&mut runs);
    let comparisons = comparisons(&runs);
    let page = Page::new(&runs, &comparisons);
    write(out, Html.write(&page).text.as_bytes()).with_context(|| out.display().to_string())?;
    printer::line(&format!("report: {}", out.display()));
    if let Some(dir) = plots {
        write_plots(&page, dir)?;
    }
    Ok(())
}

/// The report of several runs; the others are compared with the first.
pub(crate) fn html_of_runs(mut runs: Vec<AuditedRun>) -> String {
    name_apart(&mut runs);
    Html.write(&Page::new(&runs, &comparisons(&runs))).text
}

/// Names runs by their paths, where folders have the same name.
fn name_apart(runs: &mut [AuditedRun]) {
    let names: BTreeSet<&str> = runs.iter().map(|audited| audited.run.name.as_str()).collect();
    if names.len() < runs.len() {
        runs.iter_mut().for_each(|audited| audited.run.name.clone_from(&audited.run.dir));
    }
}

fn comparisons(runs: &[AuditedRun]) -> Vec<Comparison> {
    runs.iter().skip(1).map(|candidate| compared(&runs[0].run, &candidate.run)).collect()
}

/// The report of a single run.
pub(crate) fn html(run: &AuditedRun) -> String {
    Html.write(&Page::new(std::slice::from_ref(run), &[])).text
}

fn compared(baseline: &Run, candidate: &Run) -> Comparison {
    let criteria = Criteria::new(Thresholds::default());
    let names = (baseline.name.clone(), candidate.name.clone());
    let result = Subject::from_run(baseline)
        .and_then(|baseline| compare::compare(&baseline, &Subject::from_run(candidate)?, &criteria))
        .map(|report| compare::Report { baseline: names.0.clone(), candidate: names.1.clone(), ..report });
    Comparison {
        result: result.map_err(|refused| refused.to_string()),
        baseline: names.0,
        candidate: names.1,
    }
}

fn write_plots(page: &Page<'_>, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut count = 0;
    for plot in page.plots() {
        let write = |ending: &str, bytes: &[u8]| {
            let path = dir.join(format!("{}.{ending}", plot.id));
            llama::write_whole(&path, bytes).with_context(|| path.display().to_string())
        };
        write("svg", plot.svg().as_bytes())?;
        #[cfg(feature = "png")]
        write("png", &plot.png()?)?;
        count += 1;
    }
    let formats = if cfg!(feature = "png") {
        "each as .svg and .png"
    } else {
        "each as .svg (.png: build with `--features png`)"
    };
    printer::line(&format!("{count} plots, {formats}: {}", dir.display()));
    Ok(())
}
