//! Shows a running sweep: on a terminal a growing table over a live line, elsewhere one line per cell.

use std::fmt;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use harness::{Event, Session, interleaved};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use protocol::{Measurement, Phase};
use results::Figures;

use crate::eta::Eta;
use crate::event_lines::{self, GROWING_HEADER, cell_name, growing_row, side_word};
use crate::format::{clock, duration};
use crate::printer;
use crate::slow_steps::{SLOW, SlowSteps};

/// Writes the seconds of a slow step.
fn slow(state: &ProgressState, text: &mut dyn fmt::Write) {
    if state.elapsed() >= SLOW {
        let _ = write!(text, "  {} s", state.elapsed().as_secs());
    }
}

/// Shows a sweep's events on stderr.
pub(crate) struct ProgressDisplay {
    /// Only on a terminal.
    live: Option<ProgressBar>,
    /// Only elsewhere.
    slow: Option<SlowSteps>,
    eta: Eta,
    cells: usize,
    header_shown: bool,
    started: Instant,
    /// Number of runs that are measured interleaved.
    sides: usize,
    side: &'static str,
    current: String,
    current_index: usize,
    phase: Option<Phase>,
}

impl ProgressDisplay {
    pub(crate) fn new(session: &Session) -> Self {
        let (sweep, sides) = (session.sweep(), session.folders().len());
        let cells = interleaved(sweep, sides);
        let live = (std::io::stderr().is_terminal() && !printer::is_quiet()).then(|| {
            let bar = ProgressBar::with_draw_target(
                Some(cells.len() as u64),
                ProgressDrawTarget::stderr_with_hz(5),
            );
            bar.set_style(
                ProgressStyle::with_template("{wide_msg}{slow}")
                    .expect("a valid template")
                    .with_key("slow", slow),
            );
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        let slow = live.is_none().then(SlowSteps::start);
        Self {
            live,
            slow,
            eta: Eta::new(cells.iter().map(|(_, cell)| cell.flops(sweep)).collect()),
            cells: cells.len(),
            header_shown: false,
            started: Instant::now(),
            sides,
            side: "",
            current: String::new(),
            current_index: 0,
            phase: None,
        }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        if let Some(line) = event_lines::line(event) {
            self.line(&line);
        }
        match *event {
            Event::Verifying { engine, model } => {
                self.phase = None;
                self.begin(event_lines::verifying(engine, model));
            }
            Event::CellStarted { cell, index, side } => {
                self.side = side_word(side, self.sides);
                self.current = format!("{}{}", cell_name(&cell), self.side);
                self.current_index = index;
                self.started = Instant::now();
                self.phase = None;
                self.begin(format!("{} starting", self.place()));
            }
            Event::Progress(progress) => {
                let latency = progress.last_seconds.map(|seconds| format!("  {}", duration(seconds)));
                let phase = match progress.phase {
                    Phase::Load if progress.of == 0 => "loading".to_owned(),
                    Phase::Load => format!("loading weight {}/{}", progress.done, progress.of),
                    phase => format!("{phase} {}/{}", progress.done, progress.of),
                };
                let left = self.eta.left(self.current_index, Some(progress));
                let left = left.map_or_else(String::new, |left| format!("  about {} left", clock(left)));
                let step = format!("{} {phase}", self.place());
                if self.phase.replace(progress.phase) == Some(progress.phase) {
                    if let Some(slow) = &self.slow {
                        slow.update(step.clone());
                    }
                } else {
                    self.begin(step.clone());
                }
                self.message(&format!("{step}{}{left}", latency.unwrap_or_default()));
            }
            Event::CellEnded { cell, index, measurement } => {
                if let Some(slow) = &self.slow {
                    slow.end();
                }
                if measurement.failure().is_none() {
                    self.eta.add(index, self.started.elapsed());
                }
                if self.live.is_some() && !self.header_shown {
                    self.header_shown = true;
                    self.line(GROWING_HEADER);
                }
                let row = if self.live.is_some() {
                    growing_row(&cell, measurement) + self.side
                } else {
                    self.plain_row(measurement)
                };
                self.line(&row);
            }
            _ => {}
        }
    }

    pub(crate) fn finish(&mut self) {
        self.slow = None;
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

    /// Begins a step that may take long.
    fn begin(&self, step: String) {
        self.message(&step);
        if let Some(live) = &self.live {
            live.reset_elapsed();
        }
        if let Some(slow) = &self.slow {
            slow.begin(step);
        }
    }

    /// The present cell and its place in the sweep.
    fn place(&self) -> String {
        format!("[{}/{}] {}", self.current_index + 1, self.cells, self.current)
    }

    fn message(&self, text: &str) {
        if let Some(live) = &self.live {
            live.set_message(results::plain(text));
        }
    }

    fn plain_row(&self, measurement: &Measurement) -> String {
        let place = self.place();
        match Figures::new(std::slice::from_ref(measurement)) {
            Some(figures) => format!(
                "{place}: prompt {}, token {}, wall {}",
                duration(figures.prompt.mean),
                duration(figures.token.mean),
                duration(figures.wall.mean)
            ),
            None => {
                let error = measurement.failure().map_or("no figures", |failure| &failure.error);
                let phase = measurement.failure().and_then(|failure| failure.phase);
                let phase = phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
                format!("{place}: {}{phase}: {error}", measurement.outcome_word())
            }
        }
    }
}
