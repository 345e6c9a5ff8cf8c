//! Who has registered: one writer (the control task), any number of readers that never wait for it.
//!
//! Each change publishes a new [`Registry`] through an arc-swap; who reads one keeps it as it was at that moment.
//! find-me, on threads of its own, and `status` read it.

mod candidates;

pub use candidates::{Candidate, Candidates};

use arc_swap::ArcSwap;
use heirloom_protocol::ownership::WorkerId;
use heirloom_protocol::sys::{Credentials, Process};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A registered worker, as of one moment.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its registration.
    pub id: WorkerId,
    /// The name it registered under.
    pub name: Arc<str>,
    /// Who it is, by the kernel's word.
    pub credentials: Credentials,
    /// The process itself: the pidfd.
    pub process: Arc<Process>,
    /// Whether it has said that it is ready, and as which: the first is 1.
    pub ready: Option<u64>,
    /// The tables it has heirs for.
    pub heirs: BTreeMap<Arc<str>, Heir>,
}

/// A worker's heir for one table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heir {
    /// When it was last passed over, as a count of all such events; 0 where it never was. It did not take the table,
    /// or gave it up: it ranks behind those with less.
    pub passed_over: u64,
}

/// All registered workers, in the order of their registration, as of one moment.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    workers: Vec<Arc<Worker>>,
}

impl Registry {
    /// The registered workers.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().map(Arc::as_ref)
    }

    /// The worker of that registration.
    #[must_use]
    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers().find(|worker| worker.id == id)
    }

    /// The ready workers that have an heir for the table, best first: those that were never passed over, the longest
    /// ready first, and then the others, the one that was passed over last at the end.
    #[must_use]
    pub fn candidates(&self, table: &str) -> Candidates {
        Candidates::of(self, table)
    }
}

/// Publishes the registry. There is one of it, and the control task has it.
#[derive(Debug, Default)]
pub struct RegistryWriter {
    published: Arc<ArcSwap<Registry>>,
    registrations: u64,
    readinesses: u64,
    passings_over: u64,
}

/// Reads the registry, at any time, on any thread.
#[derive(Debug, Clone)]
pub struct RegistryReader {
    published: Arc<ArcSwap<Registry>>,
}

impl RegistryReader {
    /// The registry as it is now.
    #[must_use]
    pub fn now(&self) -> Arc<Registry> {
        self.published.load_full()
    }
}

impl RegistryWriter {
    /// One more reader.
    #[must_use]
    pub fn reader(&self) -> RegistryReader {
        RegistryReader { published: Arc::clone(&self.published) }
    }

    /// The registry as it is now.
    #[must_use]
    pub fn now(&self) -> Arc<Registry> {
        self.published.load_full()
    }

    /// What a process is to be registered as.
    pub fn next_id(&mut self, process: &Process) -> WorkerId {
        self.registrations += 1;
        WorkerId { registration: self.registrations, pid: process.pid() }
    }

    /// Registers a process under a name; again, where it was and came back.
    pub fn register(&mut self, id: WorkerId, name: &str, credentials: Credentials, process: Arc<Process>) {
        let worker =
            Worker { id, name: name.into(), credentials, process, ready: None, heirs: BTreeMap::new() };
        self.publish(|workers| workers.push(Arc::new(worker)));
    }

    /// The worker has an heir for the table.
    pub fn heir(&mut self, id: WorkerId, table: &Arc<str>) {
        self.change(id, |worker| {
            worker.heirs.entry(Arc::clone(table)).or_default();
        });
    }

    /// The worker is ready. Said twice, the first time counts.
    pub fn ready(&mut self, id: WorkerId) {
        self.readinesses += 1;
        let readiness = self.readinesses;
        self.change(id, |worker| {
            worker.ready.get_or_insert(readiness);
        });
    }

    /// The worker did not take the table that it was offered, or gave it up: everybody else comes first.
    pub fn pass_over(&mut self, id: WorkerId, table: &str) {
        self.passings_over += 1;
        let passings_over = self.passings_over;
        self.change(id, |worker| {
            if let Some(heir) = worker.heirs.get_mut(table) {
                heir.passed_over = passings_over;
            }
        });
    }

    /// How often anybody was passed over.
    #[must_use]
    pub fn passings_over(&self) -> u64 {
        self.passings_over
    }

    /// The worker is gone: dead, or without a connection.
    pub fn remove(&mut self, id: WorkerId) {
        self.publish(|workers| workers.retain(|worker| worker.id != id));
    }

    fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        self.publish(|workers| {
            if let Some(worker) = workers.iter_mut().find(|worker| worker.id == id) {
                change(Arc::make_mut(worker));
            }
        });
    }

    /// The one place where the published registry is replaced: by a copy, changed.
    fn publish(&mut self, change: impl FnOnce(&mut Vec<Arc<Worker>>)) {
        let mut next = Registry::clone(&self.published.load());
        change(&mut next.workers);
        self.published.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(registry: &mut RegistryWriter, name: &str) -> WorkerId {
        let credentials = Credentials { pid: std::process::id(), uid: 0, gid: 0 };
        let process = Arc::new(Process::current().unwrap());
        let id = registry.next_id(&process);
        registry.register(id, name, credentials, process);
        id
    }

    #[test]
    fn the_longest_ready_comes_first_until_it_is_passed_over() {
        let mut registry = RegistryWriter::default();
        let sales: Arc<str> = "sales".into();
        let [a, b, c] = ["w", "v", "w"].map(|name| register(&mut registry, name));
        for id in [a, b, c] {
            registry.heir(id, &sales);
        }
        for id in [c, a, c] {
            registry.ready(id);
        }
        let order = |registry: &RegistryWriter| -> Vec<WorkerId> {
            registry.now().candidates("sales").iter().map(|candidate| candidate.id()).collect()
        };
        assert_eq!(order(&registry), [c, a], "b is not ready");
        registry.pass_over(c, "sales");
        assert_eq!(order(&registry), [a, c]);
        let until_now = registry.passings_over();
        for (last, first) in [(a, c), (c, a), (c, a), (a, c)] {
            registry.pass_over(last, "sales");
            assert_eq!(order(&registry), [first, last], "who was passed over last comes last");
        }
        assert!(!registry.now().candidates("sales").any_untried_since(until_now));
        assert!(registry.now().candidates("sales").any_untried_since(until_now + 3), "that is c");
        registry.pass_over(c, "sales");
        assert_eq!(order(&registry), [a, c]);
        registry.ready(b);
        let candidates = registry.now().candidates("sales");
        assert_eq!(candidates.named("v").map(|candidate| candidate.id()), Some(b));
        assert_eq!(candidates.named("w").map(|candidate| candidate.id()), Some(a));
        assert!(registry.now().candidates("other").first().is_none());
    }

    #[test]
    fn a_reader_keeps_what_it_has_read() {
        let mut registry = RegistryWriter::default();
        let reader = registry.reader();
        let before = reader.now();
        let id = register(&mut registry, "w");
        assert!(before.worker(id).is_none() && reader.now().worker(id).is_some());
        registry.remove(id);
        assert!(reader.now().worker(id).is_none());
    }
}
