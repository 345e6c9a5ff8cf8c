//! The bytes of the ring, and the few stores and loads whose order matters.

use std::sync::atomic::Ordering;

use crate::region::Region;
use crate::sync::fence;
use crate::table::entry::MAX_KEY_BYTES;
use crate::table::layout::{Layout, RING_LOST, RING_LOW};

/// What a record says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::table) enum RecordKind {
    /// Inserted or overwritten.
    Written,
    /// Removed.
    Removed,
    /// Every key was removed; the record names none.
    Cleared,
    /// The bequest was replaced; the record names no key.
    Bequest,
}

impl RecordKind {
    fn code(self) -> u64 {
        match self {
            Self::Written => 1,
            Self::Removed => 2,
            Self::Cleared => 3,
            Self::Bequest => 4,
        }
    }

    fn from_code(code: u64) -> Option<Self> {
        [Self::Written, Self::Removed, Self::Cleared, Self::Bequest]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// Longer keys have their length in a word of its own.
const LONG: usize = 0xff;

/// Where the ring is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    start: u64,
    mask: u64,
}

impl Ring {
    pub(super) fn of(layout: &Layout) -> Self {
        debug_assert!(layout.ring.words.is_power_of_two(), "the header was checked");
        Self { start: layout.ring.start, mask: layout.ring.words - 1 }
    }

    #[inline]
    pub(super) fn words(self) -> u64 {
        self.mask + 1
    }

    /// The word that a position is at.
    #[inline]
    pub(super) fn place(self, position: u64) -> u64 {
        self.start + (position & self.mask)
    }

    /// Whether the ring can have records from one position to another.
    pub(super) fn spans(self, low: u64, tail: u64) -> bool {
        tail.checked_sub(low).is_some_and(|words| words <= self.words())
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) version: u64,
    pub(super) kind: RecordKind,
    pub(super) key_bytes: usize,
}

impl Record {
    /// Reads the record at a position. None where there cannot be one: what is read may be garbage (R9).
    #[inline]
    pub(super) fn read<R: Region>(region: &R, ring: Ring, at: u64, tail: u64) -> Option<Self> {
        let first = region.load(ring.place(at));
        let mut key_bytes = first & LONG as u64;
        if key_bytes == LONG as u64 {
            key_bytes = region.load(ring.place(at + 1));
            if !(LONG as u64..=MAX_KEY_BYTES as u64).contains(&key_bytes) {
                return None;
            }
        }
        let kind = RecordKind::from_code(first >> 8 & 0xf)?;
        let record = Self { version: first >> 12, kind, key_bytes: key_bytes as usize };
        (record.words() <= tail.checked_sub(at)?).then_some(record)
    }

    /// Words before the key.
    #[inline]
    fn header_words(&self) -> u64 {
        1 + u64::from(self.key_bytes >= LONG)
    }

    /// Words of the whole record.
    #[inline]
    pub(super) fn words(&self) -> u64 {
        self.header_words() + (self.key_bytes as u64).div_ceil(8)
    }

    /// Appends the key of the record at a position to `key`.
    #[inline]
    pub(super) fn copy_key<R: Region>(&self, region: &R, ring: Ring, at: u64, key: &mut Vec<u8>) {
        let end = key.len() + self.key_bytes;
        for position in at + self.header_words()..at + self.words() {
            key.extend_from_slice(&region.load(ring.place(position)).to_le_bytes());
        }
        key.truncate(end);
    }

    /// Writes the record with its key at a position that no tail covers (R1), and whose places were given up.
    #[inline]
    pub(super) fn write<R: Region>(&self, region: &R, ring: Ring, at: u64, key: &[u8]) {
        let short = self.key_bytes.min(LONG) as u64;
        region.store(ring.place(at), self.version << 12 | self.kind.code() << 8 | short);
        if self.key_bytes >= LONG {
            region.store(ring.place(at + 1), self.key_bytes as u64);
        }
        for (position, chunk) in (at + self.header_words()..).zip(key.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            region.store(ring.place(position), u64::from_le_bytes(word));
        }
    }
}

/// WAY, the owner's end: gives up what lies before `low`, the newest of it of version `lost`. The stores to its places
/// come after these (R5).
#[inline]
pub(super) fn give_up<R: Region>(region: &R, low: u64, lost: u64) {
    region.store(RING_LOST, lost);
    region.store(RING_LOW, low);
}

/// WAY, a reader's end: the newest version and the first position that were not given up when all loads before this
/// one were done. Whoever read a word that was stored after [`give_up`] sees here what was given up for it.
#[inline]
pub(super) fn given_up<R: Region>(region: &R) -> GivenUp {
    fence(Ordering::Acquire);
    GivenUp { lost: region.load(RING_LOST), low: region.load(RING_LOW) }
}

/// What [`given_up`] found.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenUp {
    pub(super) lost: u64,
    pub(super) low: u64,
}
