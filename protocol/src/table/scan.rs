//! Reading everything, while the owner writes.
//!
//! Buckets are visited in the order of the hash's reversed bits: there, each bucket is one range, a split cuts a range
//! in two and a merge joins two, so a position in that order means the same however the index grows and shrinks
//! meanwhile (the idea of Redis's SCAN cursor). Each entry that stands throughout is visited exactly once; the whole
//! is not as of one moment (that is what snapshots are for).
//!
//! In the middle of an apply (or where the owner died in one, for as long as recovery takes), a chain may show a key
//! twice, or keys that belong to its twin. So an entry counts only in the range of its own hash, and once.

use super::batch::Batch;
use super::bucket::{Slot, link};
use super::class::Unit;
use super::entry::Attributes;
use super::error::ReadError;
use super::index::{ENDLESS_CHAIN, MAX_CHAIN, Nonsense};
use super::layout::HORIZON;
use super::ordered::{Order, Span};
use super::reader::{TableReader, corrupt};
use super::root::Root;
use super::versions::AsOf;
use crate::region::Region;

/// Sees the key and the value of an entry, and what it has beside them; whether to go on.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8], Attributes) -> bool + 'v;

/// The entries of one bucket, and where they stand in the order.
#[derive(Default)]
struct Bucket {
    batch: Batch,
    orders: Vec<u64>,
}

/// A range of hashes, in the order of their reversed bits; the last one included.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
}

impl<R: Region> TableReader<R> {
    /// Calls back with the key and the value of each entry, until the callback returns false: in the order of the keys
    /// where the table has one. Entries that are there throughout come exactly once.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ReadError> {
        self.scan_attributed(&mut |key, value, _| each(key, value))
    }

    /// The same, and says what each entry has beside its key and value.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn scan_attributed(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
        self.scan_as_of(AsOf::Newest, each)
    }

    /// The same as of then: a version is visited exactly, whatever its reader meets meanwhile.
    pub(super) fn scan_as_of(&self, as_of: AsOf, each: &mut Visit<'_>) -> Result<(), ReadError> {
        if self.layout().kind.is_ordered() {
            return self.visit(as_of, Span::ALL, Order::Ascending, each);
        }
        let mut bucket = Bucket::default();
        let mut long = Vec::new();
        let mut next = Some(0);
        while let Some(first) = next {
            let last = self.checked(as_of, || self.read_range(first, as_of, &mut bucket))?;
            if !self.show(&bucket.batch, as_of, &mut long, each)? {
                return Ok(());
            }
            next = last.checked_add(1);
        }
        Ok(())
    }

    /// Reads the bucket that a position is in, from that position on, and says where it ends.
    fn read_range(&self, first: u64, as_of: AsOf, bucket: &mut Bucket) -> Result<u64, ReadError> {
        let hash = first.reverse_bits();
        loop {
            let horizon = self.region().load(HORIZON);
            let root = self.layout().root(self.region());
            let read = root.and_then(|root| {
                let bits = 64 - root.depth(root.bucket(hash));
                let range = Range { first, last: first | (u64::MAX >> (64 - bits)) };
                self.fetch_next_buckets(root, range);
                self.read_bucket(root, range, as_of, bucket).map(|()| range.last)
            });
            if self.stands(horizon) && self.layout().still_finds(self.region(), root, hash, false) {
                return read.map_err(|Nonsense(what)| corrupt(what));
            }
        }
    }

    fn read_bucket(
        &self,
        root: Root,
        range: Range,
        as_of: AsOf,
        bucket: &mut Bucket,
    ) -> Result<(), Nonsense> {
        bucket.batch.clear();
        bucket.orders.clear();
        let mut words = self.layout().bucket(root.bucket(range.first.reverse_bits()));
        for _ in 0..MAX_CHAIN {
            // The link first: see `super::index`.
            let next = link(self.region(), words);
            for unit in Slot::entries(self.region(), words) {
                if !unit.is_none() {
                    self.read_entry(unit, range, as_of, bucket)?;
                }
            }
            if next.is_none() {
                return Ok(());
            }
            words = self.layout().overflow(next);
        }
        Err(ENDLESS_CHAIN)
    }

    /// Has the memory fetched that the next two steps read, which is far from here: the entries of the next bucket, whose
    /// words the step before this one had fetched, and the words of the one after it.
    fn fetch_next_buckets(&self, root: Root, range: Range) {
        let Some(next) = range.last.checked_add(1) else { return };
        let number = root.bucket(next.reverse_bits());
        for unit in Slot::entries(self.region(), self.layout().bucket(number)) {
            self.layout().prefetch(self.region(), unit);
        }
        let after = next.wrapping_add(1 << (64 - root.depth(number)));
        self.region().prefetch(self.layout().bucket(root.bucket(after.reverse_bits())));
    }

    #[inline]
    fn read_entry(&self, unit: Unit, range: Range, as_of: AsOf, bucket: &mut Bucket) -> Result<(), Nonsense> {
        let Some((block, entry)) = self.resolve(unit, as_of)? else {
            return Ok(());
        };
        let place = bucket.batch.push(self.region(), block, &entry)?;
        let order = self.layout().hash(bucket.batch.key(place)).reverse_bits();
        let elsewhere = order < range.first || order > range.last;
        if elsewhere || bucket.has(order, place) {
            bucket.batch.pop();
        } else {
            bucket.orders.push(order);
        }
        Ok(())
    }
}

impl Bucket {
    /// Whether the key at that place is there already.
    fn has(&self, order: u64, place: usize) -> bool {
        let same = |at: usize| self.orders[at] == order && self.batch.key(at) == self.batch.key(place);
        (0..place).any(same)
    }
}
