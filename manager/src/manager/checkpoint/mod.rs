//! Checkpoints: what keeps the file of a durable table at one exact version.
//!
//! ```text
//!  control task                            storage thread, one for each durable table
//!    Flush, a tick of its own ──asked──►     copy: pin, ring, values, unpin; then the store's transaction
//!                (a channel of one place)    │
//!    answers those who wait  ◄──notify──     progress: the durable version, or why there is none
//! ```
//!
//! Everything that waits for a disk is on the storage thread; the store lives nowhere else. One place is enough for what is
//! asked: a checkpoint that has not begun is for all who have asked before it does, so those who flush at the same time
//! share one transaction and one fsync. Nothing else waits for the thread: a table is offered, granted and taken back
//! whatever the disk does, and what its owner committed before it died is written all the same.
//!
//! | mode | a checkpoint is made |
//! | --- | --- |
//! | `interval` | `every` so often, where something has changed; and when somebody flushes |
//! | `commit` | when a commit or somebody else asks for it; and by itself, once a second, for what nobody waits for any more |
//!
//! Where it cannot be made (the disk is full), the table goes on in memory. The log says so, once and then every minute;
//! `status` says so; those who wait hear why; and it is tried again after 0.1 s, 0.2 s, up to 5 s, and whenever somebody asks.

mod copy;
mod progress;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use copy::Copier;
use progress::Progress;

use super::client::ClientId;
use super::filling::OnDisk;
use super::pinning::Pinning;
use crate::config::Durability;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use heirloom_protocol::message::TableStatus;
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::table::{self, OpenError};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a table whose commits wait is looked at by itself: for commits whose owner died before it could ask.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the control task that there is news.
pub(super) type Notify = Arc<dyn Fn() + Send + Sync>;

/// The control task's side of a durable table.
pub(super) struct Checkpoints {
    every: Duration,
    pinning: Pinning,
    /// Gone when the thread is to end.
    asked: Option<Sender<()>>,
    /// What the thread hears, until it is started.
    to_hear: Option<Receiver<()>>,
    progress: Progress,
    waiting: Vec<Waiting>,
}

/// Somebody who waits for a version to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) client: ClientId,
    pub(super) request: u32,
    pub(super) version: u64,
}

/// What has become of those who waited.
#[derive(Debug)]
pub(super) struct Settled {
    /// With the version that is on disk.
    pub(super) durable: Vec<(Waiting, u64)>,
    pub(super) failed: Vec<Waiting>,
    /// Why these have.
    pub(super) why: String,
}

impl Checkpoints {
    /// For a table of that durability; none where it lives in memory only.
    pub(super) fn new(durability: Durability, pinning: Pinning) -> Option<Self> {
        let every = match durability {
            Durability::Memory => return None,
            Durability::Interval { every } => every,
            Durability::Commit => LOOK_EVERY,
        };
        let (asked, to_hear) = bounded(1);
        let (progress, waiting) = (Progress::default(), Vec::new());
        let (asked, to_hear) = (Some(asked), Some(to_hear));
        Some(Self { every, pinning, asked, to_hear, progress, waiting })
    }

    /// Starts the thread, once the table is filled. What is asked before waits for that.
    pub(super) fn start(
        &mut self,
        table: &str,
        on_disk: OnDisk,
        region: Arc<MappedRegion>,
        notify: Notify,
    ) -> io::Result<()> {
        let copier = Copier::new(region, self.pinning.clone()).map_err(not_a_table)?;
        let Some(to_hear) = self.to_hear.take() else { return Ok(()) };
        let thread = thread::Thread {
            table: table.to_owned(),
            on_disk,
            copier,
            every: self.every,
            progress: self.progress.clone(),
            notify,
            store: None,
            is_version: None,
            trouble: None,
        };
        std::thread::Builder::new().name("heirloom-store".to_owned()).spawn(move || thread.run(&to_hear))?;
        Ok(())
    }

    /// Has a checkpoint made that begins from now on.
    pub(super) fn ask(&self) {
        if let Some(asked) = &self.asked {
            // Where one is asked for already, that one has not begun.
            let (Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) = asked.try_send(());
        }
    }

    /// The last version on disk.
    pub(super) fn durable(&self) -> Option<u64> {
        self.progress.state().durable
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody waits for a version, and a checkpoint is asked for.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
        self.ask();
    }

    /// A client waits for nothing any more.
    pub(super) fn gone(&mut self, client: ClientId) {
        self.waiting.retain(|waiting| waiting.client != client);
    }

    /// Who needs not wait any more.
    pub(super) fn settle(&mut self) -> Settled {
        // Taken first: a failure before the durable version was stored is nobody's who that version is enough for.
        let failure = self.progress.take_failure();
        let durable = self.durable();
        let (done, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| durable.is_some_and(|durable| durable >= waiting.version));
        let version = durable.unwrap_or_default();
        let durable = done.into_iter().map(|waiting| (waiting, version)).collect();
        match failure {
            Some(why) => Settled { durable, failed: still, why },
            None => {
                self.waiting = still;
                Settled { durable, failed: Vec::new(), why: String::new() }
            }
        }
    }

    /// The thread is to make a last checkpoint and to end.
    pub(super) fn stop(&mut self) {
        self.asked = None;
    }

    /// Whether it has ended by then; a thread that was never started has.
    pub(super) fn has_stopped_by(&self, until: Instant) -> bool {
        self.to_hear.is_some() || self.progress.has_ended_by(until)
    }

    /// What `status` says of it.
    pub(super) fn describe(&self, status: &mut TableStatus) {
        let state = self.progress.state();
        status.durable_version = state.durable;
        let is_all = state.durable == Some(status.version);
        let age = state.as_of.map(|as_of| if is_all { Duration::ZERO } else { as_of.elapsed() });
        status.durable_age_ms = age.map(|age| age.as_millis() as u64);
        status.checkpoints = state.checkpoints;
        status.last_checkpoint_ms = state.took.map(|took| took.as_millis() as u64);
        status.disk_error = state.error;
    }
}

/// How the header names what the configuration says.
pub(super) fn in_header(durability: Durability) -> table::Durability {
    match durability {
        Durability::Memory => table::Durability::Memory,
        Durability::Interval { .. } => table::Durability::Interval,
        Durability::Commit => table::Durability::Commit,
    }
}

fn not_a_table(error: OpenError) -> io::Error {
    io::Error::other(error.to_string())
}
