//! `heirloom check FILE`: every mistake of a configuration, with its line.

use super::{Outcome, output, print};
use crate::config::Config;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Report every mistake in a configuration, with line and suggestion
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = load(&args.file)?;
    for warning in config.warnings() {
        output::complain(&format!("{}: warning: {warning}", args.file.display()));
    }
    let (tables, workers) = (config.tables.len(), config.workers.len());
    print(&format!("{}: no mistakes; tables: {tables}, workers: {workers}", args.file.display()))?;
    Ok(())
}

/// Loads a configuration. Each mistake stands in a line of its own on standard error, without anything before its file
/// and line, so that editors and terminals make a link of it.
pub(super) fn load(file: &Path) -> Result<Config, Box<dyn Error>> {
    Config::load(file).map_err(|mistakes| {
        output::complain(&mistakes.to_string());
        let (count, plural) = (mistakes.len(), if mistakes.len() == 1 { "" } else { "s" });
        format!("{}: {count} mistake{plural}", file.display()).into()
    })
}
