//! Bags against lists of values.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::prelude::*;

use crate::region::{HeapRegion, Region};
use crate::table::layout::FOLLOWED;
use crate::table::{
    self, Kind, MAX_KEY_BYTES, Modify, Order, TableOptions, TableReader, TableWriter, WriteError,
};

type Live = Arc<HeapRegion>;

/// The values of each key, in the order in which they were inserted.
type Map = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

fn new_table(kind: Kind) -> Live {
    let options = TableOptions { reserve_bytes: 4 << 20, ..TableOptions::new(kind, 4 << 20) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    region
}

/// Keys whose composite forms could be mistaken for each other.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..4)
}

/// Few values, so that they come again; some have the same hash.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..6_u8).prop_map(|number| vec![number; 3]),
        2 => (0..4_u8).prop_map(|number| [b"same hash".as_slice(), &[number]].concat()),
        1 => (0..3_u8).prop_map(|number| vec![number; 2000]),
        1 => Just(Vec::new()),
    ]
}

#[derive(Debug, Clone)]
enum Write {
    Insert(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    RemoveValue(Vec<u8>, Vec<u8>),
}

#[derive(Debug, Clone)]
enum Op {
    Single(Write),
    Transaction(Vec<Write>, bool),
    Handoff,
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        8 => (key(), value()).prop_map(|(key, value)| Write::Insert(key, value)),
        1 => key().prop_map(Write::Remove),
        3 => (key(), value()).prop_map(|(key, value)| Write::RemoveValue(key, value)),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => write().prop_map(Op::Single),
        2 => (prop::collection::vec(write(), 0..30), prop::bool::weighted(0.8))
            .prop_map(|(writes, commits)| Op::Transaction(writes, commits)),
        1 => Just(Op::Handoff),
    ];
    prop::collection::vec(op, 1..200)
}

/// What a write does to the lists, and what it says.
fn apply(kind: Kind, model: &mut Map, write: &Write) -> u64 {
    match write {
        Write::Insert(key, value) => {
            let values = model.entry(key.clone()).or_default();
            let there = kind == Kind::Bag && values.contains(value);
            if !there {
                values.push(value.clone());
            }
            u64::from(there)
        }
        Write::Remove(key) => u64::from(model.remove(key).is_some_and(|values| !values.is_empty())),
        Write::RemoveValue(key, value) => {
            let values = model.entry(key.clone()).or_default();
            let before = values.len();
            values.retain(|other| other != value);
            (before - values.len()) as u64
        }
    }
}

fn collect(visit: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool)) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    visit(&mut |value| {
        values.push(value.to_vec());
        true
    });
    values
}

/// A `bag` has its values in no order that means anything.
fn in_order(kind: Kind, mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if kind == Kind::Bag {
        values.sort();
    }
    values
}

fn check(kind: Kind, reader: &TableReader<Live>, model: &Map) {
    assert_eq!(reader.len(), model.values().map(|values| values.len() as u64).sum::<u64>());
    let mut pairs = Vec::new();
    for (key, values) in model {
        let found = collect(|each| reader.values(key, each).unwrap());
        assert_eq!(in_order(kind, found.clone()), in_order(kind, values.clone()), "{key:?}");
        assert_eq!(reader.count(key).unwrap(), values.len() as u64);
        assert_eq!(reader.contains(key).unwrap(), !values.is_empty());
        assert_eq!(reader.get(key).unwrap(), found.first().cloned());
        pairs.extend(found.into_iter().map(|value| (key.clone(), value)));
    }
    let mut scanned = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    for order in [Order::Ascending, Order::Descending] {
        reader
            .range(all.0, all.1, order, &mut |key, value| {
                scanned.push((key.to_vec(), value.to_vec()));
                true
            })
            .unwrap();
        assert_eq!(scanned, pairs);
        scanned.clear();
        pairs.reverse();
    }
    assert_eq!(reader.first().unwrap(), pairs.first().cloned());
    assert_eq!(reader.last().unwrap(), pairs.last().cloned());
    for key in model.keys() {
        let above = |pair: &&(Vec<u8>, Vec<u8>)| pair.0 > *key;
        let below = |pair: &&(Vec<u8>, Vec<u8>)| pair.0 < *key;
        assert_eq!(reader.next(key).unwrap(), pairs.iter().find(above).cloned());
        assert_eq!(reader.prev(key).unwrap(), pairs.iter().rfind(below).cloned());
        let mut with_prefix = Vec::new();
        reader
            .prefix(key, Order::Ascending, &mut |key, value| {
                with_prefix.push((key.to_vec(), value.to_vec()));
                true
            })
            .unwrap();
        let expected: Vec<_> = pairs.iter().filter(|pair| pair.0.starts_with(key)).cloned().collect();
        assert_eq!(with_prefix, expected);
    }
}

