//! A session from the command line: its notices, its measurement, and what follows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Destination, Notice, PeaksOfSession, RunSummary, Session, SessionOptions, Variant, Verify};
use protocol::{Device, ProgramVersion};
use results::RunFolder;

use crate::args::{HistoryFlags, MeasureArgs, ResultFormat};
use crate::exit_status::ExitStatus;
use crate::format::{describe_peaks, shell_command};
use crate::slow_steps::SlowSteps;
use crate::tables::write_run;
use crate::watch::Shown;
use crate::{history_folder, printer, time_breakdown};

/// Prepares a session for the variants, and prints its notices.
pub(crate) fn begin(variants: Vec<(Variant, Destination)>, args: &MeasureArgs) -> Result<Session> {
    let is_on_cpu = variants.iter().all(|(variant, _)| variant.sweep.setup.device == Device::Cpu);
    ensure!(
        !(args.exclusive && is_on_cpu),
        "--exclusive: device cpu is no GPU: choose one with --device, or leave this out"
    );
    let program = ProgramVersion {
        version: env!("CARGO_PKG_VERSION").into(),
        git_revision: option_env!("LLAMA2_BENCH_REVISION").map(str::to_owned),
    };
    let options = SessionOptions {
        program,
        peaks: match variants.len() {
            _ if args.no_peaks => PeaksOfSession::None,
            1 => PeaksOfSession::Kept,
            // What is compared has peaks of its own hour.
            _ => PeaksOfSession::Measured,
        },
        verify: args.verify(),
        exclusive: args.exclusive,
        require_idle: args.require_idle,
    };
    let slow = SlowSteps::start();
    let mut tell = |notice: Notice<'_>| {
        slow.hear(&notice);
        if let Some(line) = line(&notice) {
            printer::line(&line);
        }
    };
    Ok(Session::begin(variants, &options, &mut tell)?)
}

fn line(notice: &Notice<'_>) -> Option<String> {
    Some(match notice {
        Notice::Greeting { .. } | Notice::MeasuringPeaks { .. } => return None,
        Notice::PeaksBegin { about } => {
            format!("measuring peak memory bandwidth and FLOP/s, about {} s", about.as_secs())
        }
        Notice::KeptPeaks(best) => {
            let measured_at = best.measured_at.as_deref().unwrap_or("an earlier run");
            format!("{} (measured {measured_at}; --peaks again measures them anew)", describe_peaks(best))
        }
        Notice::DamagedPeaks(why) => format!("warning: kept peaks: {why}: measuring them anew"),
        Notice::SharedGpu { device, others } => {
            format!("warning: {device} is also used by {others}: latencies may include their work")
        }
        Notice::WaitingForIdle { limit, busy } => waiting_for_idle(*limit, busy),
        Notice::Unrecorded(what) => format!("warning: {what}"),
        Notice::NoPeaks { device, engine, why } => format!("peaks of {device}: {engine}: {why}"),
        Notice::Peaks(best) => describe_peaks(best),
    })
}

/// The line that is printed while the machine is busy.
pub(crate) fn waiting_for_idle(limit: Duration, busy: &str) -> String {
    format!("waiting up to {} s for an idle machine: {busy}", limit.as_secs())
}

/// Measures what the folders lack and writes their tables; prints those of a single run in this format, or in the default one. A session that stops early shows the command
/// that continues it, which `again` makes of the folders; one that ends shows where the time went. A failed cell is a finding of a single
/// run; for two sides the comparison decides.
pub(crate) fn measure(
    session: &mut Session,
    watch: bool,
    format: Option<ResultFormat>,
    again: &dyn Fn(&[RunFolder]) -> String,
) -> Result<ExitStatus> {
    let mut shown = Shown::new(session, watch);
    let outcome = session.measure(&mut |event| shown.show(&event));
    shown.finish();

    let folders = session.folders();
    let is_alone = folders.len() == 1;
    let written = folders
        .iter()
        .try_fold(false, |found, folder| Ok(write_run(folder, is_alone.then_some(format))? | found));
    if !matches!(outcome, Ok(RunSummary { interrupted: false, .. }))
        && let Err(error) = &written
    {
        printer::error(error);
    }
    match outcome {
        Ok(RunSummary { interrupted: true, .. }) => {
            printer::line(&format!(
                "interrupted: finished cells are kept; continue with `{}`",
                again(folders)
            ));
            Ok(ExitStatus::Interrupted)
        }
        Ok(summary) => {
            let is_impossible = written?;
            printer::line(&time_breakdown::line(session.elapsed(), &summary.time));
            let is_finding = (is_alone && summary.failed > 0) || summary.disagreement || is_impossible;
            Ok(if is_finding { ExitStatus::Finding } else { ExitStatus::Done })
        }
        Err(error) => {
            if folders.iter().all(RunFolder::is_in_place) {
                let again = again(folders);
                printer::line(&format!("stopped: finished cells are kept; continue with `{again}`"));
            }
            Err(error.into())
        }
    }
}

/// Makes sure that the run can be kept for `history`, before it is measured.
pub(crate) fn prepare_history(flags: &HistoryFlags) -> Result<()> {
    flags.dir.as_deref().map_or(Ok(()), history_folder::prepare)
}

/// Keeps the run in `dir` for `history`, where that is asked for.
pub(crate) fn keep_history(flags: &HistoryFlags, dir: &Path) -> Result<()> {
    if let Some(history) = &flags.dir {
        let file = history_folder::add(history, dir, flags.revision.as_deref())?;
        printer::line(&format!("kept in {}", file.display()));
    }
    Ok(())
}

/// The command that measures the missing cells of a session's folder; `more` are the flags of its variants.
pub(crate) fn resume_command(dir: &Path, args: &MeasureArgs, more: &[String]) -> String {
    let mut words = ["llama2-bench", "run", "--resume"].map(str::to_owned).to_vec();
    words.push(dir.display().to_string());
    if let Some(file) = args.setup.engines.file() {
        words.extend(["--engines-file".into(), file.display().to_string()]);
    }
    match args.verify() {
        Verify::Changed => {}
        Verify::Again => words.extend(["--verify", "again"].map(str::to_owned)),
        Verify::Never => words.push("--no-verify".into()),
    }
    let switches = [(args.exclusive, "--exclusive"), (args.require_idle, "--require-idle")];
    words.extend(switches.into_iter().filter(|(is_given, _)| *is_given).map(|(_, flag)| flag.to_owned()));
    words.extend(more.iter().cloned());
    shell_command(&words)
}
