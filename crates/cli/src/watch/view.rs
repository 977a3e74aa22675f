//! The picture: grids of cells, the current cell, the GPU, the log.

use std::time::Duration;

use protocol::{FailureKind, Phase};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Gauge, Paragraph, Sparkline};

use super::state::{Slot, Standing, WatchState};
use crate::eta::share;
use crate::format::{clock, duration};
use crate::words::fold;

/// Draws the state, so long after the start.
pub(super) fn draw(frame: &mut Frame<'_>, state: &WatchState, now: Duration) {
    let grid = grids(state, frame.area().width);
    let gpu_height = if state.gpu.is_empty() { 0 } else { 4 };
    let height = frame.area().height;
    let tokens_height = if height < 22 { 3 } else { 6 };
    let most = height.saturating_sub(6 + tokens_height + gpu_height).max(3);
    let grid_height = (grid.len() as u16 + 2).min(most);
    let [head, cells, current, tokens, gpu, log, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(grid_height),
        Constraint::Length(1),
        Constraint::Length(tokens_height),
        Constraint::Length(gpu_height),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());

    let (done, all) = state.done();
    let left = state.left().map_or_else(String::new, |left| format!(" · about {} left", clock(left)));
    let words = format!("{done} of {all} cells · {} elapsed{left}", clock(now));
    frame.render_widget(two_sides(&results::one_line(&state.dirs), &words, head.width), head);

    let block = Block::new().borders(Borders::ALL).title(" cells: batch size ↓ prompt length → ");
    frame.render_widget(Paragraph::new(grid).block(block), cells);
    draw_current(frame, state, current);
    draw_tokens(frame, state, tokens);
    if gpu_height > 0 {
        draw_gpu(frame, state, gpu);
    }
    let block =
        Block::new().borders(Borders::ALL).title(" log: engine, batch, prompt, prompt ms, TPOT ms, wall s ");
    let room = usize::from(log.height.saturating_sub(2));
    let wide = usize::from(log.width.saturating_sub(2)).max(1);
    // More lines than there is room for are not folded.
    let latest = state.log.iter().skip(state.log.len().saturating_sub(room));
    let lines: Vec<String> = latest.flat_map(|line| fold(line, wide)).collect();
    let lines = lines[lines.len().saturating_sub(room)..].iter().map(|line| Line::raw(line.as_str()));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), log);
    let keys = if state.is_stopping {
        Span::styled("stopping gracefully; press q again to end at once", Style::new().fg(Color::Yellow))
    } else {
        Span::raw("q: stop gracefully; finished cells are kept, continue with --resume")
    };
    frame.render_widget(Line::from(keys), foot);
}

