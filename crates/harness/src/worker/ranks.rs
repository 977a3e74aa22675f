//! Finds in the stderr of several ranks which of them failed, and how. Lines are from the ranks themselves (`worker::ranks`,
//! `collective::watch`), Open MPI and MPICH.

use protocol::{Phase, RankPlace};

/// The end of a rank, as far as it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RankEnd {
    /// It reported an error.
    Reported { phase: Phase, message: String },
    /// A signal ended it.
    Signal(i32),
    /// It exited before the others.
    Exited(i32),
}

/// The rank that failed first, and its end. The rank is a text, since one that never started has no number.
pub(crate) fn first_failure(stderr: &str, places: &[RankPlace]) -> Option<(String, RankEnd)> {
    reported(stderr).or_else(|| told_by_open_mpi(stderr)).or_else(|| told_by_mpich(stderr, places))
}

/// Reads `llama2-bench: rank 2 failed in decode: std::bad_alloc`.
fn reported(stderr: &str) -> Option<(String, RankEnd)> {
    stderr.lines().find_map(|line| {
        let (_, rest) = line.split_once("llama2-bench: rank ")?;
        let (rank, rest) = rest.split_once(" failed in ")?;
        let (phase, message) = rest.split_once(": ")?;
        let phase = match phase {
            "load" => Phase::Load,
            "prompt" => Phase::Prompt,
            "decode" => Phase::Decode,
            _ => return None,
        };
        Some((rank.to_owned(), RankEnd::Reported { phase, message: message.to_owned() }))
    })
}

/// Reads `mpirun noticed that process rank 2 with PID 77 on node a exited on signal 9 (Killed).`; `Process name: [[1,1],2]` and
/// `Exit code: 3` in the lines after it; `mpirun has exited due to process rank 2 with PID 77 on node a exiting improperly.`
/// Lines may be broken anywhere.
fn told_by_open_mpi(stderr: &str) -> Option<(String, RankEnd)> {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let text = words.join(" ");
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i32>().ok();
    for (start, end) in [
        ("noticed that process rank ", " exited on signal "),
        ("due to process rank ", " exiting improperly"),
    ] {
        let Some((_, rest)) = text.split_once(start) else { continue };
        let rank = number(rest)?.to_string();
        let Some((_, rest)) = rest.split_once(end) else { continue };
        return Some((rank, number(rest).map_or(RankEnd::Exited(0), RankEnd::Signal)));
    }
    let (_, rest) = text.split_once("Process name: [")?;
    let (name, rest) = rest.split_once(" Exit code: ")?;
    let rank = name.trim_end_matches(']').rsplit(',').next()?.trim();
    Some((rank.to_owned(), RankEnd::Exited(number(rest)?)))
}

/// Reads `= PID 77 RUNNING AT a`, then `= EXIT CODE: 9` or `KILLED BY SIGNAL: 9 (Killed)`.
fn told_by_mpich(stderr: &str, places: &[RankPlace]) -> Option<(String, RankEnd)> {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let text = words.join(" ");
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i32>().ok();
    let (_, rest) = text.split_once("PID ")?;
    let process = number(rest)?;
    rest.split_once(" RUNNING AT ")?;
    let of_process = |place: &RankPlace| place.process == u32::try_from(process).ok();
    let rank = places.iter().position(of_process)?.to_string();
    if let Some(signal) = text.split_once("KILLED BY SIGNAL: ").and_then(|(_, rest)| number(rest)) {
        return Some((rank, RankEnd::Signal(signal)));
    }
    let (_, rest) = text.split_once("EXIT CODE: ")?;
    // MPICH also writes signals this way.
    match number(rest)? {
        signal @ (libc::SIGKILL | libc::SIGSEGV | libc::SIGABRT | libc::SIGBUS) => {
            Some((rank, RankEnd::Signal(signal)))
        }
        code => Some((rank, RankEnd::Exited(code))),
    }
}

