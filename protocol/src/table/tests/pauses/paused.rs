//! The memory that a reader sees who stands still while the owner goes on.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::recorded::Recorded;
use crate::region::{OutOfMemory, Region};

/// The reader stands still before one of its loads (counted from its start), until the owner has come to a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    pub(super) before_load: usize,
    pub(super) until: usize,
}

/// The memory that a reader sees who is paused.
pub(super) struct Paused<'a> {
    recorded: &'a Recorded,
    pauses: &'a [Pause],
    /// Whether the reader has started, so that its loads count.
    pub(super) started: AtomicBool,
    pub(super) loads: AtomicUsize,
    /// How many pauses there were so far.
    pub(super) paused: AtomicUsize,
    /// Which store the owner has come to.
    now: AtomicUsize,
}

impl<'a> Paused<'a> {
    pub(super) fn new(recorded: &'a Recorded, start: usize, pauses: &'a [Pause]) -> Self {
        let zero = || AtomicUsize::new(0);
        let now = AtomicUsize::new(start);
        Self { recorded, pauses, started: AtomicBool::new(false), loads: zero(), paused: zero(), now }
    }

    fn pause(&self, load: usize) {
        let paused = self.paused.load(Ordering::Relaxed);
        if let Some(pause) = self.pauses.get(paused).filter(|pause| pause.before_load == load) {
            for store in &self.recorded.stores[self.now()..pause.until] {
                self.recorded.image.store(store.word, store.new);
            }
            self.now.store(pause.until, Ordering::Relaxed);
            self.paused.store(paused + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

impl Region for Paused<'_> {
    fn words(&self) -> u64 {
        self.recorded.image.words()
    }

    fn load(&self, word: u64) -> u64 {
        if self.started.load(Ordering::Relaxed) {
            self.pause(self.loads.fetch_add(1, Ordering::Relaxed));
        }
        self.recorded.image.load(word)
    }

    fn store(&self, _: u64, _: u64) {
        unreachable!("readers store nothing")
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        unreachable!("readers need no memory")
    }
}
