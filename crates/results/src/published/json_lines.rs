//! The lines of a json text in which rows start, which its parser does not say.

/// The lines of rows: those of their first keys, in order. A row's object is inside two arrays and two objects.
pub(super) struct RowLines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    depth: usize,
    /// Whether the fourth of what is open is an array.
    is_in_rows: bool,
}

impl<'a> RowLines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, depth: 0, is_in_rows: false }
    }

    pub(super) fn peek(&self) -> Option<usize> {
        Self { ..*self }.next()
    }
}

impl Iterator for RowLines<'_> {
    type Item = usize;

    /// The line of the first key of the next row's object.
    fn next(&mut self) -> Option<usize> {
        const ROW: usize = 5;
        let bytes = self.text.as_bytes();
        let mut is_row = false;
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\n' => self.line += 1,
                b'{' | b'[' => {
                    self.depth += 1;
                    is_row = *byte == b'{' && self.depth == ROW && self.is_in_rows;
                    if self.depth + 1 == ROW {
                        self.is_in_rows = *byte == b'[';
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if is_row {
                        return Some(self.line);
                    }
                }
                b'"' => {
                    let line = self.line;
                    while let Some(byte) = bytes.get(self.at) {
                        self.at += 1;
                        match byte {
                            b'\\' => self.at += 1,
                            b'"' => break,
                            _ => {}
                        }
                    }
                    if is_row {
                        return Some(line);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
