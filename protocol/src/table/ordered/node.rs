//! The nodes of the ordered index: a B+tree of small nodes without links to their neighbours.
//!
//! ```text
//!  leaf: 24 words, three lines                          inner node: 64 words, eight lines
//!  word  0       begin: 52 │ flags │ 0                  word  0        begin: 52 │ flags │ 0
//!  word  1       permutation                            word  1        number of children, 1 to 31
//!  word  2       link: 32 │ 0                           word  2        link: 32 │ 0
//!  word  3 ..  9 14 offsets of 32 bits                  word  3 .. 32  30 separators' prefixes
//!  word 10 .. 23 14 prefixes of keys                    word 33 .. 48  31 children of 32 bits
//!                                                       word 49 .. 63  30 long separators of 32 bits
//!
//!  permutation   lane 13 │ ... │ lane 1 │ lane 0 │ used: 4 │ count: 4            a lane: 4 bits
//!
//!  long separator
//!  word  0       begin: 52 │ flags │ 0
//!  word  1       bytes
//!  word  2       link: 32 │ 0
//!  then          its bytes, filled up to a word
//! ```
//!
//! **Leaf.** A *lane* is an offset (the [`Unit`] of an entry) and the *prefix* of its key: the first eight bytes, filled up with
//! zeroes, as a number that compares like them. The permutation says which lanes are in use, in the order of
//! their keys, so that one store of it adds or removes an entry (Y. Mao, E. Kohler, R. Morris, "Cache Craftiness for
//! Fast Multicore Key-Value Storage", 2012). `used` lanes were used at some time; those above are free. The
//! begin version of a leaf is that of the commit that made it or took the last entry out of it: a lane
//! that is not in the permutation is free again when the horizon has passed it, by the argument of R7 (whoever could have it from
//! an older permutation sees the horizon moved). Like an entry's block, a leaf keeps the offsets where a bucket has
//! them: a [`Slot`](crate::table::bucket::Slot) of either is used alike.
//!
//! **Inner node.** Child i has the keys from separator i - 1 on, up to separator i. Nothing but its child pointers
//! ever changes. A separator is the shortest prefix of the least key on its right that is above the greatest on its
//! left, and owns its bytes. One of at most eight bytes whose last is not zero is its prefix word: a key is at or
//! above it exactly if the key's prefix is. Any other is *long*, and has a block of its own as well, handed on when
//! the node is copied.

use std::cmp::Ordering;

use crate::region::Region;
use crate::table::bucket::{Slot, View};
use crate::table::class::{Class, UNIT_BYTES, Unit};
use crate::table::entry::{HEADER_WORDS, LINK_WORD, MAX_KEY_BYTES, NodeKind};
use crate::table::index::Nonsense;
use crate::table::layout::{Layout, TREE};

/// Lanes of a leaf.
pub(in crate::table) const LANES: usize = 14;
/// Most children of an inner node.
pub(in crate::table) const CHILDREN: usize = 31;
/// More levels of inner nodes than any table gets: 31 to the power of 12 leaves.
pub(in crate::table) const MAX_HEIGHT: u32 = 12;

/// The permutation of a leaf; the number of children of an inner node; the length of a long separator.
pub(super) const COUNT: u64 = 1;
/// Where a bucket has its offsets too.
const OFFSETS: u64 = 3;
const LANE_PREFIXES: u64 = OFFSETS + LANES as u64 / 2;
const LEAF_WORDS: u64 = LANE_PREFIXES + LANES as u64;
const SEPARATORS: u64 = 3;
const CHILD_OFFSETS: u64 = SEPARATORS + CHILDREN as u64 - 1;
const LONG_OFFSETS: u64 = CHILD_OFFSETS + CHILDREN.div_ceil(2) as u64;
/// Lines of memory that a leaf takes, where it begins with one.
pub(super) const LEAF_LINES: u64 = LEAF_WORDS / 8;
const INNER_WORDS: u64 = LONG_OFFSETS + (CHILDREN as u64 - 1) / 2;

