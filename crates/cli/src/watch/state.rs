//! The state that the live picture shows, from the sweep's events. Knows no terminal.

use std::collections::VecDeque;
use std::time::Duration;

use harness::{Event, Sweep, interleaved};
use protocol::{FailureKind, Phase, Progress};

use crate::eta::Eta;
use crate::event_lines::{self, cell_name, growing_row, joined, side_word};

/// The most lines of the log, latencies and GPU samples to keep.
const KEPT: usize = 400;

/// The state of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    /// Measured before the run was resumed.
    Earlier,
    Running,
    Ended(Option<FailureKind>),
}

/// A cell of the sweep.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// The title of its grid: model, engine, side.
    pub(super) grid: String,
    pub(super) batch_size: u32,
    pub(super) prompt_length: u32,
    pub(super) standing: Standing,
}

/// Everything that the picture shows.
pub(super) struct WatchState {
    pub(super) dirs: String,
    pub(super) slots: Vec<Slot>,
    eta: Eta,
    pub(super) current: String,
    current_index: Option<usize>,
    /// When the current cell began, since the start.
    began: Duration,
    pub(super) progress: Option<Progress>,
    /// Seconds of decode forwards: the current cell's if its worker reports them, else the last cell's.
    pub(super) tokens: VecDeque<f64>,
    /// The cell that they belong to.
    pub(super) tokens_of: String,
    pub(super) log: VecDeque<String>,
    /// Power in watts, and clock in MHz.
    pub(super) gpu: VecDeque<(Option<f64>, Option<u32>)>,
    pub(super) is_stopping: bool,
    sides: usize,
}

impl WatchState {
    pub(super) fn new(sweep: &Sweep, sides: usize) -> Self {
        let cells = interleaved(sweep, sides);
        let slots = cells.iter().map(|(side, cell)| Slot {
            grid: format!("{} {}{}", cell.model.label, cell.engine, side_word(*side, sides)),
            batch_size: cell.batch_size,
            prompt_length: cell.prompt_length,
            standing: Standing::Waiting,
        });
        Self {
            dirs: String::new(),
            slots: slots.collect(),
            eta: Eta::new(cells.iter().map(|(_, cell)| cell.flops(sweep)).collect()),
            current: "starting".into(),
            current_index: None,
            began: Duration::ZERO,
            progress: None,
            tokens: VecDeque::new(),
            tokens_of: String::new(),
            log: VecDeque::new(),
            gpu: VecDeque::new(),
            is_stopping: false,
            sides,
        }
    }

    /// Takes an event, so long after the start.
    pub(super) fn hear(&mut self, event: &Event<'_>, now: Duration) {
        if let Some(line) = event_lines::line(event) {
            self.say(&line);
        }
        match *event {
            Event::Opened { dirs, .. } => self.dirs = joined(dirs),
            Event::Verifying { engine, model } => self.current = event_lines::verifying(engine, model),
            Event::CellStarted { cell, index, side } => {
                for slot in &mut self.slots[..index] {
                    if slot.standing == Standing::Waiting {
                        slot.standing = Standing::Earlier;
                    }
                }
                self.slots[index].standing = Standing::Running;
                self.current = format!("{}{}", cell_name(&cell), side_word(side, self.sides));
                (self.current_index, self.began, self.progress) = (Some(index), now, None);
            }
            Event::Progress(progress) => {
                if let (Phase::Decode, Some(seconds)) = (progress.phase, progress.last_seconds) {
                    if self.tokens_of != self.current {
                        self.tokens.clear();
                        self.tokens_of.clone_from(&self.current);
                    }
                    push(&mut self.tokens, seconds);
                }
                self.progress = Some(progress.clone());
            }
            Event::CellEnded { cell, index, measurement } => {
                self.slots[index].standing = Standing::Ended(measurement.failure_kind());
                if let Some(series) = measurement.series() {
                    self.eta.add(index, now.saturating_sub(self.began));
                    let all = series.generations.iter().flat_map(|one| &one.token_seconds).copied();
                    self.tokens = all.collect();
                    self.tokens_of = format!("{}, measured", self.current);
                }
                let side =
                    self.current.rsplit_once(' ').filter(|_| self.sides > 1).map_or("", |(_, side)| side);
                self.say(format!("{} {side}", growing_row(&cell, measurement)).trim_end());
            }
            _ => {}
        }
    }

    /// Takes a sample of the GPU.
    pub(super) fn sample(&mut self, power_and_clock: (Option<f64>, Option<u32>)) {
        push(&mut self.gpu, power_and_clock);
    }

    /// Adds a line to the log, which is printed when the picture is gone.
    pub(super) fn say(&mut self, text: &str) {
        results::plain(text).lines().for_each(|line| push(&mut self.log, line.to_owned()));
    }

    pub(super) fn left(&self) -> Option<Duration> {
        self.eta.left(self.current_index?, self.progress.as_ref())
    }

    /// The number of finished cells, and of all cells.
    pub(super) fn done(&self) -> (usize, usize) {
        let is_open = |slot: &&Slot| matches!(slot.standing, Standing::Waiting | Standing::Running);
        (self.slots.len() - self.slots.iter().filter(is_open).count(), self.slots.len())
    }
}

fn push<T>(kept: &mut VecDeque<T>, one: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(one);
}
