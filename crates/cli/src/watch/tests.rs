//! The picture without a terminal.

use std::path::Path;
use std::time::Duration;

use harness::{Engines, Event, QUICK_SWEEP, Setting, Sweep, Whole, interleaved};
use protocol::{
    CellFailure, CellKey, FailureKind, Generation, Measured, MeasuredCell, Measurement, Memory, Outcome,
    Phase, Progress, Ranks, SCHEMA,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::state::WatchState;
use super::view;

fn sweep(replicates: u32) -> Sweep {
    let mut settings = Sweep::settings(QUICK_SWEEP, "quick.toml", Path::new("")).unwrap();
    settings.procedure.replicates = Some(Setting::new(Whole(replicates), "the test"));
    Sweep::resolve(&settings, &Engines::built_in()).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn picture(state: &WatchState, now: u64, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state, seconds(now))).unwrap();
    terminal.backend().to_string()
}

/// The record of the sweep's cell with this index, one second and a half long.
fn ended(sweep: &Sweep, index: usize, failure: Option<FailureKind>) -> Measurement {
    let (_, cell) = interleaved(sweep, 1)[index];
    let token_seconds: Vec<f64> = (0..256).map(|token| 0.002 + f64::from(token % 64) * 1e-5).collect();
    let series = Measured {
        prompt_seconds: vec![0.003; 10],
        generations: vec![Generation { prompt_seconds: 0.003, wall_seconds: 1.5, token_seconds }],
        device_seconds: None,
        memory: Memory::default(),
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: String::new(),
    };
    let measured = MeasuredCell { load_seconds: None, notes: Vec::new(), series };
    let outcome = failure.map_or_else(
        || Outcome::Ok(Box::new(measured)),
        |kind| Outcome::Failed(CellFailure::new(kind, Phase::Decode, "std::bad_alloc\u{1b}[31m".into())),
    );
    Measurement {
        schema: SCHEMA,
        key: CellKey {
            model: cell.model.name.clone(),
            precision: sweep.models[0].precision,
            device: sweep.setup.device,
            ranks: Ranks::ONE,
            engine: cell.engine.into(),
            batch_size: cell.batch_size,
            prompt_length: cell.prompt_length,
            generation_length: 256,
        },
        replicate: cell.replicate,
        part: 1,
        device_memory_limit_bytes: None,
        procedure: None,
        read_bytes_per_second: None,
        machine_load: None,
        gpu: None,
        outcome,
    }
}

fn measure(state: &mut WatchState, sweep: &Sweep, index: usize, failure: Option<FailureKind>, at: u64) {
    let (side, cell) = interleaved(sweep, 1)[index];
    state.hear(&Event::CellStarted { cell, index, side }, seconds(at));
    let measurement = ended(sweep, index, failure);
    state.hear(&Event::CellEnded { cell, index, measurement: &measurement }, seconds(at + 2));
}

#[test]
fn a_sweep_in_its_middle() {
    let sweep = sweep(1);
    let mut state = WatchState::new(&sweep, 1);
    let dirs = [Path::new("runs/quick")];
    state.hear(&Event::Opened { dirs: &dirs, cells: 18, done: 0 }, seconds(0));
    for index in 0..7 {
        let failure = match index {
            5 => Some(FailureKind::OutOfMemory),
            6 => Some(FailureKind::Crashed),
            _ => None,
        };
        measure(&mut state, &sweep, index, failure, 2 * index as u64);
    }
    let (side, cell) = interleaved(&sweep, 1)[7];
    state.hear(&Event::CellStarted { cell, index: 7, side }, seconds(14));
    for done in 1..=40 {
        let last_seconds = Some(0.008 + f64::from(done % 5) * 0.001);
        let progress = Progress { phase: Phase::Decode, done: done * 3, of: 256, last_seconds };
        state.hear(&Event::Progress(&progress), seconds(15));
    }
    state.sample((Some(312.4), Some(1980)));
    state.sample((Some(290.0), Some(1755)));
    insta::assert_snapshot!(picture(&state, 15, 100, 34));
    assert!(!picture(&state, 15, 100, 34).contains('\u{1b}'));
}

#[test]
fn a_resumed_sweep_with_replicates_while_it_stops() {
    let sweep = sweep(3);
    let mut state = WatchState::new(&sweep, 1);
    // The first 20 were measured earlier.
    measure(&mut state, &sweep, 20, None, 0);
    state.is_stopping = true;
    insta::assert_snapshot!(picture(&state, 3, 80, 26));
    assert_eq!(state.done(), (21, 54));
}

#[test]
fn the_smallest_terminal_is_drawn_on() {
    let sweep = sweep(1);
    let mut state = WatchState::new(&sweep, 1);
    measure(&mut state, &sweep, 0, None, 0);
    for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
        picture(&state, 0, width, height);
    }
}
