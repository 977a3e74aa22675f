//! A run's parts: most have one. A run that was resumed on another machine, with other libraries or with another sweep
//! (`--allow-mixed`) has one for each: `sweep-2.toml`, `environment-2.json`, and so on; records say which is theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::Environment;
use toml::{Table, Value};

use crate::store::read_json;
use crate::{StoreError, Sweep};

/// A part, as its files say.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its `sweep.toml`.
    pub(crate) sweep: String,
    /// Its `environment.json`.
    pub(crate) environment: Environment,
}

/// `sweep.toml`, `sweep-2.toml`, …
pub(crate) fn sweep_file(part: u32) -> String {
    file("sweep", part, "toml")
}

/// `environment.json`, `environment-2.json`, …
pub(crate) fn environment_file(part: u32) -> String {
    file("environment", part, "json")
}

fn file(name: &str, part: u32, extension: &str) -> String {
    if part == 1 { format!("{name}.{extension}") } else { format!("{name}-{part}.{extension}") }
}

/// Reads the parts of the run in `dir`: the first, and those after it without a gap.
pub(crate) fn read_parts(dir: &Path) -> Result<Vec<Part>, StoreError> {
    let mut parts: Vec<Part> = Vec::new();
    loop {
        let number = parts.len() as u32 + 1;
        let sweep_path = dir.join(sweep_file(number));
        let environment_path = dir.join(environment_file(number));
        // The environment is written last: a part without one was killed before it began.
        if number > 1 && !environment_path.exists() {
            return Ok(parts);
        }
        let sweep = read_text(&sweep_path)?;
        if !environment_path.exists() {
            let dir = dir.display();
            return Err(StoreError::Refused(format!(
                "{dir}: its run was stopped before it began, with nothing measured: --out {dir} begins it"
            )));
        }
        let environment: Environment = read_json(&environment_path)?;
        let was = &environment.sweep_sha256;
        if !was.is_empty() && *was != llama::sha256_hex(sweep.as_bytes()) {
            return Err(StoreError::Refused(format!(
                "{}: changed since its cells were measured: put it back, and give what is to be otherwise as flags",
                sweep_path.display()
            )));
        }
        parts.push(Part { sweep, environment });
    }
}

/// Reads every environment of the run in `dir`.
pub(crate) fn read_environments(dir: &Path) -> Result<Vec<Environment>, StoreError> {
    let mut environments = vec![read_json(&dir.join(environment_file(1)))?];
    loop {
        let path = dir.join(environment_file(environments.len() as u32 + 1));
        if !path.exists() {
            return Ok(environments);
        }
        environments.push(read_json(&path)?);
    }
}

fn read_text(path: &Path) -> Result<String, StoreError> {
    llama::read_text(path).map_err(|error| StoreError::Io { path: PathBuf::from(path), error })
}

impl Part {
    /// What would be otherwise if this part went on with `sweep` in `environment`: a line each.
    pub(crate) fn differences(&self, sweep: &Sweep, environment: &Environment) -> Vec<String> {
        let values = |text: &str| {
            let mut values = sweep_values(text);
            // How long a cell may take changes no figure.
            values.retain(|key, _| !key.contains("timeout_seconds"));
            values
        };
        let mut lines = different(&values(&self.sweep), &values(&sweep.to_toml()), true);
        lines.extend(different(&facts(&self.environment), &facts(environment), false));
        lines
    }
}

/// Entries whose values differ; of entries that only one side has where `one_sided`.
fn different(
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    one_sided: bool,
) -> Vec<String> {
    let none = "none".to_owned();
    let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
    names
        .filter(|name| one_sided || (then.contains_key(*name) && now.contains_key(*name)))
        .filter(|name| then.get(*name) != now.get(*name))
        .map(|name| {
            let [then, now] = [then, now].map(|side| side.get(name).unwrap_or(&none));
            format!("{name}: {then}, here {now}")
        })
        .collect()
}

/// A sweep's settings by dotted key.
fn sweep_values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut open = vec![(String::new(), text.parse::<Table>().unwrap_or_default())];
    while let Some((prefix, table)) = open.pop() {
        for (key, value) in table {
            let key = format!("{prefix}{key}");
            match value {
                Value::Table(table) => open.push((format!("{key}."), table)),
                value => {
                    values.insert(key, value.to_string());
                }
            }
        }
    }
    values
}

/// What figures depend on, by name. Kernel, load and time are not among it: they vary within a run, too.
fn facts(environment: &Environment) -> BTreeMap<String, String> {
    let gpus: Vec<String> =
        environment.gpus.iter().map(|gpu| format!("{} ({} bytes)", gpu.name, gpu.memory_bytes)).collect();
    let drivers: Vec<&str> = environment.gpus.iter().map(|gpu| gpu.driver_version.as_str()).collect();
    let revision = environment.program.git_revision.as_deref().unwrap_or("unknown");
    let mut facts = BTreeMap::from([
        ("processor".to_owned(), environment.cpu.clone()),
        ("cores".to_owned(), environment.cores.to_string()),
        ("GPUs".to_owned(), gpus.join(", ")),
        ("driver".to_owned(), drivers.join(", ")),
        ("program".to_owned(), format!("{} ({revision})", environment.program.version)),
    ]);
    if let Some(machine) = &environment.machine {
        facts.insert("machine".into(), machine.clone());
    }
    for (engine, hello) in &environment.engines {
        let libraries = hello.libraries.iter().map(|library| format!("{} {}", library.name, library.version));
        facts.insert(format!("libraries of {engine}"), libraries.collect::<Vec<_>>().join(", "));
    }
    for (model, its) in &environment.models {
        facts.insert(format!("model {model}"), its.fingerprint.clone());
    }
    facts
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

    #[test]
    fn differences_name_key_and_both_values() {
        let then = sweep_values("batch_sizes = [1, 4]\nseed = 0\n[procedure]\nprompt_runs = 5\n");
        let now = sweep_values("batch_sizes = [1]\nseed = 0\nthreads = 2\n[procedure]\nprompt_runs = 6\n");
        let lines = different(&then, &now, true);
        assert_eq!(
            lines,
            ["batch_sizes: [1, 4], here [1]", "procedure.prompt_runs: 5, here 6", "threads: none, here 2"]
        );
        assert_eq!(different(&then, &now, false).len(), 2);
    }
}
