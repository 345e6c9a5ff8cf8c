//! Get and ranges, both ways, of an ordered table beside an owner that changes its index under them.

use std::ops::Bound;

use super::gets::{keep_house, value, write_of};
use super::scene::{Owner, Reader, Scene, of_kind};
use crate::region::Region;
use crate::table::class::Unit;
use crate::table::layout::{TREE, TREE_NODES, TreeNodes};
use crate::table::{Kind, Order};

/// As many as fill a leaf.
const FULL: u64 = 14;
/// Between the numbers of the first keys, so that others come in between.
const STEP: u64 = 10;

/// In the order of the numbers.
pub(super) fn key(number: u64) -> Vec<u8> {
    (number as u16).to_be_bytes().to_vec()
}

pub(super) fn insert(owner: &mut Owner, numbers: impl IntoIterator<Item = u64>) {
    let mut insert = |number| assert!(!owner.insert(&key(number), &value(number)).unwrap(), "a new key");
    numbers.into_iter().for_each(&mut insert);
}

fn remove(owner: &mut Owner, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| assert!(owner.remove(&key(number)).unwrap()));
}

pub(super) fn leaf_of(reader: &Reader, number: u64) -> u64 {
    let found = reader.layout().find_ordered(reader.region(), reader.region(), &key(number));
    found.unwrap().expect("the key is there").slot.bucket
}

pub(super) fn root_of(reader: &Reader) -> u64 {
    reader.layout().block(Unit(reader.region().load(TREE) as u32))
}

fn leaves(owner: &Owner) -> u32 {
    TreeNodes::from_word(owner.reader().region().load(TREE_NODES)).leaves
}

/// One leaf, the root, without a free lane.
pub(super) fn fill(owner: &mut Owner) {
    insert(owner, (0..FULL).map(|number| number * STEP));
    assert_eq!(leaves(owner), 1);
}

/// Its seven first keys and its seven last are each in a leaf of their own.
pub(super) fn split(owner: &mut Owner) {
    insert(owner, [FULL * STEP / 2 - 5]);
    assert_eq!(leaves(owner), 2);
}

/// Each of the keys that are there throughout, and all of them in both orders.
fn beside(what: &str, prepare: fn(&mut Owner), act: fn(&mut Owner), there: &'static [u64]) {
    let scene = Scene::new(of_kind(Kind::OrderedSet), prepare, act);
    for &number in there {
        scene.clone().play(&format!("get beside {what}"), act, move |reader| {
            let found = reader.get(&key(number)).unwrap().expect("it is there throughout");
            assert_eq!(write_of(&found), number);
        });
    }
    for order in [Order::Ascending, Order::Descending] {
        scene.clone().play(&format!("range beside {what}"), act, move |reader| {
            let mut met = Vec::new();
            let each = &mut |_: &[u8], value: &[u8]| {
                met.push(write_of(value));
                true
            };
            reader.range(Bound::Unbounded, Bound::Unbounded, order, each).unwrap();
            if order == Order::Descending {
                met.reverse();
            }
            assert!(met.is_sorted_by(|one, next| one < next), "out of order, or twice: {met:?}");
            assert!(there.iter().all(|number| met.contains(number)), "a range misses a key: {met:?}");
        });
    }
}

#[test]
fn reads_beside_an_insert_into_a_lane_that_was_freed() {
    fn prepare(owner: &mut Owner) {
        fill(owner);
        remove(owner, [40, 50]);
        keep_house(owner, 8);
    }
    // Before the key that was there, and after it.
    fn act(owner: &mut Owner) {
        insert(owner, [35, 55]);
        assert_eq!(leaves(owner), 1);
    }
    beside("an insert", prepare, act, &[0, 10, 20, 30, 60, 70, 80, 90, 100, 110, 120, 130]);
}

/// Two leaves; the first has few keys, and no lane that was never used.
pub(super) fn use_up_a_leaf(owner: &mut Owner) {
    fill(owner);
    split(owner);
    insert(owner, 1..8);
    remove(owner, 1..6);
    keep_house(owner, 12);
    assert_eq!(leaves(owner), 2);
}

/// Its last lane was given up after the horizon, so the new key may not have it yet.
pub(super) fn copy_the_leaf(owner: &mut Owner) {
    let before = leaf_of(owner.reader(), 0);
    owner.batch_commits = u64::MAX;
    remove(owner, [6]);
    owner.move_horizon();
    keep_house(owner, 1);
    insert(owner, [8]);
    assert_ne!(leaf_of(owner.reader(), 0), before, "no copy");
}

#[test]
fn reads_beside_the_copy_of_a_leaf() {
    beside("the copy of a leaf", use_up_a_leaf, copy_the_leaf, &[0, 7, 10, 30, 60, 70]);
}

/// The first leaf is the other's when that one is split, too.
#[test]
fn reads_beside_splits_and_the_reuse_of_a_leaf() {
    fn prepare(owner: &mut Owner) {
        fill(owner);
        split(owner);
        // Both are full again.
        insert(owner, 1..8);
        insert(owner, (FULL * STEP)..(FULL * STEP + 6));
        assert_eq!(leaves(owner), 2);
    }
    fn act(owner: &mut Owner) {
        let first = leaf_of(owner.reader(), 0);
        let before = owner.reader().region().load(first);
        insert(owner, [8, 72]);
        assert_eq!(leaves(owner), 4);
        assert_ne!(owner.reader().region().load(first), before, "the leaf is not used again");
    }
    beside("splits of leaves", prepare, act, &[0, 1, 7, 10, 60, 65, 70, 130, 145]);
}

#[test]
fn reads_beside_a_merge_of_leaves() {
    fn prepare(owner: &mut Owner) {
        fill(owner);
        split(owner);
        remove(owner, [0, 10]);
        remove(owner, [65, 80, 90, 100]);
        keep_house(owner, 20);
        assert_eq!((leaves(owner), owner.counts().slots), (2, 9));
    }
    fn act(owner: &mut Owner) {
        remove(owner, [70]);
        keep_house(owner, 2);
        assert_eq!(leaves(owner), 1);
    }
    beside("a merge of leaves", prepare, act, &[20, 30, 40, 50, 60, 110, 120, 130]);
}
