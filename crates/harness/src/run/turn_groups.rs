//! Groups of engines that are loaded together and take turns: as many as fit into memory.

use std::collections::BTreeMap;

use machine::available_memory;
use machine::gpu::Gpus;
use protocol::Device;

use crate::run::variant_run::VariantRun;
use crate::{Cell, Isolation, format_bytes};

/// Memory of a process beside the model: its program, libraries and their pools.
const PROCESS_BYTES: u64 = 512 << 20;
/// Allowance of an estimate in percent, since engines hold copies of some weights.
const ALLOWANCE_PERCENT: u64 = 10;

/// Model, side and engine.
type Member = (String, usize, String);

/// The group of each engine, by model and side. The engines of a group are loaded at the same time. Without turns there is only one
/// group, which has no meaning.
#[derive(Debug, Default)]
pub(crate) struct TurnGroups {
    groups: BTreeMap<Member, usize>,
    /// The error of an engine that failed while the others were loaded.
    failures: BTreeMap<Member, String>,
    /// Bytes that were free on the device.
    available: u64,
}

impl TurnGroups {
    /// Groups the engines of a session's cells.
    pub(crate) fn new(runs: &[VariantRun<'_>], cells: &[(usize, Cell<'_>)]) -> Self {
        let sweep = &runs[0].variant.sweep;
        if sweep.isolation != Isolation::Turn {
            return Self::default();
        }
        let available = available(sweep.setup.device).unwrap_or(u64::MAX);
        let mut groups = BTreeMap::new();
        for model in &sweep.models {
            let mut needs: Vec<(Member, u64)> = Vec::new();
            for (side, cell) in cells.iter().filter(|(_, cell)| cell.model.label == model.label) {
                let need = bytes(&runs[*side], cell);
                let member = member(*side, cell);
                match needs.iter_mut().find(|(known, _)| *known == member) {
                    Some((_, most)) => *most = need.max(*most),
                    None => needs.push((member, need)),
                }
            }
            let bytes: Vec<u64> = needs.iter().map(|(_, bytes)| *bytes).collect();
            groups.extend(needs.into_iter().map(|(member, _)| member).zip(fill(&bytes, available)));
        }
        Self { groups, failures: BTreeMap::new(), available }
    }

    /// The group in which a cell is measured.
    pub(crate) fn group_index(&self, side: usize, cell: &Cell<'_>) -> usize {
        self.of_engine(&cell.model.label, side, cell.engine)
    }

    /// The group of an engine of `side`.
    pub(crate) fn of_engine(&self, model: &str, side: usize, engine: &str) -> usize {
        self.groups.get(&(model.to_owned(), side, engine.to_owned())).copied().unwrap_or(0)
    }

    /// Moves the cell's engine to a group of its own, measured after the others; `why` is its error while they were loaded.
    pub(crate) fn set_apart(&mut self, side: usize, cell: &Cell<'_>, why: &str) {
        let last = self.groups.values().max().copied().unwrap_or(0);
        self.groups.insert(member(side, cell), last + 1);
        self.failures.insert(member(side, cell), why.to_owned());
    }

    /// The note on a cell whose engine does not take turns with all others.
    pub(crate) fn note(&self, side: usize, cell: &Cell<'_>) -> Option<String> {
        let own = self.group_index(side, cell);
        let is_apart =
            |((model, ..), group): &(&Member, &usize)| *model == cell.model.label && **group != own;
        let others: Vec<&Member> = self.groups.iter().filter(is_apart).map(|(member, _)| member).collect();
        let failed = |of: &Member| Some((of.2.clone(), self.failures.get(of)?));
        let failure = failed(&member(side, cell)).or_else(|| others.iter().find_map(|other| failed(other)));
        let why = match failure {
            Some((engine, error)) => format!("{engine} failed while the others were loaded: {error}"),
            None => format!("they do not fit into {} of memory together", format_bytes(self.available)),
        };
        let names: Vec<&str> = others.iter().map(|(_, _, engine)| engine.as_str()).collect();
        (!names.is_empty()).then(|| format!("did not take turns with {}: {why}", names.join(", ")))
    }
}

fn member(side: usize, cell: &Cell<'_>) -> Member {
    (cell.model.label.clone(), side, cell.engine.to_owned())
}

/// Memory that a cell's worker needs, with all its ranks.
fn bytes(run: &VariantRun<'_>, cell: &Cell<'_>) -> u64 {
    let sweep = &run.variant.sweep;
    let need = cell.memory_need(sweep).total();
    let rank = (need + need / 100 * ALLOWANCE_PERCENT).saturating_add(PROCESS_BYTES);
    rank.saturating_mul(sweep.setup.processes().world_size.into())
}

/// Free memory of `device`; `None` where it is not known.
fn available(device: Device) -> Option<u64> {
    let Device::Cuda(index) = device else { return available_memory() };
    let gpus = Gpus::find().ok()?;
    let total = gpus.facts().get(index as usize)?.memory_bytes;
    Some(total.saturating_sub(gpus.watch(device)?.used_bytes()?))
}

/// Puts each engine into the first group with room for it. An engine that needs more than there is gets a group of its own.
fn fill(needs: &[u64], available: u64) -> Vec<usize> {
    let mut left: Vec<u64> = Vec::new();
    let mut place = |need: u64| match left.iter().position(|left| *left >= need) {
        Some(group) => {
            left[group] -= need;
            group
        }
        None => {
            left.push(available.saturating_sub(need));
            left.len() - 1
        }
    };
    needs.iter().map(|need| place(*need)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_share_a_group_as_far_as_memory_allows() {
        assert_eq!(fill(&[4, 4, 4], 12), [0, 0, 0]);
        assert_eq!(fill(&[4, 4, 4], 11), [0, 0, 1]);
        assert_eq!(fill(&[8, 4, 3, 4], 11), [0, 1, 0, 1]);
        assert_eq!(fill(&[20, 4, 20], 11), [0, 1, 2], "what fits nowhere is alone");
        assert_eq!(fill(&[], 11), [0usize; 0]);
    }
}
