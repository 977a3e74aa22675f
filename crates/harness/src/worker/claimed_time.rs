//! Compares the times that a worker claims for a cell's phases with the time between its lines by this program's clock.
//!
//! docs/reference/protocol.md, "Claimed time", has the rule and its reasons for authors of workers.

use std::time::{Duration, Instant};

use protocol::{Generation, MeasureRequest, Measured, Phase, Procedure, Progress};

/// The part of a phase that may be unexplained.
struct Tolerance {
    /// The least share of the time that must be claimed, or explained.
    explained: f64,
    /// Seconds that may be unexplained in any case: a line may be read late, or an engine's thread may have no core.
    seconds: f64,
}

const ONE_PROCESS: Tolerance = Tolerance { explained: 0.8, seconds: 0.05 };
/// Allowance for ranks, which wait for each other before each forward, outside the timed region.
const SEVERAL_RANKS: Tolerance = Tolerance { explained: 0.25, seconds: 0.25 };

impl Tolerance {
    fn for_world_size(world_size: u32) -> &'static Self {
        if world_size > 1 { &SEVERAL_RANKS } else { &ONE_PROCESS }
    }
}

/// A longer phase is repeated with fewer forwards, a shorter one with more.
const LONG: Duration = Duration::from_secs(5);

/// The progress of a worker in a phase, with times.
struct Marks {
    begun: Instant,
    /// The last line within the warm-ups: its time, and the forwards done.
    warm: (Instant, u64),
    /// The first line after the warm-ups.
    among_timed: Option<(Instant, u64)>,
    /// The first line with the most forwards done.
    last: (Instant, u64),
}

impl Marks {
    fn at(begun: Instant, done: u64) -> Self {
        Self { begun, warm: (begun, done), among_timed: None, last: (begun, done) }
    }

    /// The line from which the phase is compared with the figures: best at the end of the warm-ups, else a later line that leaves half of the
    /// timed forwards.
    fn start(&self, warmups: u64, timed: u64) -> (Instant, u64) {
        let leaves_half = |line: &(Instant, u64)| line.1 - warmups <= timed / 2;
        match self.among_timed.filter(leaves_half) {
            Some(line) if self.warm.1 < warmups => line,
            _ => self.warm,
        }
    }
}

/// The times at which a worker's lines about a cell were read.
pub(crate) struct CellTimes {
    procedure: Procedure,
    generation_length: u32,
    /// Whether one more generation follows the timed ones.
    collectives: bool,
    asked: Instant,
    prompt: Option<Marks>,
    decode: Option<Marks>,
    answered: Instant,
}

/// A phase by both clocks, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PhaseSpan {
    phase: Phase,
    /// Seconds by the harness's clock.
    passed: f64,
    /// Seconds by the worker's figures. Warm-ups within the span count like timed forwards.
    claimed: f64,
    /// How often the KV cache was emptied in it, which no figure includes.
    resets: f64,
}

impl PhaseSpan {
    fn per_reset(&self) -> f64 {
        if self.resets > 0.0 { (self.passed - self.claimed).max(0.0) / self.resets } else { 0.0 }
    }
}

/// A phase that lasted longer than the worker's figures explain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unexplained(PhaseSpan);

impl Unexplained {
    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The claimed time, the phase, and how long it lasted.
    pub(crate) fn words(&self) -> String {
        let PhaseSpan { phase, passed, claimed, .. } = self.0;
        format!(
            "the worker's figures account for {claimed:.3} s of {phase}, which lasted {passed:.3} s by the harness's clock"
        )
    }

    /// Both times in short: `0.020 s of 0.200 s`.
    pub(crate) fn seconds_of_each(&self) -> String {
        format!("{:.3} s of {:.3} s", self.0.claimed, self.0.passed)
    }

