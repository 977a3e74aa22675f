//! Durations, rates, commands and verifications as people read them.

use std::time::Duration;

use anstyle::AnsiColor;
use protocol::{MeasuredPeaks, SustainedPeak, Verification};
use results::{fidelity_words, format_short, one_line};

use crate::printer;

/// Formats a duration as `1:05` or `2:03:04`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Formats seconds with three or four digits and a unit.
pub(crate) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    format!("{} {unit}", format_short(value))
}

/// A device's peaks in one line, with the engine that reached each.
pub(crate) fn describe_peaks(best: &MeasuredPeaks) -> String {
    let read =
        best.read_bytes.as_ref().map(|read| format!("reads {} ({})", rate(read.per_second, "B/s"), read.by));
    let flops = best
        .flops
        .iter()
        .map(|(precision, flops)| format!("{precision} {} ({})", rate(flops.per_second, "FLOP/s"), flops.by));
    let sustained = best.sustained_flops.iter().map(|(precision, sustained)| {
        let (flops, clock) = (rate(sustained.per_second, "FLOP/s"), at_clock(sustained));
        format!("{precision} sustained {flops}{clock} ({})", sustained.by)
    });
    let parts: Vec<String> = read.into_iter().chain(flops).chain(sustained).collect();
    format!("peaks of {}: {}", best.device, parts.join(", "))
}

/// The clock of a sustained peak, such as ` at 1410 MHz`; empty if unknown.
pub(crate) fn at_clock(sustained: &SustainedPeak) -> String {
    sustained.sm_clock_mhz.map(|clock| format!(" at {clock:.0} MHz")).unwrap_or_default()
}

/// Formats a rate as `45.3 GB/s` or `312 TFLOP/s`.
pub(crate) fn rate(per_second: f64, unit: &str) -> String {
    let (value, prefix) = if per_second >= 1e12 { (per_second / 1e12, "T") } else { (per_second / 1e9, "G") };
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {prefix}{unit}")
}

/// A command for a shell.
pub(crate) fn shell_command(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell reads it back.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:+=,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The result of a verification: a heading, then a line per engine.
pub(crate) fn describe_verification(verification: &Verification) -> String {
    let Verification { model, precision, tolerance, .. } = verification;
    let model = format!("{model} {precision}");
    let engines: Vec<String> = verification
        .agreements
        .iter()
        .map(|one| {
            let engine = &one.engine;
            if let Some(error) = &one.error {
                return format!("{engine} did not answer: {error}");
            }
            let tokens = if one.same_tokens { "same tokens" } else { "different tokens" };
            let verdict = if verification.agrees(one) { "" } else { " — DIFFERS" };
            let place = one.largest_error_at.map_or_else(String::new, |(step, row, id)| {
                format!(" (step {step}, sequence {row}, vocabulary id {id})")
            });
            let own = one
                .own_tolerance
                .map_or_else(String::new, |tolerance| format!(", within {tolerance:.2e} by its arithmetic"));
            let own = if verdict.is_empty() { own } else { String::new() };
            format!("{engine}: {tokens}, largest logit error {:.2e}{place}{own}{verdict}", one.largest_error)
        })
        .collect();
    let missing =
        verification.reference_error.as_ref().map(|error| format!("the reference did not answer: {error}"));
    let reused: Vec<String> = verification
        .reused
        .iter()
        .map(|(engine, time)| format!("{engine} ({})", time.get(..10).unwrap_or(time)))
        .collect();
    let reused = (!reused.is_empty()).then(|| {
        format!("reused from an earlier verification: {}; --verify again repeats it", reused.join(", "))
    });
    let agree = verification.agreements.iter().filter(|one| verification.agrees(one)).count();
    let heading = match &verification.against {
        None => format!("{model}: not verified: no engine answered"),
        Some(against) if engines.is_empty() => {
            format!("{model}: not verified: {against} has no other engine to compare with")
        }
        Some(against) => format!(
            "{model}: {agree} of {} with {against} (logit tolerance {tolerance:.2e})",
            match engines.len() {
                1 => "1 engine agrees".into(),
                all => format!("{all} engines agree"),
            }
        ),
    };
    let fidelity = verification.fidelity.as_ref().map(fidelity_words);
    let lines = std::iter::once(heading).chain(missing).chain(engines).chain(fidelity).chain(reused);
    let lines: Vec<String> = lines.collect();
    lines.join("\n  ")
}

/// Colours words of a text that is printed: good ones green, bad ones red.
pub(crate) fn emphasize(text: &str, good: &[&str], bad: &[&str]) -> String {
    if !printer::is_coloured() {
        return text.to_owned();
    }
    let paint = |text: String, words: &[&str], color: AnsiColor| {
        let style = color.on_default().bold();
        words.iter().fold(text, |text, word| text.replace(word, &format!("{style}{word}{style:#}")))
    };
    paint(paint(text.to_owned(), good, AnsiColor::Green), bad, AnsiColor::Red)
}

/// Wraps a text at words into lines of at most `width` columns; those after the first begin with `indent` spaces.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut used = indent;
    for word in one_line(text).split_whitespace() {
        let length = console::measure_text_width(word);
        if used > indent && used + 1 + length > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > indent {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_with_an_indent() {
        assert_eq!(wrap("one two three", 11, 4), "one two\n    three\n");
        assert_eq!(wrap("a-very-long-word b", 8, 2), "a-very-long-word\n  b\n");
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(45.27e9, "B/s"), "45.3 GB/s");
        assert_eq!(rate(3.35e12, "B/s"), "3.35 TB/s");
        assert_eq!(rate(788e12, "FLOP/s"), "788 TFLOP/s");
    }

    #[test]
    fn hours_are_shown_where_there_are_any() {
        assert_eq!([65, 7384].map(|seconds| clock(Duration::from_secs(seconds))), ["1:05", "2:03:04"]);
    }
}
