//! Notes on a machine that was busy while it measured.

use protocol::{Environment, MachineLoad};

use super::row::Row;
use crate::counted;

/// The largest share of CPU time that other processes may use without a note. A tenth of two cores is a fifth of one: idle shells,
/// browsers and metrics agents use less, and it slows a forward that all cores share.
const BUSY: f64 = 0.10;
/// The largest share of CPU time that other guests may take.
const STOLEN: f64 = 0.01;
/// The largest share of time in which a task may wait for memory to be freed or read back. It is 0 unless memory is short.
const WAITED_FOR_MEMORY: f64 = 0.05;
/// CPU seconds below which a share says nothing: the kernel counts in hundredths.
const LEAST_SECONDS: f64 = 0.1;

/// A share of the machine that is compared with a limit.
struct MachineLoadLimit {
    /// What exceeded the limit.
    what: &'static str,
    limit: f64,
    share: fn(&MachineLoad) -> Option<f64>,
}

/// The first is that of other processes. CPU pressure is not among them: a worker with as many threads as cores causes it by itself.
const MEASURES: [MachineLoadLimit; 3] = [
    MachineLoadLimit {
        what: "other processes used more than 10 % of CPU time",
        limit: BUSY,
        share: |load| load.other_share.filter(|share| share * processor_seconds(load) >= LEAST_SECONDS),
    },
    MachineLoadLimit {
        what: "the hypervisor took more than 1 % of CPU time (steal)",
        limit: STOLEN,
        share: |load| load.steal_share.filter(|share| share * processor_seconds(load) >= LEAST_SECONDS),
    },
    MachineLoadLimit {
        what: "processes waited for memory more than 5 % of the time",
        limit: WAITED_FOR_MEMORY,
        share: |load| load.memory_pressure.filter(|share| share * load.seconds >= LEAST_SECONDS),
    },
];

fn processor_seconds(load: &MachineLoad) -> f64 {
    load.seconds * f64::from(load.processors)
}

/// What else kept the machine busy, in words; empty where nothing did. The notes of a table use the same limits.
pub fn busy_machine_words(load: &MachineLoad) -> Vec<String> {
    let words = |measure: &MachineLoadLimit| {
        let share = (measure.share)(load).filter(|share| *share > measure.limit)?;
        Some(format!("{}: {:.0} %", measure.what, 100.0 * share))
    };
    MEASURES.iter().filter_map(words).collect()
}

/// The share of CPU time that other processes used, where it is above the limit.
pub fn share_used_by_others(load: &MachineLoad) -> Option<f64> {
    let [MachineLoadLimit { limit, share, .. }, ..] = &MEASURES;
    share(load).filter(|share| share > limit)
}

/// Cells and peaks that were measured on a busy machine: a line for each limit.
pub(super) fn busy_machine(rows: &[Row], environments: &[Environment], heading_part: u32) -> Vec<String> {
    let part = (heading_part as usize).checked_sub(1).and_then(|part| environments.get(part));
    let peaks = part.and_then(|environment| environment.peaks.as_ref()?.machine_load.as_ref());
    let measured = rows.iter().filter(|row| row.figures.is_some()).count();
    let mut notes = Vec::new();
    for MachineLoadLimit { what, limit, share } in MEASURES {
        let worst_of = |row: &Row| {
            let loads = row.replicates.iter().filter_map(|record| record.machine_load.as_ref());
            loads.filter_map(share).filter(|share| *share > limit).reduce(f64::max)
        };
        let of_measured = rows.iter().filter(|row| row.figures.is_some());
        let busy: Vec<(f64, &Row)> = of_measured.filter_map(|row| Some((worst_of(row)?, row))).collect();
        if let Some((most, row)) = busy.iter().max_by(|one, other| one.0.total_cmp(&other.0)) {
            notes.push(format!(
                "busy machine: {what} in {} of {} (worst: {:.0} % in {} {})",
                busy.len(),
                counted(measured, "cell"),
                100.0 * most,
                row.key.engine,
                row.key.size(),
            ));
        }
        if let Some(share) = peaks.and_then(share).filter(|share| *share > limit) {
            notes.push(format!(
                "busy machine: {what} while peaks were measured ({:.0} %): percentages of peak may be too high",
                100.0 * share
            ));
        }
    }
    notes
}
