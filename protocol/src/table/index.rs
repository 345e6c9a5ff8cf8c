//! The hash index: how a key's slot is found, and how the index grows and shrinks under readers.
//!
//! ```text
//!  root ──► bucket 0 │ bucket 1 │ ... │ bucket n-1       one contiguous range, linear hashing (super::root)
//!              │ link                                    full buckets have overflow buckets in the arena
//!              ▼
//!           overflow bucket ──► ...
//! ```
//!
//! **What a reader may rely on.** It loads the root, then each bucket's link before its tags, its tags before its
//! offsets (each load acquire, each store release). A key whose slot does not move is found: its slot is there before,
//! during and after every apply. A slot moves only in a split or a merge, and a reader that misses because of one can
//! tell:
//!
//! - *Split of bucket s into s and n.* Log: the root; then s, word by word, its link word last. `n` is prepared before,
//!   beyond the root. Keys that go to `n`: a reader with the new root finds them in `n`, whole since before the commit. One
//!   with the old root may miss them in s once their slots are emptied, which was after the root was stored: its second
//!   look at the root, later still, sees that. Keys that stay in s: those in the main bucket keep their slots; those in
//!   overflow buckets are copied into free slots of s (or into new overflow buckets) before the link word is stored, and
//!   the old overflow buckets stay as they are until the horizon has passed. So a reader that loaded the old link finds
//!   the key in the old overflow bucket, and one that loaded the new link finds it where it was put before.
//! - *Merge of bucket n into s.* Log: s, word by word, its link word last; then the root. Keys of `n`: a reader with
//!   the old root finds them in `n`, which is left as it is until the horizon has passed (`MERGED_AT` keeps a
//!   later split from reusing it earlier); one with the new root finds them in s.
//!
//! A hit needs no look at the root: an entry with the key, reached while the horizon stood, is the key's entry.

use super::bucket::{BUCKET_WORDS, Candidates, Slot, View, link};
use super::class::{Class, Unit};
use super::entry::{Entry, HEADER_WORDS};
use super::layout::{Layout, ROOT};
use super::root::Root;
use crate::region::Region;

/// No chain is longer: the owner refuses to make one, and a reader that follows one is reading garbage.
pub(super) const MAX_CHAIN: usize = 4096;

/// An entry and the slot that points to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) unit: Unit,
    /// First word of the entry's block.
    pub(super) block: u64,
    pub(super) entry: Entry,
}

/// What makes no sense unless something moved meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense(pub(super) &'static str);

pub(super) const ENDLESS_CHAIN: Nonsense = Nonsense("a chain of overflow buckets does not end");

impl Layout {
    /// The hash of a key.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(key, self.seed)
    }

    /// The first word of a main bucket.
    #[inline]
    pub(super) fn bucket(&self, number: u32) -> u64 {
        self.index.start + u64::from(number) * BUCKET_WORDS
    }

    /// The eight words of an overflow bucket.
    #[inline]
    pub(super) fn overflow(&self, unit: Unit) -> u64 {
        self.block(unit) + HEADER_WORDS
    }

    /// The root word, where it makes sense.
    #[inline]
    pub(super) fn root<R: Region>(&self, region: &R) -> Result<Root, Nonsense> {
        Root::from_word(region.load(ROOT), self.most_buckets())
            .ok_or(Nonsense("an impossible number of buckets"))
    }

    /// Whether what was found from that root stands: a hit does; a miss, or nonsense, does where the slot did not move
    /// meanwhile. To be asked after the horizon.
    #[inline]
    pub(super) fn still_finds<R: Region>(
        &self,
        region: &R,
        root: Result<Root, Nonsense>,
        hash: u64,
        hit: bool,
    ) -> bool {
        hit || match (root, self.root(region)) {
            (Ok(root), Ok(later)) => root.still_finds(later, hash),
            (Err(_), later) => later.is_err(),
            (Ok(_), Err(_)) => true,
        }
    }

    /// How many buckets the index could ever have.
    pub(super) fn most_buckets(&self) -> u32 {
        (self.index.words / BUCKET_WORDS).min(1 << 31) as u32
    }

    /// Where the value of a key begins that is where it nearly always is, and how many bytes it has. None means nothing.
    ///
    /// This is [`Layout::find_at_first`] for a get, which wants no more than that. Its instructions count: while one get waits
    /// for memory, a processor begins the next ones, as many as it has room for their instructions.
    #[inline(always)]
    pub(super) fn value_at_first<R: Region>(
        &self,
        region: &R,
        hash: u64,
        key: &[u8],
    ) -> Option<(u64, usize)> {
        let root = self.root(region).ok()?;
        let slot = Candidates::first(region, self.bucket(root.bucket(hash)), hash)?;
        let unit = slot.entry(region);
        Entry::small_value(region, self.block(unit), key).filter(|_| !unit.is_none())
    }

    /// Looks for a key where it nearly always is: behind the first candidate of its main bucket. None means nothing.
    #[inline(always)]
    pub(super) fn find_at_first<R: Region>(
        &self,
        region: &R,
        root: Root,
        hash: u64,
        key: &[u8],
    ) -> Option<Found> {
        let bucket = self.bucket(root.bucket(hash));
        let slot = Candidates::first(region, bucket, hash)?;
        let unit = slot.entry(region);
        let block = self.block(unit);
        let entry = Entry::read_small(region, block, key).filter(|_| !unit.is_none())?;
        Some(Found { slot, unit, block, entry })
    }

    /// Looks a key up. `region` has the entries, `view` the slots (which a transaction may have changed).
    pub(super) fn find<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        root: Root,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<Found>, Nonsense> {
        let mut bucket = self.bucket(root.bucket(hash));
        for _ in 0..MAX_CHAIN {
            let mut candidates = Candidates::of(view, bucket, hash);
            while let Some(lane) = candidates.next() {
                let slot = Slot { bucket, lane };
                let unit = slot.entry(view);
                if unit.is_none() {
                    continue;
                }
                let block = self.block(unit);
                let Some(entry) = Entry::read(region, block) else {
                    return Err(Nonsense("a slot points to what is no entry"));
                };
                if entry.key_bytes == key.len() && region.equals(entry.key_at(block), key) {
                    return Ok(Some(Found { slot, unit, block, entry }));
                }
            }
            if candidates.link.is_none() {
                return Ok(None);
            }
            bucket = self.overflow(candidates.link);
        }
        Err(ENDLESS_CHAIN)
    }

    /// The first word of each bucket of a chain, the main one first.
    pub(super) fn chain<V: View>(&self, view: &V, number: u32) -> Result<Vec<u64>, Nonsense> {
        let mut buckets = vec![self.bucket(number)];
        loop {
            let next = link(view, buckets[buckets.len() - 1]);
            if next.is_none() {
                return Ok(buckets);
            }
            if buckets.len() == MAX_CHAIN {
                return Err(ENDLESS_CHAIN);
            }
            buckets.push(self.overflow(next));
        }
    }

    /// Whether a block of that class may stand there at all.
    pub(super) fn fits(&self, unit: Unit, class: Class) -> bool {
        !unit.is_none() && self.block(unit) + class.units() * super::class::UNIT_WORDS <= self.arena.end()
    }
}
