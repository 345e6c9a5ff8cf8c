//! `heirloom len TABLE`: how many entries.

use super::{Outcome, connect, print};
use serde_json::json;
use std::path::PathBuf;

/// Print the number of entries of a table
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heirloom len words")]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// Print one JSON object, with the version that the number is of
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let info = connect::reader(socket, &args.table)?.info();
    let text = match args.json {
        true => json!({ "table": args.table, "entries": info.entries, "version": info.version }).to_string(),
        false => info.entries.to_string(),
    };
    Ok(print(&text)?)
}
