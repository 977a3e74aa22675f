//! Tables and notes for a screen: no line of a table is wider than the screen, and notes wrap at words.

use unicode_width::UnicodeWidthStr as _;

use crate::escape_markdown;

/// The shortest that a name in the first column is cut to.
const SHORTEST_NAME: usize = 8;
/// Blanks between two columns.
const GAP: usize = 2;

/// A column of a [`ScreenTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenColumn {
    /// The text above it.
    pub header: String,
    /// What it is called where it is left out.
    pub name: String,
    /// When it is left out on a narrow screen: the highest rank first, 0 never.
    pub rank: u8,
    /// Whether its texts begin at the left, as names do; numbers end at the right.
    pub is_left: bool,
}

/// A table for a screen. Columns without any text are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenTable {
    /// The columns; the first one has names, which are cut as a last resort.
    pub columns: Vec<ScreenColumn>,
    /// The rows, a text for each column.
    pub rows: Vec<Vec<String>>,
}

/// A [`ScreenTable`] as lines of a certain width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenLines {
    /// Border, headers, border, rows, border.
    pub lines: Vec<String>,
    /// The names of the columns that the screen has no room for.
    pub left_out: Vec<String>,
}

/// Lines above the first row of [`ScreenLines::lines`].
pub const LINES_ABOVE_ROWS: usize = 3;

impl ScreenTable {
    /// A table of columns, each with its header, its rank, and whether its texts begin at the left.
    pub fn new(columns: &[(&str, u8, bool)], rows: Vec<Vec<String>>) -> Self {
        let column = |(header, rank, is_left): &(&str, u8, bool)| ScreenColumn {
            header: (*header).into(),
            name: (*header).into(),
            rank: *rank,
            is_left: *is_left,
        };
        Self { columns: columns.iter().map(column).collect(), rows }
    }

    /// The table as wide as the screen, and a note on the columns that it has no room for.
    pub fn to_screen(&self, width: Option<u16>) -> String {
        let lines = self.lines(width);
        let text: String = lines.lines.iter().map(|line| format!("{line}\n")).collect();
        text + &left_out_note(&lines.left_out, "all columns: --format markdown", width)
    }

    /// A markdown table, as wide as it has to be.
    pub fn to_markdown(&self) -> String {
        let chosen = self.columns_with_text();
        let line = |text: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = chosen.iter().map(|index| escape_markdown(&text(*index))).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = |index: &usize| if self.columns[*index].is_left { " --- |" } else { " ---: |" };
        let rules: String = chosen.iter().map(rule).collect();
        let head = [line(&|index| self.columns[index].header.clone()), format!("|{rules}\n")];
        head.into_iter().chain(self.rows.iter().map(|row| line(&|index| row[index].clone()))).collect()
    }

    fn columns_with_text(&self) -> Vec<usize> {
        let has_text = |index: &usize| self.rows.iter().any(|row| !row[*index].is_empty());
        (0..self.columns.len()).filter(has_text).collect()
    }

    /// The lines that fit a screen; without a width, all columns that have a text.
    pub fn lines(&self, width: Option<u16>) -> ScreenLines {
        let width = width.map_or(usize::MAX, usize::from);
        let mut chosen = self.columns_with_text();
        let mut left_out = Vec::new();
        while self.width_of(&chosen) > width {
            let rank = chosen.iter().map(|index| self.columns[*index].rank).max().unwrap_or(0);
            if rank == 0 {
                break;
            }
            let (out, kept) = chosen.into_iter().partition(|index| self.columns[*index].rank == rank);
            (left_out, chosen) = ([left_out, out].concat(), kept);
        }
        left_out.sort_unstable();
        let too_wide = self.width_of(&chosen).saturating_sub(width);
        let longest_name = self.column_width(0).saturating_sub(too_wide).max(SHORTEST_NAME);
        ScreenLines {
            lines: self.write(&chosen, longest_name),
            left_out: left_out.into_iter().map(|index| self.columns[index].name.clone()).collect(),
        }
    }

    fn column_width(&self, index: usize) -> usize {
        let texts = self.rows.iter().map(|row| row[index].width());
        texts.chain([self.columns[index].header.width()]).max().unwrap_or(0)
    }

    fn width_of(&self, chosen: &[usize]) -> usize {
        let widths: usize = chosen.iter().map(|index| self.column_width(*index)).sum();
        1 + widths + GAP * chosen.len().saturating_sub(1)
    }

