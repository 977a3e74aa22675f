//! `measurements.jsonl`: reading it, and what is known of the records while a run goes on.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use protocol::{CellSize, Device, Measurement, Outcome, Precision, SCHEMA};

use crate::StoreError;

/// What tells a record from every other of its run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CellKey {
    model: String,
    engine: String,
    precision: Precision,
    device: Device,
    world_size: u32,
    one_rank: bool,
    batch_size: u32,
    prompt_length: u32,
    generation_length: u32,
    replicate: u32,
}

impl CellKey {
    /// The key of a record.
    pub fn of(record: &Measurement) -> Self {
        Self {
            model: record.model.clone(),
            engine: record.engine.clone(),
            precision: record.precision,
            device: record.device,
            world_size: record.world_size,
            one_rank: record.one_rank,
            batch_size: record.batch_size,
            prompt_length: record.prompt_length,
            generation_length: record.generation_length,
            replicate: record.replicate,
        }
    }

    /// Whether this cell needs at least as much memory as `other`, in every dimension, all else being the same.
    fn needs_as_much_as(&self, other: &Self) -> bool {
        let sizes = |key: &Self| [key.batch_size, key.prompt_length, key.generation_length];
        let larger = sizes(self).into_iter().zip(sizes(other)).all(|(mine, its)| mine >= its);
        let with_its_sizes = Self {
            batch_size: other.batch_size,
            prompt_length: other.prompt_length,
            generation_length: other.generation_length,
            replicate: other.replicate,
            ..self.clone()
        };
        larger && with_its_sizes == *other
    }
}

/// What a run has to know of its records: their series stay on the disk.
#[derive(Debug, Default)]
pub struct Known {
    cells: HashSet<CellKey>,
    /// Cells that were tried and ran out of memory, with the part in which they did.
    out_of_memory: Vec<(CellKey, u32)>,
    failed: usize,
}

impl Known {
    /// Takes in a record.
    pub fn add(&mut self, record: &Measurement) {
        let key = CellKey::of(record);
        match record.outcome {
            Outcome::Ok => {}
            Outcome::OutOfMemory if record.inferred_from.is_none() => {
                self.out_of_memory.push((key.clone(), record.part));
            }
            Outcome::OutOfMemory => {}
            _ => self.failed += 1,
        }
        self.cells.insert(key);
    }

    /// Whether there is a record of this cell.
    pub fn has(&self, key: &CellKey) -> bool {
        self.cells.contains(key)
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
        let found =
            self.out_of_memory.iter().find(|(other, its)| *its == part && key.needs_as_much_as(other));
        found.map(|(key, _)| CellSize { batch_size: key.batch_size, prompt_length: key.prompt_length })
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
        self.input.read_until(b'\n', &mut self.line).map_err(io)?;
        let Some(line) = self.line.strip_suffix(b"\n") else {
            self.torn = self.line.len();
            return Ok(None);
        };
        self.number += 1;
        self.length += self.line.len() as u64;
        let record: Measurement =
            serde_json::from_slice(line).map_err(|error| self.error(format!("not a record: {error}")))?;
        if record.schema != SCHEMA {
            return Err(self.error(format!("schema: expected {SCHEMA}, found {}", record.schema)));
        }
        Ok(Some(record))
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

/// Refuses records of parts that are not there, two records of one cell, and figures that are no latencies.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    parts: usize,
    seen: HashSet<CellKey>,
}

impl Checker {
    pub(crate) fn new(parts: usize) -> Self {
        Self { parts, ..Self::default() }
    }

    pub(crate) fn check(&mut self, record: &Measurement) -> Result<(), String> {
        if !(1..=self.parts).contains(&(record.part as usize)) {
            return Err(format!("part: expected 1 to {}, found {}", self.parts, record.part));
        }
        if !self.seen.insert(CellKey::of(record)) {
            return Err("a second record of the same cell".into());
        }
        let generations = record
            .generations
            .iter()
            .flat_map(|one| one.token_seconds.iter().chain([&one.prompt_seconds, &one.wall_seconds]));
        let mut seconds = record.prompt_seconds.iter().chain(generations);
        if !seconds.all(|seconds| seconds.is_finite() && *seconds > 0.0) {
            return Err("a latency that is not a number above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(engine: &str, batch_size: u32, prompt_length: u32, replicate: u32) -> CellKey {
        CellKey {
            model: "m".into(),
            engine: engine.into(),
            precision: Precision::Fp32,
            device: Device::Cpu,
            world_size: 1,
            one_rank: false,
            batch_size,
            prompt_length,
            generation_length: 256,
            replicate,
        }
    }

    #[test]
    fn only_a_cell_that_is_as_large_in_every_dimension_needs_as_much() {
        let small = key("a", 4, 64, 0);
        for (larger, expected) in [
            (key("a", 4, 64, 1), true),
            (key("a", 4, 256, 0), true),
            (key("a", 16, 64, 0), true),
            (key("a", 16, 16, 0), false),
            (key("a", 1, 4096, 0), false),
            (key("b", 16, 256, 0), false),
        ] {
            assert_eq!(larger.needs_as_much_as(&small), expected, "{larger:?}");
        }
        let other_precision = CellKey { precision: Precision::Fp16, ..key("a", 16, 256, 0) };
        assert!(!other_precision.needs_as_much_as(&small));
    }
}
