//! The syntax of a csv text that its parser does not tell: the separator of fields, and quotes where none may stand.

/// Starts a first line in which a spreadsheet says its separator.
pub(super) const SEPARATOR: &str = "sep=";

/// The separator of fields: of tab, semicolon and comma what the header has most of outside of quotes.
pub(super) fn delimiter(text: &str) -> u8 {
    let header = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with(SEPARATOR) => rest,
        _ => text,
    };
    let (mut counts, mut is_quoted) = ([0; 3], false);
    // Of equal counts the last: a comma.
    let separators = [b'\t', b';', b','];
    for byte in header.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'\n' => break,
            _ => {
                if let Some(at) = separators.iter().position(|separator| *separator == byte) {
                    counts[at] += 1;
                }
            }
        }
    }
    separators
        .into_iter()
        .zip(counts)
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(separator, _)| separator)
}

/// The line of the first quote that csv does not have, and what is wrong: text behind a quoted field, or a field that does not end.
pub(super) fn broken_quote(text: &str, delimiter: u8) -> Option<(usize, &'static str)> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut is_start) = (0, 1, true);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'"' || !is_start {
            line += usize::from(byte == b'\n');
            is_start = byte == delimiter || byte == b'\n' || byte == b'\r';
            continue;
        }
        let opened = line;
        loop {
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'"'), Some(b'"')) => at += 2,
                (Some(b'"'), _) => break,
                (Some(byte), _) => {
                    line += usize::from(*byte == b'\n');
                    at += 1;
                }
                (None, _) => return Some((opened, "a quoted field without its closing quote")),
            }
        }
        at += 1;
        is_start = false;
        if bytes.get(at).is_some_and(|next| ![delimiter, b'\n', b'\r'].contains(next)) {
            return Some((line, "text behind a closing quote: double the quotes inside a field"));
        }
    }
    None
}
