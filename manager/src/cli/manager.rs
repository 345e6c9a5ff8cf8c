//! `heirloom manager --config FILE` (hidden): the manager, as the supervisor starts it.

use super::{Outcome, check, logging};
use crate::supervisor::default_socket;
use std::path::PathBuf;

/// The manager process; the supervisor starts it, and passes the listening socket down
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let _logging = logging::start("info");
    let config = check::load(&args.config)?;
    let socket = socket.or_else(|| config.supervisor.socket.clone()).unwrap_or_else(default_socket);
    Ok(crate::manager::run(&config, &socket)?)
}
