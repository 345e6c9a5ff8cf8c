//! What the supervisor is told, by `sd_notify`.
//!
//! The order is part of the contract (rules H13, H21): a table's descriptor is stored and the store confirmed before
//! the table is offered to anybody, a worker's pidfd is stored when it registers, and READY is said when every table
//! is hydrated. Nothing is kept there yet, so only READY and STATUS are said.

use heirloom_protocol::sys::notify::Notifier;

/// The supervisor, where there is one that listens.
#[derive(Debug)]
pub(super) struct Supervision(Option<Notifier>);

impl Supervision {
    pub(super) fn from_env() -> Self {
        Self(Notifier::from_env().unwrap_or_else(|error| {
            tracing::warn!(%error, "$NOTIFY_SOCKET is set, and cannot be used");
            None
        }))
    }

    /// For a manager that is a part of somebody else's program.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn ready(&self) {
        self.tell(|notifier| notifier.ready());
    }

    pub(super) fn status(&self, text: &str) {
        self.tell(|notifier| notifier.status(text));
    }

    fn tell<E: std::fmt::Display>(&self, tell: impl FnOnce(&Notifier) -> Result<(), E>) {
        if let Some(Err(error)) = self.0.as_ref().map(tell) {
            tracing::warn!(%error, "the supervisor was not told");
        }
    }
}
