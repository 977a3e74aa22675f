//! A busy machine is named under the table.

mod measured;

use measured::{environment, measured, texts};
use protocol::{Device, MachineLoad, MeasuredPeaks, Measurement};
use results::{NoteKind, NoteSeverity, tables};

const IDLE: MachineLoad = MachineLoad {
    seconds: 2.0,
    processors: 2,
    own_share: Some(0.9),
    other_share: Some(0.01),
    steal_share: Some(0.0),
    load_average: Some(2.0),
    cpu_pressure: Some(0.6),
    memory_pressure: Some(0.0),
    io_pressure: Some(0.0),
};

fn cell(batch_size: u32, load: MachineLoad) -> Measurement {
    Measurement { machine_load: Some(load), ..measured("onnxruntime", batch_size, 16, 256) }
}

fn notes(records: &[Measurement], peaks: Option<MachineLoad>) -> Vec<String> {
    let peaks = MeasuredPeaks { machine_load: peaks, ..MeasuredPeaks::best(Device::Cpu, []) };
    let mut environment = environment();
    environment.peaks = Some(peaks);
    let tables = tables(records.to_vec(), &[], &[environment]);
    let busy = tables[0].notes.iter().filter(|note| note.kind == NoteKind::BusyMachine);
    assert!(busy.clone().all(|note| note.severity == NoteSeverity::Caveat));
    texts(&tables[0]).into_iter().filter(|text| text.starts_with("busy machine: ")).collect()
}

#[test]
fn an_idle_machine_is_not_named_nor_is_pressure_that_a_worker_makes_itself() {
    assert_eq!(notes(&[cell(1, IDLE), cell(4, IDLE)], Some(IDLE)), Vec::<String>::new());
    // Records of earlier versions.
    assert_eq!(notes(&[measured("onnxruntime", 1, 16, 256)], None), Vec::<String>::new());
    // A hundredth of a second of another process says nothing of a cell of milliseconds.
    let short = MachineLoad { seconds: 0.02, other_share: Some(0.25), ..IDLE };
    assert_eq!(notes(&[cell(1, short)], None), Vec::<String>::new());
}

#[test]
fn a_busy_machine_is_named_with_its_worst_cell() {
    let other = |share| MachineLoad { other_share: Some(share), ..IDLE };
    assert_eq!(
        notes(&[cell(1, other(0.2)), cell(4, other(0.505)), cell(8, IDLE)], None),
        [
            "busy machine: other processes used more than 10 % of CPU time in 2 of 3 cells (worst: 50 % in onnxruntime 4×16)"
        ]
    );
    let worse = MachineLoad { steal_share: Some(0.03), memory_pressure: Some(0.4), ..IDLE };
    assert_eq!(
        notes(&[cell(1, worse)], None),
        [
            "busy machine: the hypervisor took more than 1 % of CPU time (steal) in 1 of 1 cell (worst: 3 % in onnxruntime 1×16)",
            "busy machine: processes waited for memory more than 5 % of the time in 1 of 1 cell (worst: 40 % in onnxruntime 1×16)"
        ]
    );
}

#[test]
fn peaks_of_a_busy_machine_are_named() {
    let peaks = MachineLoad { other_share: Some(0.484), ..IDLE };
    assert_eq!(
        notes(&[cell(1, IDLE)], Some(peaks)),
        [
            "busy machine: other processes used more than 10 % of CPU time while peaks were measured (48 %): percentages of peak may be too high"
        ]
    );
}
