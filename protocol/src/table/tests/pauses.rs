//! Readers interleaved with the owner, step by step: a reader starts at one store, is paused before one of its loads while the
//! owner goes on to a later store, and then goes on itself. Every start, every load, many later stores; the owner
//! commits, reuses memory as early as it may, splits and merges meanwhile.
//!
//! What the reader answers must be what the key had at some moment between its start and its end. Each write has a
//! value of its own, so an answer from another time, or put together from two, shows.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region, Store};
use crate::table::{self, ReadError, TableOptions, TableReader, TableWriter};

/// The memory a paused reader sees.
struct Paused<'a> {
    image: &'a HeapRegion,
    /// What the owner stores during the pause.
    meanwhile: &'a [Store],
    loads: AtomicUsize,
    /// Before which load, counted from the last time that `loads` was reset.
    pause_before: AtomicUsize,
}

impl Region for Paused<'_> {
    fn words(&self) -> u64 {
        self.image.words()
    }

    fn load(&self, word: u64) -> u64 {
        if self.loads.fetch_add(1, Ordering::Relaxed) == self.pause_before.load(Ordering::Relaxed) {
            for store in self.meanwhile {
                self.image.store(store.word, store.new);
            }
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

/// The values of each key over time: (first store after which it may show, value).
struct History(Vec<Vec<(usize, Option<Vec<u8>>)>>);

impl History {
    /// Whether a key had the value between two stores. An operation may show from its first store on.
    fn had(&self, key: usize, between: Range<usize>, value: Option<&Vec<u8>>) -> bool {
        let changes = &self.0[key];
        let last_before = changes.iter().rposition(|change| change.0 <= between.start).unwrap_or(0);
        // The operation in flight at the start may show as before as well.
        changes[last_before.saturating_sub(1)..]
            .iter()
            .take_while(|change| change.0 <= between.end)
            .any(|change| change.1.as_ref() == value)
    }
}

struct Recorded {
    image: HeapRegion,
    stores: Vec<Store>,
    history: History,
}

fn key(number: usize) -> Vec<u8> {
    (number as u32).to_le_bytes().to_vec()
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// Runs an owner over `keys` keys that come and go in waves, so that the index grows and shrinks, and notes its stores.
fn record(seed: u64, keys: usize, before: usize, recorded: usize, batch_commits: u64) -> Recorded {
    let options = TableOptions { seed, reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&live, &options).unwrap();
    let mut writer = TableWriter::open(live.clone(), 0).unwrap();
    writer.batch_commits = batch_commits;
    let mut random = Random(seed | 1);
    let mut history = History(vec![vec![(0, None)]; keys]);
    let image = HeapRegion::new(live.words());
    let mut stores = Vec::new();
    for operation in 0..before + recorded {
        let number = random.below(keys);
        let value = format!("{operation:05}-{number:03}").repeat(1 + operation % 2).into_bytes();
        let wave = operation / 60 % 2 == 0;
        let value = (random.below(10) < if wave { 8 } else { 2 }).then_some(value);
        let start = stores.len();
        match &value {
            Some(value) => drop(writer.insert(&key(number), value).unwrap()),
            None => drop(writer.remove(&key(number)).unwrap()),
        }
        if operation < before {
            for store in live.take() {
                image.store(store.word, store.new);
            }
            history.0[number] = vec![(0, value)];
        } else {
            stores.extend(live.take());
            history.0[number].push((start, value));
        }
    }
    Recorded { image, stores, history }
}

/// One get by a paused reader. False when it was over before the pause.
fn get(recorded: &Recorded, start: usize, end: usize, pause_before: usize, number: usize) -> bool {
    let meanwhile = &recorded.stores[start..end];
    let never = AtomicUsize::new(usize::MAX);
    let paused =
        Paused { image: &recorded.image, meanwhile, loads: AtomicUsize::new(0), pause_before: never };
    let reader = TableReader::open(paused).expect("the header never changes");
    reader.region().loads.store(0, Ordering::Relaxed);
    reader.region().pause_before.store(pause_before, Ordering::Relaxed);
    let found: Result<Option<Vec<u8>>, ReadError> = reader.get(&key(number));
    let was_paused = reader.region().loads.load(Ordering::Relaxed) > pause_before;
    if was_paused {
        for store in meanwhile.iter().rev() {
            recorded.image.store(store.word, store.old);
        }
    }
    let found = found.expect("a get");
    assert!(
        recorded.history.had(number, start..if was_paused { end } else { start }, found.as_ref()),
        "key {number}, started at store {start}, paused before load {pause_before} until store {end}: {:?}, of {:?}",
        found.map(|value| String::from_utf8_lossy(&value).into_owned()),
        recorded.history.0[number],
    );
    was_paused
}

fn explore(seed: u64, keys: usize, batch_commits: u64) -> usize {
    let recorded = record(seed, keys, 70, 90, batch_commits);
    let mut random = Random(seed);
    let mut tried = 0;
    for start in 0..recorded.stores.len() {
        for _ in 0..10 {
            // Near ends meet the commit in flight, far ones reuse.
            let left = recorded.stores.len() - start;
            let farthest = [12, 80, 600][random.below(3)];
            let ahead = 1 + random.below(left.min(farthest));
            let number = random.below(keys);
            let mut pause_before = 0;
            while get(&recorded, start, start + ahead, pause_before, number) {
                pause_before += 1;
                tried += 1;
            }
        }
        let store = recorded.stores[start];
        recorded.image.store(store.word, store.new);
    }
    tried
}

#[test]
fn a_reader_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..12 {
        for (keys, batch_commits) in [(3, 1), (24, 1), (60, 2)] {
            tried += explore(seed, keys, batch_commits);
        }
    }
    println!("set: {tried} interleavings of a get with its owner");
    assert!(tried > 100_000);
}
