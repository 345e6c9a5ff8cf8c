//! `heirloom bench`: the arguments of the benchmark; what it does is in [`crate::bench`].

use super::output::complain;
use super::progress::Progress;
use super::{Outcome, logging, print};
use crate::bench::{self, Options};
use clap::{Subcommand, value_parser};
use std::path::PathBuf;

/// Measure on this machine what Heirloom's operations and handoffs cost
///
/// Real processes in a temporary folder, keys in random order, every figure the median of some passes. Takes a minute
/// or two, and about 5 GiB of memory with a million entries; a machine that does something else meanwhile shows it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  heirloom bench
  heirloom bench --entries 100000 --value-bytes 512
  heirloom bench --json | jq .set_get_ns")]
pub(super) struct Args {
    #[command(flatten)]
    size: Size,

    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Size {
    /// How many entries a table has
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    entries: u64,

    /// How many bytes a value has
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = value_parser!(u64).range(0..=65_536))]
    value_bytes: u64,
}

impl From<Size> for Options {
    fn from(size: Size) -> Self {
        Self { entries: size.entries as usize, value_bytes: size.value_bytes as usize }
    }
}

/// One of the benchmark's own processes
#[derive(Debug, clap::Args)]
pub(super) struct RoleArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Reader {
        #[arg(long)]
        table: String,
        #[command(flatten)]
        size: Size,
    },
    Owner {
        #[arg(long)]
        table: String,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        busy: bool,
    },
}

pub(super) fn run(args: Args) -> Outcome {
    let _logging = logging::start("warn");
    if cfg!(debug_assertions) {
        complain("heirloom: a debug build: the figures say nothing about a release build");
    }
    let progress = Progress::unknown("measuring");
    let report = bench::run(args.size.into(), &|what| progress.now(what))?;
    drop(progress);
    let text = if args.json { report.json() } else { report.to_string() };
    Ok(print(&text)?)
}

pub(super) fn run_role(args: RoleArgs, socket: Option<PathBuf>) -> Outcome {
    let _logging = logging::start("warn");
    let socket = socket.ok_or("a process of the benchmark needs to be told its socket")?;
    match args.role {
        Role::Reader { table, size } => bench::read(&socket, &table, size.into()),
        Role::Owner { table, bytes, busy } => bench::own(&socket, &table, bytes, busy),
    }
}
