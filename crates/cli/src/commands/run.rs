//! `run`: measure a sweep.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use harness::{Destination, Isolation, Selection, Sweep, Variant};
use results::RunFolder;

use crate::args::{Output, OutputFormat, ResultFormat, RunArgs};
use crate::commands::{against, confirm, profile};
use crate::exit_status::ExitStatus;
use crate::files::write_output;
use crate::format::shell_command;
use crate::html_report::PAGE;
use crate::listing::{Listing, in_table_order};
use crate::session::{begin, keep_history, measure, prepare_history, resume_command};
use crate::sweep_file::{default_dir, open_earlier, read_settings};
use crate::{printer, sources};

/// Prints the cells of a sweep in each requested format.
fn list(sweep: &Sweep, outputs: &[Output]) -> Result<ExitStatus> {
    let sweep = in_table_order(sweep);
    let listing = Listing::new(&sweep, None);
    for Output { format, file } in outputs {
        let text = match format {
            OutputFormat::Terminal => results::plain(&listing.terminal(printer::screen_width())),
            OutputFormat::Markdown => listing.markdown(),
            OutputFormat::Csv => listing.csv(),
            OutputFormat::Json => listing.json(),
            OutputFormat::Junit | OutputFormat::Github => {
                bail!("--format: a list is terminal, markdown, csv or json")
            }
        };
        match file {
            None => printer::result(&text)?,
            Some(path) => write_output(path, text.as_bytes()).with_context(|| path.display().to_string())?,
        }
    }
    Ok(ExitStatus::Done)
}

/// The format of the printed table; `None` for the default.
fn table_format(outputs: &[Output]) -> Result<Option<ResultFormat>> {
    Ok(Some(match outputs {
        [] => return Ok(None),
        [Output { format: OutputFormat::Terminal, file: None }] => ResultFormat::Terminal,
        [Output { format: OutputFormat::Markdown, file: None }] => ResultFormat::Markdown,
        [Output { format: OutputFormat::Csv, file: None }] => ResultFormat::Csv,
        [Output { format: OutputFormat::Json, file: None }] => ResultFormat::Json,
        _ => bail!(
            "--format: without --against, a run prints one table: terminal, markdown, csv or json (`llama2-bench table RUN` writes others)"
        ),
    }))
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
        return list(&variant.sweep, &args.judge.outputs());
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
