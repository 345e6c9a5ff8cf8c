//! Workers that die at a chosen step of the handshake, or hold on to what they should not; run as processes.

use crate::{Actor, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

/// What a candidate does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Nothing: it takes the table and commits until it is killed.
    None,
    /// It dies when it is offered the table.
    DiesAtTheOffer,
    /// It dies directly after it said that it takes the table.
    DiesAfterAccepting,
    /// It dies once the table is its own, before its first commit.
    DiesBeforeItsFirstCommit,
    /// Its child inherits the descriptor of the table, and outlives it.
    LeavesAChildWithTheDescriptor,
}

const NAMES: [(Misbehaviour, &str); 5] = [
    (Misbehaviour::None, "none"),
    (Misbehaviour::DiesAtTheOffer, "dies-at-the-offer"),
    (Misbehaviour::DiesAfterAccepting, "dies-after-accepting"),
    (Misbehaviour::DiesBeforeItsFirstCommit, "dies-before-its-first-commit"),
    (Misbehaviour::LeavesAChildWithTheDescriptor, "leaves-a-child-with-the-descriptor"),
];

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Misbehaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| format!("there is no misbehaviour {text:?}"))
    }
}

/// A process that registers as a worker. Dropping it kills it.
#[derive(Debug)]
pub struct Candidate(Actor);

impl Candidate {
    /// Starts a worker of that name, for that table, and waits until it is ready.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(
        socket: &Path,
        name: &str,
        table: &str,
        misbehaviour: Misbehaviour,
        heap_bytes: usize,
    ) -> Self {
        let mut command = Command::new(program("candidate"));
        command.args([name, table, &misbehaviour.to_string(), &heap_bytes.to_string()]);
        Self(Actor::start(command.env("HEIRLOOM_SOCKET", socket)))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.process().id()
    }

    /// Waits for the next thing that it says, word by word; none where it has ended.
    ///
    /// # Panics
    /// Where it says nothing and does not end.
    #[must_use]
    pub fn next_words(&self) -> Vec<String> {
        self.0.next_line().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) {
        eventually("a candidate to end", || self.0.ended());
    }

    /// Kills it, and does not wait until it is dead.
    pub fn kill(&self) {
        let _ = kill_process(Pid::from_child(self.0.process()), Signal::KILL);
    }
}
