//! Notes on the GPU of a cell.

use std::collections::BTreeMap;

use protocol::{DeviceSeconds, Measurement, Throttle};

use super::NoteKind;
use crate::counted;

/// The host's clock and the GPU's may differ by this share.
const CLOCKS_AGREE: f64 = 0.05;

/// Throttled clocks, repeated measurements, clocks of host and GPU that disagree, and memory that a worker did not free: one line each.
pub(super) fn notes(replicates: &[Measurement]) -> Vec<(NoteKind, String)> {
    let clocks = clocks(replicates).into_iter().map(|text| (NoteKind::ClocksDisagree, text));
    let throttled = throttled(replicates).map(|text| (NoteKind::Throttled, text));
    let measured_again = measured_again(replicates).map(|text| (NoteKind::MeasuredAgain, text));
    let left = left(replicates).map(|text| (NoteKind::MemoryLeft, text));
    throttled.into_iter().chain(measured_again).chain(clocks).chain(left).collect()
}

fn throttled(replicates: &[Measurement]) -> Option<String> {
    let mut shares: BTreeMap<Throttle, f64> = BTreeMap::new();
    for gpu in replicates.iter().filter_map(|record| record.gpu.as_ref()) {
        for (reason, share) in gpu.unusual_throttling() {
            let most = shares.entry(reason).or_default();
            *most = most.max(share);
        }
    }
    // The power limit ends every GPU's boost: the lowest clock says how far.
    let words: Vec<String> = shares
        .into_iter()
        .map(|(reason, share)| format!("{} ({:.0} % of the time)", reason.words(), 100.0 * share))
        .collect();
    (!words.is_empty()).then(|| format!("GPU clocks throttled: {}", words.join(", ")))
}

/// Attempts that were discarded because the GPU throttled: the figures come from a later one.
fn measured_again(replicates: &[Measurement]) -> Option<String> {
    let tries = replicates.iter().filter_map(|record| Some(record.gpu.as_ref()?.throttled_tries));
    let most = tries.max().filter(|tries| *tries > 0)?;
    let attempts = counted(most as usize, "earlier attempt");
    Some(format!("measured again: the GPU throttled in {attempts}, and not because of its power limit"))
}

/// Forwards whose time by CUDA events differs from that by the host clock, which the figures use.
fn clocks(replicates: &[Measurement]) -> Vec<String> {
    let pairs = replicates
        .iter()
        .filter_map(|record| Some((record.series()?, record.series()?.device_seconds.as_ref()?)));
    let [mut prompts, mut tokens] = [[0.0; 2]; 2];
    for (series, DeviceSeconds { prompt, tokens: on_device }) in pairs {
        add(&mut prompts, &series.prompt_seconds, prompt);
        for (generation, on_device) in series.generations.iter().zip(on_device) {
            add(&mut tokens, &generation.token_seconds, on_device);
        }
    }
    [("prefills", prompts), ("decode forwards", tokens)]
        .into_iter()
        .filter(|(_, [host, device])| *host > 0.0 && (device / host - 1.0).abs() > CLOCKS_AGREE)
        .map(|(what, [host, device])| {
            format!("{what}: CUDA events measure {:.1} % of the host clock's time", 100.0 * device / host)
        })
        .collect()
}

fn add([host, device]: &mut [f64; 2], by_host: &[f64], by_device: &[f64]) {
    *host += by_host.iter().sum::<f64>();
    *device += by_device.iter().sum::<f64>();
}

fn left(replicates: &[Measurement]) -> Option<String> {
    let left = replicates.iter().filter_map(|record| record.gpu.as_ref()?.left_bytes).max().unwrap_or(0);
    let gib = left as f64 / f64::from(1 << 30);
    (left > 0).then(|| format!("{gib:.2} GiB of GPU memory were not freed when the worker ended"))
}
