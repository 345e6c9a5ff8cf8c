//! Entries that are copied together, under one look at the horizon, and shown after it.

use super::entry::{Attributes, Entry};
use super::error::ReadError;
use super::index::Nonsense;
use super::reader::TableReader;
use super::scan::Visit;
use super::versions::AsOf;
use crate::region::Region;

/// Longer values are not copied with the others, where one move of the horizon would throw all away, but by a get.
const LONG_VALUE_BYTES: usize = 1024;

/// The entries of one bucket or one leaf, copied.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Copied>,
}

/// An entry in the bytes of a batch: the key from `start` on, then the value from the next word on.
#[derive(Debug, Clone, Copy)]
struct Copied {
    start: usize,
    key_end: usize,
    value_start: usize,
    /// None for a long value, which is not in the bytes.
    end: Option<usize>,
    attributes: Attributes,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key of the entry at that place.
    pub(super) fn key(&self, place: usize) -> &[u8] {
        self.key_of(&self.entries[place])
    }

    /// The key of the entry that was copied last.
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.entries.last().map(|entry| self.key_of(entry))
    }

    fn key_of(&self, entry: &Copied) -> &[u8] {
        &self.bytes[entry.start..entry.key_end]
    }

    /// Copies an entry behind those that are there, and says at which place.
    #[inline]
    pub(super) fn push<R: Region>(
        &mut self,
        region: &R,
        block: u64,
        entry: &Entry,
    ) -> Result<usize, Nonsense> {
        let start = self.bytes.len();
        let (key_end, value_start) = (start + entry.key_bytes, start + entry.key_bytes.next_multiple_of(8));
        let long = entry.value_bytes > LONG_VALUE_BYTES;
        let end = if long { key_end } else { value_start + entry.value_bytes };
        // The value is right behind the key.
        if !region.copy_out(entry.key_at(block), end - start, &mut self.bytes) {
            return Err(Nonsense("an entry ends outside the segment"));
        }
        let end = (!long).then_some(end);
        self.entries.push(Copied { start, key_end, value_start, end, attributes: entry.attributes });
        Ok(self.entries.len() - 1)
    }

    /// Forgets the entry that was copied last.
    pub(super) fn pop(&mut self) {
        if let Some(last) = self.entries.pop() {
            self.bytes.truncate(last.start);
        }
    }
}

impl<R: Region> TableReader<R> {
    /// Shows the entries of a batch; whether to go on. `long` is a buffer for values that are not in the batch.
    pub(super) fn show(
        &self,
        batch: &Batch,
        as_of: AsOf,
        long: &mut Vec<u8>,
        each: &mut Visit<'_>,
    ) -> Result<bool, ReadError> {
        for entry in &batch.entries {
            let key = batch.key_of(entry);
            let go_on = match entry.end {
                Some(end) => each(key, &batch.bytes[entry.value_start..end], entry.attributes),
                None => {
                    long.clear();
                    let is_bag = self.layout().kind.is_bag();
                    let found = if is_bag {
                        self.read_by_index_key(as_of, key, long)
                    } else {
                        self.read_as_of(as_of, key, long)
                    };
                    // Where it is gone by now, it did not stand throughout.
                    found?.is_none_or(|attributes| each(key, long, attributes))
                }
            };
            if !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
