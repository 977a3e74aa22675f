//! The terminal, which is restored however the program ends, and the thread that draws and reads keys.

use std::io::{self, IsTerminal, Stderr, stderr, stdin};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use machine::gpu::GpuWatch;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::state::WatchState;
use super::view;

/// Time between two pictures.
const PERIOD: Duration = Duration::from_millis(200);

/// Time between two samples of the GPU.
const GPU_PERIOD: Duration = Duration::from_secs(1);

/// The most columns and rows to draw: a terminal may claim 65,535 of each, for which there is no memory.
const LARGEST: Size = Size { width: 1000, height: 300 };

/// The attributes of the terminal before.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// Whether there is a terminal to draw on and to read keys from.
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
    /// Starts to draw on the terminal.
    pub(super) fn start(
        state: Arc<Mutex<WatchState>>,
        started: Instant,
        gpu: Option<GpuWatch>,
    ) -> io::Result<Self> {
        remember();
        give_back_where_it_ends_otherwise();
        enable_raw_mode()?;
        let terminal = execute!(stderr(), EnterAlternateScreen, cursor::Hide).and_then(|()| {
            let backend = CrosstermBackend::new(stderr());
            let viewport = Viewport::Fixed(picture_area(backend.size()?));
            Terminal::with_options(backend, TerminalOptions { viewport })
        });
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

/// Locks the state, also after a panic of a thread that changed it.
pub(super) fn lock(state: &Mutex<WatchState>) -> MutexGuard<'_, WatchState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paint(
    mut terminal: Terminal<CrosstermBackend<Stderr>>,
    state: &Mutex<WatchState>,
    started: Instant,
    gpu: Option<&GpuWatch>,
    stopped: &Receiver<()>,
) {
    let mut looked: Option<Instant> = None;
    let mut area = Rect::default();
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        if let Some(gpu) = gpu.filter(|_| looked.is_none_or(|looked| looked.elapsed() >= GPU_PERIOD)) {
            looked = Some(Instant::now());
            let sample = gpu.power_and_clock();
            lock(state).sample(sample);
        }
        // If the terminal is gone, drawing stops and the sweep goes on.
        let Ok(size) = terminal.size() else { return };
        if picture_area(size) != area {
            area = picture_area(size);
            if terminal.resize(area).is_err() {
                return;
            }
        }
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

fn picture_area(terminal: Size) -> Rect {
    Rect::new(0, 0, terminal.width.min(LARGEST.width), terminal.height.min(LARGEST.height))
}

/// Handles q, Esc and Ctrl-C, which is no signal in raw mode.
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

#[expect(clippy::exit, reason = "the second request to stop ends at once")]
fn stop(state: &mut WatchState) {
    if state.is_stopping {
        give_back();
        // Like a second Ctrl-C. Workers end with this process.
        std::process::exit(130);
    }
    state.is_stopping = true;
    harness::interrupt();
}

/// Restores the terminal.
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

/// Restores the terminal also after a panic, or when a signal ends the program.
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
        FATAL.iter().for_each(|signal| give_back_before(*signal));
    });
}

/// Signals that end a program by default; a failed allocation ends in SIGABRT.
const FATAL: [libc::c_int; 19] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGUSR1,
    libc::SIGSEGV,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSYS,
];

/// Restores the terminal before `signal` ends the program, unless it has another handler.
fn give_back_before(signal: libc::c_int) {
    // SAFETY: structs of numbers, which are ours; the handler makes only async-signal-safe calls.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut before);
        // Rust handles those two, to report a stack overflow.
        if before.sa_sigaction != libc::SIG_DFL && ![libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
            return;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = end_by as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // The stack may be full; the second time the signal has its default action.
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn end_by(signal: libc::c_int) {
    give_back_in_a_signal();
    // SAFETY: async-signal-safe. The signal is blocked until this returns, and ends the program then.
    unsafe { libc::raise(signal) };
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
