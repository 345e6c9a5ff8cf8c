//! A region that notes every store, so that a test can stop after each of them.
//!
//! A kill leaves a prefix of the writer's stores in memory (rule R5). So the states that an operation can leave behind
//! are: the words before it, with the first 0, 1, 2 ... of its stores done. [`RecordingRegion::take`] gives that
//! list; the test builds each state and looks at it. [`RecordingRegion::undo`] goes back, so that what a test tries in
//! one state (recovery, the heir's first operations) is not seen in the next.

use std::ops::Range;
use std::sync::Mutex;

use super::{OutOfMemory, Region};

/// One store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// Where.
    pub word: u64,
    /// What was there before.
    pub old: u64,
    /// What was stored.
    pub new: u64,
}

/// A region that notes every store to the region behind it. Only one thread stores at a time.
#[derive(Debug)]
pub struct RecordingRegion<R> {
    inner: R,
    stores: Mutex<Vec<Store>>,
}

impl<R: Region> RecordingRegion<R> {
    /// Records the stores to a region from here on.
    pub fn new(inner: R) -> Self {
        Self { inner, stores: Mutex::new(Vec::new()) }
    }

    /// The stores since the last call, in the order in which they were made.
    pub fn take(&self) -> Vec<Store> {
        std::mem::take(&mut *self.stores.lock().expect("no store panics"))
    }

    /// Takes all stores back that were made since [`RecordingRegion::take`] was called last.
    pub fn undo(&self) {
        for store in self.take().iter().rev() {
            self.inner.store(store.word, store.old);
        }
    }
}

impl<R: Region> Region for RecordingRegion<R> {
    fn words(&self) -> u64 {
        self.inner.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.inner.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        let store = Store { word, old: self.inner.load(word), new: value };
        self.stores.lock().expect("no store panics").push(store);
        self.inner.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.inner.make_present(words)
    }
}
