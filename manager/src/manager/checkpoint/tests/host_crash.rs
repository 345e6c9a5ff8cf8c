//! The host crashes while an owner commits, the storage thread writes, or a table is filled from disk: all processes and
//! all memory are gone, and of what was not synced any part. The next table is filled from that disk, and its owner goes on,
//! until the host crashes again.

use super::*;
use crate::store::crashing::Disk;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const KEYS: u64 = 200;
const CHECKPOINTS: usize = 6;

/// What a table is of: its last write, and the last one that cleared it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    write: u64,
    cleared: u64,
}

/// Each key has the last write of it since the last clear.
fn expected(at: At) -> Content {
    let from = at.cleared.max(at.write.saturating_sub(KEYS - 1)).max(1);
    let entry = |write: u64| ((write % KEYS).to_be_bytes().to_vec(), value(write), Attributes::default());
    let mut entries: Vec<_> = (from..=at.write).map(entry).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    let bequest = (at.write > 0).then(|| at.write.to_be_bytes().to_vec());
    Content { entries, bequest, schema: None }
}

fn value(write: u64) -> Vec<u8> {
    write.to_be_bytes().repeat(1 + (write % 29) as usize)
}

/// Which versions of which incarnations are of which write.
#[derive(Debug, Default)]
struct Record(Mutex<HashMap<u64, Vec<(u64, At)>>>);

impl Record {
    fn note(&self, incarnation: u64, version: u64, at: At) {
        self.0.lock().unwrap().entry(incarnation).or_default().push((version, at));
    }

    /// A version of housekeeping is as the commit before it.
    fn at(&self, incarnation: u64, version: u64) -> At {
        let record = self.0.lock().unwrap();
        let of_this = record.get(&incarnation).expect("the disk names no incarnation that there was not");
        of_this.iter().rev().find(|(noted, _)| *noted <= version).expect("it began before").1
    }
}

/// Commits as fast as it can.
fn commit_on(
    mut owner: TableWriter<Arc<HeapRegion>>,
    incarnation: u64,
    record: &Record,
    enough: &AtomicBool,
) {
    let mut random = SmallRng::seed_from_u64(incarnation);
    let mut at = record.at(incarnation, owner.version());
    while !enough.load(Ordering::Relaxed) {
        at.write += 1;
        let mut transaction = owner.transaction();
        if random.random_range(0..500) == 0 {
            transaction.clear();
            at.cleared = at.write;
        }
        transaction.insert(&(at.write % KEYS).to_be_bytes(), &value(at.write)).unwrap();
        transaction.bequeath(&at.write.to_be_bytes()).unwrap();
        // Under the lock, so that a version that is on disk is in the record.
        let mut noted = record.0.lock().unwrap();
        let version = transaction.commit().unwrap();
        noted.entry(incarnation).or_default().push((version, at));
        drop(noted);
        if at.write.is_multiple_of(16) {
            thread::yield_now();
        }
    }
}

/// One boot of the host: what was done to its disk, and what had returned by when.
struct Boot {
    disk: Disk,
    /// After so much was done, a checkpoint of that write returned: so does a flush, and a commit that waits.
    returned: Vec<(usize, At)>,
}

/// From that disk on: fills a table, and checkpoints it while its owner commits.
fn boot(kind: Kind, bytes: Vec<u8>, incarnation: u64, record: &Record) -> Boot {
    let disk = Disk::with(bytes);
    let mut store = Store::open_on(disk.backend(), Path::new("t.redb"), Some(&identity(kind))).unwrap();
    let table = region(kind, incarnation);
    let found = store.at().map_or(At { write: 0, cleared: 0 }, |at| record.at(at.incarnation, at.version));
    store.hydrate(Arc::clone(&table)).unwrap();
    assert_eq!(disk.notes(), 0, "who only reads does not write");
    let owner = writer(&table);
    record.note(incarnation, owner.version(), found);
    let mut copier = copier(&table);
    copier.is_as_of(&mut store, owner.version()).unwrap();
    let mut returned = vec![(0, found)];
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| commit_on(owner, incarnation, record, &enough));
        while returned.len() < CHECKPOINTS {
            if let Some(copied) = copier.checkpoint(&mut store).unwrap() {
                returned.push((disk.notes(), record.at(incarnation, copied.version)));
            }
        }
        enough.store(true, Ordering::Relaxed);
    });
    drop(store);
    Boot { disk, returned }
}

impl Boot {
    /// What is on the disk after a crash then is the version that it says, and none before the last that returned.
    fn check(&self, kind: Kind, crash: usize, record: &Record, random: &mut SmallRng) -> Vec<u8> {
        let bytes = self.disk.crashed(crash, random);
        let store =
            Store::open_on(Disk::with(bytes.clone()).backend(), Path::new("t.redb"), Some(&identity(kind)));
        let store = store.unwrap();
        let at = store.at().map_or(At { write: 0, cleared: 0 }, |at| record.at(at.incarnation, at.version));
        let mut found = stored(&store, kind);
        found.entries.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, expected(at), "crash {crash}: not the version that it says");
        let promised = self.returned.iter().rfind(|(sure, _)| *sure <= crash).unwrap().1;
        assert!(at.write >= promised.write, "crash {crash}: {at:?}, and {promised:?} had returned");
        bytes
    }
}

fn crash_again_and_again(kind: Kind, seed: u64) -> usize {
    let (record, random) = (Record::default(), &mut SmallRng::seed_from_u64(seed));
    let empty = Disk::default();
    Store::format(empty.backend(), Path::new("t.redb"), &identity(kind)).unwrap();
    let (mut bytes, mut crashes) = (empty.bytes(), 0);
    for incarnation in 1..=4 {
        let boot = boot(kind, bytes, incarnation, &record);
        for crash in 0..=boot.disk.notes() {
            boot.check(kind, crash, &record, random);
            crashes += 1;
        }
        bytes = boot.check(kind, random.random_range(0..=boot.disk.notes()), &record, random);
    }
    crashes
}

#[test]
fn whatever_returned_is_there_after_a_crash_of_the_host() {
    let wanted = if std::env::var_os("HEIRLOOM_LONG").is_some() { 30_000 } else { 1000 };
    let (mut crashes, mut seed) = (0, 0);
    while crashes < wanted {
        let kind = [Kind::Set, Kind::OrderedSet][seed as usize % 2];
        crashes += crash_again_and_again(kind, seed);
        seed += 1;
    }
    println!("{crashes} crashes of {} boots of the host", 4 * seed);
}
