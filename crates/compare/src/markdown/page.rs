//! A text of limited length, filled from the most important block to the least.

use std::fmt::Write as _;

use results::counted;

/// GitHub's longest comment, in characters; here in bytes, of which there are as many or more. Less what a gate writes
/// above: its marker and its name (`scripts/action.py`).
pub(super) const LIMIT: usize = 65_536 - 256;

/// Room for the line that says how many rows a block left out.
const REMARK: usize = 80;

/// Rows with what stands before and after them.
pub(super) struct Block {
    pub(super) before: String,
    pub(super) rows: Vec<String>,
    pub(super) after: &'static str,
    /// The most bytes that it may take.
    pub(super) most: usize,
}

/// The text so far, and what it has no room for.
pub(super) struct MarkdownPage {
    text: String,
    tables_left_out: usize,
    rows_left_out: usize,
}

impl MarkdownPage {
    pub(super) fn new(text: String) -> Self {
        Self { text, tables_left_out: 0, rows_left_out: 0 }
    }

    /// A block with as many of its rows as there is room for; nothing for one without rows.
    pub(super) fn push(&mut self, block: Block) {
        let fixed = block.before.len() + block.after.len() + REMARK;
        let room = block.most.min((LIMIT - REMARK).saturating_sub(self.text.len()));
        let mut room = room.saturating_sub(fixed);
        let fits = |row: &&String| {
            let fits = row.len() <= room;
            room = room.saturating_sub(row.len());
            fits
        };
        let fitting = block.rows.iter().take_while(fits).count();
        let left_out = block.rows.len() - fitting;
        if fitting == 0 {
            self.tables_left_out += usize::from(left_out > 0);
            self.rows_left_out += left_out;
            return;
        }
        self.text.push_str(&block.before);
        self.text.extend(block.rows.into_iter().take(fitting));
        if left_out > 0 {
            let _ = writeln!(self.text, "\n{left_out} more are left out: a comment has no room for them.");
        }
        self.text.push_str(block.after);
    }

    /// The text, with what was left out altogether.
    pub(super) fn finish(mut self) -> String {
        if self.tables_left_out > 0 {
            let Self { tables_left_out: tables, rows_left_out: rows, .. } = self;
            let _ = writeln!(
                self.text,
                "\nLeft out for lack of room: {} and {}.",
                counted(tables, "table or list"),
                counted(rows, "row")
            );
        }
        self.text
    }
}
