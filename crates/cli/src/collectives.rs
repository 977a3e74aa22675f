//! Estimates the time of collectives: published latencies minus those of one rank measured alone.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use audit::Work;
use llama::LlamaConfig;
use protocol::CellSize;
use report::CollectivesLeft;
use results::hardware::Hardware;
use results::{Heading, PublishedFile, ResultTable};

/// Estimates the time of collectives for each table of one rank, from `file` or the built-in published tables. Empty if there is no such
/// table, or no published one for its model.
///
/// # Errors
/// Fails if `file` can't be read or lacks a table for one of them.
pub(crate) fn left_for_collectives(tables: &[ResultTable<'_>], file: Option<&Path>) -> Result<String> {
    let of_one_rank = tables.iter().filter_map(|table| {
        let heading = table.heading.as_ref().ok()?;
        heading.one_rank_of.is_some().then_some((table, heading))
    });
    let of_one_rank: Vec<_> = of_one_rank.collect();
    if of_one_rank.is_empty() {
        ensure!(file.is_none(), "--published: only for runs of --one-rank, and there is none");
        return Ok(String::new());
    }
    let published = file.map_or_else(|| Ok(PublishedFile::built_in()), PublishedFile::read)?;
    let published = published.tables();
    let mut text = String::new();
    for (table, here) in of_one_rank {
        let Some((there, heading)) = CollectivesLeft::find_published(&published, here) else {
            if let Some(file) = file {
                bail!("--published: {} has no table of all ranks of \"{}\"", file.display(), table.title);
            }
            continue;
        };
        let least = least_of_sums(heading);
        let mut left = CollectivesLeft::new(there, table, least);
        left.notes.push(
            "\"left\" is the published latency minus that of rank 0 alone: all-reduces, and waiting for the slowest rank; \
             \"at least\" is the time of a ring all-reduce over NVLink, by bandwidth only"
                .into(),
        );
        left.notes.extend(other_device(heading, here));
        text.push_str(&left.to_markdown());
    }
    Ok(text)
}

/// The least seconds of the all-reduces of a cell's prefill and of a decode forward, on the devices of `heading`.
fn least_of_sums(heading: &Heading) -> impl Fn(CellSize) -> Option<[f64; 2]> {
    let named = llama::NAMED_MODELS.iter().find(|(name, _)| *name == heading.model);
    let config = named.and_then(|(name, text)| LlamaConfig::parse(text, name).ok());
    let peaks = Hardware::built_in().peaks(heading).ok();
    let (precision, count) = (heading.precision, heading.count);
    move |CellSize { batch_size, prompt_length }| {
        // The bytes sent do not depend on how many tokens are generated.
        let sizes = [batch_size, prompt_length, 1].map(u64::from);
        Work::new(config.as_ref()?, precision.precision()?, count, sizes).ok()?.sums_seconds(peaks.as_ref()?)
    }
}

/// Explains what another device than the published one does to the difference.
fn other_device(there: &Heading, here: &Heading) -> Option<String> {
    if there.device == here.device {
        return None;
    }
    let hardware = Hardware::built_in();
    let peaks = hardware.peaks(there).ok().zip(hardware.peaks(here).ok()).and_then(|(theirs, ours)| {
        let bandwidth = ours.bandwidth_bytes_per_second?.value / theirs.bandwidth_bytes_per_second?.value;
        Some((bandwidth, ours.flops?.value / theirs.flops?.value))
    });
    let devices = format!("rank 0 was measured on {}, the published ranks on {}", here.device, there.device);
    Some(match peaks {
        Some((bandwidth, flops)) if bandwidth >= 1.0 && flops >= 1.0 => format!(
            "{devices}, which are slower (peaks here / there: bandwidth {bandwidth:.2}, FLOP/s {flops:.2}), so \
             collectives take less than \"left\"; nothing is scaled"
        ),
        _ => format!("{devices}: \"left\" includes the difference between the devices; nothing is scaled"),
    })
}
