//! `report`: a page to look at, or a table where people read it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use compare::{Criteria, Thresholds};
use page::{Comparison, Page, Run};
use results::published::splice;

use crate::args::ReportArgs;
use crate::commands::table;
use crate::{Ending, printer, source};

/// The page in a run's folder.
pub(crate) const PAGE: &str = "report.html";

/// The change that counts as none, as it is for `compare`.
const THRESHOLD: f64 = 0.05;

pub(crate) fn run(args: &ReportArgs) -> Result<Ending> {
    match &args.splice {
        Some(path) => splice_table(&args.runs, path),
        None => write_page(&args.runs, &args.out, args.plots.as_deref()),
    }
}

/// Writes the page of `dirs`, which are held against the first of them; and its plots, where that is asked for.
pub(crate) fn write_page(dirs: &[PathBuf], out: &Path, plots: Option<&Path>) -> Result<Ending> {
    let mut runs = Vec::new();
    for dir in dirs {
        ensure!(
            !dir.is_file(),
            "{}: a page is made of a run's folder: a file of tables has no series (`table` prints it, `compare` holds a run \
             against it)",
            dir.display()
        );
        runs.push(source::read_whole(dir)?);
    }
    let names: BTreeSet<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    if names.len() < runs.len() {
        runs.iter_mut().zip(dirs).for_each(|(run, dir)| run.name = dir.display().to_string());
    }
    let comparisons: Vec<Comparison> =
        (1..runs.len()).map(|index| compared((&dirs[0], &runs[0]), (&dirs[index], &runs[index]))).collect();
    let page = Page::new(&runs, &comparisons)?;
    write_whole(out, page.html().as_bytes()).with_context(|| out.display().to_string())?;
    printer::line(&format!("the page: {}", out.display()));
    if let Some(dir) = plots {
        write_plots(&page, dir)?;
    }
    Ok(Ending::Done)
}

/// The page of a single run.
pub(crate) fn html(run: &Run) -> Result<String> {
    Ok(Page::new(std::slice::from_ref(run), &[])?.html())
}

fn compared((its_dir, its): (&Path, &Run), (dir, run): (&Path, &Run)) -> Comparison {
    let criteria = Criteria { thresholds: Thresholds::all(THRESHOLD), allow_drift: false };
    let both = source::read_subject(its_dir).and_then(|its| Ok((its, source::read_subject(dir)?)));
    let result = both
        .and_then(|(baseline, candidate)| Ok(compare::compare(&baseline, &candidate, &criteria)?))
        .map(|report| compare::Report { baseline: its.name.clone(), candidate: run.name.clone(), ..report });
    Comparison {
        result: result.map_err(|error| format!("{error:#}")),
        baseline: its.name.clone(),
        candidate: run.name.clone(),
    }
}

fn write_plots(page: &Page<'_>, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut count = 0;
    for plot in page.plots() {
        for (ending, bytes) in [("svg", plot.svg().into_bytes()), ("png", plot.png()?)] {
            let path = dir.join(format!("{}.{ending}", plot.id));
            write_whole(&path, &bytes).with_context(|| path.display().to_string())?;
        }
        count += 1;
    }
    printer::line(&format!("{count} plots, .svg and .png each: {}", dir.display()));
    Ok(())
}

fn splice_table(runs: &[PathBuf], path: &Path) -> Result<Ending> {
    let name = path.display();
    let text = llama::read_text(path).with_context(|| name.to_string())?;
    let table = table::markdown(runs)?;
    let spliced = splice(&text, &table).map_err(|error| anyhow!("{name}: {error}"))?;
    if spliced == text {
        printer::line(&format!("{name}: nothing to change"));
        return Ok(Ending::Done);
    }
    replace(path, &spliced).with_context(|| name.to_string())?;
    printer::line(&format!("{name}: table replaced"));
    Ok(Ending::Done)
}

/// Writes a file whole, or not at all; what is no file of a disk (`/dev/stdout`) is written to as it is.
fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|its| !its.is_file()) {
        return std::fs::write(path, content);
    }
    // Where a link leads, and not the link, is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = std::fs::write(&partial, content).and_then(|()| std::fs::rename(&partial, path));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}

/// Writes the file whole, or not at all; its permissions stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = std::fs::write(&partial, text)
        .and_then(|()| std::fs::set_permissions(&partial, path.metadata()?.permissions()))
        .and_then(|()| std::fs::rename(&partial, &path));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}
