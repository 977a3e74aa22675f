//! Locks GPU clocks while a run measures, and unlocks them however this program ends.
//!
//! The driver keeps a lock when the process that set it ends. So a separate process sets it: the same program, started again as a
//! *keeper*. Its stdin is a pipe from this program and ends with it, SIGKILL included; the keeper then resets the clocks. The keeper
//! ignores the signals that ask a program to stop, and is in no process group that a terminal reaches.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use machine::gpu::{ClockError, Driver, Nvml};
use protocol::{Device, LockedClock};

use crate::worker::children::{THIS_PROGRAM, spare};
use crate::worker::signals::ignore;
use crate::{Setting, SettingsError, WorkerProcesses};
use machine::gpu::Gpus;

/// The first argument of a keeper; the clock and the driver's indices of the GPUs follow.
pub(crate) const KEEPER: &str = "__lock_gpu_clocks";
/// The keeper's answer when the clocks are locked. Any other answer is the error.
const LOCKED: &str = "locked";

/// Locked clocks. Dropping it unlocks them.
#[derive(Debug)]
pub struct ClockLock {
    keeper: Child,
    /// The driver's indices of the locked GPUs.
    locked: Vec<u32>,
}

impl ClockLock {
    /// Locks the clocks of the GPUs that `device` and the other ranks compute on.
    ///
    /// # Errors
    /// Where the driver refuses. Nothing is locked then.
    pub fn take(
        setting: &Setting<LockedClock>,
        device: Device,
        ranks: &WorkerProcesses,
    ) -> Result<Self, SettingsError> {
        let error = |what: String| setting.error(what);
        let gpus = Gpus::find().map_err(|absent| error(absent.to_string()))?;
        let indices = gpus.indices(device, ranks.world_size).ok_or_else(|| {
            error(format!("{device}: the driver does not tell which GPU that is: see `llama2-bench doctor`"))
        })?;
        Self::start(setting.value, &indices).map_err(error)
    }

