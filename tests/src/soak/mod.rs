//! The soak: the program `soak` kills workers and the manager, by the thousand, and checks that nothing was lost.
//!
//! ```text
//!  soak                               director: kills, waits, kills
//!    ├─ soak run heirloom.toml        supervisor
//!    │    ├─ soak manager             tables `set`, `ordered_set`, `bag`, `duplicate_bag`
//!    │    ├─ soak role own left  × 2  owner of two of them, and a standby
//!    │    └─ soak role own right × 2  the same for the other two
//!    └─ soak role read × 2            each table is read in every way, and watched; one of the two is killed now and then
//! ```
//!
//! Owners do everything that a table can do, and note each commit before they make it and when it has returned. An heir
//! compares the whole table with that, and so do readers and watches, wherever the notes stood still meanwhile. Two of the
//! tables are on disk too: in the end everything is killed at once, and what is read from there is compared as well.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `tables` | the tables, their keys, and the configuration |
//! | `value` | bytes that say which write they are of |
//! | `model`, `content` | what must be in a table, what is, and how they differ |
//! | `plan`, `perform`, `dice` | which commit comes next, and by which operation |
//! | `notes` | the ledger, in shared memory of the soak's own |
//! | `owner`, `reader`, `watcher` | what the processes do |
//! | `kills`, `director`, `stage`, `progress` | who is killed, when, and what must be so before the next |
//! | `inspection`, `disk`, `verdict` | the last look, also at what is on disk, and what came of it all |

mod content;
mod dice;
mod director;
mod disk;
mod inspection;
mod kills;
mod model;
mod notes;
mod owner;
mod perform;
mod plan;
mod progress;
mod reader;
mod stage;
mod tables;
#[cfg(test)]
mod tests;
mod value;
mod verdict;
mod watcher;

use heirloom_manager::chaos::Interrupt;
use std::error::Error;
use std::path::Path;

/// What came of a soak.
#[derive(Debug)]
pub struct Outcome {
    /// As one line of JSON.
    pub json: String,
    /// As a page for people.
    pub page: String,
    /// What must not be, if anything.
    pub failure: Option<String>,
}

/// Kills so often, as the seed chooses. Ctrl-C ends it early, with what was done so far.
///
/// # Errors
/// Where it could not be carried out. What it found wrong is in the [`Outcome`].
pub fn run(kills: u64, seed: u64) -> Result<Outcome, Box<dyn Error>> {
    let interrupt = Interrupt::watch()?;
    let mut stage = stage::Stage::open(seed)?;
    let verdict = director::Director::new(&mut stage, &interrupt, seed, kills)?.play(kills)?;
    Ok(Outcome { json: verdict.json(), page: verdict.page(), failure: verdict.failure() })
}

/// Runs as one of the soak's processes: `own SEED WORKER NOTES`, or `read NUMBER SOCKET NOTES`.
///
/// # Errors
/// What ended it.
pub fn run_role(words: &[String]) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["own", seed, worker, notes] => owner::run(worker, Path::new(notes), seed.parse()?),
        ["read", number, socket, notes] => reader::run(Path::new(socket), number.parse()?, Path::new(notes)),
        _ => Err(format!("there is no role {words:?}").into()),
    }
}
