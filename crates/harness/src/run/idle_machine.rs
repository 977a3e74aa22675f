//! `--require-idle`: waits until other programs leave the machine idle, before anything is measured.

use std::time::Duration;

use machine::{BusyProcess, OthersUse, watch_others};
use results::share_used_by_others;

use crate::{Notice, SettingsError};

/// Length of a sample: the kernel counts in hundredths of a second, and an idle program wakes up now and then.
const LOOK: Duration = Duration::from_secs(2);
/// The longest wait: enough for a compiler that is about to finish.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Processes that are named.
const NAMED: usize = 3;

/// Waits up to a minute until other processes use no more of the processors than a table's notes allow.
///
/// # Errors
/// Where the machine stays busy, with the busiest processes, or where the kernel does not tell.
pub fn require_idle(notify: &mut dyn FnMut(Notice<'_>)) -> Result<(), SettingsError> {
    wait_until_idle(&mut || watch_others(LOOK), notify)
}

/// [`require_idle`] with the samples of `look`, whose lengths are the time that passes.
fn wait_until_idle(
    look: &mut dyn FnMut() -> OthersUse,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<(), SettingsError> {
    let refuse = |what| Err(SettingsError { origin: "--require-idle".into(), what });
    let mut waited = 0.0;
    loop {
        let others = look();
        if others.load.other_share.is_none() {
            return refuse("the kernel does not report what other processes use (/proc/stat)".into());
        }
        let Some(share) = share_used_by_others(&others.load) else { return Ok(()) };
        let busy = words(share, &others.busiest);
        // Nobody waited for the first sample.
        let is_first = waited == 0.0;
        waited += others.load.seconds;
        if waited >= TIMEOUT.as_secs_f64() {
            return refuse(format!("the machine is still busy after {waited:.0} s: {busy}"));
        }
        if is_first {
            notify(Notice::WaitingForIdle { limit: TIMEOUT, busy: &busy });
        }
    }
}

/// `other processes use 48 % of the processors' time: cc1plus (process 71, 0.96 processors)`.
fn words(share: f64, busiest: &[BusyProcess]) -> String {
    let name = |BusyProcess { name, id, processors }: &BusyProcess| {
        format!("{name} (process {id}, {processors:.2} processors)")
    };
    let mut named: Vec<String> = busiest.iter().take(NAMED).map(name).collect();
    if named.is_empty() {
        // A container hides other processes, and short ones end before they are seen.
        named.push("none is visible from here".into());
    }
    format!("other processes use {:.0} % of the processors' time: {}", 100.0 * share, named.join(", "))
}

#[cfg(test)]
mod tests {
    use protocol::MachineLoad;

    use super::*;

    fn others(share: f64, busiest: &[(&str, u32, f64)]) -> OthersUse {
        let busy = |(name, id, processors): &(&str, u32, f64)| BusyProcess {
            name: (*name).into(),
            id: *id,
            processors: *processors,
        };
        let load =
            MachineLoad { seconds: 2.0, processors: 2, other_share: Some(share), ..MachineLoad::default() };
        OthersUse { load, busiest: busiest.iter().map(busy).collect() }
    }

    /// The result for a series of samples, how many were taken, and the notices.
    fn wait(looks: &[OthersUse]) -> (Result<(), String>, usize, Vec<String>) {
        let (mut count, mut said) = (0, Vec::new());
        let mut look = || {
            count += 1;
            looks[(count - 1).min(looks.len() - 1)].clone()
        };
        let mut notify = |notice: Notice<'_>| match notice {
            Notice::WaitingForIdle { busy, .. } => said.push(busy.to_owned()),
            other => panic!("{other:?}"),
        };
        let end = wait_until_idle(&mut look, &mut notify).map_err(|error| error.to_string());
        (end, count, said)
    }

    #[test]
    fn an_idle_machine_needs_no_wait() {
        assert_eq!(wait(&[others(0.10, &[])]), (Ok(()), 1, Vec::new()));
    }

    #[test]
    fn a_busy_machine_is_waited_for_and_its_processes_are_named_once() {
        let busy = others(0.48, &[("cc1plus", 71, 0.96)]);
        let (end, looks, said) = wait(&[busy.clone(), busy, others(0.02, &[])]);
        assert_eq!((end, looks), (Ok(()), 3));
        let words = "other processes use 48 % of the processors' time: cc1plus (process 71, 0.96 processors)";
        assert_eq!(said, [words]);
    }

    #[test]
    fn a_machine_that_stays_busy_is_refused_after_a_minute_with_the_busiest_processes() {
        let busiest = [("rustc", 7, 1.0), ("ld", 8, 0.5), ("cargo", 9, 0.25), ("sshd", 10, 0.01)];
        let (end, looks, said) = wait(&[others(0.87, &busiest)]);
        assert_eq!((looks, said.len()), (30, 1));
        assert_eq!(
            end.unwrap_err(),
            "--require-idle: the machine is still busy after 60 s: other processes use 87 % of the processors' time: \
             rustc (process 7, 1.00 processors), ld (process 8, 0.50 processors), cargo (process 9, 0.25 processors)"
        );
        let (end, ..) = wait(&[others(0.5, &[])]);
        assert!(end.unwrap_err().ends_with(": none is visible from here"));
    }

    #[test]
    fn an_unknown_load_is_refused() {
        let load = MachineLoad { seconds: 2.0, ..MachineLoad::default() };
        let (end, looks, _) = wait(&[OthersUse { load, busiest: Vec::new() }]);
        assert_eq!(looks, 1);
        assert!(end.unwrap_err().contains("the kernel does not report"));
    }
}
