//! A run's parts: most have one. A run that was resumed on another machine, with other libraries or with another sweep
//! (`--allow-mixed`) has one for each: `sweep-2.toml`, `environment-2.json`, and so on; records say which is theirs.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::path::Path;

use protocol::{CellKey, Environment, Measurement};
use toml::{Table, Value};

use super::error::StoreError;
use super::files::{MEASUREMENTS, environment_file, read_json, read_text, sweep_file};

/// A part, as its files say.
#[derive(Debug)]
pub(super) struct RunPart {
    /// Its `sweep.toml`.
    pub(super) sweep: String,
    /// Its `environment.json`.
    pub(super) environment: Environment,
}

/// Reads the parts of the run in `dir`: the first, and those after it without a gap.
pub(super) fn read_parts(dir: &Path) -> Result<Vec<RunPart>, StoreError> {
    let mut parts: Vec<RunPart> = Vec::new();
    loop {
        let number = parts.len() as u32 + 1;
        let sweep_path = dir.join(sweep_file(number));
        let environment_path = dir.join(environment_file(number));
        // The environment is written last: a part without one was killed before it began.
        if number > 1 && environment_path.symlink_metadata().is_err() {
            return Ok(parts);
        }
        let sweep = read_text(&sweep_path, llama::LARGEST_SETTINGS)?;
        if environment_path.symlink_metadata().is_err() {
            if dir.join(MEASUREMENTS).metadata().is_ok_and(|records| records.len() > 0) {
                return Err(lost_environment(dir));
            }
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
        parts.push(RunPart { sweep, environment });
    }
}

pub(super) fn lost_environment(dir: &Path) -> StoreError {
    StoreError::Refused(format!(
        "{}: there are records, and no environment.json that says what they were measured with: put it back, or start \
         elsewhere with --out",
        dir.display()
    ))
}

impl RunPart {
    /// What would be otherwise if this part went on with `sweep` in `environment`: a line each.
    pub(super) fn differences(&self, sweep: &str, environment: &Environment) -> Vec<String> {
        let values = |text: &str| {
            let mut values = sweep_values(text);
            // How long a cell may take, and how often it is tried, changes no figure.
            values.retain(|key, _| !key.contains("timeout_seconds") && key != "throttle_retries");
            // Runs from before there was a choice.
            values.entry("order".into()).or_insert_with(|| "\"table\"".into());
            values
        };
        let (asked_then, asked_now) = (values(&self.sweep), values(sweep));
        let settings = differing(&asked_then, &asked_now).map(|one| one.words("here"));
        let (then, now) = (self.environment.facts(), environment.facts());
        // Of an engine that a part without it cannot know, another part may know otherwise.
        let programs = &self.environment.programs;
        let is_of_other_engine = |name: &str| {
            let of = ["libraries of ", "worker of "].into_iter().find_map(|what| name.strip_prefix(what));
            !programs.is_empty() && of.is_some_and(|engine| !programs.contains_key(engine))
        };
        let counts =
            |one: &Differing<'_>| one.is_of_both() || one.first.is_none() && is_of_other_engine(one.name);
        let facts = differing(&then, &now).filter(counts).map(|one| one.words("here"));
        settings.chain(facts).collect()
    }

    /// What `environment` says and this part's does not: an earlier version did not record it.
    pub(super) fn unrecorded(&self, environment: &Environment) -> Vec<String> {
        let (then, now) = (self.environment.facts(), environment.facts());
        differing(&then, &now).filter(|one| one.first.is_none()).map(|one| one.name.to_owned()).collect()
    }
}

/// Engine, batch size and prompt length.
pub(super) type RowName = (String, i64, i64);

/// An entry whose value is not the same in two maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differing<'a> {
    /// The entry's name.
    pub name: &'a str,
    /// Its value in the first; `None` where it has none.
    pub first: Option<&'a str>,
    /// Its value in the second; `None` where it has none.
    pub second: Option<&'a str>,
}

impl Differing<'_> {
    /// Whether both have it.
    pub fn is_of_both(&self) -> bool {
        self.first.is_some() && self.second.is_some()
    }

    /// `seed: 0, here 1`; `place` is where the second is.
    pub(super) fn words(&self, place: &str) -> String {
        let word = |value: Option<&str>| value.unwrap_or("none").to_owned();
        format!("{}: {}, {place} {}", self.name, word(self.first), word(self.second))
    }
}

/// The entries whose values differ, or that only one of two maps has.
pub fn differing<'a>(
    first: &'a BTreeMap<String, String>,
    second: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Differing<'a>> {
    let names = first.keys().chain(second.keys().filter(|name| !first.contains_key(*name)));
    let entry = move |name: &'a String| {
        let [first, second] = [first, second].map(|map| map.get(name).map(String::as_str));
        Differing { name, first, second }
    };
    names.map(entry).filter(|one| one.first != one.second)
}

