//! What the tests share: small tables, random numbers, and a region that kills, vanishes, and counts.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::layout::Layout;
use crate::table::{self, Kind, TableOptions};

/// A new table, with no more addresses than it needs.
pub(super) fn new_table(max_bytes: u64) -> Arc<HeapRegion> {
    new_table_of(Kind::Set, max_bytes)
}

/// The same of any kind.
pub(super) fn new_table_of(kind: Kind, max_bytes: u64) -> Arc<HeapRegion> {
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    region
}

/// The same, with a change ring of so many words: a power of two, and no more than the shortest one in use.
pub(super) fn new_table_with_ring(max_bytes: u64, ring_words: u64) -> Arc<HeapRegion> {
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::set(max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8 + ring_words));
    create_with_ring(&region, &options, ring_words);
    region
}

/// Makes an empty table with a change ring of so many words.
pub(super) fn create_with_ring<R: Region>(region: &R, options: &TableOptions, ring_words: u64) {
    let mut layout = Layout::plan(options);
    let room = ring_words.saturating_sub(layout.ring.words);
    layout.ring.words = ring_words;
    layout.arena.start += room;
    table::create_with(region, options, &layout).unwrap();
}

/// The same sequence of numbers for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, below: usize) -> usize {
        (self.word() >> 33) as usize % below
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 32
    }
}

/// How many times as much as usual the tests that draw samples are to try: `HEIRLOOM_EFFORT`, 1 where it is not set.
///
/// `HEIRLOOM_EFFORT=50 cargo test -p heirloom-protocol --lib table::` is for a change to the engine, and for a night.
pub(super) fn effort() -> usize {
    std::env::var("HEIRLOOM_EFFORT").map_or(1, |effort| effort.parse().expect("HEIRLOOM_EFFORT is a number"))
}

/// A region whose process can be killed at a store, whose mapping can vanish as in a forked child, and which does not
/// let anybody go on for ever.
pub(super) struct Frail<R> {
    pub(super) inner: R,
    stores: AtomicU64,
    dies_after: AtomicU64,
    loads_left: AtomicU64,
    vanished: AtomicBool,
}

impl<R: Region> Frail<R> {
    pub(super) fn new(inner: R) -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self {
            inner,
            stores: AtomicU64::new(0),
            dies_after: never(),
            loads_left: never(),
            vanished: AtomicBool::new(false),
        }
    }

    /// Stores made so far.
    pub(super) fn stores(&self) -> u64 {
        self.stores.load(Ordering::Relaxed)
    }

    /// Panics at the store after so many more; never, for none.
    pub(super) fn die_after(&self, stores: Option<u64>) {
        let dies_after = stores.map_or(u64::MAX, |stores| self.stores() + stores);
        self.dies_after.store(dies_after, Ordering::Relaxed);
    }

    /// From here on, so many words may be read: more is taken for a loop that does not end.
    pub(super) fn allow_loads(&self, loads: u64) {
        self.loads_left.store(loads, Ordering::Relaxed);
    }

    /// How many of them are left.
    pub(super) fn loads_left(&self) -> u64 {
        self.loads_left.load(Ordering::Relaxed)
    }

    /// From here on, all words are zero, and there are none.
    pub(super) fn vanish(&self) {
        self.vanished.store(true, Ordering::Relaxed);
    }

    fn count_loads(&self, loads: u64) {
        let left = self.loads_left.load(Ordering::Relaxed);
        assert!(left >= loads, "so much is read that this seems not to end");
        if left != u64::MAX {
            self.loads_left.store(left - loads, Ordering::Relaxed);
        }
    }
}

impl<R: Region> Region for Frail<R> {
    fn words(&self) -> u64 {
        if self.vanished.load(Ordering::Relaxed) { 0 } else { self.inner.words() }
    }

    fn load(&self, word: u64) -> u64 {
        self.count_loads(1);
        if self.vanished.load(Ordering::Relaxed) { 0 } else { self.inner.load(word) }
    }

    fn store(&self, word: u64, value: u64) {
        if self.stores.load(Ordering::Relaxed) >= self.dies_after.load(Ordering::Relaxed) {
            // Unlike panic!, this says nothing on standard error.
            std::panic::resume_unwind(Box::new("killed"));
        }
        self.stores.fetch_add(1, Ordering::Relaxed);
        self.inner.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.inner.make_present(words)
    }
}
