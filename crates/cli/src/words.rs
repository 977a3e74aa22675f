//! Counts and durations as people say them.

use std::time::Duration;

/// `0.4 s`, `19 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn about(duration: Duration) -> String {
    if duration < Duration::from_millis(950) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
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

/// Breaks a line at spaces into lines of at most `width` columns, with an indent after the first. Its columns stay where they are, and a
/// word that is longer than a line is left whole.
pub(crate) fn fold(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let mut lines = Vec::new();
    let (mut indent, mut rest) = ("", line);
    while console::measure_text_width(rest) > width.saturating_sub(indent.len()) {
        let room = width.saturating_sub(indent.len());
        let fits = |(at, _): &(usize, &str)| console::measure_text_width(&rest[..*at]) <= room;
        let spaces = || rest.match_indices(' ').skip_while(|(at, _)| rest[..*at].trim().is_empty());
        let Some((at, _)) = spaces().take_while(fits).last().or_else(|| spaces().next()) else { break };
        lines.push(format!("{indent}{}", rest[..at].trim_end()));
        (indent, rest) = (INDENT, rest[at..].trim_start());
    }
    lines.push(format!("{indent}{rest}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_breaks_between_words() {
        let fold = |line, width| fold(line, width).join("|");
        assert_eq!(fold("short", 10), "short");
        assert_eq!(
            fold("mock   1   16   timed out in prompt", 24),
            "mock   1   16   timed|    out in prompt"
        );
        assert_eq!(fold("a /very/long/path/of/a/file b c", 8), "a|    /very/long/path/of/a/file|    b c");
        assert_eq!(fold("  1×16 ééééé ééééé", 12), "  1×16 ééééé|    ééééé");
        assert_eq!(fold("/very/long/path", 3), "/very/long/path");
        assert_eq!(fold("a b", 0), "a|    b");
    }

    #[test]
    fn counts_and_durations_are_as_people_say_them() {
        let counts = [(1, "cell"), (0, "cell"), (2, "cell"), (2, "entry"), (3, "day")];
        let words = counts.map(|(number, noun)| count(number, noun));
        assert_eq!(words, ["1 cell", "0 cells", "2 cells", "2 entries", "3 days"]);
        let durations =
            [0.4, 19.0, 60.0, 200.0, 3600.0, 7499.6].map(|seconds| about(Duration::from_secs_f64(seconds)));
        assert_eq!(durations, ["0.4 s", "19 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min"]);
    }
}