/// The records that a sweep's file asks for; 0 where it does not say.
pub(super) fn expected_records(text: &str) -> usize {
    let sweep: Table = text.parse().unwrap_or_default();
    let length = |key: &str| sweep.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    let rows = match length("rows") {
        0 => length("engines").saturating_mul(length("batch_sizes")).saturating_mul(length("prompt_lengths")),
        rows => rows,
    };
    let replicates = sweep.get("procedure").and_then(|procedure| procedure.get("replicates")?.as_integer());
    let replicates = usize::try_from(replicates.unwrap_or(1)).unwrap_or(0);
    length("models").saturating_mul(rows).saturating_mul(replicates)
}

/// The order of the rows of a sweep's tables.
pub(super) struct RowOrder {
    rows: HashMap<RowName, usize>,
    /// The lists of a grid, by their values' places.
    engines: HashMap<String, usize>,
    sizes: [HashMap<i64, usize>; 2],
}

impl RowOrder {
    /// What the text of a `sweep.toml` says; nothing where it is none.
    pub(super) fn new(text: &str) -> Self {
        let sweep: Table = text.parse().unwrap_or_default();
        let list = |key: &str| sweep.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let row = |row: &Value| {
            Some((row.get(0)?.as_str()?.to_owned(), row.get(1)?.as_integer()?, row.get(2)?.as_integer()?))
        };
        let sizes = |key| places(list(key).iter().filter_map(Value::as_integer));
        Self {
            rows: places(list("rows").iter().filter_map(row)),
            engines: places(list("engines").iter().filter_map(Value::as_str).map(str::to_owned)),
            sizes: [sizes("batch_sizes"), sizes("prompt_lengths")],
        }
    }

    /// Where the row stands: in the list of rows, or else in the grid.
    fn place(&self, engine: &str, batch_size: u32, prompt_length: u32) -> Option<[usize; 3]> {
        let (batch_size, prompt_length) = (i64::from(batch_size), i64::from(prompt_length));
        if !self.rows.is_empty() {
            return Some([*self.rows.get(&(engine.to_owned(), batch_size, prompt_length))?, 0, 0]);
        }
        let [batches, prompts] = &self.sizes;
        Some([*self.engines.get(engine)?, *batches.get(&batch_size)?, *prompts.get(&prompt_length)?])
    }
}

/// The first place of each value.
fn places<T: Eq + Hash>(values: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut places = HashMap::new();
    for (place, value) in values.enumerate() {
        places.entry(value).or_insert(place);
    }
    places
}

/// Records in the order of the tables' rows, those of the first part first; records of one row stay in the order in which they were measured.
pub(super) fn in_order_of(orders: &[RowOrder], mut records: Vec<Measurement>) -> Vec<Measurement> {
    records.sort_by_cached_key(|record| {
        let CellKey { engine, batch_size, prompt_length, .. } = &record.key;
        let place = |(part, order): (usize, &RowOrder)| {
            Some((part, order.place(engine, *batch_size, *prompt_length)?))
        };
        orders.iter().enumerate().find_map(place).unwrap_or((usize::MAX, [0; 3]))
    });
    records
}

/// A sweep's settings by dotted key.
pub(super) fn sweep_values(text: &str) -> BTreeMap<String, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_grid_or_of_the_list() {
        let grid =
            RowOrder::new("engines = [\"b\", \"a\"]\nbatch_sizes = [4, 1]\nprompt_lengths = [16, 8, 16]\n");
        let place = |order: &RowOrder, engine: &str, batch| order.place(engine, batch, 16);
        let places = ["b", "a"].map(|engine| [4, 1].map(|batch| place(&grid, engine, batch).unwrap()));
        assert_eq!(places, [[[0, 0, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]]]);
        assert_eq!((grid.place("a", 1, 8), grid.place("c", 1, 8)), (Some([1, 1, 1]), None));
        let list = RowOrder::new("rows = [[\"a\", 1, 16], [\"b\", 4, 16]]\nengines = [\"b\", \"a\"]");
        assert_eq!((place(&list, "b", 4), place(&list, "b", 1)), (Some([1, 0, 0]), None));
        assert_eq!(place(&RowOrder::new("rows = [1]\nengines = 3"), "a", 1), None);
    }

    #[test]
    fn differences_name_key_and_both_values() {
        let then = sweep_values("batch_sizes = [1, 4]\nseed = 0\n[procedure]\nprompt_runs = 5\n");
        let now = sweep_values("batch_sizes = [1]\nseed = 0\nthreads = 2\n[procedure]\nprompt_runs = 6\n");
        let lines: Vec<String> = differing(&then, &now).map(|one| one.words("here")).collect();
        assert_eq!(
            lines,
            ["batch_sizes: [1, 4], here [1]", "procedure.prompt_runs: 5, here 6", "threads: none, here 2"]
        );
        assert_eq!(differing(&then, &now).filter(Differing::is_of_both).count(), 2);
    }
}
