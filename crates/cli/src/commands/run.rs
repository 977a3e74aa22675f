//! `run`: measure a sweep.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use harness::{Cell, Destination, Isolation, Selection, Variant};
use results::RunFolder;

use crate::args::{Output, OutputFormat, ResultFormat, RunArgs};
use crate::commands::{against, confirm, profile};
use crate::exit_status::ExitStatus;
use crate::format::shell_command;
use crate::html_report::PAGE;
use crate::listing::{Listing, in_table_order};
use crate::rendered::Rendered;
use crate::session::{begin, keep_history, measure, prepare_history, resume_command};
use crate::sweep_file::{default_dir, open_earlier, read_settings};
use crate::{printer, sources};

/// Prints the cells of a sweep that are not done, in one format.
pub(crate) fn list(
    variant: &Variant,
    done: Option<&RunFolder>,
    format: ResultFormat,
    out: Option<&Path>,
) -> Result<()> {
    let sweep = in_table_order(&variant.sweep);
    let is_done = |cell: &Cell<'_>| {
        let is_left_out = !sweep.selection.has(cell.engine, cell.batch_size, cell.prompt_length);
        is_left_out || done.is_some_and(|folder| folder.known().has(&cell.key(&sweep), cell.replicate))
    };
    let listing = Listing::new(&sweep, None, &is_done);
    let terminal = results::plain(&listing.terminal(printer::screen_width().filter(|_| out.is_none())));
    Rendered { terminal, markdown: listing.markdown(), csv: listing.csv(), json: listing.json() }
        .print_as(format, out)
}

/// The format as one of a printed result, if it is one.
fn result_format(format: OutputFormat) -> Option<ResultFormat> {
    match format {
        OutputFormat::Terminal => Some(ResultFormat::Terminal),
        OutputFormat::Markdown => Some(ResultFormat::Markdown),
        OutputFormat::Csv => Some(ResultFormat::Csv),
        OutputFormat::Json => Some(ResultFormat::Json),
        OutputFormat::Junit | OutputFormat::Github => None,
    }
}

/// The format of the printed table; `None` for the default.
fn table_format(outputs: &[Output]) -> Result<Option<ResultFormat>> {
    match outputs {
        [] => return Ok(None),
        [Output { format, file: None }] => result_format(*format),
        _ => None,
    }
    .map(Some)
    .context(
        "--format: without --against, a run prints one table: terminal, markdown, csv or json (`llama2-bench table RUN` writes others)",
    )
}

/// The last line of a run, with its results and the next command.
fn results_line(dir: &Path) -> String {
    let page = dir.join(PAGE);
    let table = shell_command(&["llama2-bench".into(), "table".into(), dir.display().to_string()]);
    if !page.exists() {
        return format!("Run folder: {}", dir.display());
    }
    format!("Results: {}; open {} or run `{table}`", dir.display(), page.display())
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitStatus> {
    if against::is_asked_for(args) {
        return against::run(args);
    }
    let budget =
        || confirm::budget(args).map(|_| if args.until_clear { "--until-clear" } else { "--budget" }.into());
    if let Some(flag) = args.judge.first_given().or_else(budget) {
        bail!("{flag}: needs a comparison: give its baseline with --against");
    }
    let mut flags = args.measure.keys();
    let mut selection = Selection::default();
    let engines_args = &args.measure.setup.engines;
    let (settings, destination, engines) = match &args.resume {
        Some(dir) => {
            let earlier = open_earlier(dir, args.sweep.as_deref(), args.allow_mixed)?;
            selection = Selection::take(&mut flags, &earlier.settings);
            let engines = engines_args.read_or_of_run(dir, earlier.engines_file.as_ref())?;
            (earlier.settings, earlier.destination, engines)
        }
        None => {
            let (settings, name) = read_settings(args.sweep.as_deref())?;
            let name = match args.shard {
                Some(share) => format!("{name}-{}of{}", share.index(), share.count()),
                None => name,
            };
            let dir = args.out.clone().unwrap_or_else(|| default_dir(&name));
            (settings, Destination::New { dir, shard: args.shard }, engines_args.read()?)
        }
    };
    let mut variant = Variant::resolve(&flags.over(settings), engines)?;
    let chosen = selection.words();
    variant.sweep.select(selection)?;
    ensure!(
        args.shard.is_none() || variant.sweep.isolation != Isolation::Turn,
        "--shard: engines that take turns must run on one machine: use --isolation engine or cell"
    );
    if args.list {
        for unchecked in harness::check_options(&variant)? {
            sources::note(unchecked);
        }
        let done = match &destination {
            Destination::Earlier { folder, .. } => Some(folder),
            Destination::New { .. } => None,
        };
        for Output { format, file } in args.judge.outputs() {
            let format =
                result_format(format).context("--format: a list is terminal, markdown, csv or json")?;
            list(&variant, done, format, file.as_deref())?;
        }
        return Ok(ExitStatus::Done);
    }
    let format = table_format(args.judge.given_outputs())?;
    if let Some(cell) = args.profile {
        return profile::run(variant, cell);
    }
    prepare_history(&args.history)?;
    let mut session = begin(vec![(variant, destination)], &args.measure)?;
    let more: Vec<String> = args.history.words().into_iter().chain(chosen).collect();
    let again = |folders: &[RunFolder]| resume_command(folders[0].dir(), &args.measure, &more);
    let status = measure(&mut session, args.measure.watch, format, &again)?;
    if status != ExitStatus::Interrupted {
        let dir = session.folders()[0].dir();
        printer::line(&results_line(dir));
        keep_history(&args.history, dir)?;
    }
    Ok(status)
}
