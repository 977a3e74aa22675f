//! A comparison as workflow commands of GitHub Actions, which it shows as annotations.

use results::{Exported, Exporter, Metric, one_line};
use stats::Verdict;

use crate::statement::{Statement, headings};
use crate::{Report, format};

/// GitHub shows no more annotations of a level than these in a step.
const SHOWN: usize = 10;

/// An error for each of what regressed, the worst first; a warning for all that is inconclusive, provisional or on one side alone; a notice with the counts.
#[derive(Debug, Clone, Copy)]
pub struct Github;

impl Exporter<Report> for Github {
    fn name(&self) -> &'static str {
        "github"
    }

    fn write(&self, report: &Report) -> Exported {
        let headings = headings(report);
        let statements: Vec<Statement> = Statement::all(report, &headings).collect();
        let mut commands = errors(&statements);
        commands.extend(warning(report, &statements));
        let sides = format!("{} → {}", report.baseline, report.candidate);
        commands.push(command("notice", "llama2-bench", &format!("{sides}: {}", report.counts())));
        commands.concat().into()
    }
}

fn errors(statements: &[Statement]) -> Vec<String> {
    let mut regressed: Vec<&Statement> =
        statements.iter().filter(|statement| statement.verdict == Some(Verdict::Regressed)).collect();
    regressed.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    let shown = if regressed.len() > SHOWN { SHOWN - 1 } else { regressed.len() };
    let mut errors: Vec<String> = regressed[..shown]
        .iter()
        .map(|statement| {
            let what = statement.metric.map_or("Outcome", Metric::title);
            let title = format!("{} {} regressed: {what}", statement.engine, statement.size);
            command("error", &title, &format!("{}: {}", statement.heading, statement.sentence()))
        })
        .collect();
    if regressed.len() > shown {
        let more = format!("… and {} more regressed", regressed.len() - shown);
        errors.push(command("error", "llama2-bench", &more));
    }
    errors
}

fn warning(report: &Report, statements: &[Statement]) -> Option<String> {
    let inconclusive: Vec<&Statement> =
        statements.iter().filter(|statement| statement.verdict == Some(Verdict::Inconclusive)).collect();
    let needs: Vec<usize> = inconclusive.iter().filter_map(|statement| statement.replicates_needed).collect();
    let enough = needs
        .iter()
        .max()
        .map(|count| format!("{count} replicates per side would be enough for {}", needs.len()));
    let drifted = inconclusive.iter().filter(|statement| statement.drifted).count();
    let drifted = (drifted > 0).then(|| format!("{drifted} drifted"));
    let count = (!inconclusive.is_empty())
        .then(|| format!("{} of {} are inconclusive", inconclusive.len(), statements.len()));
    let provisional =
        statements.iter().filter(|statement| statement.verdict == Some(Verdict::Provisional)).count();
    let provisional = (provisional > 0).then(|| format!("{provisional} are provisional"));
    let all = report.tables.iter().flat_map(|table| &table.missing).chain(&report.missing);
    let all = all.filter(|_| report.missing_counts);
    let missing = format::missing(&all.cloned().collect::<Vec<_>>());
    let parts: Vec<String> =
        [count, enough, drifted, provisional].into_iter().flatten().chain(missing).collect();
    let message = parts.join("; ");
    (!parts.is_empty()).then(|| command("warning", "llama2-bench", &message))
}

/// A line that the runner reads, escaped as its toolkit does.
fn command(level: &str, title: &str, message: &str) -> String {
    let message = one_line(message).replace('%', "%25");
    let title = one_line(title).replace('%', "%25").replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{message}\n")
}
