//! What the supervisor is told, by `sd_notify`, and what it is given to keep ([`super::kept`]).
//!
//! The order is part of the contract (rules H13, H21): a table's memory is stored and the store confirmed before the table
//! is offered to anybody, an owner's pidfd is stored before it owns anything, and READY is said when every table is
//! hydrated.

use super::kept::{self, OwnerName};
use heirloom_protocol::sys::Process;
use heirloom_protocol::sys::notify::{Notifier, NotifyError};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a supervisor may take to read what it is told, where somebody can wait for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same where a handoff waits.
const PATIENCE_IN_A_HANDOFF: Duration = Duration::from_millis(20);

/// The supervisor, where there is one that listens.
#[derive(Debug, Clone)]
pub(super) struct Supervision(Option<Arc<Notifier>>);

impl Supervision {
    pub(super) fn from_env() -> Self {
        let notifier = Notifier::from_env().unwrap_or_else(|error| {
            tracing::warn!(%error, "$NOTIFY_SOCKET is set, and cannot be used");
            None
        });
        Self(notifier.map(Arc::new))
    }

    /// For a manager that is a part of somebody else's program.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// What a person should know about whether the tables outlive this manager: so many descriptors are to be kept
    /// (rule H21).
    pub(super) fn warning(&self, descriptors: usize) -> Option<String> {
        if self.0.is_none() {
            return Some("no supervisor keeps the tables' memory: they end with this manager".to_owned());
        }
        let most = std::env::var("FDSTORE").ok().and_then(|most| most.parse::<usize>().ok());
        match most {
            Some(most) if most >= descriptors => None,
            Some(most) => Some(format!(
                "the supervisor keeps {most} descriptors, and the tables need {descriptors}: some end with this manager \
                 (FileDescriptorStoreMax)"
            )),
            None => Some(format!(
                "the supervisor does not say whether it keeps descriptors: the tables need \
                 FileDescriptorStoreMax={descriptors}"
            )),
        }
    }

    /// Has the memory of tables kept, and waits until the supervisor has read that; for a thread that may wait.
    pub(super) fn keep_tables<'t>(
        &self,
        mut tables: impl Iterator<Item = (&'t str, &'t (dyn AsFd + 't))>,
    ) -> Result<(), NotifyError> {
        let Some(notifier) = &self.0 else { return Ok(()) };
        tables.try_for_each(|(table, memory)| {
            patiently(notifier, PATIENCE, || notifier.store(&kept::table_name(table), memory.as_fd(), false))
        })?;
        patiently(notifier, PATIENCE, || notifier.barrier(PATIENCE))
    }

    /// Has the pidfd of this program kept, whose threads own the tables.
    pub(super) fn keep_house(&self, process: &Process) -> Result<(), NotifyError> {
        let Some(notifier) = &self.0 else { return Ok(()) };
        let name = kept::house_name(process.pid());
        patiently(notifier, PATIENCE, || notifier.store(&name, process.as_fd(), false))
    }

    /// A program of that process id is known to be dead.
    pub(super) fn forget_house(&self, pid: u32) {
        self.tell(|notifier| patiently(notifier, PATIENCE, || notifier.forget(&kept::house_name(pid))));
    }

    /// Has the pidfd of an owner to be kept. It is not lost where that fails, nor is its table: see [`super::kept`].
    pub(super) fn keep_owner(&self, name: &OwnerName, process: &dyn AsFd) {
        self.tell(|notifier| {
            let store = || notifier.store(&name.to_string(), process.as_fd(), false);
            patiently(notifier, PATIENCE_IN_A_HANDOFF, store)
        });
    }

    /// That ownership is over, and all that came of it.
    pub(super) fn forget_owner(&self, name: &OwnerName) {
        self.tell(|notifier| {
            patiently(notifier, PATIENCE_IN_A_HANDOFF, || notifier.forget(&name.to_string()))
        });
    }

    /// This manager's loop goes on. Where the supervisor does not read, the next one tells as much.
    pub(super) fn alive(&self) {
        if let Some(Err(error)) = self.0.as_deref().map(Notifier::alive) {
            tracing::debug!(%error, "the supervisor was not told that the manager is alive");
        }
    }

    pub(super) fn ready(&self) {
        // Lost, it would be waited for in vain.
        self.tell(|notifier| patiently(notifier, PATIENCE, || notifier.ready()));
    }

    pub(super) fn status(&self, text: &str) {
        self.tell(|notifier| notifier.status(text));
    }

    fn tell(&self, tell: impl FnOnce(&Notifier) -> Result<(), NotifyError>) {
        if let Some(Err(error)) = self.0.as_deref().map(tell) {
            tracing::warn!(%error, "the supervisor was not told");
        }
    }
}

/// Says something again while the supervisor's queue is full.
fn patiently(
    notifier: &Notifier,
    patience: Duration,
    mut say: impl FnMut() -> Result<(), NotifyError>,
) -> Result<(), NotifyError> {
    let until = Instant::now() + patience;
    loop {
        match say() {
            Err(NotifyError::Full) if notifier.wait_until_read(until) => {}
            said => return said,
        }
    }
}