const _: () = assert!(LEAF_WORDS == 24 && INNER_WORDS == 64, "three lines and eight");
const _: () = assert!(8 + 4 * LANES == 64, "a permutation is a word");
const _: () =
    assert!(UNIT_BYTES * 12 == LEAF_WORDS * 8 && UNIT_BYTES * 32 == INNER_WORDS * 8, "no class is larger");

pub(in crate::table) fn leaf_class() -> Class {
    Class::of_node(LEAF_WORDS * 8).expect("a leaf is small")
}

pub(in crate::table) fn inner_class() -> Class {
    Class::of_node(INNER_WORDS * 8).expect("an inner node is small")
}

/// The class of a long separator's block: one of those for parts of an index, but where it is very long.
pub(in crate::table) fn separator_class(bytes: usize) -> Class {
    let bytes = HEADER_WORDS * 8 + bytes as u64;
    Class::of_node(bytes).or_else(|| Class::of_bytes(bytes)).expect("a separator is not longer than a key")
}

/// The first eight bytes of a key as a number that compares like them.
#[inline(always)]
pub(super) fn prefix_of(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    first[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(first)
}

/// The decoded word `TREE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::table) struct Tree {
    /// A leaf where the height is zero.
    pub(in crate::table) root: Unit,
    /// Levels of inner nodes.
    pub(in crate::table) height: u32,
}

impl Tree {
    /// None where no leaf was ever needed.
    #[inline(always)]
    pub(in crate::table) fn read<V: View>(view: &V) -> Result<Option<Self>, Nonsense> {
        let word = view.word(TREE);
        let tree = Self { root: Unit(word as u32), height: (word >> 32) as u32 };
        if word == 0 {
            return Ok(None);
        }
        if tree.root.is_none() || tree.height > MAX_HEIGHT {
            return Err(Nonsense("an impossible root of the tree"));
        }
        Ok(Some(tree))
    }

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.height) << 32 | u64::from(self.root.0)
    }
}

/// Which lanes of a leaf are in use, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::table) struct Permutation(pub(super) u64);

impl Permutation {
    #[inline(always)]
    pub(super) fn read<V: View>(view: &V, leaf: u64) -> Result<Self, Nonsense> {
        let permutation = Self(view.word(leaf + COUNT));
        if permutation.count() > LANES {
            Err(Nonsense("a leaf with too many entries"))
        } else {
            Ok(permutation)
        }
    }

    #[inline(always)]
    pub(in crate::table) fn count(self) -> usize {
        (self.0 & 15) as usize
    }

    #[inline(always)]
    pub(super) fn used(self) -> usize {
        (self.0 >> 4 & 15) as usize
    }

    /// The lane at a position; anything beyond the last.
    #[inline(always)]
    pub(super) fn lane(self, position: usize) -> u64 {
        self.0.wrapping_shr(8 + 4 * position as u32) & 15
    }

    pub(super) fn lanes(self) -> impl Iterator<Item = u64> {
        (0..self.count()).map(move |position| self.lane(position))
    }

    /// The first so many lanes, in their order.
    pub(super) fn first(count: usize) -> Self {
        (0..count).fold(Self(0), |permutation, lane| permutation.with(lane, lane as u64))
    }

    /// With a lane at a position, and those from there on after it.
    #[inline]
    pub(super) fn with(self, position: usize, lane: u64) -> Self {
        let order = self.0 >> 8;
        let below = order & ((1 << (4 * position)) - 1);
        let above = if position + 1 < LANES { order >> (4 * position) << (4 * position + 4) } else { 0 };
        let used = self.used().max(lane as usize + 1);
        let order = above & (u64::MAX >> 8) | lane << (4 * position) | below;
        Self(order << 8 | (used as u64) << 4 | (self.count() as u64 + 1))
    }

    /// Without the lane at a position.
    pub(super) fn without(self, position: usize) -> Self {
        let order = self.0 >> 8;
        let below = order & ((1 << (4 * position)) - 1);
        let above = if position + 1 < LANES { order >> (4 * position + 4) << (4 * position) } else { 0 };
        Self((above | below) << 8 | (self.0 & 0xf0) | (self.count() as u64 - 1))
    }

