//! Figures that were taken while the machine did something else.

use protocol::{Environment, MachineLoad};

use super::row::Row;

/// Processor time of other processes that is named, as a share of what the processors had. A tenth of two cores is a fifth of one: what a
/// shell, a browser or a metrics agent that rests does not use, and what slows a forward that all cores share.
const BUSY: f64 = 0.10;
/// Processor time that other guests took.
const STOLEN: f64 = 0.01;
/// Time in which some task waited for memory to be freed or read back. Without such a want it is 0.
const WAITED_FOR_MEMORY: f64 = 0.05;
/// Less than this, in seconds of one processor, says nothing: the kernel counts in hundredths.
const LEAST_SECONDS: f64 = 0.1;

/// One of the things that are held against a limit.
struct Measure {
    /// What was so, with the limit's place after it.
    what: &'static str,
    limit: f64,
    share: fn(&MachineLoad) -> Option<f64>,
}

/// The first is of other processes. Pressure on the processor is not among them: a worker with as many threads as there are cores makes it by itself.
const MEASURES: [Measure; 3] = [
    Measure {
        what: "other processes used more than 10 % of the processors' time",
        limit: BUSY,
        share: |load| load.other_share.filter(|share| share * processor_seconds(load) >= LEAST_SECONDS),
    },
    Measure {
        what: "the hypervisor gave more than 1 % of the processors' time to others (steal)",
        limit: STOLEN,
        share: |load| load.steal_share.filter(|share| share * processor_seconds(load) >= LEAST_SECONDS),
    },
    Measure {
        what: "programs waited for memory more than 5 % of the time",
        limit: WAITED_FOR_MEMORY,
        share: |load| load.memory_pressure.filter(|share| share * load.seconds >= LEAST_SECONDS),
    },
];

fn processor_seconds(load: &MachineLoad) -> f64 {
    load.seconds * f64::from(load.processors)
}

/// In words, how a machine was busy with other things than measuring; empty where it was not. A table's notes hold cells against the same
/// limits.
pub fn busy_machine_words(load: &MachineLoad) -> Vec<String> {
    let words = |measure: &Measure| {
        let share = (measure.share)(load).filter(|share| *share > measure.limit)?;
        Some(format!("{}: {:.0} %", measure.what, 100.0 * share))
    };
    MEASURES.iter().filter_map(words).collect()
}

/// The share of the processors' time that other processes used, where that is more than a measurement bears.
pub fn share_used_by_others(load: &MachineLoad) -> Option<f64> {
    let [Measure { limit, share, .. }, ..] = &MEASURES;
    share(load).filter(|share| share > limit)
}

/// Cells that were measured on a busy machine, and the peaks that were: a line each.
pub(super) fn busy_machine(rows: &[Row], environments: &[Environment], heading_part: u32) -> Vec<String> {
    let part = (heading_part as usize).checked_sub(1).and_then(|part| environments.get(part));
    let peaks = part.and_then(|environment| environment.peaks.as_ref()?.machine_load.as_ref());
    let measured = rows.iter().filter(|row| row.figures.is_some()).count();
    let mut notes = Vec::new();
    for Measure { what, limit, share } in MEASURES {
        let worst_of = |row: &Row| {
            let loads = row.replicates.iter().filter_map(|record| record.machine_load.as_ref());
            loads.filter_map(share).filter(|share| *share > limit).reduce(f64::max)
        };
        let of_measured = rows.iter().filter(|row| row.figures.is_some());
        let busy: Vec<(f64, &Row)> = of_measured.filter_map(|row| Some((worst_of(row)?, row))).collect();
        if let Some((most, row)) = busy.iter().max_by(|one, other| one.0.total_cmp(&other.0)) {
            notes.push(format!(
                "busy machine: {what} in {} of {measured} cells; most in {} {}: {:.0} %",
                busy.len(),
                row.key.engine,
                row.key.size(),
                100.0 * most
            ));
        }
        if let Some(share) = peaks.and_then(share).filter(|share| *share > limit) {
            notes.push(format!(
                "busy machine: {what} while the peaks were measured: {:.0} %; shares of them may be too high",
                100.0 * share
            ));
        }
    }
    notes
}
