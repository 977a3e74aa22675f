//! `run --watch`: the live picture of a sweep. Without a terminal, lines are printed as usual.

mod state;
mod terminal;
mod view;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use harness::{Event, Session};

use crate::printer;
use crate::progress::ProgressDisplay;
use state::WatchState;
use terminal::Painter;

/// Shows a sweep's events.
pub(crate) enum Shown {
    /// Prints lines.
    Lines(Box<ProgressDisplay>),
    /// Draws the picture.
    Picture(Picture),
}

/// The picture, which a thread of its own draws.
pub(crate) struct Picture {
    state: Arc<Mutex<WatchState>>,
    started: Instant,
    painter: Option<Painter>,
}

impl Shown {
    /// Chooses the picture if `--watch` is given and there is a terminal.
    pub(crate) fn new(session: &Session, watch: bool) -> Self {
        let lines = || Self::Lines(Box::new(ProgressDisplay::new(session)));
        if !watch || !terminal::is_there() {
            return lines();
        }
        let state = Arc::new(Mutex::new(WatchState::new(session.sweep(), session.folders().len())));
        let started = Instant::now();
        match Painter::start(Arc::clone(&state), started, session.gpu().cloned()) {
            Ok(painter) => Self::Picture(Picture { state, started, painter: Some(painter) }),
            Err(error) => {
                printer::line(&format!("warning: --watch: cannot draw on the terminal: {error}"));
                lines()
            }
        }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match self {
            Self::Lines(progress) => progress.show(event),
            Self::Picture(picture) => terminal::lock(&picture.state).hear(event, picture.started.elapsed()),
        }
    }

    /// Restores the terminal, and prints the log on it.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Lines(progress) => progress.finish(),
            Self::Picture(picture) => {
                picture.painter = None;
                terminal::lock(&picture.state).log.drain(..).for_each(|line| printer::line(&line));
            }
        }
    }
}

#[cfg(test)]
mod tests;