    /// Whether a second measurement, with a different number of forwards, shows that the time passes in the forwards. A compilation before
    /// the warm-ups would pass beside them.
    pub(crate) fn is_confirmed_by(&self, second: &Self) -> bool {
        let (first, second) = (self.0, second.0);
        let growth = |first: f64, second: f64| (second / first).ln();
        let (claimed, passed) = (growth(first.claimed, second.claimed), growth(first.passed, second.passed));
        // Time beside the forwards is about the same in both.
        let grows_alike = passed * claimed > claimed * claimed / 2.0;
        let per_claimed_second = (second.passed - first.passed) / (second.claimed - first.claimed);
        grows_alike && per_claimed_second > 1.0 / ONE_PROCESS.explained
    }
}

impl CellTimes {
    /// Starts the clock of a request that is sent now.
    pub(crate) fn start(request: &MeasureRequest) -> Self {
        let now = Instant::now();
        Self {
            procedure: request.procedure,
            generation_length: request.generation_length,
            collectives: request.collectives,
            asked: now,
            prompt: None,
            decode: None,
            answered: now,
        }
    }

    /// Records a line of progress.
    pub(crate) fn on_progress(&mut self, progress: &Progress, at: Instant) {
        let (warmups, marks) = match progress.phase {
            Phase::Load => return,
            Phase::Prompt => (u64::from(self.procedure.warmup_runs), &mut self.prompt),
            Phase::Decode => (1 + self.warmup_decodes(), &mut self.decode),
        };
        let line = (at, u64::from(progress.done));
        let marks = marks.get_or_insert(Marks::at(at, line.1.min(warmups)));
        if line.1 <= warmups {
            marks.warm = line;
        } else if marks.among_timed.is_none() {
            marks.among_timed = Some(line);
        }
        if line.1 > marks.last.1 {
            marks.last = line;
        }
    }

    /// Records the answer.
    pub(crate) fn on_answer(&mut self, at: Instant) {
        self.answered = at;
    }

