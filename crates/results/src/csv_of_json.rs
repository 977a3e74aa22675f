//! Records of JSON as csv.

use serde_json::Value;

use crate::csv_field;

/// Writes records of a JSON text as csv, with these columns whatever the records have. Each path leads to a list of records; each record
/// gets the single values around its list, too. A field whose name is taken has its container's name before it, and the column `list` has
/// the name of the record's list.
///
/// # Errors
/// Where the text is no JSON.
pub fn csv_of_json(json: &str, paths: &[&[&str]], columns: &str) -> Result<String, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    let mut rows = vec![columns.split_whitespace().map(str::to_owned).collect()];
    for path in paths {
        collect(&value, "", path, &RecordFields::new(), &mut rows);
    }
    Ok(csv_of_rows(&rows))
}

/// Writes rows of texts as csv (RFC 4180), without a field that a spreadsheet takes for a formula. All have as many fields as the first.
pub fn csv_of_rows<'a>(rows: impl IntoIterator<Item = &'a Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|field| csv_field(field))).expect("memory takes every record");
    }
    String::from_utf8(writer.into_inner().expect("memory takes every record")).expect("text was written")
}

type RecordFields = Vec<(String, String)>;

fn collect(
    value: &Value,
    container: &str,
    path: &[&str],
    around: &RecordFields,
    rows: &mut Vec<Vec<String>>,
) {
    match (value, path) {
        (Value::Array(items), _) => {
            items.iter().for_each(|item| collect(item, container, path, around, rows));
        }
        (_, []) => {
            let mut record = around.clone();
            add("", container, value, &mut record);
            let unknown = record[around.len()..].iter().find(|(name, _)| !is_column(name, &rows[0]));
            debug_assert!(unknown.is_none(), "no column has {unknown:?}");
            record.push(("list".into(), container.into()));
            let cell = |name: &String| find(&record, name).unwrap_or_default().to_owned();
            rows.push(rows[0].iter().map(cell).collect());
        }
        (Value::Object(fields), [key, rest @ ..]) => {
            let mut around = around.clone();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_object()) {
                add(name, container, value, &mut around);
            }
            if let Some(inner) = fields.get(*key) {
                collect(inner, key, rest, &around, rows);
            }
        }
        _ => {}
    }
}

/// Adds the single values in `value`, each by a name of its own.
fn add(name: &str, container: &str, value: &Value, record: &mut RecordFields) {
    let mut fields = RecordFields::new();
    flatten(name, value, &mut fields);
    for (name, value) in fields {
        let name = if find(record, &name).is_some() { format!("{container}.{name}") } else { name };
        debug_assert!(find(record, &name).is_none(), "two fields {name}");
        record.push((name, value));
    }
}

fn find<'r>(record: &'r RecordFields, name: &str) -> Option<&'r str> {
    record.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

/// Whether a column has the field, or where it is null, its parts.
fn is_column(name: &str, columns: &[String]) -> bool {
    let is_part = |column: &String| column.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    columns.iter().any(|column| column == name || is_part(column))
}

/// Adds the single values in `value`. Keys are joined with dots, and a list of single values is one field with spaces.
fn flatten(name: &str, value: &Value, record: &mut RecordFields) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, record);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {}
        Value::Array(items) => {
            record.push((name.to_owned(), items.iter().map(word).collect::<Vec<_>>().join(" ")));
        }
        single => record.push((name.to_owned(), word(single))),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_json_are_rows_with_what_is_around_them() {
        let json = r#"{"run": "a", "tables": [{"heading": "h", "lines": [
            {"engine": "=x", "size": {"batch": 1}, "interval": [1, 2]}, {"engine": "y", "size": null, "none": null}]}]}"#;
        let columns = "run heading engine size.batch interval none";
        assert_eq!(
            csv_of_json(json, &[&["tables", "lines"]], columns).unwrap(),
            "run,heading,engine,size.batch,interval,none\na,h,'=x,1,1 2,\na,h,y,,,\n"
        );
        assert_eq!(csv_of_json(r#"{"lines": []}"#, &[&["lines"]], "a b").unwrap(), "a,b\n");
    }

    #[test]
    fn fields_of_one_name_keep_their_values() {
        let json =
            r#"{"n": 5, "words": ["a", "b"], "needs": [{"n": 1, "of": {"n": 2}}], "ends": [{"n": "x"}]}"#;
        let columns = "list n words needs.n of.n ends.n";
        assert_eq!(
            csv_of_json(json, &[&["needs"], &["ends"]], columns).unwrap(),
            "list,n,words,needs.n,of.n,ends.n\nneeds,5,a b,1,2,\nends,5,a b,,,x\n"
        );
    }

    #[test]
    #[should_panic(expected = "no column has")]
    fn a_field_without_a_column_is_found() {
        let _ = csv_of_json(r#"{"lines": [{"a": 1, "b": 2}]}"#, &[&["lines"]], "a");
    }
}
