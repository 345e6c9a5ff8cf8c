//! A region that lets nobody read for ever.

use heirloom_protocol::region::{OutOfMemory, Region};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the loads of a region behind it, and panics where there are too many.
pub(super) struct Bounded<R> {
    inner: R,
    left: AtomicU64,
}

impl<R: Region> Bounded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, left: AtomicU64::new(0) }
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    /// From here on, so many words may be read.
    pub(super) fn allow(&self, loads: u64) {
        self.left.store(loads, Ordering::Relaxed);
    }
}

impl<R: Region> Region for Bounded<R> {
    fn words(&self) -> u64 {
        self.inner.words()
    }

    fn load(&self, word: u64) -> u64 {
        let left = self.left.load(Ordering::Relaxed);
        assert!(left > 0, "so much is read that this seems not to end");
        self.left.store(left - 1, Ordering::Relaxed);
        self.inner.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.inner.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.inner.make_present(words)
    }
}
