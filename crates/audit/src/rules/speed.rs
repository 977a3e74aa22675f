//! Speeds that a device can have, but that few programs would reach, or leave so far behind.

use results::ResultRow;

use super::physics::{PROMPT_PAIRS, TOKEN_PAIRS, beyond, claims, sizes, times, worst};
use super::{Rule, large, short};
use crate::checked_table::CheckedTable;
use crate::{Finding, Severity};

/// A time is far above what the device needs where it is so many times as long: a figure in another unit is a thousand times off,
/// and the slowest honest way, weights that are fetched from the host's memory for each token, less than this.
const FAR: f64 = 100.0;
/// What a layer takes at least where launching its kernels is all that it waits for.
const LAYER_SECONDS: f64 = 0.1e-3;

pub(super) const FP32_ACCUMULATION: Rule = Rule {
    name: "fp32-accumulation",
    about: "where the device multiplies FP16 faster with sums in FP16, no forward is faster than with sums in FP32, as libraries \
            compute unless they are told otherwise",
    measure: "× the peak",
    check: |tables| super::each_row(tables, fp32_accumulation),
};

pub(super) const FAR_BELOW_PEAK: Rule = Rule {
    name: "far-below-peak",
    about: "prompt and token take less than 100 × the device's least time, of which 0.1 ms a layer is granted to launches",
    measure: "× the least time",
    check: |tables| super::each_row(tables, far_below_peak),
};

fn fp32_accumulation(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let peak = table.peaks.flops_fp32_accumulate.as_ref()?;
    let costs = table.costs.as_ref()?;
    let [batch, prompt] = sizes(row);
    let kinds = [
        (&PROMPT_PAIRS[..], costs.forward_flops(batch, prompt, 0)),
        (&TOKEN_PAIRS[..], costs.forward_flops(batch, 1, prompt)),
    ];
    kinds.into_iter().find_map(|(pairs, flops)| {
        let limit = flops / (peak.value * table.count());
        let claim = worst(&claims(row, pairs), limit)?;
        // Faster than the device can be at all: another rule says so.
        if claim.most < table.computing_seconds(flops)? {
            return None;
        }
        let message = format!(
            "{} {} is {:.2} × the peak with sums in FP32, {}{}FLOP/s ({}): possible only with sums in FP16",
            short(claim.in_unit(claim.seconds)),
            claim.column.unit(),
            limit / claim.most,
            times(table),
            large(peak.value),
            peak.origin,
        );
        let kind = (Severity::Remarkable, FP32_ACCUMULATION.name);
        Some(beyond(table, row, kind, claim, limit, message))
    })
}

fn far_below_peak(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let launching = table.costs.as_ref()?.layers() * LAYER_SECONDS;
    let least = table.least_seconds(row, row.size.batch_size.into())?;
    let kinds = [(&PROMPT_PAIRS[..], least[0]), (&TOKEN_PAIRS[..], least[1])];
    kinds.into_iter().find_map(|(pairs, least)| {
        let least = least.max(launching);
        let claims = claims(row, pairs);
        let is_far = |seconds: f64| seconds.is_finite() && seconds > FAR * least;
        let claim = claims.iter().find(|claim| is_far(claim.seconds))?;
        let ratio = claim.seconds / least;
        let message = format!(
            "{} {unit} is {:.0} × as slow as the {} {unit} that the device needs at least: a figure in another unit?",
            short(claim.in_unit(claim.seconds)),
            ratio,
            short(claim.in_unit(least)),
            unit = claim.column.unit(),
        );
        let kind = (Severity::Remarkable, FAR_BELOW_PEAK.name);
        let limit = claim.in_unit(FAR * least);
        let finding = table.figure_finding(kind, row, claim.column, limit, message);
        Some(Finding { times: Some(ratio), ..finding })
    })
}
