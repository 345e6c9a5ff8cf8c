//! The header of a segment: who writes which word, and where the areas are.
//!
//! ```text
//!  words    0 ..   63   identity       written once, at creation; a checksum over it
//!          64 ..  191   manager's      epoch, limit, pins              never logged, stored by the manager only (R6a)
//!         192 .. 1535   owner's        committed and applied           stored by the owner (and by recovery)
//!                                      horizon, root                   one line, quiet: the readers' checks
//!                                      counts, queues, size classes    changed by the log only
//!  then     span table  one word a span: what it holds
//!           index       buckets of 8 words, in one range: bucket i at index + 8 i (kind `set`)
//!           log         the redo log: version, count, (word, value) ...
//!           ring        the change ring
//!           arena       blocks
//! ```
//!
//! Each area has a sparse address range of its own, as long as the table could ever need within the segment: nothing
//! is moved when one grows, and the log never collides with what is prepared (R2).

#![allow(dead_code)] // until all of it is used

use super::class::{CLASSES, Class, SPAN_BYTES, SPAN_UNITS, UNIT_WORDS, Unit};
use super::error::OpenError;
use super::{Kind, TableOptions};
use crate::region::Region;
use std::ops::Range;

const MAGIC: u64 = u64::from_le_bytes(*b"HEIRLOOM");
/// Version of the bytes described in this folder.
pub(super) const LAYOUT_VERSION: u64 = 3;

mod identity {
    pub(super) const MAGIC: u64 = 0;
    pub(super) const LAYOUT_VERSION: u64 = 1;
    pub(super) const KIND: u64 = 2;
    pub(super) const SEED: u64 = 3;
    pub(super) const INCARNATION: u64 = 4;
    /// (first word, number of words) of the span table, the index, the log, the change ring, the arena.
    pub(super) const AREAS: u64 = 8;
    pub(super) const CHECKSUM: u64 = 63;
}

/// The ownership that may commit now (R17).
pub(super) const EPOCH: u64 = 64;
/// The table's limit, in bytes.
pub(super) const MAX_BYTES: u64 = 65;
/// Whether somebody follows the table's changes: the owner keeps the change ring while this is not zero.
pub(super) const FOLLOWED: u64 = 66;
/// What of the table survives the host, and so what a commit waits for: see [`super::Durability`].
pub(super) const DURABILITY: u64 = 67;
/// The pins: a version plus one each, zero where there is none (R11).
pub(super) const PINS: u64 = 72;
/// Number of pins that a table can have at once.
pub(super) const MOST_PINS: u64 = 64;
/// The last version that is on disk, plus one; zero where none is. In a line of its own: it changes often.
pub(super) const DURABLE: u64 = 144;
/// For two pins each, since when nobody has said that it is its own: see [`super::pin`].
pub(super) const UNCLAIMED: u64 = 152;

