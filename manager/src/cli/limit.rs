//! `heirloom limit TABLE BYTES`: a table's limit, changed while it lives.

use super::{Outcome, connect};
use crate::config;
use std::path::PathBuf;

/// Change a table's limit while it is in use
///
/// Up to eight times the limit it was created with, down to what it uses now. Its owner sees the new limit at its next
/// write; nothing is moved or mapped anew. The configuration is not changed: a manager that is started again reads the
/// limit there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heirloom limit sales 2GiB")]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// The new limit, as in 512MiB
    #[arg(value_name = "BYTES", value_parser = config::bytes)]
    max_bytes: u64,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    Ok(connect::client(socket)?.set_limit(&args.table, args.max_bytes)?)
}
