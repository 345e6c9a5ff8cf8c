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
use crate::table::{self, TableOptions, TableReader, TableWriter};

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

/// A value of a key, and the stores of the operation that gave it: it may show from the first of them on, and what was
/// before it may show until the last.
#[derive(Debug)]
struct Change {
    stores: Range<usize>,
    value: Option<Vec<u8>>,
}

/// The changes of each key.
struct History(Vec<Vec<Change>>);

impl History {
    /// Whether a key had the value at some moment between two stores.
    fn had(&self, key: usize, between: &Range<usize>, value: Option<&Vec<u8>>) -> bool {
        let changes = &self.0[key];
        changes.iter().enumerate().any(|(number, change)| {
            let begins = change.stores.start <= between.end;
            let ends = changes.get(number + 1).is_some_and(|next| next.stores.end <= between.start);
            begins && !ends && change.value.as_ref() == value
        })
    }
}

struct Recorded {
    image: HeapRegion,
    stores: Vec<Store>,
    keys: Vec<Vec<u8>>,
    history: History,
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// What an owner does while its stores are noted.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    /// How many keys there are. Two thirds of them fall into one of the first four buckets, which overflows.
    keys: usize,
    /// Operations before the stores are noted, and while they are.
    before: usize,
    noted: usize,
    /// Whether keys come until all are there and go until none is, so that the index grows and shrinks; else they
    /// come and go at random.
    tides: bool,
    batch_commits: u64,
}

fn record(plan: Plan) -> Recorded {
    let options = TableOptions { seed: plan.seed, reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&live, &options).unwrap();
    let mut writer = TableWriter::open(live.clone(), 0).unwrap();
    writer.batch_commits = plan.batch_commits;
    let mut random = Random(plan.seed | 1);
    let keys = choose_keys(&writer, plan.keys);
    let nothing = || vec![Change { stores: 0..0, value: None }];
    let mut changes: Vec<Vec<Change>> = (0..plan.keys).map(|_| nothing()).collect();
    let image = HeapRegion::new(live.words());
    let mut stores = Vec::new();
    for operation in 0..plan.before + plan.noted {
        let (tide, step) = (operation / plan.keys, operation % plan.keys);
        let number = if plan.tides { step } else { random.below(plan.keys) };
        let insert = if plan.tides { tide % 2 == 0 } else { random.below(10) < 6 };
        let value = format!("{operation:05}-{number:03}").repeat(1 + operation % 2).into_bytes();
        let value = insert.then_some(value);
        let start = stores.len();
        match &value {
            Some(value) => drop(writer.insert(&keys[number], value).unwrap()),
            None => drop(writer.remove(&keys[number]).unwrap()),
        }
        if operation < plan.before {
            for store in live.take() {
                image.store(store.word, store.new);
            }
            changes[number] = vec![Change { stores: 0..0, value }];
        } else {
            stores.extend(live.take());
            changes[number].push(Change { stores: start..stores.len(), value });
        }
    }
    Recorded { image, stores, keys, history: History(changes) }
}

fn choose_keys(writer: &TableWriter<Arc<RecordingRegion<HeapRegion>>>, count: usize) -> Vec<Vec<u8>> {
    let all = (0_u32..).map(|number| number.to_le_bytes().to_vec());
    let crowded = |key: &Vec<u8>| writer.reader().layout().hash(key) & 3 == 0;
    let mut keys: Vec<Vec<u8>> = all.clone().filter(crowded).take(count * 2 / 3).collect();
    let others = all.filter(|key| !crowded(key)).take(count - keys.len());
    keys.extend(others);
    keys
}

/// Where the reader begins: as every get does, or as one does that was disturbed already.
#[derive(Debug, Clone, Copy)]
enum Path {
    Straight,
    Again,
}

/// One get by a paused reader. False when it was over before the pause.
fn get(
    recorded: &Recorded,
    Range { start, end }: Range<usize>,
    pause_before: usize,
    number: usize,
    path: Path,
) -> bool {
    let meanwhile = &recorded.stores[start..end];
    let never = AtomicUsize::new(usize::MAX);
    let paused =
        Paused { image: &recorded.image, meanwhile, loads: AtomicUsize::new(0), pause_before: never };
    let reader = TableReader::open(paused).expect("the header never changes");
    reader.region().loads.store(0, Ordering::Relaxed);
    reader.region().pause_before.store(pause_before, Ordering::Relaxed);
    let key = &recorded.keys[number];
    let mut value = Vec::new();
    let found = match path {
        Path::Straight => reader.get_into(key, &mut value),
        Path::Again => reader.get_again(key, reader.layout().hash(key), &mut value),
    };
    let was_paused = reader.region().loads.load(Ordering::Relaxed) > pause_before;
    if was_paused {
        for store in meanwhile.iter().rev() {
            recorded.image.store(store.word, store.old);
        }
    }
    let found = found.expect("a get").then_some(value);
    assert!(
        recorded.history.had(number, &(start..if was_paused { end } else { start }), found.as_ref()),
        "key {number}, started at store {start}, paused before load {pause_before} until store {end}: {:?}, of {:?}",
        found.map(|value| String::from_utf8_lossy(&value).into_owned()),
        recorded.history.0[number],
    );
    was_paused
}

fn explore(plan: Plan) -> usize {
    let recorded = record(plan);
    let mut random = Random(plan.seed);
    let mut tried = 0;
    for start in 0..recorded.stores.len() {
        for _ in 0..4 {
            // Near ends meet the commit in flight, far ones reuse.
            let farthest = [12, 80, 600, 3000][random.below(4)];
            let end = start + 1 + random.below((recorded.stores.len() - start).min(farthest));
            let number = random.below(plan.keys);
            let path = [Path::Straight, Path::Again][random.below(2)];
            let mut pause_before = 0;
            while get(&recorded, start..end, pause_before, number, path) {
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
    let random = Plan { seed: 0, keys: 3, before: 70, noted: 90, tides: false, batch_commits: 1 };
    let tides = Plan { keys: 60, before: 110, noted: 140, tides: true, ..random };
    let plans = [random, Plan { keys: 24, ..random }, tides, Plan { batch_commits: 64, ..tides }];
    let mut tried = 0;
    for seed in 0..10 {
        for plan in plans {
            tried += explore(Plan { seed, ..plan });
        }
    }
    println!("set: {tried} interleavings of a get with its owner");
    assert!(tried > 100_000);
}
