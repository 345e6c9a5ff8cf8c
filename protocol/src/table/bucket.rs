//! A bucket of the hash index: one cache line, ten slots.
//!
//! ```text
//!  word 0   tag 3 │ tag 2 │ tag 1 │ tag 0           a tag: 9 bits that tell keys apart │ 7 bits for splitting
//!  word 1   tag 7 │ tag 6 │ tag 5 │ tag 4
//!  word 2   overflow link: 32 │ tag 9 │ tag 8
//!  word 3   offset 1: 32 │ offset 0: 32             an offset: the Unit of the entry, zero in an unused slot
//!  ...
//!  word 7   offset 9: 32 │ offset 8: 32
//! ```
//!
//! A slot is used when its offset is not zero; the tag of an unused slot means nothing. So a slot may be filled by
//! two stores in either order, and emptied by one: a key shows when both its tag and its offset are there, and the
//! key itself is compared whatever the tag says.
//!
//! An overflow bucket is the same eight words behind a block header, in a block of its own.
//!
//! The reader loads word 2 (the link) before the other words: see [`super::index`] for why that order matters.

use std::array;

use super::class::{Class, Unit};
use super::entry::HEADER_WORDS;
use crate::region::Region;

/// Slots of a bucket.
pub(super) const SLOTS: u64 = 10;
/// Words of a bucket.
pub(super) const BUCKET_WORDS: u64 = 8;
/// The word with the link.
const LINK: u64 = 2;

/// The class of an overflow bucket's block.
pub(super) fn overflow_class() -> Class {
    Class::of_node((HEADER_WORDS + BUCKET_WORDS) * 8).expect("an overflow bucket is small")
}

/// How a table's words are seen: as they are, or through the write set of a transaction.
pub(super) trait View {
    fn word(&self, word: u64) -> u64;
}

impl<R: Region> View for R {
    #[inline]
    fn word(&self, word: u64) -> u64 {
        self.load(word)
    }
}

/// A place for an entry: a bucket (by its first word) and which of its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) bucket: u64,
    pub(super) lane: u64,
}

impl Slot {
    /// The word with the slot's offset.
    #[inline(always)]
    pub(super) fn offset_word(self) -> u64 {
        self.bucket + 3 + self.lane / 2
    }

    /// The offset in that word.
    #[inline]
    pub(super) fn offset_in(self, word: u64) -> Unit {
        Unit((word >> (32 * (self.lane % 2))) as u32)
    }

    /// That word with another offset.
    #[inline]
    pub(super) fn with_offset(self, word: u64, unit: Unit) -> u64 {
        let shift = 32 * (self.lane % 2);
        word & !(0xffff_ffff << shift) | u64::from(unit.0) << shift
    }

    /// The word with the slot's tag.
    #[inline]
    pub(super) fn tag_word(self) -> u64 {
        self.bucket + self.lane / 4
    }

    /// The tag in that word.
    #[inline]
    pub(super) fn tag_in(self, word: u64) -> Tag {
        Tag((word >> (16 * (self.lane % 4))) as u16)
    }

    /// That word with another tag.
    #[inline]
    pub(super) fn with_tag(self, word: u64, tag: Tag) -> u64 {
        let shift = 16 * (self.lane % 4);
        word & !(0xffff << shift) | u64::from(tag.0) << shift
    }

    /// All slots of a bucket.
    pub(super) fn all(bucket: u64) -> impl Iterator<Item = Slot> {
        (0..SLOTS).map(move |lane| Slot { bucket, lane })
    }

    /// The entries in the slots of a bucket, lane by lane.
    #[inline(always)]
    pub(super) fn entries<V: View>(view: &V, bucket: u64) -> [Unit; SLOTS as usize] {
        let words: [u64; SLOTS as usize / 2] =
            array::from_fn(|pair| view.word(Slot { bucket, lane: 2 * pair as u64 }.offset_word()));
        array::from_fn(|lane| Slot { bucket, lane: lane as u64 }.offset_in(words[lane / 2]))
    }

    /// The first unused slot of a bucket.
    #[inline]
    pub(super) fn unused<V: View>(view: &V, bucket: u64) -> Option<Slot> {
        (0..SLOTS).step_by(2).find_map(|lane| {
            let slot = Slot { bucket, lane };
            let word = view.word(slot.offset_word());
            [slot, Slot { bucket, lane: lane + 1 }].into_iter().find(|slot| slot.offset_in(word).is_none())
        })
    }

    /// The entry in the slot.
    #[inline(always)]
    pub(super) fn entry<V: View>(self, view: &V) -> Unit {
        self.offset_in(view.word(self.offset_word()))
    }
}

/// What a bucket keeps of a hash.
///
/// Readers compare the upper 9 bits, which never change while a slot is used. The lower 7 are a window of the hash
/// that tells a split where each entry goes without touching it; only the owner reads them, and a split that leaves
/// the window fills it anew (see [`window`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u16);

const TELLING: u64 = 0xff80_ff80_ff80_ff80;
const LANES: u64 = 0x0001_0001_0001_0001;

impl Tag {
    /// The tag of a hash in a bucket of that depth.
    #[inline]
    pub(super) fn new(hash: u64, depth: u32) -> Self {
        Self(((hash >> 55) << 7 | hash >> window(depth) & 0x7f) as u16)
    }