fn run(kind: Kind, ops: Vec<Op>) {
    let region = new_table(kind);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let reader = TableReader::open(region.clone()).unwrap();
    let mut model = Map::new();
    for op in ops {
        match op {
            Op::Single(write) => {
                let expected = apply(kind, &mut model, &write);
                let said = match &write {
                    Write::Insert(key, value) => u64::from(writer.insert(key, value).unwrap()),
                    Write::Remove(key) => u64::from(writer.remove(key).unwrap()),
                    Write::RemoveValue(key, value) => writer.remove_value(key, value).unwrap(),
                };
                assert_eq!(said, expected, "{write:?}");
            }
            Op::Transaction(writes, commits) => {
                let mut after = model.clone();
                let mut transaction = writer.transaction();
                for write in &writes {
                    let expected = apply(kind, &mut after, write);
                    let key = match write {
                        Write::Insert(key, value) => {
                            transaction.insert(key, value).unwrap();
                            key
                        }
                        Write::Remove(key) => {
                            transaction.remove(key).unwrap();
                            key
                        }
                        Write::RemoveValue(key, value) => {
                            assert_eq!(transaction.remove_value(key, value).unwrap(), expected, "{write:?}");
                            key
                        }
                    };
                    let found = collect(|each| transaction.values(key, each).unwrap());
                    assert_eq!(transaction.get(key).unwrap(), found.first().cloned());
                    let expected = after.get(key).cloned().unwrap_or_default();
                    assert_eq!(in_order(kind, found), in_order(kind, expected), "after {write:?}");
                }
                if commits {
                    transaction.commit().unwrap();
                    model = after;
                } else {
                    drop(transaction);
                }
            }
            Op::Handoff => {
                table::verify(&region).unwrap();
                writer = TableWriter::open(region.clone(), 0).unwrap();
            }
        }
        model.retain(|_, values| !values.is_empty());
    }
    check(kind, &reader, &model);
    table::verify(&region).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bag_has_each_object_once(ops in ops()) {
        run(Kind::Bag, ops);
    }

    #[test]
    fn a_duplicate_bag_has_objects_in_the_order_of_their_insertion(ops in ops()) {
        run(Kind::DuplicateBag, ops);
    }
}

#[test]
fn the_longest_key_of_a_bag_leaves_room_for_what_tells_values_apart() {
    for kind in [Kind::Bag, Kind::DuplicateBag] {
        let mut writer = TableWriter::open(new_table(kind), 0).unwrap();
        let longest = vec![7; MAX_KEY_BYTES - 14];
        for value in [b"one", b"two"] {
            assert!(!writer.insert(&longest, value).unwrap());
        }
        assert_eq!(writer.reader().count(&longest).unwrap(), 2);
        for key in [vec![7; MAX_KEY_BYTES - 13], vec![0; MAX_KEY_BYTES / 2]] {
            let refused = writer.insert(&key, b"v").unwrap_err();
            assert!(matches!(refused, WriteError::BagKeyTooLong { .. }), "{refused}");
            assert!(!writer.remove(&key).unwrap() && writer.reader().get(&key).unwrap().is_none());
        }
        table::verify(writer.reader().region()).unwrap();
    }
}

/// What changes the one value of a key is refused, and leaves nothing behind.
#[test]
fn there_is_no_such_thing_as_the_value_of_a_key_of_a_bag() {
    let mut writer = TableWriter::open(new_table(Kind::Bag), 0).unwrap();
    writer.insert(b"k", b"v").unwrap();
    assert_eq!(writer.take(b"k"), Err(WriteError::SeveralValues));
    let mut transaction = writer.transaction();
    assert_eq!(transaction.add(b"n", 1), Err(WriteError::SeveralValues));
    transaction.commit().unwrap();
    assert_eq!(writer.reader().len(), 1);
}

/// An insert sets the deadline anew, also of an object that is there.
#[test]
fn an_object_can_expire() {
    let clock = table::Clock::manual(1000);
    let region = new_table(Kind::Bag);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap().with_clock(clock.clone());
    assert!(!writer.insert_expiring(b"k", b"short", 2000).unwrap());
    assert!(!writer.insert(b"k", b"long").unwrap());
    assert!(writer.insert_expiring(b"k", b"short", 3000).unwrap());
    let version = writer.version();
    assert!(writer.insert_expiring(b"k", b"short", 3000).unwrap());
    assert_eq!(writer.version(), version, "nothing is new, and nothing is committed");
    clock.set(2500);
    assert_eq!(writer.reader().count(b"k").unwrap(), 2);
    clock.set(3000);
    assert_eq!(writer.reader().get(b"k").unwrap(), Some(b"long".to_vec()));
    assert_eq!(writer.reader().count(b"k").unwrap(), 1);
    assert!(!writer.insert(b"k", b"short").unwrap());
    assert_eq!(table::verify(&region).unwrap().entries, 2);
}

/// Whoever follows a bag is told its keys, each once, and not what its index has for them.
#[test]
fn the_changes_of_a_bag_are_those_of_its_keys() {
    let region = new_table(Kind::Bag);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    region.store(FOLLOWED, 1);
    writer.insert(b"before", b"v").unwrap();
    let reader = TableReader::open(region).unwrap();
    let cursor = reader.follow();
    for value in [b"one", b"two"] {
        writer.insert(b"a\0b", value).unwrap();
    }
    writer.insert(b"", b"v").unwrap();
    writer.remove(b"before").unwrap();
    let mut changes = table::Changes::default();
    reader.changes(cursor, reader.version(), &mut changes).unwrap();
    let keys: Vec<&[u8]> = changes.keys().collect();
    assert_eq!(keys, [b"a\0b".as_slice(), b"", b"before"]);
}
