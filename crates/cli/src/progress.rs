//! What a sweep looks like while it runs: on a terminal rows that grow over a live line, elsewhere a line a cell.

use std::io::IsTerminal;
use std::time::Instant;

use harness::{Cell, Contender, Event, interleaved};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::{Measurement, Outcome, Phase};
use results::{Figures, format_short};

use crate::commands::run::describe;
use crate::pace::{Pace, clock};
use crate::printer;

/// Columns of the screen that stdout goes to, if it is one.
pub(crate) fn screen_width() -> Option<u16> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns)
}

/// Shows a sweep's events on stderr.
pub(crate) struct Progress {
    /// Only on a terminal.
    live: Option<ProgressBar>,
    pace: Pace,
    cells: usize,
    header_shown: bool,
    started: Instant,
    /// Whether two runs are measured interleaved.
    has_sides: bool,
    side: &'static str,
    current: String,
    current_index: usize,
}

impl Progress {
    pub(crate) fn new(contenders: &[Contender<'_>]) -> Self {
        let sweep = contenders[0].sweep;
        let cells = interleaved(sweep, contenders.len());
        let live = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(
                Some(cells.len() as u64),
                ProgressDrawTarget::stderr_with_hz(5),
            );
            bar.set_style(ProgressStyle::with_template("{wide_msg}").expect("a valid template"));
            bar
        });
        Self {
            live,
            pace: Pace::new(cells.iter().map(|(_, cell)| cell.flops(sweep)).collect()),
            cells: cells.len(),
            header_shown: false,
            started: Instant::now(),
            has_sides: contenders.len() > 1,
            side: "",
            current: String::new(),
            current_index: 0,
        }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match *event {
            Event::Opened { dirs, cells, done } => {
                let resumed =
                    if done > 0 { format!(", {done} of them measured already") } else { String::new() };
                let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                self.line(&format!("{}: {cells} cells{resumed}", dirs.join(" and ")));
            }
            Event::Verifying { engine, model } => self.message(&format!("verifying {engine} on {model}")),
            Event::Verified(verification) => self.line(&format!("verified {}", describe(verification))),
            Event::CellStarted { cell, index, side } => {
                self.side = match side {
                    _ if !self.has_sides => "",
                    0 => " baseline",
                    _ => " candidate",
                };
                self.current = format!("{}{}", cell_name(&cell), self.side);
                self.current_index = index;
                self.started = Instant::now();
                self.message(&format!("[{}/{}] {}  starting", index + 1, self.cells, self.current));
            }
            Event::Progress(progress) => {
                let latency = progress.last_seconds.map(|seconds| format!("  {}", duration(seconds)));
                let phase = match progress.phase {
                    Phase::Load if progress.of == 0 => "loading".to_owned(),
                    Phase::Load => format!("loading weight {}/{}", progress.done, progress.of),
                    phase => format!("{phase} {}/{}", progress.done, progress.of),
                };
                let left = self.pace.left(self.current_index, Some(progress));
                let left = left.map_or_else(String::new, |left| format!("  about {} left", clock(left)));
                let (index, cells, current) = (self.current_index + 1, self.cells, &self.current);
                self.message(&format!(
                    "[{index}/{cells}] {current}  {phase}{}{left}",
                    latency.unwrap_or_default()
                ));
            }
            Event::Farewell { engine, error } => {
                self.line(&format!("warning: {engine}: its worker did not end in order: {error}"));
            }
            Event::MeasuredAgain { cell, attempt, attempts, why } => {
                self.line(&measured_again(&cell, attempt, attempts, why));
            }
            Event::RetryFailed { cell, why } => self.line(&retry_failed(&cell, why)),
            Event::CellEnded { cell, index, measurement } => {
                if measurement.outcome == Outcome::Ok {
                    self.pace.add(index, self.started.elapsed());
                }
                if self.live.is_some() && !self.header_shown {
                    self.header_shown = true;
                    self.line(
                        "engine           batch prompt    prompt ms  first 128 ms  first 256 ms    wall s",
                    );
                }
                let row = if self.live.is_some() {
                    growing_row(&cell, measurement) + self.side
                } else {
                    self.plain_row(index, measurement)
                };
                self.line(&row);
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(live) = &self.live {
            live.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.live {
            Some(live) => live.suspend(|| printer::line(text)),
            None => printer::line(text),
        }
    }

    fn message(&self, text: &str) {
        if let Some(live) = &self.live {
            live.set_message(results::plain(text));
        }
    }

    fn plain_row(&self, index: usize, measurement: &Measurement) -> String {
        let place = format!("[{}/{}] {}", index + 1, self.cells, self.current);
        match Figures::of(&[measurement]) {
            Some(figures) if measurement.outcome == Outcome::Ok => format!(
                "{place}: prompt {}, token {}, wall {}",
                duration(figures.prompt.mean),
                duration(figures.token.mean),
                duration(figures.wall.mean)
            ),
            _ => format!(
                "{place}: {}: {}",
                measurement.outcome.word(),
                measurement.error.as_deref().unwrap_or("")
            ),
        }
    }
}

pub(crate) fn growing_row(cell: &Cell<'_>, measurement: &Measurement) -> String {
    let name = format!("{:<16} {:>5} {:>6}", cell.engine, cell.batch_size, cell.prompt_length);
    match Figures::of(&[measurement]) {
        Some(figures) if measurement.outcome == Outcome::Ok => {
            let [prompt, _, first_128, _, first_256, _, wall, _] =
                figures.columns().map(|figure| figure.map_or_else(|| "N/A".into(), format_short));
            format!("{name} {prompt:>12} {first_128:>13} {first_256:>13} {wall:>9}")
        }
        _ => {
            let word =
                if measurement.outcome == Outcome::OutOfMemory { "OOM" } else { measurement.outcome.word() };
            format!("{name} {word:>12}  {}", measurement.error.as_deref().unwrap_or(""))
        }
    }
}

/// One line on a cell that is measured again.
pub(crate) fn measured_again(cell: &Cell<'_>, attempt: u32, attempts: u32, why: &str) -> String {
    format!("{}: the GPU throttled: {why}: measuring again, attempt {attempt} of {attempts}", cell_name(cell))
}

/// What is said where a further try of a cell did not end well.
pub(crate) fn retry_failed(cell: &Cell<'_>, why: &str) -> String {
    format!(
        "{}: the further try ended early: {why}: keeping the one before, marked as throttled",
        cell_name(cell)
    )
}

pub(crate) fn cell_name(cell: &Cell<'_>) -> String {
    let Cell { model, engine, batch_size, prompt_length, replicate } = cell;
    let replicate = if *replicate > 0 { format!(" #{}", replicate + 1) } else { String::new() };
    format!("{} {engine} {batch_size}×{prompt_length}{replicate}", model.name)
}

/// Three or four digits and a unit.
pub(crate) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    format!("{} {unit}", format_short(value))
}