fn two_sides<'a>(left: &str, right: &str, width: u16) -> Line<'a> {
    let room = usize::from(width).saturating_sub(right.chars().count() + 2);
    let left: String = left.chars().take(room).collect();
    let gap = room.saturating_sub(left.chars().count()) + 2;
    Line::from(vec![
        Span::styled(left, Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(" ".repeat(gap)),
        Span::raw(right.to_owned()),
    ])
}

fn draw_current(frame: &mut Frame<'_>, state: &WatchState, area: Rect) {
    let words = match &state.progress {
        None => state.current.clone(),
        Some(progress) if progress.phase == Phase::Load => format!("{}  loading", state.current),
        Some(progress) => {
            let last = progress.last_seconds.map(|seconds| format!("  {}", duration(seconds)));
            format!(
                "{}  {} {}/{}{}",
                state.current,
                progress.phase,
                progress.done,
                progress.of,
                last.unwrap_or_default()
            )
        }
    };
    let ratio = state.progress.as_ref().filter(|progress| progress.phase != Phase::Load).map_or(0.0, share);
    let gauge = Gauge::default()
        .ratio(ratio)
        .label(results::one_line(&words))
        .gauge_style(Style::new().fg(Color::Blue));
    frame.render_widget(gauge, area);
}

fn draw_tokens(frame: &mut Frame<'_>, state: &WatchState, area: Rect) {
    let all = || state.tokens.iter().copied();
    let (least, largest) =
        all().fold((f64::INFINITY, 0.0_f64), |(least, largest), one| (least.min(one), largest.max(one)));
    let title = if state.tokens.is_empty() {
        " token latency ".to_owned()
    } else {
        format!(
            " token latency: {} to {} ({}) ",
            duration(least),
            duration(largest),
            results::one_line(&state.tokens_of)
        )
    };
    let block = Block::new().borders(Borders::ALL).title(title);
    let room = usize::from(area.width.saturating_sub(2)).max(1);
    let bars = binned(&all().collect::<Vec<_>>(), room);
    let bars = bars.into_iter().map(|seconds| (seconds * 1e9) as u64).collect::<Vec<_>>();
    frame.render_widget(
        Sparkline::default().block(block).data(bars).style(Style::new().fg(Color::Cyan)),
        area,
    );
}

/// The largest of neighbouring values, so that no peak is lost.
fn binned(all: &[f64], room: usize) -> Vec<f64> {
    let step = all.len().div_ceil(room).max(1);
    all.chunks(step).map(|some| some.iter().copied().fold(0.0, f64::max)).collect()
}

fn draw_gpu(frame: &mut Frame<'_>, state: &WatchState, area: Rect) {
    let (power, clock) = state.gpu.back().copied().unwrap_or_default();
    let word = |number: Option<String>, unit: &str| {
        number.map_or_else(|| "N/A".into(), |number| format!("{number} {unit}"))
    };
    let title = format!(
        " GPU: {}, {} ",
        word(power.map(|watts| format!("{watts:.0}")), "W"),
        word(clock.map(|clock| clock.to_string()), "MHz")
    );
    let room = usize::from(area.width.saturating_sub(2));
    let powers = state.gpu.iter().skip(state.gpu.len().saturating_sub(room));
    let bars: Vec<u64> = powers.map(|(power, _)| power.unwrap_or(0.0) as u64).collect();
    let block = Block::new().borders(Borders::ALL).title(title);
    frame.render_widget(
        Sparkline::default().block(block).data(bars).style(Style::new().fg(Color::Magenta)),
        area,
    );
}

/// Draws a grid for each model, engine and side, next to each other as far as they fit.
fn grids<'a>(state: &WatchState, width: u16) -> Vec<Line<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for slot in &state.slots {
        if !names.contains(&slot.grid.as_str()) {
            names.push(&slot.grid);
        }
    }
    let grids: Vec<Vec<Line<'a>>> = names.iter().map(|name| one_grid(state, name)).collect();
    let wide = grids.iter().flatten().map(Line::width).max().unwrap_or(0) + 3;
    let beside = (usize::from(width.saturating_sub(2)) / wide).max(1);
    let mut lines = Vec::new();
    for row in grids.chunks(beside) {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for place in 0..height {
            let mut spans = Vec::new();
            for grid in row {
                let line = grid.get(place).cloned().unwrap_or_default();
                let gap = wide - line.width();
                spans.extend(line.spans);
                spans.push(Span::raw(" ".repeat(gap)));
            }
            lines.push(Line::from(spans));
        }
    }
    lines
}

fn one_grid<'a>(state: &WatchState, name: &str) -> Vec<Line<'a>> {
    let slots: Vec<&Slot> = state.slots.iter().filter(|slot| slot.grid == name).collect();
    let sizes = |of: fn(&Slot) -> u32| {
        let mut sizes: Vec<u32> = slots.iter().map(|slot| of(slot)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    };
    let prompts = sizes(|slot| slot.prompt_length);
    let mut lines = vec![Line::styled(results::one_line(name), Style::new().add_modifier(Modifier::BOLD))];
    let head = prompts.iter().map(|prompt| format!("{prompt:^5}")).collect::<String>();
    lines.push(Line::styled(format!("      {head}"), Style::new().fg(Color::DarkGray)));
    for batch in sizes(|slot| slot.batch_size) {
        let mut spans = vec![Span::raw(format!("{batch:>5} "))];
        for prompt in &prompts {
            let cell: Vec<Standing> = slots
                .iter()
                .filter(|slot| (slot.batch_size, slot.prompt_length) == (batch, *prompt))
                .map(|slot| slot.standing)
                .collect();
            spans.push(glyph(&cell));
        }
        lines.push(Line::from(spans));
    }
    lines
}

/// Draws a cell from its replicates: failed, running, or how much is done.
fn glyph<'a>(replicates: &[Standing]) -> Span<'a> {
    let failed = replicates.iter().find_map(|standing| match standing {
        Standing::Ended(failure) => *failure,
        _ => None,
    });
    let done = replicates
        .iter()
        .filter(|standing| matches!(standing, Standing::Ended(_) | Standing::Earlier))
        .count();
    let (text, colour) = match failed {
        Some(FailureKind::OutOfMemory) => ("OOM", Color::Yellow),
        Some(_) => ("✗", Color::Red),
        None if replicates.contains(&Standing::Running) => ("▶", Color::Blue),
        None if replicates.is_empty() => ("", Color::Reset),
        None if done == 0 => ("·", Color::DarkGray),
        None if done == replicates.len() => ("██", Color::Green),
        None => {
            (["▁▁", "▂▂", "▃▃", "▄▄", "▅▅", "▆▆", "▇▇"][(done * 7 / replicates.len()).min(6)], Color::Green)
        }
    };
    Span::styled(format!("{text:^5}"), Style::new().fg(colour))
}
