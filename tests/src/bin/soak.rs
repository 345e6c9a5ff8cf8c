//! Kills workers and the manager by the thousand, and checks that no commit is lost: `soak --kills 10000 --json`.
//!
//! It needs nothing but itself: it is also the `heirloom` command that its supervisor and manager are, and the workers
//! and readers; see [`heirloom_tests::soak`].
#![forbid(unsafe_code)]

use clap::Parser;
use heirloom_tests::soak;
use std::env;
use std::process::ExitCode;

/// Kill workers and the manager at random, with readers and watches running, and check that nothing is lost
///
/// All that returned must be there, once, after each death. Ctrl-C ends it early, with what was done so far.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit status: 0 nothing was wrong, 1 something was, or it could not be carried out, 2 wrong usage."
)]
struct Args {
    /// How many kills
    #[arg(long, default_value_t = 1000)]
    kills: u64,

    /// Chooses commits, victims and moments; another one each time where it is not given
    #[arg(long)]
    seed: Option<u64>,

    /// Print what came of it as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("run" | "manager" | "exec-child") => heirloom_manager::cli::main(),
        Some("role") => ended(soak::run_role(&words[1..])),
        _ => {
            let args = Args::parse();
            let seed = args.seed.unwrap_or_else(rand::random);
            eprintln!("soak: {} kills, seed {seed}", args.kills);
            ended(soak::run(args.kills, seed).and_then(|outcome| {
                println!("{}", if args.json { outcome.json } else { outcome.page });
                outcome.failure.map_or(Ok(()), |failure| Err(failure.into()))
            }))
        }
    }
}

fn ended(outcome: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
