//! The one place that writes to stdout and stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use results::{Terminal, one_line, plain};

use crate::args::ColorWhen;
use crate::words::fold;

/// Lines are not wrapped on a narrower terminal.
const NARROWEST: usize = 20;

/// Set by `--quiet`.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Words that begin a line of stderr, and how they look.
const MARKS: [(&str, Style); 3] = [
    ("error:", AnsiColor::Red.on_default().bold()),
    ("warning:", AnsiColor::Yellow.on_default().bold()),
    ("note:", AnsiColor::Cyan.on_default().bold()),
];

/// The operating system's words for frequent errors, and ours.
const OF_THE_SYSTEM: [(&str, &str); 5] = [
    ("No such file or directory (os error 2)", "no such file or folder"),
    ("Permission denied (os error 13)", "no permission"),
    ("File exists (os error 17)", "a file of this name is already there"),
    ("Not a directory (os error 20)", "not a folder"),
    ("Is a directory (os error 21)", "a folder, not a file"),
];

/// Silences everything on stderr but warnings and errors.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Whether only results, warnings and errors are shown.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Decides whether text has colours: everything that is printed, and clap's help and errors.
pub(crate) fn set_color(when: ColorWhen) {
    match when {
        ColorWhen::Auto => ColorChoice::Auto,
        ColorWhen::Always => ColorChoice::Always,
        ColorWhen::Never => ColorChoice::Never,
    }
    .write_global();
}

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

/// Writes a result for people: on a screen, its lines wrap at words.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    result(&folded(text, screen_width()))
}

/// The text with no line longer than `columns`, where it breaks at words.
fn folded(text: &str, columns: Option<u16>) -> String {
    let Some(columns) = columns.map(usize::from).filter(|columns| *columns >= NARROWEST) else {
        return text.to_owned();
    };
    text.split('\n').flat_map(|line| fold(line, columns)).collect::<Vec<_>>().join("\n")
}

/// Writes a line to stderr, whether or not anybody reads it. With `--quiet`, only warnings and errors are written.
pub(crate) fn line(text: &str) {
    let text = plain(text);
    let mark = MARKS.iter().find(|(mark, _)| text.starts_with(mark));
    if is_quiet() && mark.is_none_or(|(mark, _)| *mark == "note:") {
        return;
    }
    let columns = console::Term::stderr().size_checked().map(|(_, columns)| columns);
    let text = folded(&text, columns.filter(|_| io::stderr().is_terminal()));
    let mut stderr = io::stderr().lock();
    let _ = match mark.filter(|_| AutoStream::choice(&stderr) != ColorChoice::Never) {
        Some((mark, style)) => writeln!(stderr, "{style}{mark}{style:#}{}", &text[mark.len()..]),
        None => writeln!(stderr, "{text}"),
    };
}

/// Writes an error with its causes on one line.
pub(crate) fn error(error: &anyhow::Error) {
    line(&one_line(&in_our_words(&format!("error: {error:#}"))));
}

/// Replaces the operating system's words, and drops its numbers.
pub(crate) fn in_our_words(text: &str) -> String {
    let mut text =
        OF_THE_SYSTEM.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    while let Some(start) = text.find(" (os error ")
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    text
}

/// Whether results go to a screen.
pub(crate) fn is_screen() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the screen that stdout goes to, if it is one.
pub(crate) fn screen_width() -> Option<u16> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns)
}

/// The screen that stdout goes to; a file has neither width nor colours.
pub(crate) fn terminal(out: Option<&Path>) -> Terminal {
    let is_screen = out.is_none();
    Terminal { width: screen_width().filter(|_| is_screen), is_coloured: is_screen && is_coloured() }
}

/// Whether results have colours: as `--color` says, else on a screen unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn is_coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}
