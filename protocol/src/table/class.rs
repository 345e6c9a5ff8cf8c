//! Size classes of blocks, and the runs of spans they are carved from.
//!
//! ```text
//!  arena   │ span 0 │ span 1 │ span 2 │ span 3 │ span 4 │ ...        a span is 16 KiB = 1024 units of 16 bytes
//!            (null)  └ run of class 4 ┘└──── run of class 30 ────┘
//!                     96 96 96 96 ...     one run is as many spans as lose at most 1/16 to the last block
//! ```
//!
//! Up to 256 bytes the classes are 16 bytes apart, above that there are eight to each doubling: a block loses at most
//! an eighth, and 6 percent in the mean (jemalloc's spacing, twice as fine). A block is named by its [`Unit`], a 32-bit number of 16-byte
//! units in the arena, so a table's arena is at most 64 GiB.

/// A block's place in the arena, in units of 16 bytes. Zero is no block: span 0 is never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Unit(pub(super) u32);

impl Unit {
    pub(super) const NONE: Unit = Unit(0);

    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Bytes of a unit.
pub(super) const UNIT_BYTES: u64 = 16;
/// Words of a unit.
pub(super) const UNIT_WORDS: u64 = UNIT_BYTES / 8;
/// Units of a span.
pub(super) const SPAN_UNITS: u64 = 1024;
/// Bytes of a span.
pub(super) const SPAN_BYTES: u64 = SPAN_UNITS * UNIT_BYTES;

/// Classes up to 256 bytes, 16 bytes apart, from 32 bytes on.
const FINE: usize = 15;
/// Number of classes for entries; the last holds the longest key with the longest value.
const ENTRY_CLASSES: usize = 144;
/// Units of the classes for parts of an index. These have classes of their own, so that a run of entries has nothing
/// else in it and can be emptied by moving them (see [`super::compact`]).
const NODE_UNITS: [u64; 3] = [6, 12, 32];
/// Number of classes.
pub(super) const CLASSES: usize = ENTRY_CLASSES + NODE_UNITS.len();

/// A size class, below [`CLASSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u8);

impl Class {
    /// The smallest class whose blocks hold that many bytes; none where no class does.
    #[inline]
    pub(super) fn of_bytes(bytes: u64) -> Option<Self> {
        let units = bytes.div_ceil(UNIT_BYTES).max(2);
        let index = if units <= 16 {
            units as usize - 2
        } else {
            let doubling = 63 - (units - 1).leading_zeros();
            FINE + (doubling as usize - 4) * 8 + ((units - 1) >> (doubling - 3)) as usize - 8
        };
        (index < ENTRY_CLASSES).then_some(Self(index as u8))
    }

    /// The smallest class for a part of an index that holds that many bytes; none where no class does.
    pub(super) fn of_node(bytes: u64) -> Option<Self> {
        let node = NODE_UNITS.iter().position(|units| units * UNIT_BYTES >= bytes)?;
        Self::from_index(ENTRY_CLASSES + node)
    }

    /// Whether its blocks are parts of an index.
    #[inline]
    pub(super) fn is_node(self) -> bool {
        self.index() >= ENTRY_CLASSES
    }

    #[inline]
    pub(super) fn from_index(index: usize) -> Option<Self> {
        (index < CLASSES).then_some(Self(index as u8))
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Units of one block.
    #[inline]
    pub(super) fn units(self) -> u64 {
        UNITS[self.index()]
    }

    /// Spans that are given to the class at a time.
    #[inline]
    pub(super) fn run_spans(self) -> u64 {
        RUN_SPANS[self.index()]
    }

    /// Blocks in a run.
    pub(super) fn run_blocks(self) -> u64 {
        self.run_spans() * SPAN_UNITS / self.units()
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES).map(|index| Self(index as u8))
    }
}

const UNITS: [u64; CLASSES] = {
    let mut units = [0; CLASSES];
    let mut index = 0;
    while index < CLASSES {
        units[index] = if index >= ENTRY_CLASSES {
            NODE_UNITS[index - ENTRY_CLASSES]
        } else if index < FINE {
            index as u64 + 2
        } else {
            let doubling = (index - FINE) / 8 + 4;
            let eighths = ((index - FINE) % 8) as u64 + 9;
            eighths << (doubling - 3)
        };
        index += 1;
    }
    units
};

const RUN_SPANS: [u64; CLASSES] = {
    let mut spans = [0; CLASSES];
    let mut index = 0;
    while index < CLASSES {
        let units = UNITS[index];
        let mut run = units.div_ceil(SPAN_UNITS);
        while (run * SPAN_UNITS % units) * 16 > run * SPAN_UNITS {
            run += 1;
        }
        spans[index] = run;
        index += 1;
    }
    spans
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_class_and_not_the_one_below() {
        let longest = super::super::entry::MAX_BLOCK_BYTES;
        for bytes in (1..70_000).chain((70_000..longest).step_by(4093)).chain([longest]) {
            let class = Class::of_bytes(bytes).expect("a class for every entry");
            assert!(class.units() * UNIT_BYTES >= bytes, "{bytes} in {class:?}");
            if class.index() > 0 {
                let below = Class::from_index(class.index() - 1).expect("a class below");
                assert!(below.units() * UNIT_BYTES < bytes, "{bytes} would fit {below:?}");
            }
        }
        assert_eq!(
            Class::of_bytes(longest).map(Class::index),
            Some(ENTRY_CLASSES - 1),
            "no class is never used"
        );
    }

    #[test]
    fn runs_lose_little_and_stay_short() {
        for class in Class::all() {
            let run = class.run_spans() * SPAN_UNITS;
            assert!(class.run_blocks() >= 1);
            assert!((run - class.run_blocks() * class.units()) * 16 <= run, "{class:?}");
            assert!(
                class.run_spans() <= 16.max(class.units().div_ceil(SPAN_UNITS)),
                "{class:?} {}",
                class.run_spans()
            );
        }
    }
}
