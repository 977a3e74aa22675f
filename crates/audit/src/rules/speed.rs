//! Flags speeds that are possible, but that few programs reach, or that are far below the device's.

use results::ResultRow;

use super::physics::{PROMPT_PAIRS, TOKEN_PAIRS, beyond, claims, sizes, times, worst};
use super::{Rule, large, short};
use crate::checked_table::CheckedTable;
use crate::{Finding, Severity};

/// The multiple of the device's least time that counts as far below its peak. A figure in another unit is a thousand times off;
/// the slowest honest way, fetching the weights from the host's memory for each token, is below this.
const FAR: f64 = 100.0;
/// The least time of a layer that waits only for its kernels' launches.
const LAYER_SECONDS: f64 = 0.1e-3;

pub(super) const FP32_ACCUMULATION: Rule = Rule {
    name: "fp32-accumulation",
    about: "on a device that multiplies FP16 faster with FP16 accumulation, no forward is faster than with FP32 accumulation, \
            which libraries use by default",
    measure: "× the peak",
    check: |tables| super::each_row(tables, fp32_accumulation),
};

pub(super) const FAR_BELOW_PEAK: Rule = Rule {
    name: "far-below-peak",
    about: "prompt and token take less than 100 × the device's least time, with 0.1 ms per layer allowed for kernel launches",
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
        // Faster than the device's peak: another rule reports it.
        if claim.most < table.computing_seconds(flops)? {
            return None;
        }
        let message = format!(
            "{} {} is {:.2} × the peak with FP32 accumulation, {}{}FLOP/s ({}): possible only with FP16 accumulation",
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
            "{} {unit} is {:.0} × slower than the device's limit of {} {unit}: is the figure in another unit?",
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