    /// A lane that is not in it, among those that were used.
    pub(super) fn unused_lane(self) -> Option<u64> {
        let in_use = self.lanes().fold(0_u32, |lanes, lane| lanes | 1 << lane);
        (0..self.used() as u64).find(|lane| in_use >> lane & 1 == 0)
    }

    /// Whether each lane in it is one that was used, and there once.
    pub(in crate::table) fn is_sane(self) -> bool {
        let in_use = self.lanes().fold(0_u32, |lanes, lane| lanes | 1 << lane);
        self.count() <= self.used()
            && self.used() <= LANES
            && in_use.count_ones() as usize == self.count()
            && in_use < 1 << self.used()
    }
}

/// The prefix of a leaf's lane.
#[inline(always)]
pub(super) fn lane_prefix_word(leaf: u64, lane: u64) -> u64 {
    leaf + LANE_PREFIXES + lane
}

/// The word with an inner node's child, as a [`Slot`] names it.
#[inline(always)]
fn child_slot(node: u64, index: usize) -> Slot {
    Slot { bucket: node + CHILD_OFFSETS - OFFSETS, lane: index as u64 }
}

#[inline(always)]
fn long_slot(node: u64, index: usize) -> Slot {
    Slot { bucket: node + LONG_OFFSETS - OFFSETS, lane: index as u64 }
}

/// A child of an inner node.
#[inline(always)]
pub(in crate::table) fn child<V: View>(view: &V, node: u64, index: usize) -> Unit {
    child_slot(node, index).entry(view)
}

/// The word with a child, and its value with another child.
pub(super) fn with_child<V: View>(view: &V, node: u64, index: usize, unit: Unit) -> (u64, u64) {
    let slot = child_slot(node, index);
    (slot.offset_word(), slot.with_offset(view.word(slot.offset_word()), unit))
}

/// The words with the children of an inner node.
pub(super) fn child_words(node: u64) -> std::ops::Range<u64> {
    node + CHILD_OFFSETS..node + LONG_OFFSETS
}

/// The number of separators of an inner node, where it is one.
#[inline(always)]
pub(super) fn separators<V: View>(view: &V, node: u64) -> Result<usize, Nonsense> {
    let count = view.word(node + COUNT).wrapping_sub(1);
    if count >= CHILDREN as u64 || !NodeKind::Inner.is_of(view.word(node)) {
        return Err(Nonsense("a child that is no inner node"));
    }
    Ok(count as usize)
}

#[inline(always)]
pub(super) fn separator_prefix<V: View>(view: &V, node: u64, index: usize) -> u64 {
    view.word(node + SEPARATORS + index as u64)
}

/// A bound between two children: keys from it on are on its right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::table) struct Separator {
    pub(super) prefix: u64,
    /// Its bytes, where it is long.
    pub(in crate::table) long: Unit,
}

impl Separator {
    const NONE: Separator = Separator { prefix: 0, long: Unit::NONE };

    #[inline(always)]
    pub(super) fn read<V: View>(view: &V, node: u64, index: usize) -> Self {
        Self { prefix: separator_prefix(view, node, index), long: long_slot(node, index).entry(view) }
    }

    /// Whether bytes need more than a prefix word to be a separator.
    pub(super) fn is_long(bytes: &[u8]) -> bool {
        bytes.len() > 8 || bytes.last().is_none_or(|last| *last == 0)
    }

    /// How it compares with a key.
    pub(super) fn compare<R: Region>(
        self,
        layout: &Layout,
        region: &R,
        key: &[u8],
        prefix: u64,
    ) -> Result<Ordering, Nonsense> {
        if self.prefix != prefix {
            return Ok(self.prefix.cmp(&prefix));
        }
        if self.long.is_none() {
            return Ok(self.short_bytes().cmp(&key.len()));
        }
        let block = layout.block(self.long);
        let bytes = long_bytes(region, block)?;
        Ok(compare(region, block + HEADER_WORDS, bytes, key))
    }

    /// Bytes of a separator that is not long: its last is not zero.
    fn short_bytes(self) -> usize {
        8 - self.prefix.trailing_zeros() as usize / 8
    }

