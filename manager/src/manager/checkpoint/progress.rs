//! What the storage thread of a table says of itself: it writes, the control task reads.

use super::copy::Copied;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared between a storage thread and the control task.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    ended: Condvar,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The last version on disk.
    pub(super) durable: Option<u64>,
    /// When the table was that version.
    pub(super) as_of: Option<Instant>,
    /// Number of checkpoints.
    pub(super) checkpoints: u64,
    /// How long the last one took.
    pub(super) took: Option<Duration>,
    /// Why nothing can be written now.
    pub(super) error: Option<String>,
    /// That an attempt has failed since this was last asked for: whoever waits is to be told.
    failed: bool,
    ended: bool,
}

impl Progress {
    pub(super) fn state(&self) -> State {
        self.lock().clone()
    }

    /// What is on disk before the first checkpoint.
    pub(super) fn found(&self, durable: Option<u64>) {
        let mut state = self.lock();
        state.durable = durable;
        state.as_of = durable.map(|_| Instant::now());
    }

    pub(super) fn wrote(&self, copied: &Copied, took: Duration) {
        let mut state = self.lock();
        (state.durable, state.as_of) = (Some(copied.version), Some(copied.as_of));
        state.checkpoints += 1;
        state.took = Some(took);
        state.error = None;
    }

    /// Everything is on disk already.
    pub(super) fn is_well(&self) {
        self.lock().error = None;
    }

    pub(super) fn failed(&self, error: String) {
        let mut state = self.lock();
        state.error = Some(error);
        state.failed = true;
    }

    /// What those are to be told who wait still: nothing, where nothing has failed since this was last asked.
    pub(super) fn take_failure(&self) -> Option<String> {
        let mut state = self.lock();
        std::mem::take(&mut state.failed).then(|| state.error.clone()).flatten()
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.0.ended.notify_all();
    }

    /// Whether the thread has ended by then.
    pub(super) fn has_ended_by(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
