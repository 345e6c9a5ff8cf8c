//! Real threads: an owner at full speed, readers at full speed. What `pauses` tries in order happens here at random, with
//! the processor's own reordering (little on x86) and the compiler's.
//!
//! Every value says whose it is and which write it came from, over its whole length: a torn one, one of another key, or
//! one older than a reader saw before shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::support::{Random, effort, new_table, new_table_of};
use crate::region::HeapRegion;
use crate::table::{self, Kind, TableReader, TableWriter};

/// Enough for the index to double several times on the way up, and to halve on the way down.
const KEYS: u64 = 1500;
const OPERATIONS: u64 = 150_000;
/// What each reader reads at least, should the owner be done before it began.
const FEWEST_READS: u64 = 2000;

/// A word that names key and write, as often as the write says.
fn value(key: u64, write: u64) -> Vec<u8> {
    (write << 16 | key).to_le_bytes().repeat(1 + write as usize % 23)
}

/// Which write a value of a key came from.
fn write_of(key: u64, found: &[u8]) -> u64 {
    let first = u64::from_le_bytes(found[..8].try_into().unwrap());
    assert!(found == value(key, first >> 16), "a torn value of key {key}, or one of another: {found:?}");
    first >> 16
}

/// Keys come until all are there, and go until none is; between, they are overwritten here and there.
fn own(writer: &mut TableWriter<Arc<HeapRegion>>, operations: u64) {
    let mut random = Random(7);
    for operation in 0..operations {
        let (tide, key) = (operation / 2 / KEYS, operation / 2 % KEYS);
        let other = random.below(KEYS as usize) as u64;
        let key = if operation % 2 == 0 { key } else { other };
        let comes = tide % 2 == 0;
        if comes && (operation % 2 == 0 || writer.reader().contains(&key.to_le_bytes()).unwrap()) {
            writer.insert(&key.to_le_bytes(), &value(key, operation)).unwrap();
        } else if !comes {
            writer.remove(&key.to_le_bytes()).unwrap();
        }
    }
}

/// What one reader saw last of each key.
#[derive(Default)]
struct Seen(HashMap<u64, u64>);

impl Seen {
    fn note(&mut self, key: u64, found: &[u8]) {
        let write = write_of(key, found);
        let last = self.0.insert(key, write).unwrap_or(0);
        assert!(last <= write, "key {key} went back from write {last} to {write}");
    }
}

fn get_until(reader: &TableReader<Arc<HeapRegion>>, seed: u64, done: &AtomicBool) -> u64 {
    let (mut random, mut seen, mut value, mut reads) = (Random(seed), Seen::default(), Vec::new(), 0);
    while reads < FEWEST_READS || !done.load(Ordering::Relaxed) {
        let key = random.below(KEYS as usize) as u64;
        value.clear();
        if reader.get_into(&key.to_le_bytes(), &mut value).unwrap() {
            seen.note(key, &value);
        }
        reads += 1;
    }
    reads
}

fn scan_until(reader: &TableReader<Arc<HeapRegion>>, done: &AtomicBool) -> u64 {
    let (mut seen, mut scans) = (Seen::default(), 0);
    while scans == 0 || !done.load(Ordering::Relaxed) {
        let mut met = std::collections::HashSet::new();
        reader
            .scan(&mut |key, value| {
                let key = u64::from_le_bytes(key.try_into().unwrap());
                assert!(met.insert(key), "a scan meets key {key} twice");
                seen.note(key, value);
                true
            })
            .unwrap();
        scans += 1;
    }
    scans
}

