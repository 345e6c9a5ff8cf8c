//! Who could be given a table now.

use super::{Registry, Worker};
use heirloom_protocol::message::LOADER;
use heirloom_protocol::ownership::WorkerId;
use std::sync::Arc;

/// A worker that is registered, ready, and has an heir for the table in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    id: WorkerId,
    name: Arc<str>,
    passed_over: u64,
}

impl Candidate {
    /// Its registration.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The name it registered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it did not take the table at some time, or gave it up.
    #[must_use]
    pub fn was_passed_over(&self) -> bool {
        self.passed_over > 0
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.id.pid
    }
}

/// The candidates for one table, best first: the longest ready first, and behind them those that did not take it when
/// it was offered, or gave it up, the last of them at the end.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    best_first: Vec<Candidate>,
}

impl Candidates {
    pub(super) fn of(registry: &Registry, table: &str) -> Self {
        let rank = |worker: &Worker| {
            let (ready, heir) = (worker.ready?, worker.heirs.get(table)?);
            // It comes for one table, which it has asked for by a recall.
            if &*worker.name == LOADER {
                return None;
            }
            Some((
                (heir.passed_over, ready),
                Candidate { id: worker.id, name: Arc::clone(&worker.name), passed_over: heir.passed_over },
            ))
        };
        let mut ranked: Vec<_> = registry.workers().filter_map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        Self { best_first: ranked.into_iter().map(|(_, candidate)| candidate).collect() }
    }

    /// All of them, best first.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.best_first.iter()
    }

    /// The best of them all.
    #[must_use]
    pub fn first(&self) -> Option<Candidate> {
        self.best_first.first().cloned()
    }

    /// The best of those registered under a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Candidate> {
        self.iter().find(|candidate| candidate.name() == name).cloned()
    }

    /// The one with that process id. 0 is nobody's: all those in PID namespaces that cannot be seen have it.
    #[must_use]
    pub fn with_pid(&self, pid: u32) -> Option<Candidate> {
        self.iter().find(|candidate| pid != 0 && candidate.pid() == pid).cloned()
    }

    /// Whether somebody is there who has not been passed over since there were that many
    /// [`passings_over`](super::RegistryWriter::passings_over).
    #[must_use]
    pub fn any_untried_since(&self, passings_over: u64) -> bool {
        self.iter().any(|candidate| candidate.passed_over <= passings_over)
    }
}
