//! `heirloom flush TABLE`: what is committed, on disk.

use super::{Outcome, connect, print};
use std::path::PathBuf;

/// Write what was committed to a table to disk, and wait for it
///
/// For tables whose durability is `interval` or `commit`. Prints the version up to which everything is on disk when it
/// returns. Where it cannot be written it says why; the table goes on in memory then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heirloom flush sales")]
pub(super) struct Args {
    /// The table's id
    table: String,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    print(&connect::client(socket)?.flush(&args.table)?.to_string())?;
    Ok(())
}