    fn write(&self, chosen: &[usize], longest_name: usize) -> Vec<String> {
        let width = |index: usize| match self.column_width(index) {
            width if index == 0 => width.min(longest_name),
            width => width,
        };
        let widths: Vec<usize> = chosen.iter().map(|index| width(*index)).collect();
        let line = |texts: &dyn Fn(usize) -> String| {
            let mut line = String::new();
            for (index, width) in chosen.iter().zip(&widths) {
                let text = shortened(&texts(*index), *width);
                let blanks = " ".repeat(width.saturating_sub(text.width()));
                line.push_str(if line.is_empty() { " " } else { "  " });
                line.push_str(&if self.columns[*index].is_left { text + &blanks } else { blanks + &text });
            }
            line.trim_end().to_owned()
        };
        let border = "─".repeat(1 + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1));
        let head = [border.clone(), line(&|index| self.columns[index].header.clone()), border.clone()];
        let rows = self.rows.iter().map(|row| line(&|index| row[index].clone()));
        head.into_iter().chain(rows).chain([border.clone()]).collect()
    }
}

/// The line that says which columns a screen has no room for and how to see them; nothing where all are there.
pub fn left_out_note(left_out: &[String], all_columns: &str, width: Option<u16>) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    wrapped("", &format!("not shown: {} ({all_columns})", left_out.join(", ")), width)
}

/// A text as lines that wrap at words. The first begins with `mark`, the others are indented by its width, or by two. A word is never
/// cut.
pub fn wrapped(mark: &str, text: &str, width: Option<u16>) -> String {
    let width = width.map_or(usize::MAX, usize::from);
    let indent = mark.width().max(2);
    let (mut lines, mut column, mut is_first) = (mark.to_owned(), mark.width(), true);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !is_first && column + 1 + word.width() > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if !is_first {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.width();
        is_first = false;
    }
    lines.push('\n');
    lines
}

/// A text of at most `width` columns: its beginning and its end, which tell most names apart.
fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let head = taken(text.chars(), room.div_ceil(2));
    let tail: String = taken(text.chars().rev(), room / 2).chars().rev().collect();
    format!("{head}…{tail}")
}

fn taken(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut text = String::new();
    for c in chars {
        text.push(c);
        if text.width() > width {
            text.pop();
            break;
        }
    }
    text
}

/// A number and what it counts: `1 cell`, `3 cells`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_give_way_by_rank_and_names_last() {
        let column = |header: &str, rank, is_left| ScreenColumn {
            header: header.into(),
            name: header.into(),
            rank,
            is_left,
        };
        let table = ScreenTable {
            columns: vec![
                column("engine", 0, true),
                column("ms", 0, false),
                column("±", 2, false),
                column("tok/s", 1, false),
                column("empty", 0, false),
            ],
            rows: vec![
                vec!["pytorch-compile".into(), "1.234".into(), "3 %".into(), "98.76".into(), String::new()],
                vec!["漢字漢字漢字漢字".into(), "OOM".into(), String::new(), String::new(), String::new()],
            ],
        };
        let all = table.lines(None);
        assert_eq!(all.left_out, Vec::<String>::new());
        assert_eq!(all.lines[1], " engine               ms    ±  tok/s");
        assert_eq!(all.lines[3], " pytorch-compile   1.234  3 %  98.76");
        assert_eq!(table.lines(Some(31)).left_out, ["±"]);
        let narrow = table.lines(Some(20));
        assert_eq!(narrow.left_out, ["±", "tok/s"]);
        assert_eq!(narrow.lines[3..5], [" pytorc…mpile  1.234", " 漢字漢…漢字     OOM"]);
        for width in 16..60 {
            let lines = table.lines(Some(width)).lines;
            assert!(lines.iter().all(|line| line.width() <= usize::from(width)), "{width}: {lines:?}");
        }
        let note = left_out_note(&narrow.left_out, "all columns: --format csv", Some(30));
        assert_eq!(note, "not shown: ±, tok/s (all\n  columns: --format csv)\n");
        let first = ScreenTable {
            rows: vec![vec!["a|b".into(), "1".into()]],
            ..ScreenTable::new(&[("engine", 0, true), ("ms", 1, false)], vec![])
        };
        assert_eq!(first.to_markdown(), "| engine | ms |\n| --- | ---: |\n| a\\|b | 1 |\n");
        assert_eq!(
            first.to_screen(Some(9)),
            "───────\n engine\n───────\n a|b\n───────\nnot\n  shown:\n  ms (all\n  columns:\n  --format\n  markdown)\n"
        );
        assert_eq!(left_out_note(&[], "all columns: --format csv", Some(30)), "");
    }

    #[test]
    fn notes_wrap_at_words_below_their_mark() {
        assert_eq!(wrapped("! ", "one two three", Some(9)), "! one two\n  three\n");
        assert_eq!(wrapped("! ", "a/long/path two", Some(5)), "! a/long/path\n  two\n");
        assert_eq!(wrapped("! ", "one two", None), "! one two\n");
        assert_eq!([counted(1, "cell"), counted(0, "row")], ["1 cell", "0 rows"]);
    }
}
