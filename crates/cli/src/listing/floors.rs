//! The least work of each rank in a forward, and the least time that it takes on known devices.

use audit::Work;
use harness::{Cell, Sweep, format_bytes, plan};
use protocol::{Device, Precision};
use results::hardware::{Hardware, Peaks};
use results::screen::ScreenTable;
use results::{DeviceKind, Heading, format_short};

use super::{SIZES, sizes};

/// The devices for which floors are listed: those that hold a part of 70B.
const DEVICES: [&str; 3] = ["A100 80GB", "H100 80GB", "H200 141GB"];

/// A table below the list.
pub(super) struct Floors {
    pub(super) title: String,
    pub(super) table: ScreenTable,
    /// What its columns are.
    pub(super) note: String,
}

/// Two tables: the work of each rank, or of the single rank that is measured; and, for sweeps on GPUs, the floors.
pub(super) fn of_ranks(sweep: &Sweep) -> Vec<Floors> {
    let setup = &sweep.setup;
    let (ranks, is_alone) = (setup.ranks.world_size, setup.one_rank);
    let (mut work_rows, mut floor_rows) = (Vec::new(), Vec::new());
    let hardware = Hardware::built_in();
    let count = if is_alone { 1 } else { ranks };
    for cell in plan(sweep) {
        let Cell { model, batch_size, prompt_length, .. } = cell;
        let lengths = [batch_size, prompt_length, sweep.generation_length].map(u64::from);
        let work = |ranks| Work::new(&model.config, model.precision, ranks, lengths);
        let work_here = if is_alone {
            Work::of_first_rank(&model.config, model.precision, ranks, lengths)
        } else {
            work(ranks)
        };
        let (Ok(work), Ok(whole)) = (work_here, work(1)) else { continue };
        let shares = [work.prompt.flops / whole.prompt.flops, work.token.read_bytes / whole.token.read_bytes];
        let mut row = sizes(sweep, &cell, None).to_vec();
        for (step, share) in [work.prompt, work.token].into_iter().zip(shares) {
            let [read, sent] =
                [step.read_bytes, step.all_reduce_bytes].map(|bytes| format_bytes(bytes as u64));
            let last = if is_alone { format!("{share:.3}") } else { sent };
            row.extend([read, format!("{:.3e}", step.flops), last]);
        }
        // Engines do the same work.
        if work_rows.contains(&row) {
            continue;
        }
        work_rows.push(row);
        let floors = DEVICES.iter().flat_map(|device| {
            let floor = peaks(&hardware, model.precision, device, count).and_then(|peaks| work.floor(&peaks));
            let milliseconds = |seconds: f64| format_short(seconds * 1e3);
            match floor {
                Some(floor) => [floor.prompt_seconds, floor.token_seconds].map(milliseconds),
                None => ["unknown", "unknown"].map(str::to_owned),
            }
        });
        floor_rows.push(sizes(sweep, &cell, None).into_iter().chain(floors).collect());
    }
    let (title, last, note) = if is_alone {
        let share =
            "share: of the whole model's operations in a prefill, and of its bytes in a decode forward";
        (format!("Least work of rank 0 of {ranks} alone"), "share", share)
    } else {
        let sent = "sent: bytes that the rank gives to all-reduces";
        (format!("Least work of each of {ranks} ranks"), "sent", sent)
    };
    let columns = [
        ("prefill: read", 1, false),
        ("FLOP", 0, false),
        (last, 0, false),
        ("decode: read", 0, false),
        ("FLOP", 1, false),
        (last, 0, false),
    ];
    let work = Floors {
        title,
        table: ScreenTable::new(&[&SIZES[..], &columns].concat(), work_rows),
        note: format!("decode: a forward, as the mean of {}; {note}", sweep.generation_length),
    };
    if setup.device == Device::Cpu {
        return vec![work];
    }
    let heads = DEVICES.map(|device| format!("{device}: prefill ms"));
    // Narrow screens have the first two devices.
    let columns = heads
        .iter()
        .zip([0, 0, 1])
        .flat_map(|(head, rank)| [(&**head, rank, false), ("decode ms", rank, false)]);
    let columns: Vec<_> = SIZES.into_iter().chain(columns).collect();
    let sending = if is_alone { "" } else { ", and then sending over NVLink" };
    let floors = Floors {
        title: if is_alone { "Floors on one GPU".into() } else { format!("Floors on {ranks} GPUs") },
        table: ScreenTable::new(&columns, floor_rows),
        note: format!("floor: the longer of reading and computing at the device's peaks{sending}"),
    };
    vec![work, floors]
}

fn peaks(hardware: &Hardware, precision: Precision, device: &str, count: u32) -> Option<Peaks> {
    let heading = Heading {
        model: String::new(),
        precision: precision.into(),
        kind: DeviceKind::Cuda,
        count,
        cpu_ranks: 1,
        device: device.into(),
        cores: None,
        one_rank_of: None,
    };
    hardware.peaks(&heading).ok()
}
