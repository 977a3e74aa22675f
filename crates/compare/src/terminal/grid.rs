//! The columns of a comparison on a screen, and the colour of its verdicts.

use results::Terminal;
use results::screen::{LINES_ABOVE_ROWS, ScreenColumn, ScreenTable};

/// The columns: header, name where it is left out, rank, and whether it begins at the left. The highest rank is left out first, 0 never:
/// what a verdict rests on, the interval, then the baseline.
const COLUMNS: [(&str, &str, u8, bool); 9] = [
    ("engine", "engine", 0, true),
    ("batch", "batch", 0, false),
    ("prompt", "prompt", 0, false),
    ("baseline", "baseline", 1, false),
    ("candidate", "candidate", 0, false),
    ("change", "change", 0, false),
    ("95 % CI", "95 % CI", 2, false),
    ("", "p-values and replicates", 3, true),
    ("", "verdict", 0, true),
];

/// A row's texts, column by column.
pub(super) struct ScreenRow {
    pub(super) texts: [String; COLUMNS.len()],
    pub(super) paint: Option<Paint>,
}

/// The colour of a row's end.
pub(super) struct Paint {
    /// The text that the colour begins with.
    pub(super) from: String,
    /// The escape that begins the colour.
    pub(super) escape: &'static str,
}

/// The grid with as many columns as fit, and the names of those that are left out.
pub(super) fn write(rows: &[ScreenRow], terminal: Terminal) -> (String, Vec<String>) {
    let column = |(header, name, rank, is_left): (&str, &str, u8, bool)| ScreenColumn {
        header: header.into(),
        name: name.into(),
        rank,
        is_left,
    };
    let texts = rows.iter().map(|row| row.texts.to_vec()).collect();
    let screen = ScreenTable { columns: COLUMNS.map(column).into(), rows: texts };
    let mut fitted = screen.lines(terminal.width);
    if terminal.is_coloured {
        for (line, row) in fitted.lines[LINES_ABOVE_ROWS..].iter_mut().zip(rows) {
            paint(line, row.paint.as_ref());
        }
    }
    (fitted.lines.iter().map(|line| format!("{line}\n")).collect(), fitted.left_out)
}

fn paint(line: &mut String, paint: Option<&Paint>) {
    if let Some((paint, start)) = paint.and_then(|paint| Some((paint, line.rfind(&paint.from)?))) {
        line.insert_str(start, paint.escape);
        line.push_str("\u{1b}[0m");
    }
}
