//! Counts and durations as people say them.

use std::time::Duration;

/// `19 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn about(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// `1 cell`, `2 cells`, `3 entries`: a count with its noun.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_durations_are_as_people_say_them() {
        let counts = [(1, "cell"), (0, "cell"), (2, "cell"), (2, "entry"), (3, "day")];
        let words = counts.map(|(number, noun)| count(number, noun));
        assert_eq!(words, ["1 cell", "0 cells", "2 cells", "2 entries", "3 days"]);
        let durations =
            [0.4, 19.0, 60.0, 200.0, 3600.0, 7499.6].map(|seconds| about(Duration::from_secs_f64(seconds)));
        assert_eq!(durations, ["0 s", "19 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min"]);
    }
}
