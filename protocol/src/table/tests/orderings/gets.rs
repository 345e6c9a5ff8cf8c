//! Get, scan and bequest beside an owner that commits, reuses memory, splits and merges.

use std::collections::HashSet;
use std::ops::Range;

use super::scene::{Owner, Reader, Scene, options};
use crate::table::index::Found;
use crate::table::layout::ROOT;

pub(super) const KEY: &[u8] = b"key";

/// Two words, so that one torn between two writes shows.
pub(super) fn value(write: u64) -> Vec<u8> {
    write.to_le_bytes().repeat(2)
}

pub(super) fn write_of(value: &[u8]) -> u64 {
    let write = u64::from_le_bytes(value[..8].try_into().unwrap());
    assert_eq!(value, self::value(write), "a torn value");
    write
}

pub(super) fn overwrite(owner: &mut Owner, writes: Range<u64>) {
    writes.for_each(|write| assert!(owner.insert(KEY, &value(write)).is_ok()));
}

/// What a key has that is there throughout: the number of the write.
pub(super) fn get(reader: &Reader) -> u64 {
    write_of(&reader.get(KEY).unwrap().expect("it is there throughout"))
}

#[test]
fn a_get_beside_overwrites_of_its_key() {
    let scene = Scene::new(options(), |owner| overwrite(owner, 0..2), |owner| overwrite(owner, 2..4));
    scene.play(
        "get beside overwrites",
        |owner| overwrite(owner, 2..4),
        |reader| {
            let (first, second) = (get(reader), get(reader));
            assert!(1 <= first && first <= second && second <= 3, "{second} after {first}");
        },
    );
}

/// In the steady state, three blocks take turns.
#[test]
fn a_get_beside_the_reuse_of_what_it_reads() {
    let scene = Scene::new(options(), |owner| overwrite(owner, 0..20), |owner| overwrite(owner, 20..23));
    assert_reuses(&scene, KEY);
    scene.play(
        "get beside reuse",
        |owner| overwrite(owner, 20..23),
        |reader| {
            assert!((19..23).contains(&get(reader)));
        },
    );
}

#[test]
fn a_bequest_beside_the_reuse_of_what_is_read() {
    let bequeath = |owner: &mut Owner, writes: Range<u64>| {
        writes.for_each(|write| owner.bequeath(&value(write)).unwrap());
    };
    let act = move |owner: &mut Owner| bequeath(owner, 20..23);
    let scene = Scene::new(options(), move |owner| bequeath(owner, 0..20), act);
    scene.play("bequest beside reuse", act, |reader| {
        let found = reader.bequest().unwrap().expect("it is there throughout");
        assert!((19..23).contains(&write_of(&found)));
    });
}

/// A removed key's slot is emptied, and taken by another; its block becomes another key's.
#[test]
fn a_get_beside_the_reclaim_of_its_key() {
    fn act(owner: &mut Owner) {
        owner.remove(KEY).unwrap();
        for write in 10..13 {
            owner.insert(b"another", &value(write)).unwrap();
        }
    }
    let prepare = |owner: &mut Owner| {
        overwrite(owner, 0..1);
    };
    let scene = Scene::new(options(), prepare, act);
    assert_reuses(&scene, KEY);
    scene.play("get beside reclaim", act, |reader| {
        let first = reader.get(KEY).unwrap();
        let second = reader.get(KEY).unwrap();
        for found in [&first, &second].into_iter().flatten() {
            assert_eq!(write_of(found), 0);
        }
        assert!(first.is_some() || second.is_none(), "a removed key is back");
    });
}

pub(super) fn find(reader: &Reader, key: &[u8]) -> Found {
    let (layout, region) = (reader.layout(), reader.region());
    let found = layout.find(region, region, layout.root(region).unwrap(), layout.hash(key), key);
    found.unwrap().expect("the key is there")
}

/// The scene stores over the entry that a key has at first.
pub(super) fn assert_reuses(scene: &Scene, key: &[u8]) {
    let key = key.to_vec();
    let at = scene.ask(move |reader| find(reader, &key).block);
    assert!(scene.stores().iter().any(|store| store.word == at), "the first entry is not overwritten");
}

const CROWD: usize = 12;
const FULL: u64 = 22;

/// Keys of which a dozen crowd in bucket 0, which so has an overflow bucket; one more, and it splits.
pub(super) fn crowd(reader: &Reader) -> Vec<Vec<u8>> {
    let all = (0_u32..).map(|number| number.to_le_bytes().to_vec());
    let crowded = |key: &Vec<u8>| reader.layout().hash(key) & 3 == 0;
    let mut keys: Vec<Vec<u8>> = all.clone().filter(crowded).take(CROWD).collect();
    keys.extend(all.filter(|key| !crowded(key)).take(FULL as usize - CROWD));
    keys
}

pub(super) fn fill(owner: &mut Owner) {
    for (number, key) in crowd(owner.reader()).iter().enumerate() {
        owner.insert(key, &value(number as u64)).unwrap();
    }
}

pub(super) fn split(owner: &mut Owner) {
    let root = owner.root().unwrap();
    owner.insert(b"one more", &value(FULL)).unwrap();
    assert_eq!(owner.root().unwrap(), root.grown());
}

/// Commits that change no key, until the owner has nothing left to tidy up.
pub(super) fn keep_house(owner: &mut Owner, commits: usize) {
    (0..commits).for_each(|_| owner.bequeath(b"").unwrap());
}

/// As few keys as five buckets may have, all in the first bucket and in the one that it was split into.
const FEW: usize = 10;

pub(super) fn thin_out(owner: &mut Owner) {
    fill(owner);
    split(owner);
    let keys = crowd(owner.reader());
    for key in keys[FEW..].iter().map(Vec::as_slice).chain([b"one more".as_slice()]) {
        owner.remove(key).unwrap();
    }
    keep_house(owner, 20);
    assert_eq!((owner.root().unwrap().buckets, owner.counts().slots), (5, FEW as u32));
}

pub(super) fn merge(owner: &mut Owner) {
    let root = owner.root().unwrap();
    let key = crowd(owner.reader()).swap_remove(FEW - 1);
    owner.remove(&key).unwrap();
    assert_eq!(owner.root().unwrap(), root.shrunk());
}

/// Each key, and all at once, beside what moves their slots.
fn beside(what: &str, prepare: fn(&mut Owner), act: fn(&mut Owner), there: usize) {
    let scene = Scene::new(options(), prepare, act);
    let moves = |store: &crate::region::Store| store.word == ROOT;
    assert_eq!(scene.stores().iter().filter(|store| moves(store)).count(), 1, "one {what}");
    let keys = scene.ask(crowd);
    for (number, key) in keys.into_iter().enumerate().take(there) {
        scene.clone().play(&format!("get beside {what}"), act, move |reader| {
            let found = reader.get(&key).unwrap().expect("it is there throughout");
            assert_eq!(write_of(&found), number as u64);
        });
    }
    scene.play(&format!("scan beside {what}"), act, move |reader| {
        let mut met = HashSet::new();
        let each = &mut |_: &[u8], value: &[u8]| {
            assert!(met.insert(write_of(value)), "a scan meets a key twice");
            true
        };
        reader.scan(each).unwrap();
        assert!((0..there as u64).all(|number| met.contains(&number)), "a scan misses a key");
    });
}

#[test]
fn reads_beside_a_split() {
    beside("a split", fill, split, FULL as usize);
}

#[test]
fn reads_beside_a_merge() {
    beside("a merge", thin_out, merge, FEW - 1);
}