    /// Its bytes.
    pub(in crate::table) fn copy<R: Region>(self, layout: &Layout, region: &R) -> Result<Vec<u8>, Nonsense> {
        if self.long.is_none() {
            return Ok(self.prefix.to_be_bytes()[..self.short_bytes()].to_vec());
        }
        let block = layout.block(self.long);
        let bytes = long_bytes(region, block)?;
        let mut copy = Vec::new();
        if !region.copy_out(block + HEADER_WORDS, bytes, &mut copy) {
            return Err(Nonsense("a separator ends outside the segment"));
        }
        Ok(copy)
    }
}

/// Bytes of a long separator.
pub(in crate::table) fn long_bytes<R: Region>(region: &R, block: u64) -> Result<usize, Nonsense> {
    let bytes = region.load(block + COUNT);
    if !NodeKind::Separator.is_of(region.load(block)) || bytes > MAX_KEY_BYTES as u64 {
        return Err(Nonsense("a separator that is none"));
    }
    Ok(bytes as usize)
}

/// How bytes in the region compare with others, as slices do.
pub(in crate::table) fn compare<R: Region>(region: &R, word: u64, bytes: usize, other: &[u8]) -> Ordering {
    for (number, chunk) in other.chunks(8).enumerate() {
        let have = region.load(word.saturating_add(number as u64)).to_le_bytes();
        let left = bytes.saturating_sub(8 * number).min(8);
        match have[..left].cmp(chunk) {
            // Where one of them ends here, the comparison of the chunks has said so.
            Ordering::Equal => {}
            differ => return differ,
        }
    }
    bytes.cmp(&other.len())
}

/// Two offsets in a word.
fn pair(low: Unit, high: Unit) -> u64 {
    u64::from(low.0) | u64::from(high.0) << 32
}

/// A block's header, in reusable memory. The link is kept: until the commit, the block is still in its queue.
fn write_header<R: Region>(region: &R, block: u64, begin: u64, kind: NodeKind, count: u64) {
    region.store(block, kind.header(begin));
    region.store(block + COUNT, count);
    region.store(block + LINK_WORD, region.load(block + LINK_WORD) & !0xffff_ffff);
}

/// Writes a long separator into reusable memory.
pub(super) fn write_separator<R: Region>(region: &R, block: u64, begin: u64, bytes: &[u8]) {
    write_header(region, block, begin, NodeKind::Separator, bytes.len() as u64);
    region.copy_in(block + HEADER_WORDS, bytes);
}

/// What a leaf holds, in order, with room for one more than fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeafImage {
    count: usize,
    lanes: [(u64, Unit); LANES + 1],
}

impl LeafImage {
    pub(super) const EMPTY: LeafImage = LeafImage { count: 0, lanes: [(0, Unit::NONE); LANES + 1] };

    pub(super) fn read<V: View>(view: &V, leaf: u64) -> Result<Self, Nonsense> {
        let mut image = Self::EMPTY;
        for lane in Permutation::read(view, leaf)?.lanes() {
            let unit = Slot { bucket: leaf, lane }.entry(view);
            image.push(view.word(lane_prefix_word(leaf, lane)), unit);
        }
        Ok(image)
    }

    pub(super) fn lanes(&self) -> &[(u64, Unit)] {
        &self.lanes[..self.count]
    }

    pub(super) fn push(&mut self, prefix: u64, unit: Unit) {
        self.lanes[self.count] = (prefix, unit);
        self.count += 1;
    }

    pub(super) fn insert(&mut self, position: usize, prefix: u64, unit: Unit) {
        self.lanes.copy_within(position..self.count, position + 1);
        self.lanes[position] = (prefix, unit);
        self.count += 1;
    }

    /// Takes out what is at a position and after it.
    pub(super) fn split(&mut self, at: usize) -> LeafImage {
        let mut right = Self::EMPTY;
        self.lanes[at..self.count].iter().for_each(|(prefix, unit)| right.push(*prefix, *unit));
        self.count = at;
        right
    }

