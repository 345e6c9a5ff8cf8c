//! An entry: one key with one value, as of the commit that wrote it.
//!
//! ```text
//!  word 0   begin version: 52 │ flags: 4 │ key bytes: 8          never changes
//!  word 1   removed-at version: 52 │ value bytes: 12             set by the commit that removes it; all ones: unlinked
//!  word 2   link: 32 │ previous entry: 32                        link: the allocator's, no reader reads it
//!  [ key bytes: 32 │ value bytes: 32 ]  [ hash ]                 LARGE: a key above 255 or a value above 4095 bytes
//!  [ deadline ]                                                  EXPIRES: milliseconds of UNIX time
//!  [ schema version ]                                            SCHEMA: not the table's base version
//!  key, filled up to a word
//!  value, filled up to a word
//! ```
//!
//! With an 8-byte key the header and the key share half a line, and an entry with a 64-byte value is 96 bytes: two
//! lines wherever it stands. 52 bits of version last 28 years at 5,000,000 commits a second.
//!
//! Every block of the arena, entry or not, keeps the allocator's link in the upper half of word 2 ([`LINK_WORD`]).
//! Since the previous entry shares that word with the link, no commit may set the one and free the block: the link is
//! stored at once, and recovery would put the old one back. The bequest is an entry with an empty key.

use super::class::{Class, UNIT_BYTES, UNIT_WORDS, Unit};
use super::clock::Clock;
use crate::region::Region;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// Longest value (and bequest), in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// Words of the header that every block has.
pub(super) const HEADER_WORDS: u64 = 3;
/// The word of a block whose upper half is the allocator's link.
pub(super) const LINK_WORD: u64 = 2;
/// The largest version that fits.
pub(super) const MAX_VERSION: u64 = (1 << 52) - 2;

const LARGE: u64 = 1;
const EXPIRES: u64 = 2;
const SCHEMA: u64 = 4;
const KNOWN_FLAGS: u64 = LARGE | EXPIRES | SCHEMA;
/// Not an entry: a part of an index. The other flags say which; an overflow bucket has none of them.
const NODE: u64 = 8;

const SMALL_KEY_BYTES: u64 = 0xff;
const SMALL_VALUE_BYTES: u64 = 0xfff;

/// The longest entry, with every extension.
#[cfg(test)]
pub(super) const MAX_BLOCK_BYTES: u64 =
    (HEADER_WORDS + 4) * 8 + MAX_KEY_BYTES as u64 + MAX_VALUE_BYTES as u64;

/// What an entry can have beside its key and its value. Most have neither, and pay nothing for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// When it expires, in milliseconds of UNIX time: from then on no reader sees it.
    pub deadline_ms: Option<u64>,
    /// The version of the schema that its value was written with, where that is not the table's base version.
    pub schema_version: Option<u32>,
}

impl Attributes {
    fn flags(&self) -> u64 {
        u64::from(self.deadline_ms.is_some()) * EXPIRES + u64::from(self.schema_version.is_some()) * SCHEMA
    }
}

/// What an entry that is to be written holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry<'a> {
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) attributes: Attributes,
}

impl NewEntry<'_> {
    #[inline]
    fn flags(&self) -> u64 {
        let large = self.key.len() as u64 > SMALL_KEY_BYTES || self.value.len() as u64 > SMALL_VALUE_BYTES;
        if large { LARGE | self.attributes.flags() } else { self.attributes.flags() }
    }

    /// The class of the block that it needs. The lengths are within the limits.
    #[inline]
    pub(super) fn class(&self) -> Class {
        let words = HEADER_WORDS
            + extension_words(self.flags())
            + (self.key.len() as u64).div_ceil(8)
            + (self.value.len() as u64).div_ceil(8);
        Class::of_bytes(words * 8).expect("the limits of keys and values are below the largest class")
    }
}

/// Words between the header and the key.
#[inline]
fn extension_words(flags: u64) -> u64 {
    let large = if flags & LARGE != 0 { 2 } else { 0 };
    large + u64::from(flags & EXPIRES != 0) + u64::from(flags & SCHEMA != 0)
}

/// A decoded header. It may be of a block that was overwritten meanwhile: nothing in it is to be believed before the
/// horizon check (R9), but its lengths are within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Version of the commit that wrote it.
    pub(super) begin: u64,
    /// Version of the commit that removed it; zero while it stands.
    pub(super) removed_at: u64,
    /// The entry that it superseded, where that may still be wanted by a snapshot.
    pub(super) previous: Unit,
    /// First word of the key, counted from the block's start.
    key_word: u64,
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    pub(super) attributes: Attributes,
}

