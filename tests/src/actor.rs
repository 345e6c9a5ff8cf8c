//! A process of a test: it says lines, and is killed when the test is done with it.

use crate::PATIENCE;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

/// A process that a test has started. Dropping it kills it.
#[derive(Debug)]
pub struct Actor {
    process: Child,
    lines: Receiver<String>,
}

impl Actor {
    /// Starts it, and waits until it says that it is `ready`.
    ///
    /// # Panics
    /// Where it cannot be started, or says something else first.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program can be started");
        let output = BufReader::new(process.stdout.take().expect("it was asked for"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let actor = Self { process, lines };
        assert_eq!(actor.next_line().as_deref(), Some("ready"), "that is what it begins with");
        actor
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Child {
        &self.process
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    /// Never: it is our child.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("it is our child")
    }

    /// Waits for the next thing that it says; none where it has ended.
    ///
    /// # Panics
    /// Where it says nothing and does not end.
    #[must_use]
    pub fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("process {} says nothing", self.process.id()),
        }
    }

    /// Closes its standard input, which is how it hears that it is enough.
    pub fn that_is_enough(&mut self) {
        self.process.stdin.take();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
