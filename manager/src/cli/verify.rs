//! `heirloom verify TABLE`: every byte of a table.

use super::loader::{self, Take};
use super::progress::Progress;
use super::{Outcome, print};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Check every byte of a table
///
/// Each word of its memory must have exactly one use, each entry must be found where its key says, and all counts must
/// fit. Nobody may write meanwhile, so the command owns the table while it runs, and is refused where another does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heirloom verify sales --handoff")]
pub(super) struct Args {
    /// The table's id
    table: String,

    #[command(flatten)]
    take: Take,

    /// Print what was found as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let table = &args.table;
    let mut writer = loader::take(socket, table, args.take)?;
    let progress = Progress::unknown("verifying");
    let start = Instant::now();
    let verified = writer.verify();
    let elapsed_ms = start.elapsed().as_millis() as u64;
    drop((progress, writer));
    let report = verified.map_err(|error| format!("table `{table}`: {error}"))?;
    let (entries, version) = (report.entries, report.version);
    print(&match args.json {
        true => json!({ "table": table, "entries": entries, "version": version, "elapsed_ms": elapsed_ms })
            .to_string(),
        false => {
            format!("table `{table}` is whole: {entries} entries, version {version}, in {elapsed_ms} ms")
        }
    })?;
    Ok(())
}
