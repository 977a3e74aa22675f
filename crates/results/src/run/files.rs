//! The files of a run's folder: what they are called, and how they are read.

use std::fs::File;
use std::path::Path;

use super::error::{StoreError, at};

pub(super) const VERIFICATION: &str = "verification.json";
pub(super) const MEASUREMENTS: &str = "measurements.jsonl";

/// `sweep.toml`, `sweep-2.toml`, …
pub(super) fn sweep_file(part: u32) -> String {
    file("sweep", part, "toml")
}

/// `environment.json`, `environment-2.json`, …
pub(super) fn environment_file(part: u32) -> String {
    file("environment", part, "json")
}

fn file(name: &str, part: u32, extension: &str) -> String {
    if part == 1 { format!("{name}.{extension}") } else { format!("{name}-{part}.{extension}") }
}

/// Opens a file of the folder.
///
/// # Errors
/// Where it can't be read, or is a link: what a run says is in its folder.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    refuse_link(path)?;
    llama::open_regular(path).map_err(at(path))
}

/// The text of a file of the folder, of at most so many bytes; errors as of [`open`].
pub(super) fn read_text(path: &Path, largest: u64) -> Result<String, StoreError> {
    refuse_link(path)?;
    llama::read_text_up_to(path, largest).map_err(at(path))
}

/// A file of the folder as JSON; errors as of [`open`].
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    serde_json::from_str(&read_text(path, llama::LARGEST_INDEX)?).map_err(|error| StoreError::Content {
        path: path.into(),
        line: Some(error.line()),
        what: error.to_string(),
    })
}

fn refuse_link(path: &Path) -> Result<(), StoreError> {
    if path.is_symlink() {
        return Err(at(path)(std::io::Error::other(
            "a symbolic link: the files of a run must be regular files",
        )));
    }
    Ok(())
}

/// Refuses a folder that has one of these files: a run would replace it.
///
/// # Errors
/// Naming the first.
pub fn refuse_foreign(dir: &Path, names: &[&str]) -> Result<(), StoreError> {
    match names.iter().find(|name| dir.join(name).symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(name) => {
            let dir = dir.display();
            Err(StoreError::Refused(format!(
                "{dir}: there is a {name} already, which a run would replace: --out writes elsewhere"
            )))
        }
    }
}

/// Refuses a folder that holds anything but entries of these names, and no run.
///
/// # Errors
/// Naming the first of what it holds.
pub fn refuse_non_empty(dir: &Path, allowed: &[&str]) -> Result<(), StoreError> {
    if dir.join(MEASUREMENTS).symlink_metadata().is_ok() {
        return Ok(());
    }
    // A folder that is not there is made; what is no folder is refused there.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !allowed.contains(&name.as_str()));
    names.sort();
    let what = match names.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    };
    Err(StoreError::Refused(format!(
        "{}: no run and not empty (it holds {what}): choose a new or empty folder with --out",
        dir.display()
    )))
}

/// The files of a run, but for the records.
pub(super) const OTHERS: [&str; 6] =
    ["sweep.toml", "environment.json", VERIFICATION, "table.md", "summary.csv", "report.html"];

/// Refuses a folder with files of further parts: a new run would take them for its own.
pub(super) fn refuse_later_parts(dir: &Path) -> Result<(), StoreError> {
    let of_part = |name: &String| {
        let number = |first, last| name.strip_prefix(first)?.strip_suffix(last);
        let number = number("sweep-", ".toml").or_else(|| number("environment-", ".json"));
        number.is_some_and(|number: &str| number.parse::<u32>().is_ok())
    };
    let entries = std::fs::read_dir(dir).map_err(at(dir))?.flatten();
    match entries.filter_map(|entry| entry.file_name().into_string().ok()).find(of_part) {
        None => Ok(()),
        Some(name) => refuse_foreign(dir, &[&name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_from_the_second_part() {
        assert_eq!((sweep_file(1), environment_file(1)), ("sweep.toml".into(), "environment.json".into()));
        assert_eq!(
            (sweep_file(3), environment_file(3)),
            ("sweep-3.toml".into(), "environment-3.json".into())
        );
    }
}
