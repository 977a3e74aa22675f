//! `table`: print the tables of runs, and of files with published ones.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use audit::{Hardware, Work};
use llama::LlamaConfig;
use report::CollectivesLeft;
use results::Table;
use results::published::{self, Document, Heading};

use crate::args::{Format, TableArgs};
use crate::progress::screen_width;
use crate::source::{Source, read_file};
use crate::{Ending, printer};

pub(crate) fn run(args: &TableArgs) -> Result<Ending> {
    printer::result(&match read(&args.runs)? {
        Source::Run(tables) => {
            let left = match (&args.published, format(args.format)) {
                (None, Format::Csv | Format::Json) => String::new(),
                (Some(_), Format::Csv | Format::Json) => {
                    bail!("--published: expected --format markdown or terminal")
                }
                (file, _) => left_for_collectives(&tables, file.as_deref())?,
            };
            render(&tables, args.format) + &left
        }
        Source::File(_) if args.published.is_some() => {
            bail!("--published: expected runs of --one-rank, found a file")
        }
        Source::File(document) => match format(args.format) {
            Format::Markdown => published::markdown::write(&document),
            Format::Csv => published::csv::write(&document),
            Format::Json => published::json::write(&document),
            Format::Terminal => report::terminal::write_published(&document, screen_width()),
        },
    })?;
    Ok(Ending::Done)
}

/// What `file`, or the built-in published tables, leave for collectives, for each table of one rank alone. Empty where there is
/// none, or where nothing of its model is published.
///
/// # Errors
/// Where a `file` was given that can't be read or has no table for one of them.
pub(crate) fn left_for_collectives(tables: &[Table], file: Option<&Path>) -> Result<String> {
    let mut of_one_rank = tables.iter().filter(|table| table.one_rank_of.is_some()).peekable();
    if of_one_rank.peek().is_none() {
        ensure!(file.is_none(), "--published: no table here is of one rank alone (run --one-rank)");
        return Ok(String::new());
    }
    let document = file.map_or_else(|| Ok(published::built_in()), read_file)?;
    let mut text = String::new();
    for table in of_one_rank {
        let Some((there, heading)) = CollectivesLeft::find_published(&document, table) else {
            if let Some(file) = file {
                bail!("--published: {} has no table of the whole of \"{}\"", file.display(), table.heading);
            }
            continue;
        };
        let least = least_of_sums(&heading, table.generation_length);
        let mut left = CollectivesLeft::of(there, table, least);
        left.notes.push(
            "left is the published latency less that of rank 0 alone: the sums over ranks, and waiting for the slowest; \
             \"at least\" is a ring all-reduce over NVLink, bandwidth only"
                .into(),
        );
        left.notes.extend(Heading::parse(&table.heading).ok().and_then(|here| other_device(&heading, &here)));
        text.push_str(&left.to_markdown());
    }
    Ok(text)
}

/// The least seconds of the sums of a cell's prefill and of a decode forward, on the devices of `heading`.
fn least_of_sums(heading: &Heading, generation_length: u32) -> impl Fn(u32, u32) -> Option<[f64; 2]> {
    let named = harness::NAMED_MODELS.iter().find(|(name, _)| *name == heading.model);
    let config = named.and_then(|(name, text)| LlamaConfig::parse(text, name).ok());
    let ceilings = Hardware::built_in().ceilings(heading).ok();
    let (precision, count) = (heading.precision, heading.count);
    move |batch_size, prompt_length| {
        let sizes = [batch_size, prompt_length, generation_length].map(u64::from);
        Work::of(config.as_ref()?, precision, count, sizes).ok()?.sums_seconds(ceilings.as_ref()?)
    }
}

/// Where rank 0 was measured on another device than the published one: what that does to the difference.
fn other_device(there: &Heading, here: &Heading) -> Option<String> {
    if there.device == here.device {
        return None;
    }
    let hardware = Hardware::built_in();
    let peaks = hardware.ceilings(there).ok().zip(hardware.ceilings(here).ok()).and_then(|(theirs, ours)| {
        let bandwidth = ours.bandwidth_bytes_per_second?.value / theirs.bandwidth_bytes_per_second?.value;
        Some((bandwidth, ours.flops?.value / theirs.flops?.value))
    });
    let devices = format!("rank 0 was measured on {}, the published ranks on {}", here.device, there.device);
    Some(match peaks {
        Some((bandwidth, flops)) if bandwidth >= 1.0 && flops >= 1.0 => format!(
            "{devices}: its part takes longer there (peaks here / there: bandwidth {bandwidth:.2}, FLOP/s {flops:.2}), so \
             collectives take less than what is left; nothing is scaled"
        ),
        _ => format!("{devices}: what is left is also the difference between the devices; nothing is scaled"),
    })
}

/// The tables of runs and files as markdown.
pub(crate) fn markdown(paths: &[PathBuf]) -> Result<String> {
    Ok(match read(paths)? {
        Source::Run(tables) => report::markdown::write(&tables),
        Source::File(document) => published::markdown::write(&document),
    })
}

/// All of them as one: where a file is among them, runs are what they would be in a file.
fn read(paths: &[PathBuf]) -> Result<Source> {
    let sources = paths.iter().map(|path| Source::read(path)).collect::<Result<Vec<_>>>()?;
    if sources.iter().all(|source| matches!(source, Source::Run(_))) {
        let tables = sources.into_iter().filter_map(|source| match source {
            Source::Run(tables) => Some(tables),
            Source::File(_) => None,
        });
        return Ok(Source::Run(tables.flatten().collect()));
    }
    let documents = sources.into_iter().map(|source| match source {
        Source::Run(tables) => Document::from(&tables[..]),
        Source::File(document) => document,
    });
    Ok(Source::File(Document { pieces: documents.flat_map(|document| document.pieces).collect() }))
}

/// The tables of runs as text; without a format, for what stdout is.
pub(crate) fn render(tables: &[Table], given: Option<Format>) -> String {
    match format(given) {
        Format::Markdown => report::markdown::write(tables),
        Format::Csv => report::csv::write(tables),
        Format::Json => report::json::write(tables),
        Format::Terminal => report::terminal::write(tables, screen_width()),
    }
}

fn format(given: Option<Format>) -> Format {
    given.unwrap_or(if printer::is_screen() { Format::Terminal } else { Format::Markdown })
}
