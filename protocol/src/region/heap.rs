//! A region on the heap: for tests, for the testing module, and for machines that are not Linux.

use std::ops::Range;
use std::sync::atomic::AtomicU64;

use super::{OutOfMemory, Region};
use crate::sync::{LOAD, STORE};

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
        self.words.iter().map(|word| word.load(LOAD)).collect()
    }
}

impl HeapRegion {
    #[inline]
    fn cells(&self, word: u64, bytes: usize) -> Option<&[AtomicU64]> {
        let start = usize::try_from(word).ok()?;
        self.words.get(start..start.checked_add(bytes.div_ceil(8))?)
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
            Some(cell) => cell.load(LOAD),
            None => 0,
        }
    }

    #[inline]
    fn store(&self, word: u64, value: u64) {
        if let Some(cell) = self.words.get(word as usize) {
            cell.store(value, STORE);
        }
    }

    #[inline]
    fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        let Some(cells) = self.cells(word, bytes) else { return false };
        let start = into.len();
        into.resize(start + cells.len() * 8, 0);
        for (cell, to) in cells.iter().zip(into[start..].as_chunks_mut().0) {
            *to = cell.load(LOAD).to_le_bytes();
        }
        into.truncate(start + bytes);
        true
    }

    #[inline]
    fn copy_in(&self, word: u64, bytes: &[u8]) {
        let Some(cells) = self.cells(word, bytes.len()) else { return };
        let (whole, rest) = bytes.as_chunks();
        for (cell, from) in cells.iter().zip(whole) {
            cell.store(u64::from_le_bytes(*from), STORE);
        }
        if let (Some(cell), false) = (cells.last(), rest.is_empty()) {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            cell.store(u64::from_le_bytes(last), STORE);
        }
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        if words.end > self.words() {
            return Err(OutOfMemory::new("the heap region ends there", (words.end - self.words()) * 8));
        }
        Ok(())
    }
}
