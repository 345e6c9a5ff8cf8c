//! `heirloom check FILE`: every mistake of a configuration, with its line.

use super::{Outcome, output, print};
use crate::config::Config;
use std::path::PathBuf;

/// Report every mistake in a configuration, with line and suggestion
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.file)?;
    for warning in config.warnings() {
        output::complain(&format!("{}: warning: {warning}", args.file.display()));
    }
    let (tables, workers) = (config.tables.len(), config.workers.len());
    print(&format!("{}: no mistakes; tables: {tables}, workers: {workers}", args.file.display()))?;
    Ok(())
}