fn stress(batch_commits: u64) {
    let region = new_table(4 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.batch_commits = batch_commits;
    let reader = TableReader::open(region.clone()).unwrap();
    let done = AtomicBool::new(false);
    let (gets, scans) = thread::scope(|scope| {
        let gets = scope.spawn(|| get_until(&reader, 1, &done));
        let scans = scope.spawn(|| scan_until(&reader, &done));
        let owner = scope.spawn(|| own(&mut writer, OPERATIONS * effort() as u64));
        let owned = owner.join();
        done.store(true, Ordering::Relaxed);
        owned.expect("the owner");
        (gets.join().expect("the reader that gets"), scans.join().expect("the reader that scans"))
    });
    println!(
        "set: batches of {batch_commits}: {} commits, {gets} gets and {scans} scans meanwhile",
        writer.version()
    );
    table::verify(&region).unwrap();
}

#[test]
fn readers_beside_an_owner_that_reuses_memory_at_once() {
    stress(1);
}

#[test]
fn readers_beside_an_owner_that_reuses_memory_in_batches() {
    stress(64);
}

/// Every transaction gives this many keys the same number, and the bequest as well: so they have in every version.
const TOGETHER: u64 = 8;

fn own_together(writer: &mut TableWriter<Arc<HeapRegion>>, rounds: u64) {
    let mut random = Random(11);
    for round in 0..rounds {
        let mut transaction = writer.transaction();
        for key in 0..TOGETHER {
            transaction.insert(&key.to_le_bytes(), &value(key, round)).unwrap();
        }
        // A key that comes and goes: there when the round is even.
        let comes = round % 2 == 0;
        let key = TOGETHER.to_le_bytes();
        if comes { transaction.insert(&key, &value(TOGETHER, round)) } else { transaction.remove(&key) }
            .unwrap();
        transaction.bequeath(&round.to_le_bytes()).unwrap();
        transaction.commit().unwrap();
        let other = 100 + random.below(KEYS as usize) as u64;
        writer.insert(&other.to_le_bytes(), &value(other, round)).unwrap();
    }
}

/// Takes one snapshot after the other, two of them at a time.
fn snapshot_until(reader: &TableReader<Arc<HeapRegion>>, done: &AtomicBool) -> u64 {
    let pin = || table::pin(reader.region()).expect("a pin");
    let (mut older, mut snapshots) = (pin(), 0);
    while snapshots < 20 || !done.load(Ordering::Relaxed) {
        let newer = pin();
        assert!(newer.version() >= older.version());
        for pin in [older, newer, older] {
            look_at_snapshot(reader, pin);
        }
        table::unpin(reader.region(), older);
        older = newer;
        snapshots += 1;
    }
    table::unpin(reader.region(), older);
    snapshots
}

fn look_at_snapshot(reader: &TableReader<Arc<HeapRegion>>, pin: table::Pin) {
    let snapshot = reader.snapshot(pin);
    let Some(bequest) = snapshot.bequest().unwrap() else { return };
    let round = u64::from_le_bytes(bequest.try_into().unwrap());
    let mut met = HashMap::new();
    snapshot
        .scan(&mut |key, value| {
            let key = u64::from_le_bytes(key.try_into().unwrap());
            assert!(met.insert(key, write_of(key, value)).is_none(), "a scan meets key {key} twice");
            true
        })
        .unwrap();
    assert_eq!(met.len() as u64, snapshot.len().unwrap());
    for key in 0..TOGETHER {
        let found = snapshot.get(&key.to_le_bytes()).unwrap().expect("a key that is always there");
        assert_eq!((write_of(key, &found), met[&key]), (round, round), "key {key} as of {}", pin.version());
    }
    assert_eq!(met.contains_key(&TOGETHER), round % 2 == 0);
    assert_eq!(snapshot.contains(&TOGETHER.to_le_bytes()).unwrap(), round % 2 == 0);
}

#[test]
fn snapshots_beside_an_owner() {
    for (kind, batch_commits) in [(Kind::Set, 1), (Kind::Set, 64), (Kind::OrderedSet, 64)] {
        let region = new_table_of(kind, 8 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.batch_commits = batch_commits;
        let reader = TableReader::open(region.clone()).unwrap();
        let done = AtomicBool::new(false);
        let snapshots = thread::scope(|scope| {
            let snapshots = scope.spawn(|| snapshot_until(&reader, &done));
            let owner = scope.spawn(|| own_together(&mut writer, 15_000 * effort() as u64));
            let owned = owner.join();
            done.store(true, Ordering::Relaxed);
            owned.expect("the owner");
            snapshots.join().expect("the reader of snapshots")
        });
        println!(
            "{}: batches of {batch_commits}: {} commits, {snapshots} snapshots",
            kind.name(),
            writer.version()
        );
        table::verify(&region).unwrap();
    }
}
