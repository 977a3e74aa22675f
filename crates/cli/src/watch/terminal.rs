//! The terminal, which is given back as it was however the program ends; and the thread that draws and hears keys.

use std::io::{self, IsTerminal, Stderr, stderr, stdin};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use machine::gpu::GpuWatch;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use super::state::State;
use super::view;

/// Between two pictures.
const PERIOD: Duration = Duration::from_millis(200);

/// Between two looks at the GPU.
const GPU_PERIOD: Duration = Duration::from_secs(1);

/// How the terminal was.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// Whether there is a terminal to draw on and to hear keys from.
pub(super) fn is_there() -> bool {
    stderr().is_terminal()
        && stdin().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// A thread that draws until it is told to stop.
pub(super) struct Painter {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Painter {
    /// Takes the terminal over.
    pub(super) fn start(
        state: Arc<Mutex<State>>,
        started: Instant,
        gpu: Option<GpuWatch>,
    ) -> io::Result<Self> {
        remember();
        give_back_where_it_ends_otherwise();
        enable_raw_mode()?;
        let terminal = execute!(stderr(), EnterAlternateScreen, cursor::Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
        let terminal = terminal.inspect_err(|_| give_back())?;
        let (stop, stopped) = channel();
        let paint = move || paint(terminal, &state, started, gpu.as_ref(), &stopped);
        let thread =
            std::thread::Builder::new().name("watch".into()).spawn(paint).inspect_err(|_| give_back())?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        give_back();
    }
}

/// What is shown; also after a panic of whoever changed it.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paint(
    mut terminal: Terminal<CrosstermBackend<Stderr>>,
    state: &Mutex<State>,
    started: Instant,
    gpu: Option<&GpuWatch>,
    stopped: &Receiver<()>,
) {
    let mut looked: Option<Instant> = None;
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        if let Some(gpu) = gpu.filter(|_| looked.is_none_or(|looked| looked.elapsed() >= GPU_PERIOD)) {
            looked = Some(Instant::now());
            let sample = gpu.power_and_clock();
            lock(state).sample(sample);
        }
        // A terminal that is gone is drawn on no more; the sweep goes on.
        if terminal.draw(|frame| view::draw(frame, &lock(state), started.elapsed())).is_err() {
            return;
        }
        match event::poll(PERIOD) {
            Ok(true) => match event::read() {
                Ok(Event::Key(key)) if asks_to_stop(&key) => stop(&mut lock(state)),
                Ok(_) => {}
                Err(_) => return,
            },
            Ok(false) => {}
            Err(_) => return,
        }
    }
}

/// q, Esc, and Ctrl-C, which is no signal while the terminal is ours.
fn asks_to_stop(key: &KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('c') => is_control,
            KeyCode::Char('q') => !is_control,
            KeyCode::Esc => true,
            _ => false,
        }
}

fn stop(state: &mut State) {
    if state.is_stopping {
        give_back();
        // As a second Ctrl-C does. Workers end with this process.
        std::process::exit(130);
    }
    state.is_stopping = true;
    harness::interrupt();
}

/// Leaves the terminal as it was.
fn give_back() {
    let _ = execute!(stderr(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

fn remember() {
    // SAFETY: a struct of numbers, which the call fills.
    let mut termios = unsafe { std::mem::zeroed() };
    // SAFETY: stdin is open, and `termios` is ours.
    if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut termios) } == 0 {
        let _ = BEFORE.set(termios);
    }
}

/// Also where somebody panics, or a second signal ends the program.
fn give_back_where_it_ends_otherwise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        // SAFETY: it only writes to a descriptor and sets the terminal's attributes.
        unsafe { harness::before_abrupt_end(give_back_in_a_signal) };
    });
}

extern "C" fn give_back_in_a_signal() {
    const LEAVE: &[u8] = b"\x1b[?1049l\x1b[?25h";
    // SAFETY: both calls are async-signal-safe, and the bytes and attributes outlive them.
    unsafe {
        libc::write(libc::STDERR_FILENO, LEAVE.as_ptr().cast(), LEAVE.len());
        if let Some(before) = BEFORE.get() {
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
        }
    }
}
