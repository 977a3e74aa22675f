//! Tables of one file and heading that are of generations of different lengths.

use std::collections::{HashMap, hash_map};

use indexmap::IndexMap;
use indexmap::map::Entry;
use protocol::CellSize;

use crate::{Column, ResultRow, ResultTable, Value};

/// Columns that do not depend on how long a generation is.
const OF_ANY_LENGTH: [Column; 6] = [
    Column::PromptLatency,
    Column::PromptThroughput,
    Column::First128Latency,
    Column::First128Throughput,
    Column::First256Latency,
    Column::First256Throughput,
];

/// More tables below one heading are of something else than generation lengths.
const MOST_TABLES: usize = 16;

/// Rows by engine and size.
type Rows<'a> = IndexMap<(&'a str, CellSize), ResultRow<'a>>;

/// Makes one table of those below one heading that are of generations of one length, and gives each of the others what all say of
/// prompts and first tokens: these are of generations of any length, and a file has them once.
pub fn joined<'a>(tables: Vec<ResultTable<'a>>) -> Vec<ResultTable<'a>> {
    let tables = with_same_lengths(tables);
    let mut known: HashMap<String, (usize, Rows<'a>)> = HashMap::new();
    for table in &tables {
        let (count, rows) = known.entry(table.title.to_string()).or_default();
        *count += 1;
        if *count <= MOST_TABLES {
            for row in &table.rows {
                let known = rows.entry((row.engine, row.size)).or_insert_with(|| of_any_length(row));
                fill(known, row, &OF_ANY_LENGTH);
            }
        }
    }
    let join = |mut table: ResultTable<'a>| {
        let Some((2..=MOST_TABLES, rows)) = known.get(&*table.title) else { return table };
        let Some(generation_length) = table.rows.first().map(|row| row.generation_length) else {
            return table;
        };
        let mut missing = rows.clone();
        for row in &mut table.rows {
            if let Some(known) = missing.shift_remove(&(row.engine, row.size)) {
                fill(row, &known, &OF_ANY_LENGTH);
            }
        }
        let has_figure = |row: &ResultRow<'_>| row.values.iter().any(|value| value.figure().is_some());
        let missing = missing.into_values().filter(has_figure);
        table.rows.extend(missing.map(|mut row| {
            row.generation_length = generation_length;
            row
        }));
        table
    };
    tables.into_iter().map(join).collect()
}

/// The tables, those of one heading and generation length as one.
fn with_same_lengths<'a>(tables: Vec<ResultTable<'a>>) -> Vec<ResultTable<'a>> {
    let mut merged: IndexMap<(String, Option<u32>), (ResultTable<'a>, Places<'a>)> = IndexMap::new();
    for table in tables {
        let length = table.rows.first().map(|row| row.generation_length.tokens);
        match merged.entry((table.title.to_string(), length)) {
            Entry::Vacant(place) => {
                let mut places = Places::new();
                for (place, row) in table.rows.iter().enumerate() {
                    places.entry((row.engine, row.size)).or_insert(place);
                }
                place.insert((table, places));
            }
            Entry::Occupied(mut first) => {
                let (first, places) = first.get_mut();
                merge(first, places, table);
            }
        }
    }
    merged.into_values().map(|(table, _)| table).collect()
}

/// The places of a table's rows, of those that are there twice the first.
type Places<'a> = HashMap<(&'a str, CellSize), usize>;

/// Adds the rows of another table; of a row that is in both, its columns.
fn merge<'a>(table: &mut ResultTable<'a>, places: &mut Places<'a>, other: ResultTable<'a>) {
    for row in other.rows {
        match places.entry((row.engine, row.size)) {
            hash_map::Entry::Occupied(place) => fill(&mut table.rows[*place.get()], &row, &Column::ALL),
            hash_map::Entry::Vacant(place) => {
                place.insert(table.rows.len());
                table.rows.push(row);
            }
        }
    }
}

/// A row with nothing that depends on the length of its generation.
fn of_any_length<'a>(row: &ResultRow<'a>) -> ResultRow<'a> {
    let kept = |column: Column| match OF_ANY_LENGTH.contains(&column) {
        true => row.value(column),
        false => Value::NotAvailable,
    };
    let values = Column::ALL.map(kept);
    let mut row = row.clone();
    row.values = values;
    row
}

/// Takes from another row what this one has no figure of.
fn fill(row: &mut ResultRow<'_>, other: &ResultRow<'_>, columns: &[Column]) {
    for column in columns {
        if row.value(*column) == Value::NotAvailable {
            row.values[*column as usize] = other.value(*column);
        }
    }
}
