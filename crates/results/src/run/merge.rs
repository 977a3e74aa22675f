//! Joins runs that each measured a share of one sweep into one run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use protocol::{Environment, Measurement, Share, Verification};

use super::files::{read_text, sweep_file};
use super::folder::read_run;
use super::provenance::{RunPart, differing, expected_records, sweep_values};
use crate::{RunFolder, StoreError};

/// What may be otherwise in runs that are joined, beside the machine: it changes no figure.
const FREE: &str = "timeout_seconds";
/// Facts that say which machine it was, and in which state. All else that is known of a run must be the same.
const OF_MACHINE: [&str; 9] = [
    "machine",
    "processor",
    "cores",
    "hardware threads per core",
    "frequency governor",
    "turbo",
    "transparent huge pages",
    "environment variables",
    "GPUs",
];

/// What was joined.
#[derive(Debug)]
pub struct Merged {
    /// The new run.
    pub folder: RunFolder,
    /// Records that its sweep asks for and none of the runs has.
    pub missing: usize,
    /// Shares that none of the runs is, where the runs say which they are.
    pub absent: Vec<Share>,
}

struct ShareRun {
    dir: PathBuf,
    sweep: String,
    environment: Environment,
    records: Vec<Measurement>,
    verifications: Vec<Verification>,
}

/// Joins the runs in `dirs` into a new one in `out`. Runs of one machine become one part of it; each further machine begins
/// another, so that tables name the rows that it measured.
///
/// # Errors
/// Where a run can't be read, was measured with another sweep, procedure, program or library, or has a cell that another has.
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<Merged, StoreError> {
    let mut sources = dirs.iter().map(|dir| read(dir)).collect::<Result<Vec<_>, _>>()?;
    sources.sort_by_key(|source| source.environment.shard.map(Share::index));
    let Some((first, others)) = sources.split_first() else {
        return Err(StoreError::Refused("no run to merge".into()));
    };
    for other in others {
        let differences = differences(first, other);
        if !differences.is_empty() {
            return Err(StoreError::Refused(format!(
                "{}: not measured as {}: {}: only shares of one sweep, by the same program and libraries, can be merged",
                other.dir.display(),
                first.dir.display(),
                differences.join("; ")
            )));
        }
    }
    refuse_twice(&sources)?;

    let mut parts: Vec<RunPart> = Vec::new();
    let (mut records, mut verifications) = (Vec::new(), Vec::<Verification>::new());
    let absent = absent_shares(&sources);
    for source in sources {
        let machine = machine(&source.environment);
        let same = parts.iter().position(|part| self::machine(&part.environment) == machine);
        let part = same.unwrap_or_else(|| {
            parts.push(new_part(&parts, &source));
            parts.len() - 1
        }) as u32
            + 1;
        records.extend(source.records.into_iter().map(|record| Measurement { part, ..record }));
        let renumbered = source.verifications.into_iter().map(|one| Verification { part, ..one });
        let is_new = |one: &Verification| !verifications.iter().any(|other| other.is_of_same(one));
        let new: Vec<_> = renumbered.filter(is_new).collect();
        verifications.extend(new);
    }
    let order = order(&parts[0].sweep);
    records.sort_by_cached_key(|record| order.place(record));
    let missing = expected_records(&parts[0].sweep).saturating_sub(records.len());
    for part in &mut parts {
        part.environment.sweep_sha256 = llama::sha256_hex(part.sweep.as_bytes());
    }
    let folder = RunFolder::create_merged(out, parts, verifications, &records)?;
    Ok(Merged { folder, missing, absent })
}

fn read(dir: &Path) -> Result<ShareRun, StoreError> {
    let (facts, records) = read_run(dir)?;
    let count = facts.environments.len();
    let mut environments = facts.environments.into_iter();
    let (Some(environment), None) = (environments.next(), environments.next()) else {
        return Err(StoreError::Refused(format!(
            "{}: its cells were measured in {count} different ways (--allow-mixed), or it is merged already",
            dir.display()
        )));
    };
    let sweep = read_text(&dir.join(sweep_file(1)), llama::LARGEST_SETTINGS)?;
    let verifications = facts.verifications;
    Ok(ShareRun { dir: dir.into(), sweep, environment, records, verifications })
}

