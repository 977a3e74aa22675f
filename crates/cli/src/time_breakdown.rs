//! The line that says where a run's time went.

use std::time::Duration;

use harness::TimeBreakdown;

use crate::words::about;

/// The line that ends a session: how long it took, and on what; `passed` is all of it.
pub(crate) fn line(passed: Duration, time: &TimeBreakdown) -> String {
    let TimeBreakdown { peaks, verification, loading, warm_up, failed, timed, memory, cool_down } = *time;
    let known = [
        (timed, "timing"),
        (warm_up, "warm-ups"),
        (failed, "failed cells"),
        (loading, "loading"),
        (verification, "verification"),
        (peaks, "peaks"),
        (memory, "memory reads beside cells"),
        (cool_down, "cool-down"),
    ];
    let rest = passed.saturating_sub(known.iter().map(|(took, _)| *took).sum());
    let shares = known.into_iter().chain([(rest, "other")]).map(|(took, what)| {
        let share = format!("{:.1}", 100.0 * took.as_secs_f64() / passed.as_secs_f64());
        (share, what)
    });
    let shown: Vec<_> =
        shares.filter(|(share, _)| share != "0.0").map(|(share, what)| format!("{share} % {what}")).collect();
    format!("Finished in {}: {}", about(passed), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_in_one_share() {
        let seconds = Duration::from_secs;
        let time = TimeBreakdown {
            peaks: seconds(14),
            verification: seconds(10),
            loading: seconds(15),
            warm_up: seconds(30),
            failed: seconds(10),
            timed: seconds(120),
            memory: Duration::ZERO,
            cool_down: seconds(0),
        };
        assert_eq!(
            line(seconds(200), &time),
            "Finished in 3 min 20 s: 60.0 % timing, 15.0 % warm-ups, 5.0 % failed cells, 7.5 % loading, \
             5.0 % verification, 7.0 % peaks, 0.5 % other"
        );
    }
}
