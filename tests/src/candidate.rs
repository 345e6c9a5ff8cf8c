//! Workers that die at a chosen step of the handshake, or hold on to what they should not; run as processes.

use crate::{Actor, eventually, program, started_by};
use heirloom_worker::Client;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fmt;
use std::os::unix::process::CommandExt;
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
    /// Its child has its memory, the table included, and outlives it.
    LeavesAChildWithItsMemory,
    /// It forks once it owns the table, and its child outlives it.
    LeavesAForkedChild,
    /// It does nothing any more after its first commit; the library's thread goes on.
    Hangs,
}

const NAMES: [(Misbehaviour, &str); 8] = [
    (Misbehaviour::None, "none"),
    (Misbehaviour::DiesAtTheOffer, "dies-at-the-offer"),
    (Misbehaviour::DiesAfterAccepting, "dies-after-accepting"),
    (Misbehaviour::DiesBeforeItsFirstCommit, "dies-before-its-first-commit"),
    (Misbehaviour::LeavesAChildWithTheDescriptor, "leaves-a-child-with-the-descriptor"),
    (Misbehaviour::LeavesAChildWithItsMemory, "leaves-a-child-with-its-memory"),
    (Misbehaviour::LeavesAForkedChild, "leaves-a-forked-child"),
    (Misbehaviour::Hangs, "hangs"),
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
pub struct Candidate {
    actor: Actor,
    /// Whether it has a process group of its own: see [`Candidate::start_by`].
    leads_group: bool,
}

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
        Self::start_with(&mut command, socket, false)
    }

    /// The same started by another program, in a process group of its own: these words stand before its name.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start_by(
        before: &[&str],
        socket: &Path,
        name: &str,
        table: &str,
        misbehaviour: Misbehaviour,
    ) -> Self {
        let mut command = started_by(before, program("candidate"));
        command.args([name, table, &misbehaviour.to_string(), "0"]).process_group(0);
        Self::start_with(&mut command, socket, true)
    }

    /// As soon as there is a manager: a candidate tries once.
    fn start_with(command: &mut Command, socket: &Path, leads_group: bool) -> Self {
        eventually("the manager", || Client::connect(socket).ok());
        Self { actor: Actor::start(command.env("HEIRLOOM_SOCKET", socket)), leads_group }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.actor.process().id()
    }

    /// Waits for the next thing that it says, word by word; none where it has ended.
    ///
    /// # Panics
    /// Where it says nothing and does not end.
    #[must_use]
    pub fn next_words(&self) -> Vec<String> {
        self.actor.next_line().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) {
        eventually("a candidate to end", || self.actor.ended());
    }

    /// Sends a signal to its process group, which is its own: see [`Candidate::start_by`].
    ///
    /// # Panics
    /// Where it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(self.actor.process()), signal).expect("it is our child");
    }

    /// Kills it, and does not wait until it is dead.
    pub fn kill(&self) {
        let _ = kill_process(Pid::from_child(self.actor.process()), Signal::KILL);
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // What started it dies with the actor, and does not always take it along.
        if self.leads_group {
            let _ = kill_process_group(Pid::from_child(self.actor.process()), Signal::KILL);
        }
    }
}