/// The ranks that keep the others waiting, by the answers of all ranks; `None` where that is not clear.
pub(crate) fn stragglers(stderr: &str, size: usize) -> Option<String> {
    let of = |rank: usize, what: &str| stderr.contains(&format!("llama2-bench: rank {rank} {what}"));
    let silent: Vec<usize> = (0..size).filter(|&rank| !of(rank, "waits") && !of(rank, "computes")).collect();
    let busy: Vec<usize> = (0..size).filter(|&rank| of(rank, "computes")).collect();
    let list = |ranks: &[usize]| ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if silent.len() == size {
        return None;
    }
    let (ranks, one, more) = match (silent.is_empty(), busy.len()) {
        (false, _) => (silent, "does not respond", "do not respond"),
        (true, 0) => return None,
        (true, all) if all == size => return None,
        (true, _) => (busy, "keeps the others waiting", "keep the others waiting"),
    };
    let (word, does) = if ranks.len() == 1 { ("rank", one) } else { ("ranks", more) };
    Some(format!("{word} {} {does}", list(&ranks)))
}

/// Number of ranks that have reported where they are.
pub(crate) fn answers(stderr: &str, size: usize) -> usize {
    let answered = |rank: &usize| {
        let rank = format!("llama2-bench: rank {rank} ");
        ["waits", "computes"].iter().any(|word| stderr.contains(&format!("{rank}{word}")))
    };
    (0..size).filter(answered).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stderr: &str) -> Option<(String, RankEnd)> {
        let place = |process| RankPlace { host: "a".into(), process: Some(process) };
        first_failure(stderr, &[place(70), place(77)])
    }

    #[test]
    fn the_messages_of_every_launcher_name_the_rank() {
        let named = |rank: &str, end| Some((rank.to_owned(), end));
        let killed = "--------------------------------------------------------------------------\n\
            mpirun noticed that process rank 2 with PID 0 on node abc exited on signal 9 (Killed).\n-----\n";
        assert_eq!(failure(killed), named("2", RankEnd::Signal(9)));
        let five = "prterun noticed that process rank 1 with PID 45 on node abc exited on\nsignal 11 (Segmentation fault).";
        assert_eq!(failure(five), named("1", RankEnd::Signal(11)));
        let exit = "mpirun detected that one or more processes exited with non-zero status, thus causing\nthe job to be \
            terminated. The first process to do so was:\n\n  Process name: [[47379,1],3]\n  Exit code:    3\n----";
        assert_eq!(failure(exit), named("3", RankEnd::Exited(3)));
        let improper = "mpirun has exited due to process rank 1 with PID 0 on\nnode abc exiting improperly. There are three";
        assert_eq!(failure(improper), named("1", RankEnd::Exited(0)));
        let mpich = "====\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   PID 77 RUNNING AT abc\n=   EXIT CODE: 9\n\
            =   CLEANING UP REMAINING PROCESSES\nYOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n";
        assert_eq!(failure(mpich), named("1", RankEnd::Signal(9)));
        assert_eq!(failure(&mpich.replace("CODE: 9", "CODE: 3")), named("1", RankEnd::Exited(3)));
        let own = format!("x\nllama2-bench: rank 3 failed in decode: std::bad_alloc: 7\n{killed}");
        let reported = RankEnd::Reported { phase: Phase::Decode, message: "std::bad_alloc: 7".into() };
        assert_eq!(failure(&own), named("3", reported));
        for other in
            ["", "PID", "PID 5 RUNNING AT x EXIT CODE: 9", "process rank", "Process name: [ Exit code: "]
        {
            assert_eq!(failure(other), None, "{other}");
        }
    }

    #[test]
    fn who_keeps_the_others_waiting_is_named_where_that_is_clear() {
        let says = |states: &[&str]| {
            let line = |(rank, state): (usize, &&str)| {
                format!("llama2-bench: rank {rank} {state}, after collective 7\n")
            };
            states.iter().enumerate().filter(|(_, state)| !state.is_empty()).map(line).collect::<String>()
        };
        let of = |states: &[&str]| stragglers(&says(states), states.len());
        let (waits, computes) = ("waits for others", "computes");
        assert_eq!(of(&[waits, waits, computes, waits]), Some("rank 2 keeps the others waiting".into()));
        assert_eq!(of(&[waits, computes, computes]), Some("ranks 1, 2 keep the others waiting".into()));
        assert_eq!(of(&[waits, computes, ""]), Some("rank 2 does not respond".into()));
        assert_eq!(of(&[computes, computes]), None);
        assert_eq!(of(&[waits, waits]), None);
        assert_eq!(of(&["", ""]), None);
        assert_eq!(answers(&says(&[waits, "", computes]), 3), 2);
    }
}
