//! Kills in the middle of a commit, on purpose: a commit is so short that chance alone hits one in a hundred.
//!
//! The owner is stopped (SIGSTOP) wherever it happens to be, and looked at from outside, through a read-only mapping of
//! its table like any reader's. Where no commit is in flight it runs on, to be stopped again; where one is, it never
//! runs again. The owner takes no part in this and knows nothing of it.

use super::Failure;
use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::{Connection, Process};
use heirloom_protocol::table::is_mid_commit;
use rand::{Rng, RngExt};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};
use tracing::debug;

/// How often an owner is stopped, at most.
const TRIES: usize = 1_000;

/// How long it may take to commit once between two stops; one that waits for events never does.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long this process sleeps while the owner runs. It sleeps, instead of watching all the time, because the kernel
/// wakes a sleeper at once, and takes the processor from one that is always busy.
const NAP: Duration = Duration::from_micros(1);

/// How long the owner runs on after that, at most, in nanoseconds: a few commits.
const RUN_NS: u64 = 2_000;

/// The table that is looked at.
#[derive(Debug)]
pub struct Aim {
    table: MappedRegion,
}

impl Aim {
    /// Opens a table as a reader does, without the library's handles: they show entries, and not the log.
    ///
    /// # Errors
    /// What the manager answers instead, or why the table cannot be mapped.
    pub fn at(socket: &Path, table: &str) -> Result<Self, Failure> {
        let connection = Connection::connect(socket)?;
        connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None)?;
        connection.send_message(&Request::Open { request: 1, table: table.into() }, None)?;
        loop {
            let (event, mut received) =
                connection.recv_message::<Event>()?.ok_or("the manager has closed the connection")?;
            match (event, received.descriptors.pop()) {
                (Event::Opened { .. }, Some(segment)) => {
                    return Ok(Self { table: MappedRegion::read_only(segment)? });
                }
                (Event::Refused { message, .. }, _) => return Err(message.into()),
                _ => {}
            }
        }
    }

    /// Tries to stop the owner in the middle of a commit; `noted` is the last position that it noted. Where this fails,
    /// it runs on, and can be killed anyway.
    ///
    /// # Errors
    /// The owner cannot be stopped, or has died by itself.
    pub fn stop_mid_commit(
        &self,
        owner: &Process,
        noted: impl Fn() -> u64,
        rng: &mut impl Rng,
    ) -> Result<(), Failure> {
        for tries in 1..=TRIES {
            owner.kill(Signal::STOP)?;
            while !is_stopped(owner.pid())? {
                thread::sleep(NAP);
            }
            if is_mid_commit(&self.table)? {
                debug!(tries, "stopped in the middle of a commit");
                return Ok(());
            }
            let before = noted();
            owner.kill(Signal::CONT)?;
            let deadline = Instant::now() + PATIENCE;
            while noted() == before {
                if Instant::now() > deadline {
                    debug!(tries, "the owner waits for events; it is killed as it is");
                    return Ok(());
                }
                thread::sleep(NAP);
            }
            spin(Duration::from_nanos(rng.random_range(0..RUN_NS)));
        }
        Ok(())
    }
}

/// Whether every thread of the process has stopped, so the one that commits has too.
fn is_stopped(pid: u32) -> Result<bool, Failure> {
    let died = || format!("owner {pid} has died by itself");
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| died())? {
        // One that ended meanwhile commits nothing.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        match state {
            Some("T") => {}
            Some("Z" | "X") | None => return Err(died().into()),
            Some(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Waits without giving up the processor: a sleep is far longer than a commit.
pub fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