/// The last commit that stands, applied or not.
pub(super) const COMMITTED: u64 = 192;
/// The last commit that is applied.
pub(super) const APPLIED: u64 = 193;
/// Live entries in the lower half, used slots in the upper.
pub(super) const COUNTS: u64 = 194;
/// Entries that no key needs any more, to be looked at before they are free: see [`super::reclaim`]. First in the lower
/// half, last in the upper.
pub(super) const RETIRED: u64 = 195;
/// The entry that holds the bequest.
pub(super) const BEQUEST: u64 = 196;
/// The first span that was never used.
pub(super) const NEXT_SPAN: u64 = 197;
/// Version of the last merge of buckets: what lies beyond the index may be read until the horizon passes it.
pub(super) const MERGED_AT: u64 = 198;
/// Most buckets the index ever had: their memory stays the index's.
pub(super) const MOST_BUCKETS: u64 = 199;
/// Memory freed up to this version may have been reused (R7).
pub(super) const HORIZON: u64 = 200;
/// How many buckets the index has, and how often it shrank; see [`super::root`].
pub(super) const ROOT: u64 = 201;
/// Words of the log that memory was made present for. Never logged: the owner stores it before it uses them.
pub(super) const LOG_PRESENT: u64 = 202;
/// The entry that holds the table's schema; in the quiet line, since readers look at it.
pub(super) const SCHEMA: u64 = 203;
const CLASS_WORDS: u64 = 208;
/// The root node of the ordered index.
pub(super) const TREE: u64 = 514;
/// Leaves of the ordered index in the lower half, inner nodes in the upper.
pub(super) const TREE_NODES: u64 = 515;
/// The position after the last record of the change ring: only what lies before it is valid.
pub(super) const RING_TAIL: u64 = 517;
/// The first version from which on every change is recorded; zero while changes are not.
pub(super) const RING_SINCE: u64 = 518;
/// Number of spans before the next one that are free: given back to the host.
pub(super) const FREE_SPANS: u64 = 519;
/// Number of runs that are draining (see [`super::compact`]).
pub(super) const DRAINING: u64 = 520;
/// Units of the blocks that entries that stand, the bequest, the schema and parts of an index have.
pub(super) const ALLOCATED: u64 = 521;
/// Blocks that the runs of entries have: as many slots the index must have room for.
pub(super) const BLOCKS: u64 = 522;
/// Freed blocks to be looked at once more, since pins came after they were freed. First in the lower half, last in the
/// upper.
pub(super) const RECALLED: u64 = 523;
/// The first position of the ring that is not overwritten yet. Never logged: the owner stores it before it overwrites.
pub(super) const RING_LOW: u64 = 528;
/// The newest version with a record before that. Never logged, and stored before that.
pub(super) const RING_LOST: u64 = 529;
/// Words of the ring that count as the table's memory: all of them, once it was used. Never logged.
pub(super) const RING_PRESENT: u64 = 530;
/// Counted up where the owner shows that it lives without a commit; see [`super::life`]. Never logged.
pub(super) const RENEWED: u64 = 531;
const HELD_WORDS: u64 = 640;
const WAITING_WORDS: u64 = HELD_WORDS + 2 * MOST_PINS;
/// Words of the header.
pub(super) const HEADER_WORDS: u64 = 1536;

const _: () = assert!(CLASS_WORDS + 2 * CLASSES as u64 <= TREE && RENEWED < HELD_WORDS);
const _: () = assert!(PINS + MOST_PINS <= DURABLE && DURABLE < UNCLAIMED);
const _: () = assert!(UNCLAIMED + MOST_PINS / 2 <= COMMITTED);
const _: () = assert!(WAITING_WORDS + 2 * CLASSES as u64 <= HEADER_WORDS);
const _: () = assert!(HORIZON.is_multiple_of(8) && ROOT / 8 == HORIZON / 8 && COMMITTED / 8 != HORIZON / 8);

/// A class's queue of freed blocks: first in the lower half, last in the upper.
#[inline]
pub(super) fn queue_word(class: Class) -> u64 {
    CLASS_WORDS + class.index() as u64
}

/// A class's entries that were overwritten while a pin wanted them, in that order: see [`super::waiting`]. The last in the
/// lower half, how many there are in the upper. The first has a word of its own, so that one more changes one word.
#[inline]
pub(super) fn waiting_word(class: Class) -> u64 {
    WAITING_WORDS + class.index() as u64
}

/// The first of these.
#[inline]
pub(super) fn waiting_first_word(class: Class) -> u64 {
    WAITING_WORDS + (CLASSES + class.index()) as u64
}

/// A class's current run: the next block in the lower half, the end of the run in the upper.
#[inline]
pub(super) fn fresh_word(class: Class) -> u64 {
    CLASS_WORDS + (CLASSES + class.index()) as u64
}

/// The retired entries that are held for a pin: first in the lower half, last in the upper.
#[inline]
pub(super) fn held_word(slot: u64) -> u64 {
    HELD_WORDS + slot
}

/// How many these are in the lower half, their units in the upper.
#[inline]
pub(super) fn held_size_word(slot: u64) -> u64 {
    HELD_WORDS + MOST_PINS + slot
}

/// What a log may name in the header (R2).
const LOGGED: [Range<u64>; 6] = [
    COUNTS..HORIZON,
    ROOT..LOG_PRESENT,
    CLASS_WORDS..CLASS_WORDS + 2 * CLASSES as u64,
    SCHEMA..SCHEMA + 1,
    TREE..RING_LOW,
    HELD_WORDS..WAITING_WORDS + 2 * CLASSES as u64,
];

const FIRST_BUCKETS: u64 = super::root::MIN_BUCKETS as u64;

/// A range of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) words: u64,
}

impl Area {
    pub(super) fn end(self) -> u64 {
        self.start + self.words
    }

