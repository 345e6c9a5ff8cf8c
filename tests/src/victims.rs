//! A house with one table, and the processes of the `victim` program around it: owners, heirs and readers, each to be
//! killed whenever a test likes.

use crate::ledger::Returned;
use crate::{Actor, House, one_table, program};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ways to read, each of which checks what it finds.
pub const READERS: [&str; 4] = ["get", "scan", "snap", "watch"];

/// The house, and the record of what returned.
#[derive(Debug)]
pub struct Stage {
    /// With a table `ledger`, for workers named `victim`.
    pub house: House,
    record: PathBuf,
}

/// A process of the test. Dropped, it is killed.
#[derive(Debug)]
pub struct Victim {
    role: &'static str,
    actor: Actor,
}

impl Stage {
    /// Starts the house; there is a manager when this returns.
    #[must_use]
    pub fn open() -> Self {
        let house = House::start(|_| one_table("ledger", "victim"));
        let record = house.folder().join("returned");
        drop(house.client());
        Self { house, record }
    }

    /// The record of what returned.
    ///
    /// # Panics
    /// Where the folder cannot be written to.
    #[must_use]
    pub fn returned(&self) -> Returned {
        Returned::open(&self.record).expect("the folder can be written to")
    }

    /// Starts a process that is to own the table (`own`), or to read it: one of [`READERS`]. It is ready when this returns.
    ///
    /// # Panics
    /// Where it cannot be started, or ends.
    #[must_use]
    pub fn start(&self, role: &'static str) -> Victim {
        Victim::start(role, &self.house.socket(), &self.record)
    }
}

impl Victim {
    /// Starts a process that is to own the table `ledger`, or to read it, of whoever listens at the socket. What returned is
    /// noted in the record. It is ready when this returns.
    ///
    /// # Panics
    /// Where it cannot be started, or ends.
    #[must_use]
    pub fn start(role: &'static str, socket: &Path, record: &Path) -> Self {
        let mut command = Command::new(program("victim"));
        command.args([role, "ledger"]).arg(record).env("HEIRLOOM_SOCKET", socket);
        Self { role, actor: Actor::start(&mut command) }
    }

    /// The next thing that it says.
    ///
    /// # Panics
    /// Where it says nothing, or has ended.
    #[must_use]
    pub fn next_line(&self) -> String {
        self.actor.next_line().unwrap_or_else(|| panic!("a process that was to {} has ended", self.role))
    }

    /// What it does.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.actor.process().id()
    }

    /// Checks that it is there still: it found nothing wrong.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn is_there(&mut self) {
        assert_eq!(self.actor.ended(), None, "a process that was to {} has ended by itself", self.role);
    }

    /// Kills it; it must have been there until now.
    pub fn kill(mut self) {
        self.is_there();
    }
}
