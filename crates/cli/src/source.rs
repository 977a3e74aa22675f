//! What a path on the command line names: a run's folder, or a file with published tables.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use audit::{AuditedTable, Hardware};
use compare::{RunSubject, Subject};
use llama::LlamaConfig;
use results::Table;
use results::published::{self, Document};
use results::{Run, RunFacts};

/// Tables, and where they come from.
pub(crate) enum Source {
    /// A run of our own, with its series.
    Run(Vec<Table>),
    /// A file of tables.
    File(Document),
}

impl Source {
    /// Reads a run's folder, or a markdown, csv or json file with tables of the documents' schema.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(if path.is_file() { Self::File(read_file(path)?) } else { Self::Run(read_run(path)?.0) })
    }
}

/// The tables of a run, the findings of its audit under each; and whether one is impossible.
pub(crate) fn read_run(dir: &Path) -> Result<(Vec<Table>, bool)> {
    let run = read_whole(dir)?;
    Ok((with_findings(&run), run.audit.is_impossible()))
}

/// Everything that is known of a run. Its name is its folder's.
pub(crate) fn read_whole(dir: &Path) -> Result<page::Run> {
    let run = results::read_run(dir)?;
    let tables = results::tables(&run.records, &run.facts.verifications, &run.facts.environments);
    let audited: Vec<AuditedTable> = tables.iter().map(|table| audited(dir, &run, table)).collect();
    let name = dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let RunFacts { environments, verifications, expected, .. } = run.facts;
    Ok(page::Run {
        name: name.unwrap_or_else(|| dir.display().to_string()),
        audit: audit::audit(&audited, &Hardware::built_in()),
        tables,
        records: run.records,
        environments,
        verifications,
        expected,
    })
}

/// A run's tables, with what its audit says under each.
pub(crate) fn with_findings(run: &page::Run) -> Vec<Table> {
    let mut tables = run.tables.clone();
    for table in &mut tables {
        let findings = run.audit.findings.iter().filter(|finding| finding.table == table.heading);
        table.notes.extend(findings.map(|finding| format!("audit: {}", finding.words())));
    }
    tables
}

/// The tables of a run, and the config that each model of it really had.
pub(crate) fn read_run_with_configs(dir: &Path) -> Result<(Vec<Table>, BTreeMap<String, LlamaConfig>)> {
    let run = results::read_run(dir)?;
    let tables = results::tables(&run.records, &run.facts.verifications, &run.facts.environments);
    let configs = tables.iter().filter_map(|table| Some((table.model.clone(), config(&run, table)?)));
    let configs = configs.collect();
    Ok((tables, configs))
}

/// What `audit` checks of a path.
pub(crate) fn read_audited(path: &Path) -> Result<Vec<AuditedTable>> {
    if path.is_file() {
        let file = path.display().to_string();
        return Ok(AuditedTable::of(&file, &read_file(path)?));
    }
    let run = results::read_run(path)?;
    let tables = results::tables(&run.records, &run.facts.verifications, &run.facts.environments);
    Ok(tables.iter().map(|table| audited(path, &run, table)).collect())
}

/// What `compare` holds against another: a run's folder, or a file of tables.
pub(crate) fn read_subject(path: &Path) -> Result<Subject> {
    let name = path.display().to_string();
    if path.is_file() {
        return Ok(Subject::published(&name, &read_file(path)?));
    }
    let mut subject = RunSubject::new(&name);
    let RunFacts { environments, mut settings, expected, .. } =
        results::read_run_each(path, &mut |record| subject.add(record))?;
    let [environment] = &environments[..] else {
        bail!(
            "{name}: its cells were measured in {} different ways (--allow-mixed): they are no side of a comparison",
            environments.len()
        );
    };
    Ok(subject.finish(environment, settings.swap_remove(0), expected))
}

/// Reads a file of tables.
pub(crate) fn read_file(path: &Path) -> Result<Document> {
    let file = path.display().to_string();
    let text = llama::read_text(path).with_context(|| file.clone())?;
    Ok(published::parse(&text, &file)?)
}

fn audited(dir: &Path, run: &Run, table: &Table) -> AuditedTable {
    AuditedTable {
        generation_length: Some(table.generation_length),
        config: config(run, table),
        lists_rows: run.facts.settings.iter().any(|sweep| sweep.contains_key("rows")),
        ..AuditedTable::new(&dir.display().to_string(), table.into())
    }
}

/// The config that the run's model really had: the name in the heading could be another's.
fn config(run: &Run, table: &Table) -> Option<LlamaConfig> {
    let facts = run.facts.environments.iter().find_map(|environment| environment.models.get(&table.model))?;
    LlamaConfig::from_json(&facts.config, &table.model).ok()
}