    fn contains(self, word: u64) -> bool {
        word >= self.start && word < self.end()
    }
}

/// A validated header: what its words say has been checked against each other and against the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    pub(super) incarnation: u64,
    pub(super) spans: Area,
    pub(super) index: Area,
    pub(super) log: Area,
    pub(super) ring: Area,
    pub(super) arena: Area,
}

const PAGE_WORDS: u64 = 512;
/// Log words that are made present at once; the first of them when the table is created.
pub(super) const LOG_STEP_WORDS: u64 = PAGE_WORDS;
/// The change ring is this long at least and at most: 64 KiB and 16 MiB; between them a thirty-second of the limit, or
/// less, down to a power of two.
const RING_WORDS: Range<u64> = 8 * 1024..2 * 1024 * 1024;
/// Segments come in steps of 2 MiB, the size of a large page (H2).
const SEGMENT_STEP: u64 = 2 * 1024 * 1024;

impl Layout {
    /// Where things will be in a new segment.
    pub(super) fn plan(options: &TableOptions) -> Self {
        let arena_spans = (options.reserve_bytes.max(options.max_bytes) / SPAN_BYTES + 1).min(1 << 22);
        let arena_words = arena_spans * SPAN_UNITS * UNIT_WORDS;
        let page = |words: u64| words.next_multiple_of(PAGE_WORDS);
        let spans = Area { start: HEADER_WORDS, words: page(arena_spans) };
        // Entries are at least 32 bytes, and there are at least two to a bucket of 64 before the index grows.
        let index = Area { start: spans.end(), words: page(arena_words.min(1 << 34)) };
        let log = Area { start: index.end(), words: page(arena_words) };
        let ring = Area {
            start: log.end(),
            words: 1 << (options.max_bytes / 256).clamp(RING_WORDS.start, RING_WORDS.end).ilog2(),
        };
        let arena = Area { start: ring.end(), words: arena_words };
        Self {
            kind: options.kind,
            seed: options.seed,
            incarnation: options.incarnation,
            spans,
            index,
            log,
            ring,
            arena,
        }
    }

    /// Words that the region must have.
    pub(super) fn words(&self) -> u64 {
        self.arena.end()
    }