    /// Bit `depth` of the hash, which says where a bucket of that depth sends the entry when it splits.
    #[inline]
    pub(super) fn split_bit(self, depth: u32) -> bool {
        self.0 >> (depth - window(depth)) & 1 == 1
    }
}

/// The first bit of the hash in the tags of a bucket of that depth. The windows change at 6, 13, 20, 27: entries are
/// touched when a table grows past 350, 45,000, 5,800,000 entries, and at no other time.
#[inline]
pub(super) fn window(depth: u32) -> u32 {
    if depth < 6 { 0 } else { 6 + (depth - 6) / 7 * 7 }
}

/// The lanes of a bucket whose tags agree with a hash, one bit each, and its link.
pub(super) struct Candidates {
    lanes: u32,
    pub(super) link: Unit,
}

impl Candidates {
    #[inline(always)]
    pub(super) fn of<V: View>(view: &V, bucket: u64, hash: u64) -> Self {
        // The link first: see `super::index`.
        let last = view.word(bucket + LINK);
        let telling = (hash >> 55 << 7) * LANES;
        let lanes = agree(view.word(bucket), telling)
            | agree(view.word(bucket + 1), telling) << 4
            | (agree(last, telling) & 3) << 8;
        Self { lanes, link: Unit((last >> 32) as u32) }
    }

    /// The slot of the first one.
    #[inline(always)]
    pub(super) fn first<V: View>(view: &V, bucket: u64, hash: u64) -> Option<Slot> {
        let lanes = Self::of(view, bucket, hash).lanes;
        (lanes != 0).then(|| Slot { bucket, lane: u64::from(lanes.trailing_zeros()) })
    }

    /// The next lane.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<u64> {
        let lane = u64::from(self.lanes.trailing_zeros());
        if self.lanes == 0 {
            return None;
        }
        self.lanes &= self.lanes - 1;
        Some(lane)
    }
}

/// One bit for each 16-bit lane whose telling bits agree; exact, no lane disturbs another.
#[inline(always)]
fn agree(tags: u64, telling: u64) -> u32 {
    const LOW: u64 = 0x7fff_7fff_7fff_7fff;
    let differ = (tags ^ telling) & TELLING;
    let same = !(((differ & LOW) + LOW) | differ | LOW);
    // The top bits of the four lanes, gathered in the highest four bits.
    ((same >> 15).wrapping_mul(0x1000_2000_4000_8000) >> 60) as u32
}

/// The overflow link of a bucket.
#[inline]
pub(super) fn link<V: View>(view: &V, bucket: u64) -> Unit {
    Unit((view.word(bucket + LINK) >> 32) as u32)
}

/// The word with the link, and its value with another link.
#[inline]
pub(super) fn with_link<V: View>(view: &V, bucket: u64, unit: Unit) -> (u64, u64) {
    (bucket + LINK, view.word(bucket + LINK) & 0xffff_ffff | u64::from(unit.0) << 32)
}

/// The words of a new bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BucketImage(pub(super) [u64; BUCKET_WORDS as usize]);

impl BucketImage {
    pub(super) fn put(&mut self, lane: u64, tag: Tag, unit: Unit) {
        let slot = Slot { bucket: 0, lane };
        let offsets = &mut self.0[slot.offset_word() as usize];
        *offsets = slot.with_offset(*offsets, unit);
        let tags = &mut self.0[slot.tag_word() as usize];
        *tags = slot.with_tag(*tags, tag);
    }

    pub(super) fn link(&mut self, unit: Unit) {
        self.0[LINK as usize] = self.0[LINK as usize] & 0xffff_ffff | u64::from(unit.0) << 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agree_is_exact(tags: u64, hash: u64) {
            let telling = (hash >> 55 << 7) * LANES;
            for lane in 0..4 {
                let same = (tags >> (16 * lane)) as u16 >> 7 == (hash >> 55) as u16;
                prop_assert_eq!(agree(tags, telling) >> lane & 1 == 1, same);
            }
            prop_assert!(agree(tags, telling) < 16);
        }

        #[test]
        fn tags_know_the_bit_that_splits(hash: u64, depth in 0u32..32) {
            prop_assert_eq!(Tag::new(hash, depth).split_bit(depth), hash >> depth & 1 == 1);
        }

        #[test]
        fn slots_do_not_disturb_each_other(words: [u64; 8], lane in 0..SLOTS, tag: u16, unit: u32) {
            let mut image = BucketImage(words);
            image.put(lane, Tag(tag), Unit(unit));
            for slot in Slot::all(0) {
                let (expected_tag, expected_unit) = if slot.lane == lane {
                    (Tag(tag), Unit(unit))
                } else {
                    (slot.tag_in(words[slot.tag_word() as usize]), slot.offset_in(words[slot.offset_word() as usize]))
                };
                prop_assert_eq!(slot.tag_in(image.0[slot.tag_word() as usize]), expected_tag);
                prop_assert_eq!(slot.offset_in(image.0[slot.offset_word() as usize]), expected_unit);
            }
            prop_assert_eq!(image.0[2] >> 32, words[2] >> 32);
        }
    }
}
