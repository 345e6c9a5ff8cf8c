//! `heirloom demo`: the arguments of the demonstration; what it does is in [`crate::demo`].

use super::{Outcome, logging, print};
use crate::demo::{self, MAX_EVENTS, StreamOptions};
use clap::{Subcommand, value_parser};
use std::path::PathBuf;

/// Kill the owner of a table again and again, and show that nothing is lost
///
/// Real processes in a temporary folder: a supervisor, a manager, an owner that counts a stream of sales in a table,
/// a standby, and a reader that never stops. The owner is killed at random moments; at the end, everything is counted
/// once more, independently.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    stream: StreamArgs,

    /// How often to kill the owner
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u64).range(..=100_000))]
    kills: u64,

    /// Kill the manager too, with every third owner
    #[arg(long)]
    chaos: bool,

    /// Seed of the random moments; by default a new one, which is shown
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct StreamArgs {
    /// How many sale events to stream [default: 1000000, or as many as the file has]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_EVENTS))]
    events: Option<u64>,

    /// CSV file with the events, a line for each: year,make,model,price
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,
}

impl From<StreamArgs> for StreamOptions {
    fn from(args: StreamArgs) -> Self {
        Self { events: args.events, events_file: args.events_file }
    }
}

/// One of the demonstration's own processes
#[derive(Debug, clap::Args)]
pub(super) struct RoleArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Worker {
        #[command(flatten)]
        stream: StreamArgs,
        #[arg(long)]
        notes: PathBuf,
    },
    Reader {
        #[arg(long)]
        notes: PathBuf,
    },
}

pub(super) fn run(args: Args) -> Outcome {
    let _logging = logging::start("warn");
    let options =
        demo::Options { stream: args.stream.into(), kills: args.kills, chaos: args.chaos, seed: args.seed };
    let outcome = demo::run(&options)?;
    print(if args.json { &outcome.json } else { &outcome.page })?;
    outcome.failure.map_or(Ok(()), |failure| Err(failure.into()))
}

pub(super) fn run_role(args: RoleArgs, socket: Option<PathBuf>) -> Outcome {
    let _logging = logging::start("info");
    match args.role {
        Role::Worker { stream, notes } => demo::run_worker(&stream.into(), &notes),
        Role::Reader { notes } => {
            let socket = socket.ok_or("a reader needs to be told its socket")?;
            demo::run_reader(&socket, &notes)
        }
    }
}
