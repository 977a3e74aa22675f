//! `merge`: shares of a sweep as one run.

use anyhow::Result;

use crate::args::MergeArgs;
use crate::exit_status::ExitStatus;
use crate::format::shell_command;
use crate::printer;
use crate::tables::write_run;

pub(crate) fn run(args: &MergeArgs) -> Result<ExitStatus> {
    let merged = results::merge(&args.runs, &args.out)?;
    let dir = merged.folder.dir().display().to_string();
    let is_impossible = write_run(&merged.folder, true)?;
    if merged.missing > 0 {
        let absent: Vec<String> = merged.absent.iter().map(ToString::to_string).collect();
        let of = if absent.is_empty() {
            String::new()
        } else {
            format!(" (no run is share {})", absent.join(", "))
        };
        let again = ["llama2-bench", "run", "--resume", &dir].map(str::to_owned);
        printer::line(&format!(
            "warning: {} cells are missing{of}: `{}` measures them here",
            merged.missing,
            shell_command(&again)
        ));
    }
    printer::line(&format!("the run's folder: {dir}"));
    let is_finding = is_impossible || merged.folder.has_failed();
    Ok(if is_finding { ExitStatus::Finding } else { ExitStatus::Done })
}
