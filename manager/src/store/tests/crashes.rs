//! The host crashes at every write and every sync of a store's life; what is on the disk then is one version.

use super::model::{change, give};
use super::*;
use crate::store::crashing::Disk;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What had been done to the disk when a version was begun and when it was there for sure.
struct Life {
    disk: Disk,
    versions: Vec<(usize, usize, Content)>,
    kind: Kind,
}

fn open(disk: &Disk, kind: Kind) -> Store {
    Store::open_on(disk.backend(), Path::new("sales.redb"), Some(&sales(kind))).unwrap()
}

/// Checkpoints of every sort, and the store closed and opened among them.
fn live(kind: Kind, seed: u64) -> Life {
    let random = &mut SmallRng::seed_from_u64(seed);
    let empty = Disk::default();
    Store::format(empty.backend(), Path::new("sales.redb"), &sales(kind)).unwrap();
    // How a file comes to be is not the disk's but the folder's affair.
    let disk = Disk::with(empty.bytes());
    let mut store = open(&disk, kind);
    let mut versions = vec![(0, 0, Content::default())];
    for version in 1..9 {
        let begun = disk.notes();
        let mut content = versions.last().unwrap().2.clone();
        let mut checkpoint = store.checkpoint().unwrap();
        change(&mut checkpoint, &mut content, kind, 300, random).unwrap();
        match random.random_range(0..4) {
            0 => {
                drop(checkpoint);
                let mut whole = store.whole().unwrap();
                give(&mut whole, &content, random);
                whole.commit(stamp(version)).unwrap();
            }
            1 => {
                drop(checkpoint);
                continue;
            }
            _ => checkpoint.commit(stamp(version)).unwrap(),
        }
        versions.push((begun, disk.notes(), content));
        if random.random_bool(0.3) {
            drop(store);
            store = open(&disk, kind);
        }
    }
    drop(store);
    Life { disk, versions, kind }
}

impl Life {
    /// What is on the disk after a crash is one version, and none before one that was there for sure.
    fn check(&self, crash: usize, random: &mut SmallRng) {
        let disk = Disk::with(self.disk.crashed(crash, random));
        let mut store = open(&disk, self.kind);
        let found = hydrated(&store).unwrap();
        assert_eq!(disk.notes(), 0, "who only looks does not write");
        let first = self.versions.iter().rposition(|(_, sure, _)| *sure <= crash).unwrap_or(0);
        let possible = self.versions[first..].iter().take_while(|(begun, _, _)| *begun <= crash);
        assert!(
            possible.map(|(_, _, content)| content).any(|content| *content == found),
            "crash {crash}: no version"
        );
        if random.random_bool(0.1) {
            self.go_on(&mut store, &disk, found, random);
        }
    }

    /// The store is of use after a crash, also where there is another one while it is.
    fn go_on(&self, store: &mut Store, disk: &Disk, found: Content, random: &mut SmallRng) {
        let mut next = found.clone();
        let mut checkpoint = store.checkpoint().unwrap();
        change(&mut checkpoint, &mut next, self.kind, 300, random).unwrap();
        checkpoint.commit(stamp(100)).unwrap();
        assert!(hydrated(store).unwrap() == next);
        let sure = disk.notes();
        let crash = random.random_range(0..=sure);
        let again = open(&Disk::with(disk.crashed(crash, random)), self.kind);
        let content = hydrated(&again).unwrap();
        assert!(content == next || crash < sure && content == found, "crash {crash} of {sure} after a crash");
    }
}

#[test]
fn a_crash_at_every_write_and_every_sync() {
    let wanted = if std::env::var_os("HEIRLOOM_LONG").is_some() { 30_000 } else { 1000 };
    let (mut crashes, mut seed) = (0, 0);
    while crashes < wanted {
        let kind = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag][seed as usize % 4];
        let life = live(kind, seed);
        let random = &mut SmallRng::seed_from_u64(!seed);
        for crash in 0..=life.disk.notes() {
            life.check(crash, random);
            crashes += 1;
        }
        seed += 1;
    }
    println!("{crashes} crashes in {seed} lives of a store");
}

#[test]
fn a_disk_that_is_full_at_any_write_costs_nothing_and_goes_on_with_room() {
    let random = &mut SmallRng::seed_from_u64(3);
    let life = live(Kind::OrderedSet, 5);
    let disk = Disk::with(life.disk.bytes());
    let mut content = life.versions.last().unwrap().2.clone();
    let mut store = open(&disk, life.kind);
    let mut fullness = 0;
    for room in 0.. {
        let mut next = content.clone();
        disk.full_after(Some(room));
        let written = store.checkpoint().and_then(|mut checkpoint| {
            change(&mut checkpoint, &mut next, life.kind, 300, random)?;
            checkpoint.replace(b"always", [(&room.to_be_bytes()[..], Attributes::default())])?;
            checkpoint.commit(stamp(room))
        });
        next.entries.insert(b"always".to_vec(), vec![(room.to_be_bytes().to_vec(), Attributes::default())]);
        disk.full_after(None);
        match written {
            Ok(()) => content = next,
            Err(error) => {
                assert!(error.is_full(), "{error}");
                fullness += 1;
                // It may have failed at the very end, when all of it was there.
                let found = hydrated(&open(&Disk::with(disk.bytes()), life.kind)).unwrap();
                assert!(found == content || found == next, "after {room} writes");
                content = found;
            }
        }
        // There is room again.
        let mut checkpoint = store.checkpoint().unwrap();
        change(&mut checkpoint, &mut content, life.kind, 300, random).unwrap();
        checkpoint.commit(stamp(room)).unwrap();
        assert!(hydrated(&store).unwrap() == content, "with room again, after {room} writes");
        if fullness > 0 && room > 60 {
            break;
        }
    }
    assert!(fullness > 10, "{fullness}");
}
