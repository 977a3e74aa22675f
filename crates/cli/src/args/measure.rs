//! What measuring takes: a sweep's overrides, engines, and how workers are started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use harness::{Engines, Flag, FlagKind, Key, SweepKeys, Verify};
use protocol::EnginesFile;

use crate::printer;

use super::headings::{GPU, OUTPUT, PROCEDURE, WHAT};

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    #[command(flatten)]
    pub(crate) overrides: KeyFlags<false>,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    /// Verify engines.
    ///
    /// Checks before timing that all engines produce the same logits and tokens.
    /// changed: only engines that changed since they were verified. again: all engines.
    #[arg(
        long,
        value_name = "changed|again",
        default_value = "changed",
        conflicts_with = "no_verify",
        hide_possible_values = true,
        help_heading = PROCEDURE
    )]
    verify: VerifyWhich,
    /// Do not verify the engines.
    #[arg(long, help_heading = PROCEDURE)]
    no_verify: bool,
    /// Do not measure the device's peaks.
    #[arg(long, conflicts_with = "peaks", help_heading = PROCEDURE)]
    pub(crate) no_peaks: bool,
    /// Wait for an idle machine, or fail.
    ///
    /// Waits at most 60 s until other processes use at most 10 % of the processors' time.
    #[arg(long, help_heading = PROCEDURE)]
    pub(crate) require_idle: bool,
    /// Fail if another process uses the GPU.
    #[arg(long, help_heading = GPU)]
    pub(crate) exclusive: bool,
    /// Show the sweep as a live picture.
    ///
    /// q stops gracefully: finished cells are kept. Without a terminal, prints lines as usual.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) watch: bool,
}

/// Which engines are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum VerifyWhich {
    Changed,
    Again,
}

impl MeasureArgs {
    /// Whether engines are verified.
    pub(crate) fn verify(&self) -> Verify {
        match self.verify {
            _ if self.no_verify => Verify::Never,
            VerifyWhich::Changed => Verify::Changed,
            VerifyWhich::Again => Verify::Again,
        }
    }

    /// What the flags set of a sweep.
    pub(crate) fn keys(&self) -> SweepKeys {
        self.overrides.0.clone().over(self.setup.flags.0.clone())
    }
}

/// How workers are started and models loaded.
#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    pub(crate) flags: KeyFlags<true>,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
}

/// The flags of a sweep's keys: all, or those that also count for a worker alone (`SETUP`).
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFlags<const SETUP: bool>(pub(crate) SweepKeys);

impl<const SETUP: bool> KeyFlags<SETUP> {
    fn flags() -> impl Iterator<Item = (Key, Flag)> {
        let flag = |key: Key| key.flag.filter(|flag| flag.is_setup || !SETUP).map(|flag| (key, flag));
        SweepKeys::keys().into_iter().filter_map(flag)
    }
}

impl<const SETUP: bool> Args for KeyFlags<SETUP> {
    fn augment_args(command: Command) -> Command {
        // A command that has all flags has those for a worker, too: in one place, so that the help groups them together.
        let is_new = |(_, flag): &(Key, Flag)| command.get_arguments().all(|arg| arg.get_id() != flag.name);
        let flags: Vec<_> = Self::flags().filter(is_new).collect();
        command.args(flags.into_iter().map(|(key, flag)| {
            let default =
                key.default.map(|default| default.trim_matches('"')).filter(|default| *default != "false");
            let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
            let arg = Arg::new(flag.name)
                .long(flag.name)
                .help_heading(flag.heading)
                .help(format!("{}{default}", key.help))
                .long_help(match &*key.details {
                    "" => format!("{}{default}", key.help),
                    details => [&format!("{}.", key.help), details, default.trim()]
                        .join("\n\n")
                        .trim_end()
                        .to_owned(),
                });
            match key.kind {
                FlagKind::Switch => arg.action(ArgAction::SetTrue),
                FlagKind::One => arg.value_name(flag.value_name),
                FlagKind::List | FlagKind::Pairs => arg.value_name(flag.value_name).action(ArgAction::Append),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const SETUP: bool> FromArgMatches for KeyFlags<SETUP> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (key, flag) in Self::flags() {
            if matches.value_source(flag.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let words = match key.kind {
                FlagKind::Switch => Vec::new(),
                _ => matches.get_many::<String>(flag.name).into_iter().flatten().cloned().collect(),
            };
            self.0
                .set_flag(&key.path, &format!("--{}", flag.name), &words)
                .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")))?;
        }
        Ok(())
    }
}

/// Which engines there are.
#[derive(Debug, clap::Args)]
pub(crate) struct EnginesArgs {
    /// List of engines to use.
    ///
    /// The default is the built-in configs/engines.toml.
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    engines_file: Option<PathBuf>,
}

impl EnginesArgs {
    /// The file, where another than the built-in one was given.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.engines_file.as_deref()
    }

    /// The engines to choose from; where no file is given, those that an earlier run was begun with.
    pub(crate) fn read_or_of_run(&self, run: &Path, earlier: Option<&EnginesFile>) -> Result<Engines> {
        let (None, Some(EnginesFile { path, sha256 })) = (&self.engines_file, earlier) else {
            return self.read();
        };
        // The path is from the folder in which the run was begun: most often this one, or one above the run.
        let run_dir = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
        let places = std::iter::once(Path::new("")).chain(run_dir.ancestors().skip(1));
        let files: Vec<PathBuf> =
            places.map(|place| place.join(path)).filter(|file| file.is_file()).collect();
        let is_same = |file: &&PathBuf| {
            llama::read_text(file).is_ok_and(|text| llama::sha256_hex(text.as_bytes()) == *sha256)
        };
        let Some(file) = files.iter().find(is_same).or(files.first()) else {
            bail!(
                "{}: the run was begun with --engines-file {path}, which is not there: give the file with --engines-file",
                run.display()
            );
        };
        let engines = read_engines(file)?;
        if engines.file().is_some_and(|now| now.sha256 != *sha256) {
            printer::line(&format!("warning: {path}: changed since the run in {} began", run.display()));
        }
        Ok(engines)
    }

    /// The engines to choose from.
    pub(crate) fn read(&self) -> Result<Engines> {
        self.engines_file.as_deref().map_or_else(|| Ok(Engines::built_in()), read_engines)
    }
}

/// Reads an `engines.toml`.
pub(crate) fn read_engines(path: &Path) -> Result<Engines> {
    let text =
        llama::read_text_up_to(path, llama::LARGEST_SETTINGS).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    Ok(Engines::parse(&text, &path.display().to_string(), base)?)
}