/// What makes two runs no shares of one.
fn differences(one: &ShareRun, other: &ShareRun) -> Vec<String> {
    let settings = |source: &ShareRun| {
        let mut values = sweep_values(&source.sweep);
        values.retain(|key, _| !key.contains(FREE));
        values
    };
    let facts = |source: &ShareRun| {
        let mut facts = source.environment.facts();
        facts.retain(|name, _| !OF_MACHINE.contains(&name.as_str()));
        facts
    };
    let (first, second) = ((settings(other), facts(other)), (settings(one), facts(one)));
    let differences = differing(&first.0, &second.0).chain(differing(&first.1, &second.1));
    differences.map(|difference| difference.words("there")).collect()
}

fn machine(environment: &Environment) -> BTreeMap<String, String> {
    let mut facts = environment.facts();
    facts.retain(|name, _| OF_MACHINE.contains(&name.as_str()));
    facts
}

fn refuse_twice(sources: &[ShareRun]) -> Result<(), StoreError> {
    let mut seen = HashMap::new();
    for source in sources {
        for record in &source.records {
            let Measurement { key, replicate, .. } = record;
            if let Some(earlier) = seen.insert((key, *replicate), &source.dir) {
                return Err(StoreError::Refused(format!(
                    "{}: {} {} {} {} (replicate {replicate}) was measured in {}, too",
                    source.dir.display(),
                    key.model,
                    key.precision,
                    key.engine,
                    key.size(),
                    earlier.display()
                )));
            }
        }
    }
    Ok(())
}

/// The first run of a machine.
fn new_part(parts: &[RunPart], source: &ShareRun) -> RunPart {
    let mut environment = Environment { shard: None, ..source.environment.clone() };
    if let Some(first) = parts.first() {
        let (then, now) = (machine(&first.environment), machine(&environment));
        let differences = differing(&then, &now).filter(|difference| difference.second.is_some());
        environment.differs_from_first_part =
            differences.map(|difference| difference.words("here")).collect();
    }
    RunPart { sweep: source.sweep.clone(), environment }
}

fn absent_shares(sources: &[ShareRun]) -> Vec<Share> {
    let shares: Vec<Share> = sources.iter().filter_map(|source| source.environment.shard).collect();
    let Some(count) = shares.first().map(|share| share.count()) else { return Vec::new() };
    let all = (1..=count).filter_map(|index| format!("{index}/{count}").parse().ok());
    all.filter(|share| !shares.contains(share)).collect()
}

/// The places of cells in a sweep's lists.
struct Order {
    models: Vec<String>,
    precisions: Vec<String>,
    engines: Vec<String>,
    rows: Vec<(String, i64, i64)>,
}

fn order(sweep: &str) -> Order {
    let table: toml::Table = sweep.parse().unwrap_or_default();
    let list = |key: &str| table.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let words = |key: &str| list(key).iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect();
    let row = |row: &toml::Value| {
        let [engine, batch, prompt] = row.as_array()?.get(..3)? else { return None };
        Some((engine.as_str()?.to_owned(), batch.as_integer()?, prompt.as_integer()?))
    };
    let rows = list("rows").iter().filter_map(row).collect();
    Order { models: words("models"), precisions: words("precision"), engines: words("engines"), rows }
}

impl Order {
    fn place(&self, record: &Measurement) -> [usize; 6] {
        let model = self.models.iter().position(|model| {
            model.trim_end_matches('/').rsplit('/').next() == Some(record.key.model.as_str())
        });
        let cell = (i64::from(record.key.batch_size), i64::from(record.key.prompt_length));
        let row = self
            .rows
            .iter()
            .position(|(engine, batch, prompt)| *engine == record.key.engine && (*batch, *prompt) == cell);
        let engine = self.engines.iter().position(|engine| *engine == record.key.engine);
        let precision = self.precisions.iter().position(|word| *word == record.key.precision.to_string());
        let place = |place: Option<usize>| place.unwrap_or(usize::MAX);
        // A grid is written in rising order, or it is put into one.
        let [batch, prompt] = [record.key.batch_size, record.key.prompt_length].map(|size| size as usize);
        match row {
            Some(row) => [place(model), record.replicate as usize, place(precision), row, 0, 0],
            None => [place(model), record.replicate as usize, place(precision), place(engine), batch, prompt],
        }
    }
}
