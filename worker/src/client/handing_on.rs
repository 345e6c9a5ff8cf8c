//! What can be asked of the manager about a table that somebody else may own, and what it answers.

use std::time::Duration;

use heirloom_protocol::message::{HandoffStatus, OwnerStatus, Request};

/// How a table is to be handed on; see [`Client::hand_on`](super::Client::hand_on).
///
/// ```
/// # use heirloom_worker::HandOn;
/// # use std::time::Duration;
/// let politely = HandOn::new();
/// let now = HandOn::new().to("sale_tracker").within(Duration::from_secs(2)).force();
/// # let _ = (politely, now);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandOn {
    to: Option<String>,
    within: Option<Duration>,
    force: bool,
}

impl HandOn {
    /// To whomever find-me says, in the time that the configuration gives an owner. An owner that has not answered by
    /// then keeps the table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// To a worker of that name: the one that asks, where that is its own name. The owner is not asked before there is
    /// one that is ready.
    #[must_use]
    pub fn to(mut self, worker: &str) -> Self {
        self.to = Some(worker.to_owned());
        self
    }

    /// All of it in this time.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// An owner that has not answered in time is killed.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    pub(super) fn request(&self, request: u32, table: &str) -> Request {
        Request::Recall {
            request,
            table: table.to_owned(),
            to: self.to.clone(),
            force: self.force,
            deadline_ms: self.within.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// How long the answer may take; nothing where only the manager knows.
    pub(super) fn time(&self) -> Option<Duration> {
        self.within
    }
}

/// A table has changed hands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOn {
    /// Who has it now; nobody where no worker was there to take it: then the manager has it.
    pub owner: Option<OwnerStatus>,
    /// How it went, stage by stage, where somebody has it. From the last owner's release to the new one's write handle
    /// is `granted_us`: writes paused for that long, and for what mapping the table takes the two of them.
    pub handoff: Option<HandoffStatus>,
}
