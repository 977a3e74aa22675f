//! Cells that stand in two tables of a file.

use std::collections::HashMap;

use super::{Document, PublishedRow, PublishedTable};
use crate::Value;

/// Says of each table the first cell that stands also in a table above it, under the same heading.
pub(super) fn add_remarks(document: &mut Document, file: &str) {
    let tables: Vec<&PublishedTable> = document.tables().collect();
    let mut rows: HashMap<_, Vec<(usize, &PublishedRow)>> = HashMap::new();
    let mut remarks = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let mut found = None;
        for row in &table.rows {
            let key =
                (&table.heading, table.generation_length, &row.engine, row.batch_size, row.prompt_length);
            let others = rows.entry(key).or_default();
            let first = others.iter().find(|(other, first)| *other < index && share_figure(first, row));
            if let (None, Some((_, first))) = (&found, first) {
                let (engine, batch_size, prompt_length) = (&row.engine, row.batch_size, row.prompt_length);
                found = Some(format!(
                    "{file}:{}: {engine} {batch_size}×{prompt_length} stands also in line {}, under the same heading",
                    row.line, first.line
                ));
            }
            // More than a few say nothing new, and each is looked at for each row.
            if others.len() < 8 {
                others.push((index, row));
            }
        }
        remarks.push(found);
    }
    for (table, remark) in document.tables_mut().zip(remarks) {
        table.remarks.extend(remark);
    }
}

/// Whether both rows have a figure in a column; tables may also have one half of a row's columns each.
fn share_figure(one: &PublishedRow, other: &PublishedRow) -> bool {
    let is_said = |value: Value| matches!(value, Value::Figure(_) | Value::Ended(_));
    one.cells.iter().zip(&other.cells).any(|(one, other)| is_said(one.value()) && is_said(other.value()))
}
