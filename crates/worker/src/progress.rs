//! Tells the harness how far the worker is, without touching the timed regions.
//!
//! The timing loop changes a few numbers between forwards; a thread of its own looks a few times a second and writes a
//! line when they changed. A new phase is written at once: a crash from now on belongs to it. So are the beginning and
//! the end of a phase's timed forwards: the harness compares the time between with the figures.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::{Phase, Progress};

const PERIOD: Duration = Duration::from_millis(250);

/// The progress of a request; dropping it ends the reporting.
pub struct Reporter {
    shared: Arc<ReporterShared>,
    thread: Option<JoinHandle<()>>,
}

struct ReporterShared {
    state: Mutex<ReporterState>,
    wake: Condvar,
    write: Box<dyn Fn(&Progress) + Send + Sync>,
}

struct ReporterState {
    progress: Progress,
    /// What was written last: it is not written again.
    written: Progress,
    stopped: bool,
}

impl ReporterState {
    /// What is to be written, if it was not written yet.
    fn take_news(&mut self) -> Option<Progress> {
        (self.progress != self.written).then(|| {
            self.written = self.progress.clone();
            self.progress.clone()
        })
    }
}

impl ReporterShared {
    fn lock(&self) -> MutexGuard<'_, ReporterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter {
    /// Reports to `write`, from a thread of its own, until dropped.
    pub fn start(phase: Phase, write: impl Fn(&Progress) + Send + Sync + 'static) -> std::io::Result<Self> {
        let mut reporter = Self::new(phase, Box::new(write));
        let shared = Arc::clone(&reporter.shared);
        reporter.phase(phase, 0);
        reporter.thread = Some(std::thread::Builder::new().spawn(move || report(&shared))?);
        Ok(reporter)
    }

    /// Reports to nobody.
    pub fn silent() -> Self {
        Self::new(Phase::Load, Box::new(|_| ()))
    }

    fn new(phase: Phase, write: Box<dyn Fn(&Progress) + Send + Sync>) -> Self {
        let progress = Progress { phase, done: 0, of: 0, last_seconds: None };
        let state = Mutex::new(ReporterState { written: progress.clone(), progress, stopped: false });
        Self { shared: Arc::new(ReporterShared { state, wake: Condvar::new(), write }), thread: None }
    }

    /// A phase of `of` steps begins: forwards, or weights of a model.
    pub fn phase(&self, phase: Phase, of: u32) {
        self.shared.lock().progress = Progress { phase, done: 0, of, last_seconds: None };
        self.write_now();
    }

    /// Writes where the request stands, at once: where the timed forwards of a phase begin, and where they end.
    pub fn write_now(&self) {
        let progress = {
            let mut state = self.shared.lock();
            state.written = state.progress.clone();
            state.progress.clone()
        };
        (self.shared.write)(&progress);
    }

    /// A forward ended.
    pub fn step(&self, seconds: f64) {
        let progress = &mut self.shared.lock().progress;
        progress.done += 1;
        progress.last_seconds = Some(seconds);
    }

    /// A step ended that is no forward.
    pub fn advance(&self) {
        self.shared.lock().progress.done += 1;
    }

    /// The phase that the request is in.
    pub fn current_phase(&self) -> Phase {
        self.shared.lock().progress.phase
    }
}

fn report(shared: &ReporterShared) {
    loop {
        let (mut state, _) = shared
            .wake
            .wait_timeout_while(shared.lock(), PERIOD, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return;
        }
        let news = state.take_news();
        drop(state);
        if let Some(progress) = news {
            (shared.write)(&progress);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.lock().stopped = true;
            self.shared.wake.notify_all();
            let _ = thread.join();
        }
    }
}
