//! Asking find-me for one table: at its pace, off the loop, and never waited for.

use super::control::{Control, Notice};
use crate::find_me::{FindMe, FindMeError, Pace};
use crate::registry::Candidate;
use heirloom_protocol::ownership::{Input, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Most calls of one table's find-me at a time. More than one, because a worker that has just registered must not
/// wait for a call that hangs; not many, because each has a thread.
const MAX_CALLS: usize = 4;

/// How the owner of one table is looked for.
pub(super) struct Search {
    find_me: Option<Arc<dyn FindMe>>,
    pace: Pace,
    /// Calls that have not returned, those that are not waited for any more among them.
    calls: Arc<AtomicUsize>,
    /// When it is asked next.
    next: Option<Instant>,
    /// The last offer came to nothing, or its owner gave the table up.
    passed_over: bool,
    /// How often anybody had been passed over when the table was last granted.
    passings_over: u64,
}

impl Search {
    /// Without find-me the table stays with the manager.
    pub(super) fn new(find_me: Option<Arc<dyn FindMe>>) -> Self {
        Self {
            find_me,
            pace: Pace::default(),
            calls: Arc::default(),
            next: None,
            passed_over: false,
            passings_over: 0,
        }
    }

    /// Whether it has said by now what there is to say: it is asked on the spot, or never.
    pub(super) fn has_answered(&self) -> bool {
        self.find_me.as_ref().is_none_or(|find_me| find_me.is_immediate())
    }

    pub(super) fn next_try(&self) -> Option<Instant> {
        self.next
    }

    /// The table went to the worker that was found: whoever has not been passed over after that is worth a try again.
    pub(super) fn granted(&mut self, passings_over: u64) {
        self.pace.found();
        self.passings_over = passings_over;
        self.next = None;
    }

    /// Somebody did not take the table, or gave it up. Where it was asked to, that is no try in vain: whoever wants a table
    /// handed on is not kept waiting, however often that is.
    pub(super) fn passed_over(&mut self, was_asked_to: bool) {
        self.passed_over = true;
        if was_asked_to {
            return;
        }
        let now = Instant::now();
        // Where each ask counts as a try already, it has been counted.
        if self.find_me.as_ref().is_some_and(|find_me| find_me.is_immediate()) {
            self.pace.asked(now);
        }
        self.pace.in_vain(now);
    }
}

impl Control {
    /// What the machine wants: whoever it was taken back for, and where that one is gone, the next of its name. Else ask
    /// now, unless the last one to have it just came to nothing and there is nobody else to try.
    pub(super) fn ask_find_me(&mut self, table: usize) -> Option<Input> {
        if let Some(worker) = self.wished_heir(table) {
            return Some(Input::Found { worker });
        }
        let search = &mut self.tables[table].search;
        let passed_over = std::mem::take(&mut search.passed_over);
        let granted_at = search.passings_over;
        let candidates = self.registry.now().candidates(&self.tables[table].id);
        let urgent = !passed_over || candidates.any_untried_since(granted_at);
        self.ask_at_its_pace(table, urgent)
    }

    /// It is time for the next try: the pause is over, or has been cut short by something for which it was too early then.
    pub(super) fn ask_again(&mut self, table: usize) {
        self.tables[table].search.next = None;
        if matches!(self.tables[table].ownership.state(), State::Unowned { .. })
            && let Some(found) = self.ask_at_its_pace(table, true)
        {
            self.feed(table, found);
        }
    }

    fn ask_at_its_pace(&mut self, table: usize, urgent: bool) -> Option<Input> {
        let find_me = self.tables[table].search.find_me.clone()?;
        if !self.open {
            return None;
        }
        // Where asking costs nothing, only what it is asked for is paced: giving the table to those who have had it.
        let found = match find_me.is_immediate() {
            true => Some(self.ask_here(table, find_me.as_ref())?),
            false => None,
        };
        let is_new = found.as_ref().is_some_and(|candidate| !candidate.was_passed_over());
        let (search, now) = (&mut self.tables[table].search, Instant::now());
        let at = search.pace.next_try(now, urgent);
        if at > now && !is_new {
            search.next = Some(search.next.map_or(at, |next| next.min(at)));
            return None;
        }
        search.next = None;
        match found {
            Some(candidate) => {
                self.tables[table].story.found();
                Some(Input::Found { worker: candidate.id() })
            }
            None => {
                self.ask_on_a_thread(table, find_me);
                None
            }
        }
    }

    fn ask_here(&mut self, table: usize, find_me: &dyn FindMe) -> Option<Candidate> {
        loop {
            let candidates = self.registry.now().candidates(&self.tables[table].id);
            match find_me.find(&candidates) {
                // Dead, and its pidfd not looked at yet: the next best.
                Ok(Some(candidate)) if !self.is_alive(&candidate) => self.registry.remove(candidate.id()),
                Ok(candidate) => return candidate,
                Err(error) => {
                    tracing::warn!(table = &*self.tables[table].id, %error, "find-me failed");
                    return None;
                }
            }
        }
    }

    fn ask_on_a_thread(&mut self, table: usize, find_me: Arc<dyn FindMe>) {
        let (registry, notices) = (self.registry.reader(), self.own.clone());
        let id = Arc::clone(&self.tables[table].id);
        let search = &mut self.tables[table].search;
        let now = Instant::now();
        search.pace.asked(now);
        if search.calls.load(Ordering::Relaxed) >= MAX_CALLS {
            tracing::warn!(
                table = &*id,
                calls = MAX_CALLS,
                "find-me is not asked: so many calls have not returned"
            );
            search.pace.in_vain(now);
            search.next = Some(search.pace.next_try(now, false));
            return;
        }
        let calls = Arc::clone(&search.calls);
        calls.fetch_add(1, Ordering::Relaxed);
        let timeout = find_me.timeout();
        tokio::spawn(async move {
            let call = tokio::task::spawn_blocking(move || {
                // Counted down also where it panics.
                let _returned = CountDown(calls);
                find_me.find(&registry.now().candidates(&id))
            });
            let answer = match tokio::time::timeout(timeout, call).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_panic)) => Err(FindMeError::Panicked),
                Err(_elapsed) => Err(FindMeError::TooSlow { after: timeout }),
            };
            // The control task is gone only when the manager ends.
            let _ = notices.send(Notice::Answered { table, answer });
        });
    }

    /// A call on a thread has ended, or is not waited for any more.
    pub(super) fn find_me_answered(&mut self, table: usize, answer: Result<Option<Candidate>, FindMeError>) {
        if !matches!(self.tables[table].ownership.state(), State::Unowned { .. }) {
            return;
        }
        let id = Arc::clone(&self.tables[table].id);
        let answer = answer.and_then(|candidate| match candidate {
            Some(candidate) if !self.is_candidate(&id, &candidate) => {
                Err(FindMeError::Gone { pid: candidate.pid() })
            }
            candidate => Ok(candidate),
        });
        match answer {
            Ok(Some(candidate)) => {
                self.tables[table].story.found();
                return self.feed(table, Input::Found { worker: candidate.id() });
            }
            Ok(None) => tracing::debug!(table = &*id, "find-me: none yet"),
            Err(error) => tracing::warn!(table = &*id, %error, "find-me failed"),
        }
        let (search, now) = (&mut self.tables[table].search, Instant::now());
        search.pace.in_vain(now);
        let at = search.pace.next_try(now, false);
        search.next = Some(search.next.map_or(at, |next| next.min(at)));
    }

    fn is_candidate(&self, table: &str, candidate: &Candidate) -> bool {
        let candidates = self.registry.now().candidates(table);
        candidates.iter().any(|known| known.id() == candidate.id()) && self.is_alive(candidate)
    }

    fn is_alive(&self, candidate: &Candidate) -> bool {
        self.workers.get(&candidate.id()).is_some_and(|worker| !worker.process.has_exited())
    }
}

struct CountDown(Arc<AtomicUsize>);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
