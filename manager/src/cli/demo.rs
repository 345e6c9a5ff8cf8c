//! `heirloom demo`: the arguments of the demonstration; what it does is in [`crate::demo`].

use super::Outcome;
use std::path::PathBuf;

/// Kill the owner of a table again and again, and show that nothing is lost
///
/// Real processes in a temporary folder: a supervisor, a manager, an owner that counts a stream of sales in a table,
/// a standby, and a reader that never stops. The owner is killed at random moments; at the end, everything is counted
/// once more, independently.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many sale events to stream; with --events-file, how often its lines are repeated follows from it
    #[arg(long, value_name = "N")]
    events: Option<u64>,

    /// How often to kill the owner
    #[arg(long, value_name = "N", default_value_t = 20)]
    kills: u64,

    /// Seed of the random moments; by default a new one, which is shown
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// CSV file with the events: year,make,model,price
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// One of the demonstration's own processes
#[derive(Debug, clap::Args)]
pub(super) struct RoleArgs {}

pub(super) fn run(args: Args) -> Outcome {
    let _ = (args.events, args.kills, args.seed, args.events_file, args.json);
    Err("the demonstration is not there yet".into())
}

pub(super) fn run_role(_args: RoleArgs) -> Outcome {
    Err("the demonstration is not there yet".into())
}
