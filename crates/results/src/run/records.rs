//! `measurements.jsonl`: reading it, and what is known of the records while a run goes on.

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use protocol::{CellKey, CellSize, FailureKind, Measurement};

use crate::StoreError;

/// No line of a record is as long: a sweep asks for a million figures of a cell at most, which take 50 MB by two clocks.
pub(super) const LONGEST: u64 = 64 << 20;

/// What a run has to know of its records: their series stay on the disk.
#[derive(Debug, Default)]
pub struct KnownRecords {
    /// Cells with their replicate.
    cells: HashSet<(CellKey, u32)>,
    /// Cells that were tried and ran out of memory, with the part in which they did.
    out_of_memory: Vec<(CellKey, u32)>,
    failed: usize,
}

impl KnownRecords {
    /// Takes in a record.
    pub fn add(&mut self, record: &Measurement) {
        match record.failure() {
            None => {}
            Some(failure) if failure.kind != FailureKind::OutOfMemory => self.failed += 1,
            Some(failure) if failure.inferred_from.is_none() => {
                self.out_of_memory.push((record.key.clone(), record.part));
            }
            Some(_) => {}
        }
        self.cells.insert((record.key.clone(), record.replicate));
    }

    /// Whether there is a record of this replicate of a cell.
    pub fn has(&self, key: &CellKey, replicate: u32) -> bool {
        self.cells.contains(&(key.clone(), replicate))
    }

    /// Replicates of cells that there are records of.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Records of cells that ended otherwise than measured or out of memory.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The first cell of `part` that ran out of memory although it needs no more than `key` in any dimension.
    pub fn smaller_out_of_memory(&self, key: &CellKey, part: u32) -> Option<CellSize> {
        let smaller = |(other, its_part): &&(CellKey, u32)| *its_part == part && key.needs_as_much_as(other);
        self.out_of_memory.iter().find(smaller).map(|(key, _)| key.size())
    }
}

/// The records of a `measurements.jsonl`, one by one. Ends after the first line that is none of this schema; a last line
/// without its end was cut off, and is left out.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    /// Names the file in errors.
    path: PathBuf,
    line: Vec<u8>,
    number: usize,
    /// Bytes of the whole lines.
    length: u64,
    /// Bytes of the line that was cut off.
    torn: usize,
    failed: bool,
}

impl<R: BufRead> RecordReader<R> {
    /// Reads `input`; `path` names it in errors.
    pub fn new(input: R, path: &Path) -> Self {
        Self { input, path: path.into(), line: Vec::new(), number: 0, length: 0, torn: 0, failed: false }
    }

    /// Bytes of the whole lines so far, and of the last one, where that was cut off.
    pub(crate) fn lengths(&self) -> (u64, usize) {
        (self.length, self.torn)
    }

    /// The error of the last line that was read.
    pub(crate) fn error(&self, what: String) -> StoreError {
        StoreError::Content { path: self.path.clone(), line: Some(self.number), what }
    }

    fn read(&mut self) -> Result<Option<Measurement>, StoreError> {
        self.line.clear();
        let io = |error| StoreError::Io { path: self.path.clone(), error };
        let mut input = (&mut self.input).take(LONGEST);
        input.read_until(b'\n', &mut self.line).map_err(io)?;
        let Some(line) = self.line.strip_suffix(b"\n") else {
            if self.line.len() as u64 == LONGEST {
                self.number += 1;
                return Err(self.error(format!("not a record: a line of {LONGEST} bytes or more")));
            }
            self.torn = self.line.len();
            return Ok(None);
        };
        self.number += 1;
        self.length += self.line.len() as u64;
        Measurement::from_json(line).map(Some).map_err(|what| self.error(what))
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Result<Measurement, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = if self.failed { None } else { self.read().transpose() };
        self.failed |= matches!(record, Some(Err(_)));
        record
    }
}

/// Refuses records of parts that are not there, and two records of one replicate of a cell.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    parts: usize,
    seen: HashSet<(CellKey, u32)>,
}

impl Checker {
    pub(crate) fn new(parts: usize) -> Self {
        Self { parts, ..Self::default() }
    }

    pub(crate) fn check(&mut self, record: &Measurement) -> Result<(), String> {
        if !(1..=self.parts).contains(&(record.part as usize)) {
            return Err(format!("part: expected 1 to {}, found {}", self.parts, record.part));
        }
        if !self.seen.insert((record.key.clone(), record.replicate)) {
            return Err("a second record of the same cell".into());
        }
        Ok(())
    }
}
