//! The story of one handoff: when each stage was reached.

use super::clock::{now_ns, since_us};
use heirloom_protocol::message::{HandoffStatus, TransferReason};
use heirloom_protocol::ownership::WorkerId;
use heirloom_protocol::table::Recovery;

/// From the notice of the last owner's death or release to the grant, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Default)]
pub(super) struct Story {
    noticed_ns: u64,
    unwritable_ns: u64,
    recovered_ns: u64,
    found_ns: u64,
    offered_ns: u64,
    accepted_ns: u64,
    granted_ns: u64,
    recovery: Option<Recovery>,
}

impl Story {
    /// The ownership before has ended, as was noticed then.
    pub(super) fn begin(noticed_ns: u64) -> Self {
        Self { noticed_ns, ..Self::default() }
    }

    pub(super) fn unwritable(&mut self) {
        self.unwritable_ns = now_ns();
    }

    pub(super) fn recovered(&mut self, recovery: Recovery) {
        self.recovered_ns = now_ns();
        self.recovery = Some(recovery);
    }

    pub(super) fn found(&mut self) {
        self.found_ns = now_ns();
        // A table that has never had an owner: its story begins when one is found.
        if self.noticed_ns == 0 {
            (self.noticed_ns, self.unwritable_ns, self.recovered_ns) =
                (self.found_ns, self.found_ns, self.found_ns);
        }
    }

    pub(super) fn offered(&mut self) {
        self.offered_ns = now_ns();
    }

    pub(super) fn accepted(&mut self) {
        self.accepted_ns = now_ns();
    }

    /// The write handle is sent now: from here on there may be commits.
    pub(super) fn granted(&mut self) {
        self.granted_ns = now_ns();
    }

    /// The end. Tells the story in the log.
    pub(super) fn tell(&self, table: &str, to: WorkerId, epoch: u64, why: &TransferReason) -> HandoffStatus {
        let at = |ns| since_us(self.noticed_ns, ns);
        let status = HandoffStatus {
            reason: in_words(why),
            noticed_ns: self.noticed_ns,
            unwritable_us: at(self.unwritable_ns),
            recovered_us: at(self.recovered_ns),
            found_us: at(self.found_ns),
            offered_us: at(self.offered_ns),
            accepted_us: at(self.accepted_ns),
            granted_us: at(self.granted_ns),
            recovery: match self.recovery {
                None | Some(Recovery::Clean) => "clean",
                Some(Recovery::LogDiscarded) => "log_discarded",
                Some(_) => "reapplied",
            }
            .to_owned(),
        };
        let span = tracing::info_span!("handoff", table, epoch, worker = to.pid, reason = status.reason);
        span.in_scope(|| {
            if !matches!(why, TransferReason::First) {
                tracing::info!(at_us = 0, "the last ownership has ended");
                tracing::info!(at_us = status.unwritable_us, "nobody can write");
                tracing::info!(at_us = status.recovered_us, found = status.recovery, "recovered");
            }
            tracing::info!(at_us = status.found_us, "find-me has answered");
            tracing::info!(at_us = status.offered_us, "offered");
            tracing::info!(at_us = status.accepted_us, "accepted");
            tracing::info!(at_us = status.granted_us, "granted");
        });
        status
    }
}

fn in_words(why: &TransferReason) -> String {
    match why {
        TransferReason::First => "the first owner".to_owned(),
        TransferReason::Died { pid, how: None } => format!("process {pid} died"),
        TransferReason::Died { pid, how: Some(how) } => format!("process {pid} died: {how}"),
        TransferReason::Released { pid } => format!("process {pid} released it"),
        TransferReason::Panicked { pid } => {
            format!("a thread or task of process {pid} panicked while it wrote")
        }
        TransferReason::ManagerDied => "the manager died, and no owner was found".to_owned(),
        TransferReason::Recalled { pid } => format!("process {pid} released it when it was asked to"),
        _ => "for another reason".to_owned(),
    }
}
