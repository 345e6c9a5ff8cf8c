//! A reader of the ring, interleaved with the owner step by step: it starts at one store, stands still before one of its
//! loads while the owner goes on to a later store, through the wrap-around of a tiny ring, goes on, stands still once
//! more, and finishes. Every start, every load for the first pause, every store of the next commits to go on to.
//!
//! What it is told must be exactly what the commits up to the version that it says have changed, or that it was overtaken.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::history::{History, Operation};
use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region, Store};
use crate::table::layout::FOLLOWED;
use crate::table::tests::support::{Random, create_with_ring, effort};
use crate::table::{Changes, Cursor, FollowError, TableOptions, TableReader, TableWriter};

const RING_WORDS: u64 = 16;
const OPERATIONS: usize = 40;
/// So many stores are enough for several commits, and for the ring to be overwritten once.
const FARTHEST: usize = 70;

/// The owner's stores, and how far they are carried out.
struct Played<'a> {
    image: &'a HeapRegion,
    stores: &'a [Store],
    now: AtomicUsize,
    loads: AtomicUsize,
    /// Before which load it stands still, and up to which store.
    pauses: [(usize, usize); 2],
}

impl Played<'_> {
    fn go_on(&self, until: usize) {
        let now = self.now.load(Ordering::Relaxed);
        if until > now {
            for store in &self.stores[now..until] {
                self.image.store(store.word, store.new);
            }
            self.now.store(until, Ordering::Relaxed);
        }
    }
}

impl Region for Played<'_> {
    fn words(&self) -> u64 {
        self.image.words()
    }

    fn load(&self, word: u64) -> u64 {
        let load = self.loads.fetch_add(1, Ordering::Relaxed);
        for (_, until) in self.pauses.iter().filter(|(before, _)| *before == load) {
            self.go_on(*until);
        }
        self.image.load(word)
    }

    fn store(&self, _: u64, _: u64) {
        unreachable!("readers store nothing")
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        unreachable!("readers need no memory")
    }
}

struct Recorded {
    image: HeapRegion,
    stores: Vec<Store>,
    history: History,
}

fn record(seed: u64) -> Recorded {
    let options = TableOptions { seed, reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    create_with_ring(&live, &options, RING_WORDS);
    let mut writer = TableWriter::open(live.clone(), 0).unwrap();
    let mut history = History::new(RING_WORDS);
    let mut random = Random(seed | 1);
    let image = HeapRegion::new(live.words());
    let mut stores = Vec::new();
    for number in 0..OPERATIONS {
        // Now and then nobody follows.
        live.store(FOLLOWED, u64::from(number % 16 != 15));
        let operation = Operation::random(&mut random, RING_WORDS);
        operation.carry_out(&mut writer, &mut history);
        let made = live.take();
        if number < 4 {
            made.iter().for_each(|store| image.store(store.word, store.new));
        } else {
            stores.extend(made);
        }
    }
    Recorded { image, stores, history }
}

/// One question of a reader that is paused; says how many loads it took, and whether it was told changes.
fn ask(recorded: &Recorded, start: usize, cursor: Cursor, pauses: [(usize, usize); 2]) -> (usize, bool) {
    let played = Played {
        image: &recorded.image,
        stores: &recorded.stores,
        now: AtomicUsize::new(start),
        loads: AtomicUsize::new(usize::MAX / 2),
        pauses,
    };
    let reader = TableReader::open(played).unwrap();
    reader.region().loads.store(0, Ordering::Relaxed);
    let mut changes = Changes::default();
    let told = match reader.changes(cursor, u64::MAX, &mut changes) {
        Ok(after) => {
            recorded.history.is_told(cursor.version(), after.version(), &changes);
            true
        }
        Err(FollowError::Overtaken { .. }) => false,
        Err(error) => panic!("{error}, from {cursor:?}, paused {pauses:?} after store {start}"),
    };
    let (loads, now) =
        (reader.region().loads.load(Ordering::Relaxed), reader.region().now.load(Ordering::Relaxed));
    for store in recorded.stores[start..now].iter().rev() {
        recorded.image.store(store.word, store.old);
    }
    (loads, told)
}

#[test]
fn a_reader_of_the_ring_may_be_paused_anywhere() {
    let (mut tried, mut answered) = (0_usize, 0_usize);
    for seed in 0..12 * effort() as u64 {
        let recorded = record(seed);
        let mut random = Random(seed);
        let mut cursors: Vec<Cursor> = Vec::new();
        for start in 0..recorded.stores.len() {
            let here = TableReader::open(&recorded.image).unwrap().follow();
            if cursors.last().is_none_or(|last| last.version() < here.version()) {
                cursors.push(here);
            }
            // One that is up to date, nearly, or some commits behind.
            let cursor = cursors[cursors.len() - 1 - random.below(cursors.len().min(6))];
            let farthest = FARTHEST.min(recorded.stores.len() - start);
            let mut before = 0;
            loop {
                let until = start + random.below(farthest + 1);
                let later =
                    (before + 1 + random.below(8), until + random.below(start + farthest - until + 1));
                let (loads, told) = ask(&recorded, start, cursor, [(before, until), later]);
                tried += 1;
                answered += usize::from(told);
                before += 1;
                if before > loads {
                    break;
                }
            }
            let store = recorded.stores[start];
            recorded.image.store(store.word, store.new);
        }
    }
    println!("change ring: {tried} interleavings with its owner, {answered} of them answered");
    assert!(tried > 50_000 && answered > tried / 8);
}