    /// Bytes of the segment.
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.words() * 8).next_multiple_of(SEGMENT_STEP)
    }

    /// Writes the header of an empty table; the magic last, so that a creation that was cut is no table.
    pub(super) fn write<R: Region>(&self, region: &R, options: &TableOptions) {
        region.store(identity::LAYOUT_VERSION, LAYOUT_VERSION);
        region.store(identity::KIND, self.kind.code());
        region.store(identity::SEED, self.seed);
        region.store(identity::INCARNATION, self.incarnation);
        for (number, area) in
            [self.spans, self.index, self.log, self.ring, self.arena].into_iter().enumerate()
        {
            region.store(identity::AREAS + 2 * number as u64, area.start);
            region.store(identity::AREAS + 2 * number as u64 + 1, area.words);
        }
        region.store(identity::CHECKSUM, checksum(region));
        region.store(MAX_BYTES, options.max_bytes);
        region.store(ROOT, FIRST_BUCKETS);
        region.store(MOST_BUCKETS, FIRST_BUCKETS);
        region.store(LOG_PRESENT, LOG_STEP_WORDS);
        region.store(NEXT_SPAN, 1);
        region.store(identity::MAGIC, MAGIC);
    }

    /// Turns an untrusted header into a typed one.
    pub(super) fn read<R: Region>(region: &R) -> Result<Self, OpenError> {
        if region.words() < HEADER_WORDS {
            return Err(OpenError::Foreign(format!("it has {} words, fewer than a header", region.words())));
        }
        if region.load(identity::MAGIC) != MAGIC {
            return Err(OpenError::Foreign("it does not begin with the magic word".into()));
        }
        let version = region.load(identity::LAYOUT_VERSION);
        if version != LAYOUT_VERSION {
            return Err(OpenError::Foreign(format!(
                "its layout is version {version}, this build reads version {LAYOUT_VERSION}"
            )));
        }
        if region.load(identity::CHECKSUM) != checksum(region) {
            return Err(OpenError::Corrupt("the checksum of the header does not match".into()));
        }
        let kind = Kind::from_code(region.load(identity::KIND)).ok_or_else(|| {
            OpenError::Foreign(format!("its kind {} is unknown", region.load(identity::KIND)))
        })?;
        let area = |number: u64| Area {
            start: region.load(identity::AREAS + 2 * number),
            words: region.load(identity::AREAS + 2 * number + 1),
        };
        let layout = Self {
            kind,
            seed: region.load(identity::SEED),
            incarnation: region.load(identity::INCARNATION),
            spans: area(0),
            index: area(1),
            log: area(2),
            ring: area(3),
            arena: area(4),
        };
        layout.check_areas(region.words())?;
        Ok(layout)
    }

    fn check_areas(&self, words: u64) -> Result<(), OpenError> {
        let mut end = HEADER_WORDS;
        let whole_pages = [self.spans, self.index, self.log, self.arena].map(|area| area.words >= PAGE_WORDS);
        if whole_pages.contains(&false) || !self.ring.words.is_power_of_two() {
            return Err(OpenError::Corrupt("an area has a length that none has".into()));
        }
        for area in [self.spans, self.index, self.log, self.ring, self.arena] {
            let next = area.start.checked_add(area.words);
            if area.start < end || next.is_none_or(|next| next > words) {
                return Err(OpenError::Corrupt(format!("area {area:?} is not within {words} words")));
            }
            end = area.end();
        }
        let spans = self.arena.words / (SPAN_UNITS * UNIT_WORDS);
        if spans > 1 << 22 || spans > self.spans.words {
            return Err(OpenError::Corrupt(format!("an arena of {spans} spans")));
        }
        Ok(())
    }

    /// The first word of a block.
    #[inline]
    pub(super) fn block(&self, unit: Unit) -> u64 {
        self.arena.start + u64::from(unit.0) * UNIT_WORDS
    }

    /// Has the first two lines of a block fetched, which are all of most entries.
    #[inline]
    pub(super) fn prefetch<R: Region>(&self, region: &R, unit: Unit) {
        (0..2).for_each(|line| region.prefetch(self.block(unit) + 8 * line));
    }

    /// Spans of the arena.
    pub(super) fn arena_spans(&self) -> u64 {
        self.arena.words / (SPAN_UNITS * UNIT_WORDS)
    }

    /// Whether a log may store there (R2).
    pub(super) fn may_be_logged(&self, word: u64) -> bool {
        LOGGED.iter().any(|range| range.contains(&word))
            || self.spans.contains(word)
            || self.index.contains(word)
            || self.arena.contains(word)
    }
}

impl Kind {
    /// What a header says for it.
    fn code(self) -> u64 {
        match self {
            Self::Set => 1,
            Self::OrderedSet => 2,
            Self::Bag => 3,
            Self::DuplicateBag => 4,
        }
    }

    fn from_code(code: u64) -> Option<Self> {
        [Self::Set, Self::OrderedSet, Self::Bag, Self::DuplicateBag]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

fn checksum<R: Region>(region: &R) -> u64 {
    let mut bytes = Vec::with_capacity(64 * 8);
    for word in identity::LAYOUT_VERSION..identity::CHECKSUM {
        bytes.extend_from_slice(&region.load(word).to_le_bytes());
    }
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// A list in one word: its first block in the lower half, its last in the upper; zero is empty. The blocks between
/// are linked through their link words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) first: Unit,
    pub(super) last: Unit,
}

impl Queue {
    pub(super) const EMPTY: Queue = Queue { first: Unit::NONE, last: Unit::NONE };

    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { first: Unit(word as u32), last: Unit((word >> 32) as u32) }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.first.0) | u64::from(self.last.0) << 32
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.first.is_none()
    }
}

/// A class's current run in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) next: Unit,
    pub(super) end: Unit,
}

impl Fresh {
    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { next: Unit(word as u32), end: Unit((word >> 32) as u32) }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.next.0) | u64::from(self.end.0) << 32
    }
}

/// Live entries and used slots in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u32,
    pub(super) slots: u32,
}

impl Counts {
    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { entries: word as u32, slots: (word >> 32) as u32 }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.entries) | u64::from(self.slots) << 32
    }
}

/// The nodes of the ordered index in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeNodes {
    pub(super) leaves: u32,
    pub(super) inners: u32,
}

impl TreeNodes {
    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { leaves: word as u32, inners: (word >> 32) as u32 }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.leaves) | u64::from(self.inners) << 32
    }
}
