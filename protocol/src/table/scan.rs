//! Reading everything, while the owner writes.
//!
//! Buckets are visited in the order of the hash's reversed bits: there, each bucket is one range, a split cuts a range
//! in two and a merge joins two, so a position in that order means the same however the index grows and shrinks
//! meanwhile (the idea of Redis's SCAN cursor). Each entry that stands throughout is visited exactly once; the whole
//! is not as of one moment (that is what snapshots are for).

use super::bucket::Slot;
use super::class::Unit;
use super::entry::Entry;
use super::error::ReadError;
use super::index::Nonsense;
use super::layout::{HORIZON, ROOT};
use super::reader::{TableReader, corrupt};
use super::root::Root;
use crate::region::Region;

/// The entries of one bucket, copied.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each entry's value and the entry end in `bytes`.
    ends: Vec<(usize, usize)>,
}

impl<R: Region> TableReader<R> {
    /// Calls back with the key and the value of each entry, in no order that means anything, until the callback
    /// returns false. Entries that are there throughout come exactly once.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ReadError> {
        let mut batch = Batch::default();
        let mut position = 0_u64;
        loop {
            let next = self.read_range(position, &mut batch)?;
            let mut start = 0;
            for (key_end, end) in &batch.ends {
                if !each(&batch.bytes[start..*key_end], &batch.bytes[*key_end..*end]) {
                    return Ok(());
                }
                start = *end;
            }
            match next {
                Some(next) => position = next,
                None => return Ok(()),
            }
        }
    }

    /// Reads the bucket that a position is in, and says where the next one starts.
    fn read_range(&self, position: u64, batch: &mut Batch) -> Result<Option<u64>, ReadError> {
        let hash = position.reverse_bits();
        loop {
            let horizon = self.region().load(HORIZON);
            let root = Root::from_word(self.region().load(ROOT));
            let bucket = root.bucket(hash);
            let read = self.read_bucket(bucket, position, batch);
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            let moved = self.region().load(HORIZON) != horizon
                || !root.still_finds(Root::from_word(self.region().load(ROOT)), hash);
            match read {
                _ if moved => {}
                Err(Nonsense(what)) => return Err(corrupt(what)),
                Ok(()) => {
                    let range = 1_u64 << (64 - root.depth(bucket));
                    return Ok((position & !(range - 1)).checked_add(range));
                }
            }
        }
    }

    fn read_bucket(&self, bucket: u32, position: u64, batch: &mut Batch) -> Result<(), Nonsense> {
        batch.bytes.clear();
        batch.ends.clear();
        for words in self.layout().chain(self.region(), bucket)? {
            for slot in Slot::all(words) {
                let unit = slot.entry(self.region());
                if !unit.is_none() {
                    self.read_entry(unit, position, batch)?;
                }
            }
        }
        Ok(())
    }

    fn read_entry(&self, unit: Unit, position: u64, batch: &mut Batch) -> Result<(), Nonsense> {
        let block = self.layout().block(unit);
        let entry = Entry::read(self.region(), block).ok_or(Nonsense("a slot points to what is no entry"))?;
        if entry.is_removed() {
            return Ok(());
        }
        let start = batch.bytes.len();
        let outside = Nonsense("an entry ends outside the segment");
        if !self.region().copy_out(entry.key_at(block), entry.key_bytes, &mut batch.bytes) {
            return Err(outside);
        }
        let key_end = batch.bytes.len();
        if self.layout().hash(&batch.bytes[start..]).reverse_bits() < position {
            // Visited before the index shrank.
            batch.bytes.truncate(start);
            return Ok(());
        }
        if !self.region().copy_out(entry.value_at(block), entry.value_bytes, &mut batch.bytes) {
            return Err(outside);
        }
        batch.ends.push((key_end, batch.bytes.len()));
        Ok(())
    }
}
