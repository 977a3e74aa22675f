//! The one place that writes to stdout and stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};

use results::{one_line, plain};

/// Writes a result to stdout. A reader that closed the pipe (`| head`) has what it wanted.
pub(crate) fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("writing to stdout"))
        }
        _ => Ok(()),
    }
}

/// Writes a result for people, with text from elsewhere in it.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    result(&plain(text))
}

/// Writes a line to stderr, whether or not anybody reads it.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// Writes an error with its causes on one line.
pub(crate) fn error(error: &anyhow::Error) {
    line(&one_line(&format!("error: {error:#}")));
}

/// Whether results go to a screen.
pub(crate) fn is_screen() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the screen that stdout goes to, if it is one.
pub(crate) fn screen_width() -> Option<u16> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns)
}

/// Whether results go to a screen that wants colours (<https://no-color.org>).
pub(crate) fn is_coloured_screen() -> bool {
    is_screen() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
