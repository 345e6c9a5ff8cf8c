//! A region on the heap: for tests, for the testing module, and for machines that are not Linux.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{OutOfMemory, Region};

/// Words on the heap. Two threads that share one in an `Arc` see each other's stores as two processes do.
#[derive(Debug)]
pub struct HeapRegion {
    words: Box<[AtomicU64]>,
}

impl HeapRegion {
    /// A region of `words` words, all zero.
    #[must_use]
    pub fn new(words: u64) -> Self {
        let words = usize::try_from(words).expect("a heap region is addressable");
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A region with the given content, as a test makes it from a recorded image.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        Self { words: words.iter().map(|word| AtomicU64::new(*word)).collect() }
    }

    /// All words as they are now.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }
}

impl Region for HeapRegion {
    #[inline]
    fn words(&self) -> u64 {
        self.words.len() as u64
    }

    #[inline]
    fn load(&self, word: u64) -> u64 {
        match self.words.get(word as usize) {
            Some(cell) => cell.load(Ordering::Acquire),
            None => 0,
        }
    }

    #[inline]
    fn store(&self, word: u64, value: u64) {
        if let Some(cell) = self.words.get(word as usize) {
            cell.store(value, Ordering::Release);
        }
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        if words.end > self.words() {
            return Err(OutOfMemory::new("the heap region ends there", (words.end - self.words()) * 8));
        }
        Ok(())
    }
}
