//! Who wants a table handed on, to whom, and until when.
//!
//! ```text
//!  wish ──► to a worker that is not ready yet: waits, and nobody is asked for anything
//!       └─► to one that is, or to whomever find-me says: the owner is asked (the ownership machine's recall)
//!             ├─ released ─► offered, accepted, granted ─► the wish is answered: who has it, and how that went
//!             ├─ the heir is gone ─► recall withdrawn; the next worker of that name, until the wish's time is over
//!             └─ not in its time ─► recall withdrawn, or with force the owner killed
//! ```

use super::client::ClientId;
use super::control::Control;
use super::table::Table;
use crate::registry::Worker;
use heirloom_protocol::message::{Event, OwnerStatus, Refusal};
use heirloom_protocol::ownership::{Input, Recall, RecallEnd, State, WorkerId};
use std::time::{Duration, Instant};

/// Longest time that a wish may wait.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Somebody wants a table handed on.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) by: ClientId,
    pub(super) request: u32,
    /// The name of the worker that shall have it.
    pub(super) to: Option<String>,
    pub(super) force: bool,
    pub(super) until: Instant,
    /// How often anybody had been passed over before: who has been since then is not tried again for this.
    pub(super) passings_over: u64,
    /// Whether the owner was asked for it, or the table offered.
    pub(super) pursued: bool,
}

impl Wish {
    pub(super) fn until(deadline_ms: Option<u64>, default: Duration) -> Instant {
        Instant::now() + deadline_ms.map_or(default, Duration::from_millis).min(LONGEST)
    }
}

impl Table {
    /// When the first wish's time is over.
    pub(super) fn next_wish_over(&self) -> Option<Instant> {
        self.wishes.iter().map(|wish| wish.until).min()
    }
}

impl Control {
    /// Does for the wishes what can be done now.
    pub(super) fn pursue(&mut self, table: usize) {
        let of = &self.tables[table];
        let owner = match *of.ownership.state() {
            State::Owned { by, recall: None, .. } => Some(by),
            State::Unowned { .. } if self.open => None,
            _ => return,
        };
        let found = of.wishes.iter().enumerate().find_map(|(number, wish)| match &wish.to {
            Some(name) => self.heir_named(of, wish, name, owner).map(|heir| (number, Some(heir))),
            // What was taken back for it and went to nobody: find-me is looking.
            None if wish.pursued => None,
            None => Some((number, None)),
        });
        let Some((number, to)) = found else { return };
        let wish = &mut self.tables[table].wishes[number];
        wish.pursued = true;
        let recall = Recall { to, force: wish.force };
        self.feed(table, Input::RecallWanted { recall });
    }

    /// Who shall have a table that is with the manager, where somebody said so and it is there.
    pub(super) fn wished_heir(&self, table: usize) -> Option<WorkerId> {
        let of = &self.tables[table];
        of.wishes.iter().find_map(|wish| self.heir_named(of, wish, wish.to.as_ref()?, None))
    }

    /// The best ready worker of that name: the one that asks, or the longest ready.
    fn heir_named(
        &self,
        table: &Table,
        wish: &Wish,
        name: &str,
        owner: Option<WorkerId>,
    ) -> Option<WorkerId> {
        let registry = self.registry.now();
        let fits = |worker: &&Worker| {
            let untried =
                worker.heirs.get(&table.id).is_some_and(|heir| heir.passed_over <= wish.passings_over);
            let alive = || self.workers.get(&worker.id).is_some_and(|worker| !worker.process.has_exited());
            &*worker.name == name && worker.ready.is_some() && untried && Some(worker.id) != owner && alive()
        };
        let itself = self.clients.get(&wish.by).and_then(|client| client.worker);
        let itself = registry.workers().filter(fits).find(|worker| Some(worker.id) == itself);
        itself
            .or_else(|| registry.workers().filter(fits).min_by_key(|worker| worker.ready))
            .map(|worker| worker.id)
    }

    /// The table has gone to somebody: those who wanted that hear of it.
    pub(super) fn wishes_granted(&mut self, table: usize, to: WorkerId) {
        let name = self.workers.get(&to).map(|worker| worker.name.to_string()).unwrap_or_default();
        let (granted, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tables[table].wishes)
            .into_iter()
            .partition(|wish| wish.to.as_ref().is_none_or(|wanted| *wanted == name));
        let of = &mut self.tables[table];
        of.wishes = still;
        let handoff = of.last_handoff.clone();
        for wish in granted {
            let owner = Some(OwnerStatus { name: name.clone(), pid: to.pid });
            let event = Event::HandedOn { request: wish.request, owner, handoff: handoff.clone() };
            self.send(wish.by, &event);
        }
    }

    /// A recall has ended.
    pub(super) fn recall_over(&mut self, table: usize, end: RecallEnd) {
        let why = match end {
            // Answered when somebody has it, or when that takes too long. The next of that name, if there is one.
            RecallEnd::TakenBack | RecallEnd::HeirGone => return,
            RecallEnd::Unanswered => "its owner did not release it in time, and keeps it",
            RecallEnd::NobodyOwns => "nobody owns it",
        };
        for wish in std::mem::take(&mut self.tables[table].wishes) {
            self.refuse_wish(table, &wish, why);
        }
    }

    /// Nobody there to take it, and find-me has said so: the manager has it.
    pub(super) fn nobody_takes_it(&mut self, table: usize) {
        let (left, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tables[table].wishes)
            .into_iter()
            .partition(|wish| wish.to.is_none() && wish.pursued);
        self.tables[table].wishes = still;
        for wish in left {
            self.send(wish.by, &Event::HandedOn { request: wish.request, owner: None, handoff: None });
        }
    }

    /// The time of some wishes is over.
    pub(super) fn wishes_over(&mut self, table: usize, now: Instant) {
        let of = &mut self.tables[table];
        let (over, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut of.wishes).into_iter().partition(|wish| wish.until <= now);
        of.wishes = still;
        // A recall that stands ends by its own timer, which is due as well, and is force's only by its death.
        let (waiting, over): (Vec<_>, Vec<_>) = match of.ownership.state() {
            State::Owned { recall: Some(recall), .. } if recall.force => {
                over.into_iter().partition(|wish| wish.pursued)
            }
            _ => (Vec::new(), over),
        };
        of.wishes.extend(waiting.into_iter().map(|wish| Wish { until: now + LONGEST, ..wish }));
        let owned = of.ownership.owner().is_some();
        for wish in over {
            match &wish.to {
                Some(name) if owned => {
                    let why = format!(
                        "no other worker `{name}` became ready for it in time, and its owner keeps it"
                    );
                    self.refuse_wish(table, &wish, &why);
                }
                _ if owned => {
                    self.refuse_wish(table, &wish, "its owner did not release it in time, and keeps it")
                }
                _ => {
                    self.send(wish.by, &Event::HandedOn { request: wish.request, owner: None, handoff: None })
                }
            }
        }
    }

    fn refuse_wish(&self, table: usize, wish: &Wish, why: &str) {
        let id = &self.tables[table].id;
        let message = format!("table `{id}` is not handed on: {why}");
        self.send(wish.by, &Event::Refused { request: Some(wish.request), why: Refusal::NotNow, message });
    }
}
