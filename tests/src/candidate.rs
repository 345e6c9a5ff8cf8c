//! Workers that die at a chosen step of the handshake, or hold on to what they should not; run as processes.

use crate::{PATIENCE, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver};
use std::{fmt, thread};

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
pub struct Candidate {
    process: Child,
    lines: Receiver<String>,
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
        let mut process = Command::new(program("candidate"))
            .args([name, table, &misbehaviour.to_string(), &heap_bytes.to_string()])
            .env("HEIRLOOM_SOCKET", socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let output = BufReader::new(process.stdout.take().expect("it was asked for"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let candidate = Self { process, lines };
        assert_eq!(candidate.next_words(), ["ready"], "a candidate begins with that");
        candidate
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the next thing that it says, word by word; none where it has ended.
    ///
    /// # Panics
    /// Where it says nothing and does not end.
    #[must_use]
    pub fn next_words(&self) -> Vec<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line.split_whitespace().map(str::to_owned).collect(),
            Err(mpsc::RecvTimeoutError::Disconnected) => Vec::new(),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("candidate {} says nothing", self.pid()),
        }
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) {
        eventually("a candidate to end", || self.process.try_wait().expect("it is our child"));
    }

    /// Kills it, and does not wait until it is dead.
    pub fn kill(&self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::KILL);
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