    fn start(clock: LockedClock, indices: &[u32]) -> Result<Self, String> {
        let word = match clock {
            LockedClock::Base => "base".to_owned(),
            LockedClock::Mhz(mhz) => mhz.to_string(),
        };
        let mut keeper = Command::new(THIS_PROGRAM)
            .args([KEEPER, &word])
            .args(indices.iter().map(ToString::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("the process that keeps the clocks did not start: {error}"))?;
        spare(Some(&keeper));
        let said = keeper.stdout.take().map(|stdout| {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map(|_| line.trim_end().to_owned()).unwrap_or_default()
        });
        // A failure from here on also ends the keeper.
        let mut lock = Self { keeper, locked: Vec::new() };
        match said.unwrap_or_default().as_str() {
            LOCKED => {
                lock.locked = indices.to_vec();
                Ok(lock)
            }
            "" => Err("the process that keeps the clocks ended".into()),
            why => Err(why.to_owned()),
        }
    }
}

impl Drop for ClockLock {
    fn drop(&mut self) {
        self.keeper.stdin = None;
        // It reports on stderr clocks that could not be reset.
        let is_reset = self.keeper.wait().is_ok_and(|status| status.success());
        spare(None);
        if is_reset || self.locked.is_empty() {
            return;
        }
        // Somebody killed the keeper.
        if let Ok(driver) = Nvml::load() {
            for index in &self.locked {
                let _ = driver.reset_clocks(*index);
            }
        }
    }
}

/// Runs as a keeper, with the arguments after [`KEEPER`].
#[expect(clippy::print_stdout, reason = "a keeper answers on stdout")]
pub(crate) fn keep(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        ignore(signal);
    }
    let (stdin, stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let kept = ClockLockRequest::read(arguments).and_then(|request| match Nvml::load() {
        Ok(driver) => hold(&driver, &request, stdin, stdout),
        Err(absent) => Err(absent.to_string()),
    });
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The task of a keeper.
struct ClockLockRequest {
    clock: LockedClock,
    indices: Vec<u32>,
}

impl ClockLockRequest {
    fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let unknown = || "only llama2-bench starts a keeper of clocks".to_owned();
        let mut words = arguments.map(|word| word.into_string().map_err(|_| unknown()));
        let clock = words.next().ok_or_else(unknown)??.parse()?;
        let indices = words.map(|word| word?.parse().map_err(|_| unknown())).collect::<Result<_, _>>()?;
        Ok(Self { clock, indices })
    }
}

/// Locks the clocks, reports it, waits for the end of `until_end`, and resets the clocks.
#[expect(clippy::print_stderr, reason = "a keeper outlives the program whose printer would say it")]
fn hold(
    driver: &dyn Driver,
    request: &ClockLockRequest,
    mut until_end: impl Read,
    mut said: impl Write,
) -> Result<(), String> {
    let ClockLockRequest { clock, indices } = request;
    let reset = |indices: &[u32]| {
        for index in indices {
            if let Err(why) = driver.reset_clocks(*index) {
                eprintln!(
                    "warning: the clocks of GPU {index} stay locked: {why}: `nvidia-smi -i {index} -rgc` resets them"
                );
            }
        }
    };
    for (place, index) in indices.iter().enumerate() {
        if let Err(why) = lock(driver, *index, *clock) {
            reset(&indices[..place]);
            return Err(format!("GPU {index}: {why}"));
        }
    }
    // If nobody listens any more, the pipe below has ended, too.
    let _ = writeln!(said, "{LOCKED}").and_then(|()| said.flush());
    let _ = std::io::copy(&mut until_end, &mut std::io::sink());
    reset(indices);
    Ok(())
}

fn lock(driver: &dyn Driver, index: u32, clock: LockedClock) -> Result<(), String> {
    if let (LockedClock::Mhz(mhz), Some(most)) =
        (clock, driver.gpu(index).and_then(|gpu| gpu.max_sm_clock_mhz))
        && mhz > most
    {
        return Err(format!("{clock} is more than its maximum of {most} MHz"));
    }
    driver.lock_clocks(index, clock).map_err(|why: ClockError| why.to_string())
}

#[cfg(test)]
mod tests {
    use protocol::Gpu;
    use testing::FakeDriver;

    use super::*;

    fn held(driver: &FakeDriver, clock: LockedClock, indices: &[u32]) -> (Result<(), String>, String) {
        let request = ClockLockRequest { clock, indices: indices.to_vec() };
        let mut said = Vec::new();
        let result = hold(driver, &request, std::io::empty(), &mut said);
        (result, String::from_utf8(said).unwrap())
    }

    #[test]
    fn clocks_are_locked_and_reset_at_the_end_of_the_pipe() {
        let driver = FakeDriver::default();
        let (result, said) = held(&driver, LockedClock::Base, &[0, 1]);
        assert_eq!((result, said.as_str()), (Ok(()), "locked\n"));
        let base = Some(LockedClock::Base);
        assert_eq!(driver.clocks_set(), [(0, base), (1, base), (0, None), (1, None)]);
    }

    #[test]
    fn a_gpu_that_refuses_leaves_none_locked() {
        let driver = FakeDriver::default();
        driver.refuse_clocks(1, ClockError::NoPermission);
        let (result, said) = held(&driver, LockedClock::Mhz(1410), &[0, 1]);
        assert!(result.unwrap_err().starts_with("GPU 1: this user may not set GPU clocks: run as root"));
        assert_eq!(said, "");
        assert_eq!(driver.clocks_set(), [(0, Some(LockedClock::Mhz(1410))), (0, None)]);
    }

    #[test]
    fn a_clock_above_the_maximum_of_the_gpu_is_refused() {
        let driver = FakeDriver::default();
        driver.set_gpu(Gpu { max_sm_clock_mhz: Some(1980), ..Gpu::default() });
        let (result, _) = held(&driver, LockedClock::Mhz(2000), &[0]);
        assert_eq!(result.unwrap_err(), "GPU 0: 2000 MHz is more than its maximum of 1980 MHz");
        assert_eq!(driver.clocks_set(), []);
    }
}
