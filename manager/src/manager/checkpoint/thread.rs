//! The storage thread of one table: when a checkpoint is made, and what is done where it cannot be.

use super::super::filling::{OnDisk, Opened};
use super::Notify;
use super::copy::{Copied, Copier};
use super::progress::Progress;
use crate::store::Store;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use heirloom_protocol::region::Region;
use heirloom_protocol::table;
use std::time::{Duration, Instant};

/// How long after a failed attempt the next one is made, at first and at most; and how soon somebody who waits is
/// answered with the last failure instead of a new attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const FRESH_FAILURE: Duration = Duration::from_millis(20);

/// How often the log says that nothing can be written, as long as that is so.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The thread's own state.
pub(super) struct Thread<R: Region> {
    pub(super) table: String,
    pub(super) on_disk: OnDisk,
    pub(super) copier: Copier<R>,
    /// How often it looks by itself whether something has changed.
    pub(super) every: Duration,
    pub(super) progress: Progress,
    pub(super) notify: Notify,
    /// None until it is opened.
    pub(super) store: Option<Store>,
    /// The version of the table that the store was found to be, until the store says so itself.
    pub(super) is_version: Option<u64>,
    pub(super) trouble: Option<Trouble>,
}

/// Nothing could be written, once or several times in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    since: Instant,
    last: Instant,
    pause: Duration,
    complained: Instant,
}

impl<R: Region + Clone> Thread<R> {
    /// Works until nobody can ask for anything any more, and then makes a last checkpoint.
    pub(super) fn run(mut self, asked: &Receiver<()>) {
        let mut next = Instant::now();
        loop {
            match asked.recv_deadline(next) {
                Ok(()) if self.trouble.is_some_and(|trouble| trouble.last.elapsed() < FRESH_FAILURE) => {
                    let error = self.progress.state().error.unwrap_or_default();
                    self.progress.failed(error);
                    (self.notify)();
                    continue;
                }
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let began = Instant::now();
            if self.attempt() {
                (self.notify)();
            }
            next = match self.trouble {
                Some(trouble) => trouble.last + trouble.pause,
                None => began + self.every,
            };
        }
        tracing::debug!(table = self.table, "the last checkpoint");
        self.attempt();
        // Closed first: whoever waits for the end may open it again.
        self.store = None;
        self.progress.end();
    }

    /// Brings the store to the table's version, or says why that cannot be; whether that is news.
    fn attempt(&mut self) -> bool {
        let (began, before) = (Instant::now(), self.progress.state().durable);
        match self.checkpoint() {
            Ok(Some(copied)) => {
                let took = began.elapsed();
                table::set_durable_version(self.copier.reader().region(), Some(copied.version));
                self.progress.wrote(&copied, took);
                self.say(&copied, took);
                self.is_well();
            }
            Ok(None) => self.is_well(),
            Err(error) => {
                self.failed(error);
                return true;
            }
        }
        self.progress.state().durable != before
    }

    fn checkpoint(&mut self) -> Result<Option<Copied>, String> {
        let store = match &mut self.store {
            Some(store) => store,
            None => {
                let opened = self.on_disk.open(self.copier.reader());
                let Opened { store, is_version } = opened.map_err(|error| error.to_string())?;
                self.is_version = is_version;
                self.store.insert(store)
            }
        };
        if let Some(version) = self.is_version {
            self.copier.is_as_of(store, version).map_err(|error| error.to_string())?;
            self.is_version = None;
        }
        let durable = self.copier.durable(store);
        if self.progress.state().durable != durable {
            table::set_durable_version(self.copier.reader().region(), durable);
            self.progress.found(durable);
        }
        self.copier.checkpoint(store).map_err(|error| error.to_string())
    }

    fn say(&self, copied: &Copied, took: Duration) {
        let Copied { version, whole, copied, pinned, .. } = *copied;
        let (table, took_ms, pinned_us) = (&*self.table, took.as_millis() as u64, pinned.as_micros() as u64);
        match whole {
            true => tracing::info!(
                table,
                version,
                entries = copied,
                took_ms,
                pinned_us,
                "checkpoint of the whole table"
            ),
            false => tracing::debug!(table, version, keys = copied, took_ms, pinned_us, "checkpoint"),
        }
    }

    fn is_well(&mut self) {
        self.progress.is_well();
        if let Some(trouble) = self.trouble.take() {
            let for_ms = trouble.since.elapsed().as_millis() as u64;
            let version = self.progress.state().durable;
            tracing::info!(table = self.table, version, for_ms, "checkpoints go on: it is on disk again");
        }
    }

    /// The table goes on in memory, and that is said loudly.
    fn failed(&mut self, error: String) {
        let now = Instant::now();
        let before = self.trouble;
        let pause = before.map_or(FIRST_PAUSE, |trouble| (2 * trouble.pause).min(LONGEST_PAUSE));
        let complains = before.is_none_or(|trouble| trouble.complained.elapsed() >= COMPLAIN_EVERY);
        if complains {
            let durable_version = self.progress.state().durable;
            tracing::error!(
                table = self.table,
                durable_version,
                error,
                "it cannot be written to disk, and goes on in memory: what was committed since that version is lost if the \
                 host fails now; it is tried again and again"
            );
        }
        let complained = before.filter(|_| !complains).map_or(now, |trouble| trouble.complained);
        let since = before.map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { since, last: now, pause, complained });
        self.progress.failed(error);
    }
}
