//! Edits of JSON by its values: what comes out is JSON again, with something else in one place.

use proptest::sample::Index;
use serde_json::Value;

/// Replaces a value of one of the lines of `text` by what `change` makes of it; nothing where that line is not JSON.
pub(crate) fn change_value(text: &mut Vec<u8>, line: Index, node: Index, change: impl FnOnce(&mut Value)) {
    let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    // Names of sections and the like are no JSON.
    let mut candidates: Vec<&mut Vec<u8>> =
        lines.iter_mut().filter(|line| matches!(line.first(), Some(b'{' | b'['))).collect();
    if candidates.is_empty() {
        return;
    }
    let line = &mut *candidates.swap_remove(line.index(candidates.len()));
    let Ok(mut json) = serde_json::from_slice::<Value>(line) else { return };
    let mut countdown = node.index(count(&json));
    change(find(&mut json, &mut countdown).expect("as many as were counted"));
    *line = json.to_string().into_bytes();
    *text = lines.join(&b'\n');
}

/// Removes an entry of an array or an object.
pub(crate) fn remove_entry(value: &mut Value, entry: Index) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.remove(entry.index(items.len()));
        }
        Value::Object(entries) if !entries.is_empty() => {
            let key =
                entries.keys().nth(entry.index(entries.len())).cloned().expect("an index below its length");
            entries.shift_remove(&key);
        }
        _ => {}
    }
}

/// Adds an entry to an array or an object; another value it replaces.
pub(crate) fn add_entry(value: &mut Value, name: &str, entry: Value) {
    match value {
        Value::Array(items) => items.push(entry),
        Value::Object(entries) => {
            entries.insert(name.into(), entry);
        }
        other => *other = entry,
    }
}

/// Values in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

fn find<'a>(value: &'a mut Value, countdown: &mut usize) -> Option<&'a mut Value> {
    if *countdown == 0 {
        return Some(value);
    }
    *countdown -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| find(item, countdown)),
        Value::Object(entries) => entries.values_mut().find_map(|entry| find(entry, countdown)),
        _ => None,
    }
}
