//! A line on stderr while a step takes long, so that the user sees that something happens.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::Notice;

use crate::printer;

/// A step that takes this long is slow.
pub(crate) const SLOW: Duration = Duration::from_secs(2);
/// Seconds after its start at which a step is mentioned; after the last one, each minute.
const TOLD_AT: [u64; 4] = [SLOW.as_secs(), 10, 30, 60];

/// Watches over the present step.
pub(crate) struct SlowSteps {
    shared: Arc<SlowStepsShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct SlowStepsShared {
    state: Mutex<SlowStepsState>,
    changed: Condvar,
}

#[derive(Default)]
struct SlowStepsState {
    step: Option<SlowStep>,
    has_ended: bool,
}

struct SlowStep {
    text: String,
    started: Instant,
    due: Duration,
}

impl SlowSteps {
    /// Starts the thread that watches. Where there is none to be had, nothing is printed.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(SlowStepsShared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("slow steps".into()).spawn(move || watched.watch());
        Self { shared, thread: thread.ok() }
    }

    /// Begins a step, and ends the one before.
    pub(crate) fn begin(&self, text: String) {
        self.shared.lock().step =
            Some(SlowStep { text, started: Instant::now(), due: next_after(Duration::ZERO) });
        self.shared.changed.notify_all();
    }

    /// Ends the present step.
    pub(crate) fn end(&self) {
        self.shared.lock().step = None;
    }

    /// Replaces the text of the present step.
    pub(crate) fn update(&self, text: String) {
        if let Some(step) = &mut self.shared.lock().step {
            step.text = text;
        }
    }

    /// Begins the step of a notice.
    pub(crate) fn hear(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Greeting { engine } => {
                self.begin(format!("starting {engine} to ask its version"));
            }
            Notice::MeasuringPeaks { engine } => {
                self.begin(format!("measuring peaks with {engine}"));
            }
            _ => {}
        }
    }
}

impl Drop for SlowSteps {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A line that could not be written changes nothing.
            let _ = thread.join();
        }
    }
}

impl SlowStepsShared {
    fn lock(&self) -> MutexGuard<'_, SlowStepsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.lock();
        while !state.has_ended {
            let line = state.step.as_mut().and_then(|step| step.line(step.started.elapsed()));
            if let Some(line) = line {
                drop(state);
                printer::line(&line);
                state = self.lock();
                continue;
            }
            let left = state.step.as_ref().map(|step| step.due.saturating_sub(step.started.elapsed()));
            let left = left.unwrap_or(Duration::MAX);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl SlowStep {
    /// The line for a step that has taken this long, once each time.
    fn line(&mut self, elapsed: Duration) -> Option<String> {
        if elapsed < self.due {
            return None;
        }
        self.due = next_after(elapsed);
        let so_far = match elapsed.as_secs() {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds => format!("{} min", seconds / 60),
        };
        Some(format!("{}: {so_far} so far", self.text))
    }
}

fn next_after(elapsed: Duration) -> Duration {
    let next_minute = (elapsed.as_secs() / 60 + 1) * 60;
    let next = TOLD_AT.into_iter().find(|seconds| *seconds > elapsed.as_secs());
    Duration::from_secs(next.unwrap_or(next_minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_mentioned_less_and_less_often() {
        let mut step =
            SlowStep { text: "loading".into(), started: Instant::now(), due: next_after(Duration::ZERO) };
        let tenths = (0..2400).map(|tenth| Duration::from_millis(tenth * 100));
        let lines: Vec<String> = tenths.filter_map(|elapsed| step.line(elapsed)).collect();
        let expected = ["2 s", "10 s", "30 s", "60 s", "2 min", "3 min"];
        assert_eq!(lines, expected.map(|time| format!("loading: {time} so far")));
    }

    #[test]
    fn a_watch_that_is_dropped_ends() {
        let slow = SlowSteps::start();
        slow.begin("a step".into());
        slow.update("a step, further on".into());
        drop(slow);
    }
}