impl Entry {
    /// Reads the header of the block that starts at `block` (a word index). None where it cannot be an entry's.
    #[inline]
    pub(super) fn read<R: Region>(region: &R, block: u64) -> Option<Self> {
        let first = region.load(block);
        let second = region.load(block + 1);
        let previous = Unit(region.load(block + 2) as u32);
        let flags = first >> 8 & 0xf;
        let mut entry = Self {
            begin: first >> 12,
            removed_at: second >> 12,
            previous,
            key_word: HEADER_WORDS,
            key_bytes: (first & SMALL_KEY_BYTES) as usize,
            value_bytes: (second & SMALL_VALUE_BYTES) as usize,
            attributes: Attributes::default(),
        };
        if flags != 0 && !entry.read_extensions(region, block, flags) {
            return None;
        }
        Some(entry)
    }

    /// The same, where the entry has the key and is not large: the usual case, in few instructions. None does not
    /// mean that it is another key's.
    #[inline(always)]
    pub(super) fn read_small<R: Region>(region: &R, block: u64, key: &[u8]) -> Option<Self> {
        let first = Self::first_of_small(region, block, key)?;
        let second = region.load(block + 1);
        Some(Self {
            begin: first >> 12,
            removed_at: second >> 12,
            previous: Unit(region.load(block + 2) as u32),
            key_word: HEADER_WORDS,
            key_bytes: key.len(),
            value_bytes: (second & SMALL_VALUE_BYTES) as usize,
            attributes: Attributes::default(),
        })
    }

    /// Where the value of such an entry begins, and how many bytes it has, where it has not been removed.
    #[inline(always)]
    pub(super) fn small_value<R: Region>(region: &R, block: u64, key: &[u8]) -> Option<(u64, usize)> {
        Self::first_of_small(region, block, key)?;
        // Above its length is the version that removed it.
        let bytes = region.load(block + 1);
        let value_at = block + HEADER_WORDS + (key.len() as u64).div_ceil(8);
        (bytes <= SMALL_VALUE_BYTES).then_some((value_at, bytes as usize))
    }

    /// Word 0, where the entry has the key and is not large.
    #[inline(always)]
    fn first_of_small<R: Region>(region: &R, block: u64, key: &[u8]) -> Option<u64> {
        let first = region.load(block);
        // A longer key's length would be taken for flags: 256 is LARGE.
        if key.len() > SMALL_KEY_BYTES as usize
            || first & 0xfff != key.len() as u64
            || !region.equals(block + HEADER_WORDS, key)
        {
            return None;
        }
        Some(first)
    }

    #[cold]
    fn read_extensions<R: Region>(&mut self, region: &R, block: u64, flags: u64) -> bool {
        if flags & !KNOWN_FLAGS != 0 {
            return false;
        }
        if flags & LARGE != 0 {
            let lengths = region.load(block + HEADER_WORDS);
            self.key_bytes = (lengths >> 32) as usize;
            self.value_bytes = (lengths & 0xffff_ffff) as usize;
            self.key_word += 2;
        }
        if flags & EXPIRES != 0 {
            self.attributes.deadline_ms = Some(region.load(block + self.key_word));
            self.key_word += 1;
        }
        if flags & SCHEMA != 0 {
            self.attributes.schema_version = Some(region.load(block + self.key_word) as u32);
            self.key_word += 1;
        }
        self.key_bytes <= MAX_KEY_BYTES && self.value_bytes <= MAX_VALUE_BYTES
    }

    #[inline]
    pub(super) fn is_removed(&self) -> bool {
        self.removed_at != 0
    }

    /// Whether none of its key's newer entries leads to it any more.
    pub(super) fn is_unlinked(&self) -> bool {
        self.removed_at == UNLINKED
    }

    /// Whether its time is over. Only an entry that has one costs a look at the clock.
    #[inline]
    pub(super) fn is_expired(&self, clock: &Clock) -> bool {
        self.attributes.deadline_ms.is_some_and(|deadline_ms| clock.has_reached(deadline_ms))
    }

    /// Whether its key has a value because of it: it is neither removed nor expired.
    #[inline]
    pub(super) fn is_there(&self, clock: &Clock) -> bool {
        !self.is_removed() && !self.is_expired(clock)
    }

    /// First word of the key.
    #[inline]
    pub(super) fn key_at(&self, block: u64) -> u64 {
        block + self.key_word
    }

    /// First word of the value.
    #[inline]
    pub(super) fn value_at(&self, block: u64) -> u64 {
        block + self.key_word + (self.key_bytes as u64).div_ceil(8)
    }

