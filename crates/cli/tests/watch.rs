//! `run --watch` on a terminal, which is as it was however the program ends.

mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use common::{MOCK, Place, mock_with_fault, worker};

/// Bytes of address space that the program may use.
const MEMORY: libc::rlim_t = 2 << 30;

/// A terminal without a screen.
struct Pty {
    slave: File,
    before: Vec<u8>,
}

impl Pty {
    fn new(columns: u16, rows: u16) -> Self {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut master, mut slave) = (0, 0);
        let null = std::ptr::null_mut();
        // SAFETY: both descriptors are written by the call, and are ours alone then.
        let (mut master, slave) = unsafe {
            let (name, termios) = (null, std::ptr::null());
            assert_eq!(libc::openpty(&raw mut master, &raw mut slave, name, termios, &raw const size), 0);
            (File::from_raw_fd(master), File::from_raw_fd(slave))
        };
        // Somebody has to read what is drawn.
        std::thread::spawn(move || {
            let mut drawn = [0; 4096];
            while master.read(&mut drawn).is_ok_and(|length| length > 0) {}
        });
        let before = attributes(&slave);
        Self { slave, before }
    }

    fn start(&self, place: &Place, sweep: &str) -> Child {
        place.write("sweep.toml", sweep);
        let mut command = Command::new(worker("llama2-bench"));
        command
            .args(["run", "sweep.toml", "--out", "run", "--watch", "--no-verify"])
            .current_dir(place.path(""))
            .env("LLAMA2_BENCH_CACHE", place.path("cache"))
            .env("TERM", "xterm")
            .stdin(self.slave.try_clone().unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(self.slave.try_clone().unwrap());
        // SAFETY: only async-signal-safe calls.
        unsafe {
            command.pre_exec(|| {
                // Its size is asked of the terminal that the process belongs to.
                libc::setsid();
                libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0);
                for (resource, most) in [(libc::RLIMIT_AS, MEMORY), (libc::RLIMIT_CORE, 0)] {
                    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                    libc::setrlimit(resource, &raw const limit);
                }
                Ok(())
            });
        }
        command.spawn().unwrap()
    }

    fn is_taken_over(&self) -> bool {
        attributes(&self.slave) != self.before
    }
}

/// The terminal's attributes, as bytes.
fn attributes(terminal: &File) -> Vec<u8> {
    // SAFETY: a struct of numbers, which the call fills.
    unsafe {
        let mut termios: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut termios), 0);
        [termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .chain(termios.c_cc)
            .collect()
    }
}

/// Sends `signal` while a picture is drawn of a worker that hangs.
fn ended_by(signal: libc::c_int) -> (ExitStatus, bool) {
    let (place, pty) = (Place::new(), Pty::new(100, 30));
    let mut child = pty.start(&place, &mock_with_fault("kind = \"hang\", phase = \"decode\""));
    while !pty.is_taken_over() {
        assert_eq!(child.try_wait().unwrap(), None, "ended before it drew");
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: the child is not reaped yet, so its id is its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
    (child.wait().unwrap(), pty.is_taken_over())
}

#[test]
fn a_signal_that_ends_the_program_leaves_the_terminal_as_it_was() {
    for signal in [libc::SIGQUIT, libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGUSR1] {
        let (status, is_taken_over) = ended_by(signal);
        assert_eq!((status.signal(), is_taken_over), (Some(signal), false), "{status}");
    }
}

#[test]
fn a_terminal_may_claim_any_size() {
    for (columns, rows) in [(65535, 65535), (0, 0), (1, 1)] {
        let (place, pty) = (Place::new(), Pty::new(columns, rows));
        let mut child = pty.start(&place, MOCK);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), pty.is_taken_over()), (Some(0), false), "{columns} × {rows}: {status}");
        assert_eq!(place.records().len(), 6);
    }
}