    /// Writes it into reusable memory, as a leaf of the commit `begin`.
    pub(super) fn write<R: Region>(&self, region: &R, leaf: u64, begin: u64) {
        write_header(region, leaf, begin, NodeKind::Leaf, Permutation::first(self.count).0);
        for index in 0..LANES / 2 {
            let offset = |lane: usize| self.lanes().get(lane).map_or(Unit::NONE, |lane| lane.1);
            region.store(leaf + OFFSETS + index as u64, pair(offset(2 * index), offset(2 * index + 1)));
        }
        for (lane, (prefix, _)) in self.lanes().iter().enumerate() {
            region.store(lane_prefix_word(leaf, lane as u64), *prefix);
        }
    }
}

/// What an inner node holds, with room for one more than fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct InnerImage {
    count: usize,
    children: [Unit; CHILDREN + 1],
    separators: [Separator; CHILDREN],
}

impl InnerImage {
    /// A node of one child.
    pub(super) fn of(child: Unit) -> Self {
        let mut image =
            Self { count: 1, children: [Unit::NONE; CHILDREN + 1], separators: [Separator::NONE; CHILDREN] };
        image.children[0] = child;
        image
    }

    pub(super) fn read<V: View>(view: &V, node: u64) -> Result<Self, Nonsense> {
        let mut image = Self::of(child(view, node, 0));
        for index in 0..separators(view, node)? {
            image.push(Separator::read(view, node, index), child(view, node, index + 1));
        }
        Ok(image)
    }

    pub(super) fn children(&self) -> &[Unit] {
        &self.children[..self.count]
    }

    pub(super) fn separator(&self, index: usize) -> Separator {
        self.separators[index]
    }

    pub(super) fn set_child(&mut self, index: usize, unit: Unit) {
        self.children[index] = unit;
    }

    pub(super) fn push(&mut self, separator: Separator, child: Unit) {
        self.insert(self.count - 1, separator, child);
    }

    /// Adds a child after the one at `index`, and the separator between them.
    pub(super) fn insert(&mut self, index: usize, separator: Separator, child: Unit) {
        self.separators.copy_within(index..self.count - 1, index + 1);
        self.separators[index] = separator;
        self.children.copy_within(index + 1..self.count, index + 2);
        self.children[index + 1] = child;
        self.count += 1;
    }

    /// Takes out the child at `index`, of several, and the separator before it (after it, for the first).
    pub(super) fn remove(&mut self, index: usize) -> Separator {
        let between = index.saturating_sub(1);
        let separator = self.separators[between];
        self.separators.copy_within(between + 1..self.count - 1, between);
        self.children.copy_within(index + 1..self.count, index);
        self.count -= 1;
        separator
    }

    /// Takes out the children from one that is not the first on, and the separator before them.
    pub(super) fn split(&mut self, at: usize) -> (Separator, InnerImage) {
        let mut right = Self::of(self.children[at]);
        for index in at + 1..self.count {
            right.push(self.separators[index - 1], self.children[index]);
        }
        self.count = at;
        (self.separators[at - 1], right)
    }

    /// Adds the children of its right neighbour, which are not too many.
    pub(super) fn join(&mut self, between: Separator, right: &InnerImage) {
        self.push(between, right.children[0]);
        for index in 1..right.count {
            self.push(right.separators[index - 1], right.children[index]);
        }
    }

    /// Writes it into reusable memory, as a node of the commit `begin`.
    pub(super) fn write<R: Region>(&self, region: &R, node: u64, begin: u64) {
        write_header(region, node, begin, NodeKind::Inner, self.count as u64);
        let separators = &self.separators[..self.count - 1];
        for (index, separator) in separators.iter().enumerate() {
            region.store(node + SEPARATORS + index as u64, separator.prefix);
        }
        let children = self.children();
        for index in 0..children.len().div_ceil(2) {
            let child = |index: usize| children.get(index).copied().unwrap_or(Unit::NONE);
            region.store(node + CHILD_OFFSETS + index as u64, pair(child(2 * index), child(2 * index + 1)));
        }
        for index in 0..separators.len().div_ceil(2) {
            let long = |index: usize| separators.get(index).map_or(Unit::NONE, |separator| separator.long);
            region.store(node + LONG_OFFSETS + index as u64, pair(long(2 * index), long(2 * index + 1)));
        }
    }
}
