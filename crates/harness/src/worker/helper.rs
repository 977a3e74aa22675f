//! Helpers of this program, which are the same program started again: a guard, or the keeper of locked clocks.

use std::process::ExitCode;

use protocol::{Failure, Phase, Reply};

use crate::worker::clock_lock::{self, KEEPER};
use crate::worker::guard::{GUARD, guard};

/// Runs as a helper and returns its exit code, if this program was started as one. A program that starts workers calls this first in its
/// `main`.
#[expect(clippy::print_stdout, reason = "a guard answers on stdout, in place of its worker")]
pub fn helper_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == KEEPER {
        return Some(clock_lock::keep(arguments));
    }
    if first != GUARD {
        return None;
    }
    Some(guard(arguments).unwrap_or_else(|why| {
        let phase = Phase::Load;
        let failed = Reply::Failed(Failure { phase, message: why });
        println!("{}", serde_json::to_string(&failed).expect("a reply is plain JSON"));
        ExitCode::FAILURE
    }))
}
