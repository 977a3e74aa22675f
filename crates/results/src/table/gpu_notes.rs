//! What is to be said of a cell's GPU.

use std::collections::BTreeMap;

use protocol::{DeviceSeconds, Measurement, Throttle};

use super::NoteKind;

/// The host's clock and the GPU's may differ by this share.
const CLOCKS_AGREE: f64 = 0.05;

/// Where clocks were held down, where a cell was measured again for that, where the host's clock and the GPU's disagree, and where a worker's memory was not given
/// back: one line each.
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
    // The power limit is how a GPU in order ends its boost: the lowest clock says how far.
    let words: Vec<String> = shares
        .into_iter()
        .map(|(reason, share)| format!("{} ({:.0} % of the time)", reason.words(), 100.0 * share))
        .collect();
    (!words.is_empty()).then(|| format!("clocks were held down: {}", words.join(", ")))
}

/// Tries that were thrown away because the GPU throttled: the figures are of a later one.
fn measured_again(replicates: &[Measurement]) -> Option<String> {
    let tries = replicates.iter().filter_map(|record| Some(record.gpu.as_ref()?.throttled_tries));
    let most = tries.max().filter(|tries| *tries > 0)?;
    let tries = if most == 1 { "1 earlier try".to_owned() } else { format!("{most} earlier tries") };
    Some(format!(
        "measured again after {tries} in which the GPU throttled for a reason other than its power limit"
    ))
}

/// Forwards that took another time by CUDA's events than by the host's clock, which the figures are of.
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
            format!("{what} took {:.1} % of their time by the GPU's own clock", 100.0 * device / host)
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
    (left > 0)
        .then(|| format!("{gib:.2} GiB of the GPU's memory were not given back when the worker had ended"))
}