    /// The time from the request to its answer.
    pub(crate) fn passed(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked)
    }

    fn warmup_decodes(&self) -> u64 {
        u64::from(self.procedure.warmup_runs.min(self.generation_length))
    }

    /// Phases that lasted longer than these figures explain.
    pub(crate) fn unexplained(&self, measured: &Measured, world_size: u32) -> Vec<Unexplained> {
        let spans = self.spans(measured);
        // What passes beside the forwards of both phases alike is the emptying of the cache.
        let per_reset = match &*spans {
            [prompt, decode] => prompt.per_reset().min(decode.per_reset()),
            _ => 0.0,
        };
        let tolerance = Tolerance::for_world_size(world_size);
        let is_unexplained = |span: &PhaseSpan| {
            let explained = span.claimed + span.resets * per_reset;
            explained < span.passed * tolerance.explained && span.passed - explained > tolerance.seconds
        };
        spans.into_iter().filter(is_unexplained).map(Unexplained).collect()
    }

    /// The seconds of prompt and decode by the harness's clock, from the end of their warm-ups; of both together where no line says that
    /// decode begins.
    pub(crate) fn phase_seconds(&self, measured: &Measured) -> [f64; 2] {
        let spans = self.spans(measured);
        [spans.first(), spans.last()].map(|span| span.map_or(0.0, |span| span.passed))
    }

    fn spans(&self, measured: &Measured) -> Vec<PhaseSpan> {
        let begun = Marks::at(self.asked, 0);
        let prompt = self.prompt.as_ref().unwrap_or(&begun);
        let Some(decode) = &self.decode else {
            // Without a line where decode begins, both are one phase.
            let parts =
                [self.prompt_span(prompt, self.answered, measured), self.decode_span(&begun, measured)];
            let [claimed, resets] = [parts[0].claimed + parts[1].claimed, parts[0].resets + parts[1].resets];
            let whole = PhaseSpan { claimed, resets, ..parts[0] };
            return if self.collectives { Vec::new() } else { vec![whole] };
        };
        vec![self.prompt_span(prompt, decode.begun, measured), self.decode_span(decode, measured)]
    }

    fn prompt_span(&self, marks: &Marks, end: Instant, measured: &Measured) -> PhaseSpan {
        let warmups = u64::from(self.procedure.warmup_runs);
        let timed = &measured.prompt_seconds;
        let (start, done) = marks.start(warmups, timed.len() as u64);
        let left = warmups.saturating_sub(done);
        let rest = timed.get(done.saturating_sub(warmups) as usize..).unwrap_or_default();
        let claimed = rest.iter().sum::<f64>() + left as f64 * mean(timed);
        let resets = (rest.len() as u64 + left) as f64;
        PhaseSpan { phase: Phase::Prompt, passed: seconds(start, end), claimed, resets }
    }

    fn decode_span(&self, marks: &Marks, measured: &Measured) -> PhaseSpan {
        let generations = &measured.generations;
        let decodes = self.warmup_decodes();
        let length = 1 + u64::from(self.generation_length);
        let timed = generations.len() as u64 * length;
        let (start, done) = marks.start(1 + decodes, timed);
        let left = (1 + decodes).saturating_sub(done);
        let (mut claimed, mut resets) = (0.0, 0.0);
        if let Some(first) = generations.first() {
            // The generation of the warm-up: its last forwards, and its prefill if that is still to come.
            let tokens = first.token_seconds.iter().take(decodes as usize);
            claimed += tokens.rev().take(left as usize).sum::<f64>();
            if left > decodes {
                (claimed, resets) = (claimed + first.prompt_seconds, 1.0);
            }
        }
        let mut skipped = done.saturating_sub(1 + decodes);
        for one in generations {
            let here = skipped.min(length);
            claimed += one.wall_seconds * (1.0 - share_done(one, here));
            resets += if here == 0 { 1.0 } else { 0.0 };
            skipped -= here;
        }
        let is_end_known = marks.last.1 == 1 + decodes + timed && marks.last.0 > start;
        let end = if is_end_known { marks.last.0 } else { self.answered };
        // No figure includes the generation for the share of collectives.
        let passed = if self.collectives && !is_end_known { 0.0 } else { seconds(start, end) };
        PhaseSpan { phase: Phase::Decode, passed, claimed, resets }
    }

    /// The same cell with different numbers of forwards, to tell time in forwards from other time. A phase that took long gets fewer, if it
    /// has enough; another one at least twice as many.
    pub(crate) fn second_request(&self, first: &MeasureRequest) -> MeasureRequest {
        let Procedure { warmup_runs, prompt_runs, generations, .. } = first.procedure;
        let length = first.generation_length;
        let decode_began = self.decode.as_ref().map_or(self.answered, |decode| decode.begun);
        let prompt_is_long = decode_began.saturating_duration_since(self.asked) > LONG;
        let decode_is_long = self.answered.saturating_duration_since(decode_began) > LONG;

        let prefills = warmup_runs.saturating_add(prompt_runs);
        let prompt_runs = if prompt_is_long && warmup_runs < prefills / 2 {
            (prefills / 4).saturating_sub(warmup_runs).max(1)
        } else {
            prompt_runs.saturating_mul(2).saturating_add(warmup_runs)
        };
        let (generations, generation_length) = match (generations, length) {
            (4.., _) if decode_is_long => (generations / 4, length),
            (_, 8..) if decode_is_long => (1, length / 4),
            _ => (generations.saturating_mul(2).saturating_add(1), length),
        };
        let procedure = Procedure { warmup_runs, prompt_runs, generations, until: None, min_runs: 0 };
        MeasureRequest { generation_length, procedure, collectives: false, ..first.clone() }
    }
}

/// The share of a generation's time that its first `forwards` took.
fn share_done(one: &Generation, forwards: u64) -> f64 {
    let Some(tokens) = forwards.checked_sub(1) else { return 0.0 };
    let all = one.prompt_seconds + one.token_seconds.iter().sum::<f64>();
    let done = one.prompt_seconds + one.token_seconds.iter().take(tokens as usize).sum::<f64>();
    if all > 0.0 { done / all } else { 0.0 }
}

fn seconds(start: Instant, end: Instant) -> f64 {
    end.saturating_duration_since(start).as_secs_f64()
}

fn mean(series: &[f64]) -> f64 {
    series.iter().sum::<f64>() / series.len().max(1) as f64
}

#[cfg(test)]
mod tests;
