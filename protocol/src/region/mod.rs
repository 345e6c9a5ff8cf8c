//! Where a table's words are.
//!
//! The engine sees an array of 8-byte words and nothing else: every load and every store goes through [`Region`],
//! so the same engine runs on a mapped segment ([`mapped`]), on the heap ([`heap`]) and on a recording of every
//! single store ([`recording`]).

pub mod heap;
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub mod mapped;
pub mod recording;

pub use heap::HeapRegion;
#[cfg(target_os = "linux")]
pub use mapped::{MapError, MappedRegion};
pub use recording::{RecordingRegion, Store};

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// An array of 8-byte words that several threads or processes see at once.
///
/// Every load is an acquire load and every store a release store (rule R5): after a kill, memory holds a prefix of
/// the writer's program order. Word indices are checked: one outside the region loads as zero and is dropped when
/// stored, so that no content of a segment, however corrupt, makes a process read or write outside it. Callers that
/// must know check against [`Region::words`] first.
pub trait Region: Send + Sync {
    /// The number of words that may be addressed.
    fn words(&self) -> u64;

    /// Loads one word (acquire).
    fn load(&self, word: u64) -> u64;

    /// Stores one word (release).
    fn store(&self, word: u64, value: u64);

    /// Stores words from `word` on, one after the other (release).
    fn store_words(&self, word: u64, values: &[u64]) {
        for (word, value) in (word..).zip(values) {
            self.store(word, *value);
        }
    }

    /// Copies `bytes` bytes from the start of `word` on to the end of `into`.
    /// Copies nothing and returns false where the range is not inside the region.
    #[must_use]
    fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        let words = (bytes as u64).div_ceil(8);
        if word.checked_add(words).is_none_or(|end| end > self.words()) {
            return false;
        }
        let start = into.len();
        into.reserve(bytes + 8);
        for offset in 0..words {
            into.extend_from_slice(&self.load(word + offset).to_le_bytes());
        }
        into.truncate(start + bytes);
        true
    }

    /// Whether the bytes from the start of `word` on are equal to `expected`.
    fn equals(&self, word: u64, expected: &[u8]) -> bool {
        let words = (expected.len() as u64).div_ceil(8);
        word.checked_add(words).is_some_and(|end| end <= self.words())
            && expected
                .chunks(8)
                .enumerate()
                .all(|(offset, chunk)| self.load(word + offset as u64).to_le_bytes()[..chunk.len()] == *chunk)
    }

    /// Stores `bytes` from the start of `word` on; the last word is filled up with zero bytes.
    fn copy_in(&self, word: u64, bytes: &[u8]) {
        for (offset, chunk) in bytes.chunks(8).enumerate() {
            let mut last = [0; 8];
            last[..chunk.len()].copy_from_slice(chunk);
            self.store(word.saturating_add(offset as u64), u64::from_le_bytes(last));
        }
    }

    /// Makes sure that the words are backed by memory, before the engine touches them (rules H4 and H5).
    ///
    /// # Errors
    /// [`OutOfMemory`] where the memory is not to be had without risking a kill.
    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory>;

    /// Gives the memory of these words back to the host, as far as the host takes it; what they hold is lost.
    fn give_back(&self, words: Range<u64>) {
        for word in words {
            self.store(word, 0);
        }
    }

    /// Hints that the line that holds `word` is about to be read.
    fn prefetch(&self, word: u64) {
        let _ = word;
    }

    /// How long it is since some moment, for the pace of work that nobody waits for. Where there is no clock, such work
    /// keeps step with the writes, and the same operations are the same stores each time.
    fn clock(&self) -> Option<Duration> {
        None
    }

    /// Says by how much the table may still grow: no more is made present ahead of that.
    fn expect_growth(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// The host has no memory left for a table that may still grow by its own limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// Which limit was met, in words a person understands.
    pub limit: String,
    /// How many bytes were asked for.
    pub needed_bytes: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for {} more bytes: {}", self.needed_bytes, self.limit)
    }
}

impl std::error::Error for OutOfMemory {}

impl OutOfMemory {
    /// An error that names the limit met.
    #[must_use]
    pub fn new(limit: impl Into<String>, needed_bytes: u64) -> Self {
        Self { limit: limit.into(), needed_bytes }
    }
}

macro_rules! forward_region {
    ($($pointer:ty),*) => {$(
        impl<R: Region + ?Sized> Region for $pointer {
            #[inline]
            fn words(&self) -> u64 { (**self).words() }
            #[inline]
            fn load(&self, word: u64) -> u64 { (**self).load(word) }
            #[inline]
            fn store(&self, word: u64, value: u64) { (**self).store(word, value) }
            #[inline]
            fn store_words(&self, word: u64, values: &[u64]) { (**self).store_words(word, values) }
            #[inline]
            fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool { (**self).copy_out(word, bytes, into) }
            #[inline]
            fn equals(&self, word: u64, expected: &[u8]) -> bool { (**self).equals(word, expected) }
            #[inline]
            fn copy_in(&self, word: u64, bytes: &[u8]) { (**self).copy_in(word, bytes) }
            #[inline]
            fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> { (**self).make_present(words) }
            #[inline]
            fn give_back(&self, words: Range<u64>) { (**self).give_back(words) }
            #[inline]
            fn prefetch(&self, word: u64) { (**self).prefetch(word) }
            #[inline]
            fn clock(&self) -> Option<Duration> { (**self).clock() }
            #[inline]
            fn expect_growth(&self, bytes: u64) { (**self).expect_growth(bytes) }
        }
    )*};
}

forward_region!(&R, Arc<R>);
