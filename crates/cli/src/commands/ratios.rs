//! `ratios`: how many times as fast an engine is as others, and as itself in another precision.

use anyhow::Result;
use compare::{Ratios, Subject};
use results::csv_of_json;

use crate::args::{RatiosArgs, ResultFormat};
use crate::exit_status::ExitStatus;
use crate::printer::screen_width;
use crate::rendered::{table_format, write};
use crate::{folders, sources};

/// The columns of its csv.
const COLUMNS: &str = "\
    engine scripted heading compared_with other precision batch_size prompt_length prefill.metric prefill.ratio prefill.interval \
    prefill.none decode.metric decode.ratio decode.interval decode.none tpot.metric tpot.ratio \
    tpot.interval tpot.none memory.metric memory.ratio memory.interval memory.none fidelity.compared_with \
    fidelity.computed_by fidelity.prompts fidelity.mean_kl fidelity.largest_kl fidelity.same_top_token \
    fidelity.none replicates";

pub(crate) fn run(args: &RatiosArgs) -> Result<ExitStatus> {
    folders::check(&[&args.run])?;
    let sources = sources::read(&[&args.run], &args.read)?;
    let ratios = Ratios::with_precisions(&Subject::new(&sources[0])?, &args.engine, &args.others)?;
    let out = args.result.out.as_deref();
    let text = match table_format(args.result.format.given(), out) {
        ResultFormat::Terminal => ratios.to_terminal(screen_width()),
        ResultFormat::Markdown => ratios.to_markdown(),
        ResultFormat::Csv => {
            csv_of_json(&ratios.to_json(), &[&["tables", "lines"], &["precisions", "lines"]], COLUMNS)?
        }
        ResultFormat::Json => ratios.to_json(),
    };
    write(&text, out)?;
    Ok(ExitStatus::Done)
}
