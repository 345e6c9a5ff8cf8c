//! Tests and comparisons that need several processes.
//!
//! - [`House`]: a supervisor with its manager and workers, in a temporary folder, as a user would run it.
//! - [`Actor`]: a process of the test, which says lines.
//! - [`Candidate`]: a worker of one's own choice of misbehaviour, started by the test.
//! - [`Relay`]: a table that two workers of the test pass on to each other.
//! - [`builds`]: a program in two builds whose value types differ, as owner and as reader.
//! - [`victims`]: owners and readers of such a house, to be killed whenever a test likes.
//! - [`role`]: what the programs that tests start have in common.
//! - [`ledger`]: a table whose whole content one number tells.
//! - [`soak`]: kills by the thousand, with everything that a table can do.
//! - [`garbage`]: bytes that nobody wrote, for everything that reads.
//! - [`needs`]: what a test needs that not every machine has: root, namespaces, cgroups.
//! - [`eventually`]: waiting for something to happen, instead of sleeping for some time.
//!
//! How the claims are proved, beside the tests that stand in each crate; `.ci/run` runs the short forms:
//!
//! | command | what it shows | the long form |
//! | --- | --- | --- |
//! | `cargo test -p heirloom-protocol --lib table::` | every store is a place to die at, every load one to stand still at | `HEIRLOOM_EFFORT=50` |
//! | `.ci/loom` | every order of loads and stores of some threads, for any processor | `HEIRLOOM_PREEMPTIONS=4` |
//! | `cargo test -p heirloom-tests --test kills` | real processes, really killed, lose nothing that returned | `HEIRLOOM_KILL_ROUNDS=5000` |
//! | `cargo test -p heirloom-tests --test manager_death` | the manager is killed as well, alone and with the owner | `HEIRLOOM_KILL_ROUNDS=1000` |
//! | `cargo test -p heirloom-tests --test crash_loops --test supervisor_death` | a broken configuration, a manager that hangs, a worker in a crash loop, the supervisor's own death | |
//! | `cargo test -p heirloom-tests --test under_systemd` | the units of `manager/systemd` under systemd itself | |
//! | `cargo test --release -p heirloom-tests --test manager_restart -- --nocapture` | how long a killed manager is away | `HEIRLOOM_TABLE_MIB=1024` |
//! | `cargo run --release -p heirloom-tests --bin soak -- --kills 800` | both of these at once, with every kind of table, everything that a table can do, and readers that compare all of it | `--kills 10000` |
//! | `cargo test -p heirloom-tests --test fencing --test left_child -- --nocapture` | who hangs, cannot be killed, or leaves a child that could write, never shares a table with its heir | |
//! | `cargo test --release -p heirloom-tests --test live_handoff -- --nocapture` | a handoff under full load fails no read and loses no commit; how long writes pause, stage by stage | `HEIRLOOM_HANDOFFS=1000` |
//! | `.ci/fuzz` | garbage of any kind ends in an answer or an error | `.ci/fuzz 3600` |
//! | `.ci/asan`, `.ci/valgrind` | no byte outside is touched | `.ci/asan --everything` |
//! | `.ci/faults` | each of these fails where it must: faults are planted, one at a time | `.ci/faults --all` |
//!
//! Under `tests/` there is one file for each concern; each is a program of its own, so that the ones about time do not
//! run beside the ones about load.
#![forbid(unsafe_code)]

mod actor;
pub mod builds;
mod candidate;
pub mod garbage;
mod house;
pub mod ledger;
mod patience;
mod relay;
pub mod role;
pub mod soak;
pub mod victims;

pub use actor::Actor;
pub use candidate::{Candidate, Misbehaviour};
pub use heirloom_protocol::sys::needs;
pub use house::{House, one_table};
pub use patience::{PATIENCE, eventually};
pub use relay::{Relay, Times};

use std::path::PathBuf;
use std::process::Command;

/// That program, with these words before its name: a program that starts others, and its arguments.
#[must_use]
pub fn started_by(before: &[&str], program: PathBuf) -> Command {
    match before {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// One of the programs that belong to these tests. Cargo puts them beside the folder of the test that is running.
///
/// # Panics
/// Where the test is not run by Cargo.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(std::path::Path::parent).expect("tests lie in target/.../deps");
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: `cargo test` builds it", program.display());
    program
}
