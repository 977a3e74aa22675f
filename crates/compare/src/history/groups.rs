//! Groups runs into series of one table, machine and procedure with cells in common, and names what keeps groups apart.

use std::collections::BTreeSet;

use indexmap::{IndexMap, IndexSet};
use protocol::CellSize;
use results::{Heading, Metric};

use super::Entry;

/// A metric of a cell: engine, metric and size.
type CellMetric<'a> = (&'a str, Metric, CellSize);

/// Runs that make one series.
pub(super) struct RunGroup<'a> {
    pub(super) heading: &'a str,
    /// Each with its place among the entries.
    pub(super) members: Vec<(usize, &'a Entry)>,
    /// The cells that all of them measured; never empty.
    shared: BTreeSet<CellMetric<'a>>,
}

/// Groups entries in the order of `places`, that of time; those that measured nothing are in none.
pub(super) fn groups<'a>(entries: &'a [Entry], places: &[usize]) -> Vec<RunGroup<'a>> {
    let mut groups: Vec<RunGroup<'_>> = Vec::new();
    for (place, entry) in places.iter().map(|place| (*place, &entries[*place])) {
        for table in entry.tables() {
            let heading = table.heading.as_str();
            let measured: BTreeSet<CellMetric<'_>> = measured(entry, heading).collect();
            let is_of = |group: &&mut RunGroup<'_>| {
                let first = group.members[0].1;
                group.heading == heading
                    && (&first.machine, &first.procedure) == (&entry.machine, &entry.procedure)
                    && !group.shared.is_disjoint(&measured)
            };
            if let Some(group) = groups.iter_mut().find(is_of) {
                group.shared.retain(|cell| measured.contains(cell));
                group.members.push((place, entry));
            } else if !measured.is_empty() {
                groups.push(RunGroup { heading, members: vec![(place, entry)], shared: measured });
            }
        }
    }
    groups
}

fn measured<'a>(entry: &'a Entry, heading: &'a str) -> impl Iterator<Item = CellMetric<'a>> {
    let cells =
        entry.tables().iter().filter(move |table| table.heading == heading).flat_map(|table| &table.cells);
    cells.flat_map(|cell| {
        let metrics = cell.replicates.iter().filter(|(_, figures)| !figures.is_empty());
        metrics.filter_map(|(metric, _)| Some((cell.engine.as_str(), metric.parse().ok()?, cell.size())))
    })
}

/// The keys in which groups differ, each with its value in every group; empty for a single group.
pub(super) fn differences(groups: &[RunGroup<'_>]) -> Vec<(String, Vec<String>)> {
    let mut keys: IndexMap<String, Vec<Option<String>>> = IndexMap::new();
    for (at, group) in groups.iter().enumerate() {
        let mut set = |key: &str, value: String| {
            keys.entry(key.to_owned()).or_insert_with(|| vec![None; groups.len()])[at] = Some(value);
        };
        let first = group.members[0].1;
        match Heading::parse(group.heading) {
            Ok(heading) => {
                set("precision", heading.precision.to_string());
                set("model", heading.model);
                set("device name", heading.device);
            }
            Err(_) => set("table", group.heading.to_owned()),
        }
        set("machine", first.machine.clone());
        first.procedure.iter().for_each(|(key, value)| set(key, value.trim_matches('"').to_owned()));
        let engines: IndexSet<&str> = group.shared.iter().map(|cell| cell.0).collect();
        set("engines", engines.into_iter().collect::<Vec<_>>().join(", "));
        let sizes: BTreeSet<CellSize> = group.shared.iter().map(|cell| cell.2).collect();
        set("sizes", sizes.iter().map(CellSize::to_string).collect::<Vec<_>>().join(", "));
    }
    keys.retain(|_, values| values.iter().any(|value| *value != values[0]));
    let word = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    keys.into_iter().map(|(key, values)| (key, values.into_iter().map(word).collect())).collect()
}
