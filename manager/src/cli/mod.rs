//! The `heirloom` command line: what can be typed, and which file does it.
//!
//! | command | file | what it is |
//! | --- | --- | --- |
//! | `heirloom run FILE` | `run` | the supervisor, until it is told to stop |
//! | `heirloom check FILE` | `check` | every mistake of a configuration |
//! | `heirloom status [--json]` | `status` | tables, workers and children, asked of the manager |
//! | `heirloom get`, `scan`, `len` | `get`, `scan`, `len` | what is in a table |
//! | `heirloom watch TABLE` | `watch` | changes as they commit |
//! | `heirloom dump`, `load` | `dump`, `load` | a whole table into a file, and back |
//! | `heirloom verify TABLE` | `verify` | every byte of a table |
//! | `heirloom flush TABLE` | `flush` | what is committed, on disk |
//! | `heirloom handoff TABLE` | `handoff` | another worker takes over: the way to deploy |
//! | `heirloom store ...` | `store` | what durable tables have on disk, while no manager has them |
//! | `heirloom limit TABLE BYTES` | `limit` | a table's limit, while it is in use |
//! | `heirloom bench` | `bench` | what all of it costs on this machine |
//! | `heirloom demo ...` | `demo` | the demonstration, which also stands for a first test of a machine |
//!
//! Further commands are hidden from `--help`: they are what Heirloom's own processes are started as, since each of
//! them is this same program.
//!
//! Standard output holds results only, with `--json` exactly one JSON value a line; progress and logs go to standard
//! error (`HEIRLOOM_LOG` or `RUST_LOG` choose how much). The exit status is 0 for success, 1 for failure, 2 for a
//! command line that is wrong. A reader of the output that goes away (`heirloom status | head`) is no failure.

mod bench;
mod check;
mod connect;
mod demo;
mod dump;
mod exec_child;
mod flush;
mod get;
mod handoff;
mod keys;
mod len;
mod limit;
mod load;
mod loader;
mod logging;
mod manager;
mod output;
mod progress;
mod run;
mod scan;
mod status;
mod store;
mod values;
mod verify;
mod watch;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use output::print;

/// What every command gives: nothing, or an error that is a whole sentence for a person.
type Outcome = Result<(), Box<dyn Error>>;

/// In-memory tables that outlive the process that owns them.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, about, after_help = AFTER_HELP, subcommand_required = true)]
struct Cli {
    /// The control socket of the manager
    #[arg(long, global = true, value_name = "PATH", env = "HEIRLOOM_SOCKET")]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong usage.
Logs go to standard error; HEIRLOOM_LOG (or RUST_LOG) chooses how much, as in HEIRLOOM_LOG=debug.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Status(status::Args),
    Get(get::Args),
    Scan(scan::Args),
    Len(len::Args),
    Watch(watch::Args),
    Dump(dump::Args),
    Load(load::Args),
    Verify(verify::Args),
    Flush(flush::Args),
    Handoff(handoff::Args),
    Limit(limit::Args),
    Store(store::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    Manager(manager::Args),
    #[command(hide = true)]
    ExecChild(exec_child::Args),
    #[command(hide = true)]
    DemoRole(demo::RoleArgs),
    #[command(hide = true)]
    BenchRole(bench::RoleArgs),
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { socket, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match command {
        Command::Run(args) => run::run(args, socket),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args, socket),
        Command::Get(args) => get::run(&args, socket),
        Command::Scan(args) => scan::run(&args, socket),
        Command::Len(args) => len::run(&args, socket),
        Command::Watch(args) => watch::run(&args, socket),
        Command::Dump(args) => dump::run(&args, socket),
        Command::Load(args) => load::run(&args, socket),
        Command::Verify(args) => verify::run(&args, socket),
        Command::Flush(args) => flush::run(&args, socket),
        Command::Handoff(args) => handoff::run(&args, socket),
        Command::Limit(args) => limit::run(&args, socket),
        Command::Store(args) => store::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Manager(args) => manager::run(&args, socket),
        Command::ExecChild(args) => exec_child::run(&args),
        Command::DemoRole(args) => demo::run_role(args, socket),
        Command::Bench(args) => bench::run(args),
        Command::BenchRole(args) => bench::run_role(args, socket),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("heirloom: {error}"));
            if error.is::<output::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// `--help` and `--version` are answers, everything else that clap reports is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    match (error.use_stderr(), shown) {
        (true, _) => ExitCode::from(2),
        (false, Err(failure)) if failure.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        (false, _) => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_socket_may_stand_before_and_after_the_command() {
        for words in [["heirloom", "--socket", "/s", "status"], ["heirloom", "status", "--socket", "/s"]] {
            let cli = Cli::try_parse_from(words).expect("both orders are right");
            assert_eq!(cli.socket.as_deref(), Some(std::path::Path::new("/s")));
        }
    }

    #[test]
    fn commands_of_our_own_processes_are_hidden() {
        let help = Cli::command().render_help().to_string();
        for hidden in ["exec-child", "demo-role", "bench-role", "  manager "] {
            assert!(!help.contains(hidden), "{hidden} shows in:\n{help}");
        }
        assert!(help.contains("Exit status"));
    }
}
