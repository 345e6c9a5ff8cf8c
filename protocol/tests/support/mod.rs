//! Processes for tests: this test binary, executed again as something else.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heirloom_protocol::sys::{Connection, Process, Received, Signal, testing};

/// Names the role of a test binary that was executed again.
const ROLE: &str = "HEIRLOOM_TEST_ROLE";

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lets one test of this binary run at a time: a child that another test forks in the middle of this one would hold
/// this one's descriptors.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process in a role, with a connection to it on its standard input. Killed and reaped when dropped.
pub(crate) struct Actor {
    pub(crate) child: Child,
    pub(crate) process: Process,
    pub(crate) connection: Connection,
}

/// A process that does not outlive the test, whatever becomes of that.
pub(crate) struct Mortal(pub(crate) Process);

/// Forks, as [`testing::fork`] says.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> Mortal {
    Mortal(testing::fork(child).expect("forked"))
}

impl Mortal {
    /// Waits for its end: its exit code, or minus the signal.
    pub(crate) fn end(&self) -> i32 {
        testing::reap(&self.0).expect("a child of ours, not reaped before")
    }
}

impl std::ops::Deref for Mortal {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        // Where it has ended already, or is not our child, there is nothing to do.
        if self.0.kill(Signal::KILL).is_ok() {
            let _ = testing::reap(&self.0);
        }
    }
}

/// Starts this test binary again, to run `test` (which calls [`role`] first) in a role.
pub(crate) fn start(test: &str, role: &str) -> Actor {
    let (ours, theirs) = Connection::pair().expect("a pair");
    let child = Command::new(std::env::current_exe().expect("our own path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdin(OwnedFd::from(theirs))
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let process = Process::open(child.id()).expect("a child is there until it is reaped");
    Actor { child, process, connection: ours }
}

/// The role of this process and its connection to the test, where it is an actor.
pub(crate) fn role() -> Option<(String, Connection)> {
    use std::os::fd::AsFd;
    let role = std::env::var(ROLE).ok()?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input");
    Some((role, Connection::from_fd(socket).expect("a socket")))
}

/// Sends text.
pub(crate) fn say(connection: &Connection, text: &str) {
    connection.send(text.as_bytes(), None).expect("sent");
}

/// Waits for text, and what came with it.
pub(crate) fn hear(connection: &Connection) -> (String, Received) {
    let mut bytes = Vec::new();
    assert!(connection.wait_readable(Some(PATIENCE)).expect("waited"), "the other side is silent");
    let received = connection.recv(&mut bytes).expect("received").expect("the other side is gone");
    (String::from_utf8(bytes).expect("text"), received)
}

/// Waits for exactly this text.
pub(crate) fn expect(connection: &Connection, text: &str) -> Received {
    let (heard, received) = hear(connection);
    assert_eq!(heard, text);
    received
}

/// Asks again and again, until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Bytes of segments that this process has mapped as huge pages.
pub(crate) fn huge_bytes() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("our own mappings");
    let mut inside = false;
    let mut kib = 0;
    for line in maps.lines() {
        if line.contains('/') {
            inside = line.contains("memfd:heirloom:");
        } else if let Some(number) = line.strip_prefix("ShmemPmdMapped:").filter(|_| inside) {
            kib += number.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        }
    }
    kib * 1024
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Where it has ended already, both have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