    /// The class of the block that holds it.
    #[inline]
    pub(super) fn class(&self) -> Option<Class> {
        Class::of_bytes(
            (self.key_word + (self.key_bytes as u64).div_ceil(8) + (self.value_bytes as u64).div_ceil(8)) * 8,
        )
    }
}

/// Writes a new entry into reusable memory (R1).
///
/// Word 0 goes first: whoever copied words of the block's next life can see by its begin version that it did (R10).
/// The link is kept: until the commit, the block is still in its queue.
#[inline(always)]
pub(super) fn write<R: Region>(region: &R, block: u64, begin: u64, previous: Unit, new: &NewEntry<'_>) {
    let NewEntry { key, value, .. } = new;
    let flags = new.flags();
    let link = region.load(block + LINK_WORD) & !0xffff_ffff;
    let lengths = if flags & LARGE == 0 { (key.len() as u64, value.len() as u64) } else { (0, 0) };
    let header = [begin << 12 | flags << 8 | lengths.0, lengths.1, link | u64::from(previous.0)];
    region.store_words(block, &header);
    let mut key_at = block + HEADER_WORDS;
    if flags != 0 {
        key_at = write_extensions(region, key_at, flags, new);
    }
    region.copy_in(key_at, key);
    region.copy_in(key_at + (key.len() as u64).div_ceil(8), value);
}

/// Writes what is between header and key, and says where the key is.
#[cold]
fn write_extensions<R: Region>(region: &R, mut at: u64, flags: u64, new: &NewEntry<'_>) -> u64 {
    if flags & LARGE != 0 {
        region.store(at, (new.key.len() as u64) << 32 | new.value.len() as u64);
        region.store(at + 1, new.hash);
        at += 2;
    }
    if let Some(deadline_ms) = new.attributes.deadline_ms {
        region.store(at, deadline_ms);
        at += 1;
    }
    if let Some(version) = new.attributes.schema_version {
        region.store(at, u64::from(version));
        at += 1;
    }
    at
}

/// Writes a copy of an entry that stands into reusable memory (R1): the same but for its begin version and what it
/// supersedes. The link is kept, as in [`write`].
pub(super) fn write_copy<R: Region>(
    region: &R,
    from: u64,
    to: u64,
    begin: u64,
    previous: Unit,
    class: Class,
) {
    let link = region.load(to + LINK_WORD) & !0xffff_ffff;
    region.store(to, begin << 12 | region.load(from) & 0xfff);
    region.store(to + 1, region.load(from + 1));
    region.store(to + LINK_WORD, link | u64::from(previous.0));
    for word in HEADER_WORDS..class.units() * UNIT_WORDS {
        region.store(to + word, region.load(from + word));
    }
}

/// Which part of an index a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// An overflow bucket of the hash index.
    Overflow = 0,
    /// A leaf of the ordered index.
    Leaf = 1,
    /// An inner node of it.
    Inner = 2,
    /// The bytes of a long separator.
    Separator = 3,
}

impl NodeKind {
    /// Word 0 of such a block.
    pub(super) fn header(self, begin: u64) -> u64 {
        begin << 12 | (NODE | self as u64) << 8
    }

    /// Whether a block with that word 0 is such a one.
    #[inline(always)]
    pub(super) fn is_of(self, word: u64) -> bool {
        word & 0xfff == (NODE | self as u64) << 8
    }
}

/// The version in word 0 of any block.
#[inline]
pub(super) fn begin_of(word: u64) -> u64 {
    word >> 12
}

/// Whether a block with that word 0 is part of an index.
#[inline]
pub(super) fn is_node(word: u64) -> bool {
    word >> 8 & NODE != 0
}

/// In place of the version that removed an entry: none of its key's newer entries leads to it any more.
const UNLINKED: u64 = (1 << 52) - 1;

/// Word 1 of an entry that nothing leads to any more.
pub(super) fn unlinked(word: u64) -> u64 {
    with_removed_at(word, UNLINKED)
}

/// Word 1 of an entry, with the version that removes it.
#[inline]
pub(super) fn with_removed_at(word: u64, version: u64) -> u64 {
    word & SMALL_VALUE_BYTES | version << 12
}

/// The hash that is kept with a large entry, so that moving its slot need not read a key of 64 KiB.
pub(super) fn kept_hash<R: Region>(region: &R, block: u64) -> Option<u64> {
    (region.load(block) >> 8 & LARGE != 0).then(|| region.load(block + HEADER_WORDS + 1))
}

const _: () = assert!(UNIT_BYTES * 6 == (HEADER_WORDS + 1 + 8) * 8, "8-byte key, 64-byte value: 96 bytes");
