//! The host crashes while an owner commits, the storage thread writes, or a table is filled from disk: all processes and
//! all memory are gone, and of what was not synced any part. The next table is filled from that disk, and its owner goes on,
//! until the host crashes again.

use super::owner::{At, Owner, Record};
use super::*;
use crate::store::crashing::Disk;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const CHECKPOINTS: usize = 6;

const OWNER: Owner = Owner { keys: 200, lengths: 29, clears: 500, pause: 16 };

/// One boot of the host: what was done to its disk, and what had returned by when.
struct Boot {
    disk: Disk,
    /// After so much was done, a checkpoint of that write returned: so does a flush, and a commit that waits.
    returned: Vec<(usize, At)>,
}

fn open_on(disk: &Disk, kind: Kind) -> Store {
    Store::open_on(disk.backend(), Path::new("t.redb"), Some(&identity(kind))).unwrap()
}

/// Which write a store is of, by the version that it says.
fn noted(store: &Store, record: &Record) -> At {
    store.at().map_or(At::default(), |at| record.at(at.incarnation, at.version))
}

/// From that disk on: fills a table, and checkpoints it while its owner commits.
fn boot(kind: Kind, bytes: Vec<u8>, incarnation: u64, record: &Record) -> Boot {
    let disk = Disk::with(bytes);
    let mut store = open_on(&disk, kind);
    let table = region(kind, incarnation);
    let found = noted(&store, record);
    store.hydrate(Arc::clone(&table)).unwrap();
    assert_eq!(disk.notes(), 0, "who only reads does not write");
    let owner = writer(&table);
    record.note(incarnation, owner.version(), found);
    let mut copier = copier(&table);
    copier.is_as_of(&mut store, owner.version()).unwrap();
    let mut returned = vec![(0, found)];
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| OWNER.commit_on(owner, incarnation, record, &enough));
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
        let store = open_on(&Disk::with(bytes.clone()), kind);
        let at = noted(&store, record);
        let mut found = stored(&store, kind);
        found.entries.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, OWNER.expected(at), "crash {crash}: not the version that it says");
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
