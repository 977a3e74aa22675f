//! Where a run's time went, as a line.

use std::time::Duration;

use harness::TimeBreakdown;

use crate::format::clock;

/// A session's time, in shares; `passed` is all of it.
pub(crate) fn line(passed: Duration, time: &TimeBreakdown) -> String {
    let TimeBreakdown { peaks, verification, loading, warm_up, timed, memory, cool_down } = *time;
    let known = [
        (timed, "timed"),
        (warm_up, "warm-ups"),
        (loading, "loading"),
        (verification, "verification"),
        (peaks, "peaks"),
        (memory, "memory read beside cells"),
        (cool_down, "cool-down"),
    ];
    let rest = passed.saturating_sub(known.iter().map(|(took, _)| *took).sum());
    let shares = known.into_iter().chain([(rest, "the rest")]).map(|(took, what)| {
        let share = format!("{:.1}", 100.0 * took.as_secs_f64() / passed.as_secs_f64());
        (share, what)
    });
    let shown: Vec<_> =
        shares.filter(|(share, _)| share != "0.0").map(|(share, what)| format!("{share} % {what}")).collect();
    format!("took {}: {}", clock(passed), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_in_one_part() {
        let seconds = Duration::from_secs;
        let time = TimeBreakdown {
            peaks: seconds(14),
            verification: seconds(10),
            loading: seconds(15),
            warm_up: seconds(40),
            timed: seconds(120),
            memory: Duration::ZERO,
            cool_down: seconds(0),
        };
        assert_eq!(
            line(seconds(200), &time),
            "took 3:20: 60.0 % timed, 20.0 % warm-ups, 7.5 % loading, 5.0 % verification, \
             7.0 % peaks, 0.5 % the rest"
        );
    }
}
