//! The states that were tried: an operation, and the image that a cut of it leaves before recovery.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use crate::table::{Kind, Recovery};

/// How many distinct states each test tries at least.
const LEAST: [(&str, usize); 7] = [
    ("sets", 350_000),
    ("trees", 320_000),
    ("bags", 90_000),
    ("clears", 11_000),
    ("expiry", 40_000),
    ("compaction", 16_000),
    ("pinned", 220_000),
];

/// And all of them.
const LEAST_IN_ALL: usize = 1_000_000;

const _: () = {
    let (mut sum, mut number) = (0, 0);
    while number < LEAST.len() {
        sum += LEAST[number].1;
        number += 1;
    }
    assert!(sum >= LEAST_IN_ALL);
};

/// What the tests of this process tried so far.
static TRIED: Mutex<BTreeMap<&str, usize>> = Mutex::new(BTreeMap::new());

/// Hashes of images, each under the operation that left it first, so that no state is counted twice.
#[derive(Debug)]
pub(super) struct States {
    kind: Kind,
    images: HashSet<u64>,
    by_operation: BTreeMap<&'static str, usize>,
    /// Those of them in which the engine did this. It may do several things at once, or none of interest.
    by_engine: BTreeMap<&'static str, usize>,
    recoveries: BTreeMap<&'static str, usize>,
}

impl States {
    pub(super) fn of(kind: Kind) -> Self {
        Self {
            kind,
            images: HashSet::new(),
            by_operation: BTreeMap::new(),
            by_engine: BTreeMap::new(),
            recoveries: BTreeMap::new(),
        }
    }

    /// Notes a state; false where it was tried already.
    pub(super) fn note(&mut self, operation: &'static str, engine: &[&'static str], image: u64) -> bool {
        if !self.images.insert(image) {
            return false;
        }
        *self.by_operation.entry(operation).or_default() += 1;
        for name in engine {
            *self.by_engine.entry(name).or_default() += 1;
        }
        true
    }

    /// Notes what recovery found there.
    pub(super) fn note_recovery(&mut self, recovery: Recovery) {
        let found = match recovery {
            Recovery::Clean => "nothing to do",
            Recovery::LogDiscarded => "a log to discard",
            Recovery::Reapplied { .. } => "a commit to apply",
        };
        *self.recoveries.entry(found).or_default() += 1;
    }

    /// # Panics
    /// Where one of these names was not met, or recovery never found something.
    pub(super) fn must_have(&self, names: &[&str]) {
        for name in names {
            let is_met = self.by_operation.contains_key(name) || self.by_engine.contains_key(name);
            assert!(is_met, "{}: no state of: {name}", self.kind.name());
        }
        for found in ["nothing to do", "a log to discard", "a commit to apply"] {
            assert!(
                self.recoveries.contains_key(found),
                "{}: recovery never found {found}",
                self.kind.name()
            );
        }
    }

    fn print(&self) {
        let kind = self.kind.name();
        for (name, count) in &self.by_operation {
            println!("{kind}: {name}: {count} distinct states");
        }
        for (name, count) in &self.by_engine {
            println!("{kind}: of these, with {name}: {count}");
        }
        for (found, count) in &self.recoveries {
            println!("{kind}: recovery found {found}: {count} times");
        }
    }
}

/// Prints what a test has tried.
///
/// # Panics
/// Where that is less than [`LEAST`] says.
pub(super) fn count(test: &'static str, states: &[States]) {
    states.iter().for_each(States::print);
    let tried = states.iter().map(|states| states.images.len()).sum();
    let least = LEAST.iter().find(|(name, _)| *name == test).expect("the test is in the list").1;
    assert!(tried >= least, "{test}: {tried} distinct states, and not {least}");
    let mut all = TRIED.lock().expect("nobody panics with it");
    all.insert(test, tried);
    let (tests, sum) = (all.len(), all.values().sum::<usize>());
    println!("{test}: {tried} distinct states; {sum} in all, by {tests} of {} tests", LEAST.len());
}
