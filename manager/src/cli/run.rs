//! `heirloom run FILE`: the supervisor, with the manager and the workers as its children.

use super::{Outcome, check, logging};
use crate::supervisor::{self, Options};
use std::path::PathBuf;

/// Start the manager and the workers of a configuration, and keep them running
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    file: PathBuf,
}

pub(super) fn run(args: Args, socket: Option<PathBuf>) -> Outcome {
    let config = check::load(&args.file)?;
    let _logging = logging::start("info");
    let mut options = Options::new(&config)?;
    options.socket = socket;
    Ok(supervisor::run(&config, &options)?)
}
