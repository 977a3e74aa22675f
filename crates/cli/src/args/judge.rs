//! Flags that say how a comparison is judged, and where it is written.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, ValueEnum};
use compare::history::RunSpread;
use compare::{Criteria, Thresholds};
use results::Metric;

use super::headings::{COMPARISON, OUTPUT};

/// Flags that say how a comparison is judged, and where it is written.
#[derive(Debug, clap::Args)]
pub(crate) struct JudgeArgs {
    /// Ignore changes up to this [default: 5%].
    ///
    /// Applies to all metrics, or to one: prompt=10%. Metrics: prompt, first-128, first-256, token, tpot, wall, memory. May be repeated.
    #[arg(
        long = "threshold",
        value_name = "[METRIC=]SHARE",
        action = ArgAction::Append,
        value_parser = parse_threshold,
        help_heading = COMPARISON
    )]
    thresholds: Vec<(Option<Metric>, f64)>,
    /// Do not widen intervals for drift.
    ///
    /// The default widens the interval of a cell that drifted during a run.
    #[arg(long, help_heading = COMPARISON)]
    allow_drift: bool,
    /// Allow cells that only one side has.
    ///
    /// One side may lack cells, metrics or tables that the other side has.
    #[arg(long, help_heading = COMPARISON)]
    allow_missing: bool,
    /// Exit code for "inconclusive".
    ///
    /// The default is 3. pass: exit with 0 if nothing regressed, unless drift hides a regression. fail: exit with 1.
    #[arg(long, value_name = "pass|fail", hide_possible_values = true, help_heading = COMPARISON)]
    pub(crate) inconclusive: Option<InconclusiveExit>,
    /// Exit code for "provisional" [default: pass].
    ///
    /// pass: exit with 0 if nothing regressed. fail: exit with 1.
    #[arg(long, value_name = "pass|fail", hide_possible_values = true, help_heading = COMPARISON)]
    pub(crate) provisional: Option<InconclusiveExit>,
    /// Format of the result.
    ///
    /// terminal, markdown, csv or json; a comparison also junit or github, and several formats, each with =FILE into a file. The default is
    /// terminal; for a run whose output is no terminal, markdown.
    #[arg(long = "format", value_name = "FORMAT[=FILE]", action = ArgAction::Append, help_heading = OUTPUT)]
    outputs: Vec<Output>,
}

impl JudgeArgs {
    /// The criteria, from the flags.
    pub(crate) fn criteria<'a>(&self, spread: Option<&'a RunSpread>) -> Criteria<'a> {
        let for_all = self.thresholds.iter().rev().find(|(metric, _)| metric.is_none());
        let all = for_all.map_or_else(Thresholds::default, |(_, share)| Thresholds::all(*share));
        let thresholds = self.thresholds.iter().fold(all, |thresholds, (metric, share)| match metric {
            Some(metric) => thresholds.with(*metric, *share),
            None => thresholds,
        });
        Criteria {
            thresholds,
            allow_drift: self.allow_drift,
            allow_missing: self.allow_missing,
            spread,
            level_share: 1.0,
        }
    }

    /// The formats and files to write.
    pub(crate) fn outputs(&self) -> Vec<Output> {
        if self.outputs.is_empty() {
            return vec![Output { format: OutputFormat::Terminal, file: None }];
        }
        self.outputs.clone()
    }

    /// The flags with values, for a command that continues.
    pub(crate) fn words(&self) -> Vec<[String; 2]> {
        let share = |(metric, share): &(Option<Metric>, f64)| {
            let share = format!("{}%", (share * 1e8).round() / 1e6);
            ["--threshold".into(), metric.map_or_else(|| share.clone(), |metric| format!("{metric}={share}"))]
        };
        let outcome = |flag: &str, outcome: Option<InconclusiveExit>| {
            let word = |outcome| if outcome == InconclusiveExit::Pass { "pass" } else { "fail" };
            outcome.map(|outcome| [flag.to_owned(), word(outcome).to_owned()])
        };
        let formats = self.outputs.iter().map(|Output { format, file }| {
            let name =
                format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            let file = file.as_ref().map_or_else(String::new, |file| format!("={}", file.display()));
            ["--format".into(), name + &file]
        });
        let thresholds = self.thresholds.iter().map(share);
        let outcomes =
            [outcome("--inconclusive", self.inconclusive), outcome("--provisional", self.provisional)];
        thresholds.chain(outcomes.into_iter().flatten()).chain(formats).collect()
    }

    /// The flags without values, for a command that continues.
    pub(crate) fn switches(&self) -> impl Iterator<Item = String> {
        let switches = [(self.allow_drift, "--allow-drift"), (self.allow_missing, "--allow-missing")];
        switches.into_iter().filter(|(is_given, _)| *is_given).map(|(_, flag)| flag.to_owned())
    }

    /// The formats that were given.
    pub(crate) fn given_outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The first flag of a comparison that was given; `--format` is every command's.
    pub(crate) fn first_given(&self) -> Option<String> {
        let pairs = self.words().into_iter().map(|[flag, _]| flag);
        pairs.chain(self.switches()).find(|flag| flag != "--format")
    }
}

/// The exit code of a verdict that is not definite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InconclusiveExit {
    Pass,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Terminal,
    Markdown,
    Csv,
    Json,
    Junit,
    Github,
}

/// A format, and its file; `None` is stdout.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: OutputFormat,
    pub(crate) file: Option<PathBuf>,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = text.split_once('=').map_or((text, None), |(format, file)| (format, Some(file)));
        let file = match file {
            Some("") => return Err("expected a file after =".into()),
            file => file.map(PathBuf::from),
        };
        let format = OutputFormat::from_str(format, false)
            .map_err(|_| "expected terminal, markdown, csv, json, junit or github".to_owned())?;
        Ok(Self { format, file })
    }
}

fn parse_threshold(text: &str) -> Result<(Option<Metric>, f64), String> {
    let Some((metric, share)) = text.split_once('=') else { return Ok((None, parse_share(text)?)) };
    let metric = metric.parse::<Metric>().map_err(|error| error.to_string())?;
    Ok((Some(metric), parse_share(share)?))
}

/// Parses `10%` or `2.5 %`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let is_allowed = |percent: &f64| (0.0..=1000.0).contains(percent);
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).filter(is_allowed);
    percent.map(|percent| percent / 100.0).ok_or_else(|| {
        let number = text.parse::<f64>().ok();
        let meant = number.map(|number| if number < 1.0 { (number * 1e8).round() / 1e6 } else { number });
        let question = meant.filter(is_allowed).map(|percent| format!(": did you mean {percent}%?"));
        format!("expected a share such as 10%{}", question.unwrap_or_default())
    })
}
