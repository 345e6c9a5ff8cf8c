//! `heirloom status`: tables, workers and children, as a table for people or as JSON for programs.

use super::Outcome;
use std::path::PathBuf;

/// Show tables, their owners and last handoffs, workers and children
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let _ = (args.json, socket);
    Err("the manager cannot be asked yet".into())
}
