//! An owner that writes on while its table is copied: each file is of one commit, and of the one that it says.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const KEYS: u64 = 400;

/// What the table is after write number `write`: each key has the last write of it, but for those removed by a clear.
fn expected(write: u64, cleared: u64) -> Vec<(Vec<u8>, Vec<u8>, Attributes)> {
    let from = cleared.max(write.saturating_sub(KEYS - 1)).max(1);
    let mut entries: Vec<_> = (from..=write)
        .map(|write| {
            let entry = (write % KEYS).to_be_bytes().to_vec();
            (entry, write.to_be_bytes().repeat(1 + (write % 13) as usize), Attributes::default())
        })
        .collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    entries
}

/// Which write each version is, and the last clear before it.
type Record = Mutex<Vec<(u64, u64, u64)>>;

fn write_on(mut owner: TableWriter<Arc<HeapRegion>>, record: &Record, enough: &AtomicBool, pause: u64) {
    let mut random = StdRng::seed_from_u64(4);
    let mut cleared = 0;
    for write in 1_u64.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let mut transaction = owner.transaction();
        if random.random_range(0..3000) == 0 {
            transaction.clear();
            cleared = write;
        }
        let value = write.to_be_bytes().repeat(1 + (write % 13) as usize);
        transaction.insert(&(write % KEYS).to_be_bytes(), &value).unwrap();
        transaction.bequeath(&write.to_be_bytes()).unwrap();
        // Under the lock, so that a version that is on disk is in the record.
        let mut record = record.lock().unwrap();
        let version = transaction.commit().unwrap();
        record.push((version, write, cleared));
        drop(record);
        if pause > 0 && write.is_multiple_of(pause) {
            thread::yield_now();
        }
    }
}

fn check(kind: Kind, pause: u64, again: bool) {
    let folder = tempfile::tempdir().unwrap();
    let table = region(kind, 5);
    let owner = writer(&table);
    let (record, enough) = (Record::default(), AtomicBool::new(false));
    let (mut changes, mut wholes) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| write_on(owner, &record, &enough, pause));
        let (mut store, mut copier) = (open(&folder, kind), copier(&table));
        for round in 0..60 {
            if again && round % 7 == 6 {
                drop(store);
                std::fs::remove_file(path(folder.path(), "t")).unwrap();
                (store, copier) = (open(&folder, kind), super::copier(&table));
            }
            let Some(copied) = copier.checkpoint(&mut store).unwrap() else { continue };
            if copied.whole {
                wholes += 1
            } else {
                changes += 1
            }
            let found = stored(&store, kind);
            let record = record.lock().unwrap();
            // A version of housekeeping is as the commit before it.
            let last = record.iter().rev().find(|(version, ..)| *version <= copied.version);
            let (write, cleared) = last.map_or((0, 0), |(_, write, cleared)| (*write, *cleared));
            let mut entries = found.entries;
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(entries, expected(write, cleared), "version {}, write {write}", copied.version);
            assert_eq!(found.bequest, (write > 0).then(|| write.to_be_bytes().to_vec()));
        }
        enough.store(true, Ordering::Relaxed);
    });
    println!("{}: {changes} times the changes, {wholes} times the whole table", kind.name());
    assert_eq!(table::held(&table).pins, 0, "no pin is left");
}

#[test]
fn changes_are_of_one_version() {
    check(Kind::Set, 1, false);
    check(Kind::OrderedSet, 1, false);
}

#[test]
fn a_whole_table_is_of_one_version_too() {
    check(Kind::Set, 16, true);
    check(Kind::OrderedSet, 16, true);
}
