//! `serve`: a local web page over a folder of runs.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Interrupt, interrupted};
use results::one_line;

use crate::args::ServeArgs;
use crate::exit_status::ExitStatus;
use crate::printer;
use crate::serve::{RunsFolder, start};

/// How often to look for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &ServeArgs) -> Result<ExitStatus> {
    let folder = RunsFolder::new(&args.dir, args.history.as_deref())?;
    let port = args.port;
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("--port: {port} is in use: choose another, or 0 for any free port")
        }
        listener => listener.with_context(|| format!("--port: {port}"))?,
    };
    let address = listener.local_addr()?;
    let _interrupt = Interrupt::install();
    start(listener, folder)?;
    let dir = one_line(&args.dir.display().to_string());
    printer::text(&format!("Serving {dir} at http://{address}/ until Ctrl-C.\n"))?;
    while !interrupted() {
        std::thread::sleep(LOOK);
    }
    Ok(ExitStatus::Interrupted)
}
