//! The ordered index against a `BTreeMap`: random operations on keys that make it hard, and ranges both ways.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::support::Random;
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::{self, Kind, Order, Pin, ReadError, TableOptions, TableReader, TableWriter, WriteError};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Live = Arc<HeapRegion>;

fn new_table(kind: Kind, max_bytes: u64) -> Live {
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    region
}

/// Keys that make an index of prefixes think: long ones with common beginnings, keys that are prefixes of others,
/// zero bytes, the empty key.
fn hard_key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(0xff)];
    prop_oneof![
        3 => prop::collection::vec(byte.clone(), 0..6),
        3 => prop::collection::vec(byte.clone(), 0..4).prop_map(|end| [b"customer".as_slice(), &end].concat()),
        3 => prop::collection::vec(byte, 0..4).prop_map(|end| [b"customer/0000000/".as_slice(), &end].concat()),
        3 => (0..300_u32).prop_map(|number| number.to_be_bytes().to_vec()),
        1 => (0..40_u32, 250..700_usize).prop_map(|(number, length)| {
            let mut key = vec![b'x'; length];
            key.extend_from_slice(&number.to_be_bytes());
            key
        }),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Insert(Vec<u8>, usize),
    Remove(Vec<u8>),
    RemoveMany(usize),
    Transaction(Vec<(Vec<u8>, Option<usize>)>),
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>),
    Prefix(Vec<u8>),
    Neighbours(Vec<u8>),
    Handoff,
    /// Takes a snapshot.
    Pin,
    /// Looks at the oldest snapshot, and gives it up.
    Unpin,
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        hard_key().prop_map(Bound::Included),
        hard_key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let length = prop_oneof![8 => 0..80_usize, 1 => 0..3000_usize];
    let op = prop_oneof![
        20 => (hard_key(), length.clone()).prop_map(|(key, length)| Op::Insert(key, length)),
        8 => hard_key().prop_map(Op::Remove),
        1 => (1..200_usize).prop_map(Op::RemoveMany),
        2 => prop::collection::vec((hard_key(), prop::option::weighted(0.7, length)), 0..60).prop_map(Op::Transaction),
        2 => (bound(), bound()).prop_map(|(from, to)| Op::Range(from, to)),
        1 => hard_key().prop_map(Op::Prefix),
        1 => hard_key().prop_map(Op::Neighbours),
        1 => Just(Op::Handoff),
        2 => Just(Op::Pin),
        2 => Just(Op::Unpin),
    ];
    prop::collection::vec(op, 1..500)
}

fn visited(
    visit: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ReadError>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    visit(&mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        true
    })
    .unwrap();
    entries
}

fn within(model: &Map, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let range = (from.as_ref(), to.as_ref());
    let entries = model.iter().filter(|(key, _)| std::ops::RangeBounds::contains(&range, key));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn check_range(reader: &TableReader<Live>, model: &Map, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) {
    let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    let mut expected = within(model, from, to);
    assert_eq!(visited(|each| reader.range(bounds.0, bounds.1, Order::Ascending, each)), expected);
    expected.reverse();
    assert_eq!(visited(|each| reader.range(bounds.0, bounds.1, Order::Descending, each)), expected);
}

/// A snapshot has what the table had when it was taken, both ways.
fn check_snapshot(reader: &TableReader<Live>, pin: Pin, model: &Map) {
    let snapshot = reader.snapshot(pin);
    let mut expected = within(model, &Bound::Unbounded, &Bound::Unbounded);
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(visited(|each| snapshot.range(all.0, all.1, Order::Ascending, each)), expected);
    assert_eq!(snapshot.first().unwrap(), expected.first().cloned());
    assert_eq!(snapshot.last().unwrap(), expected.last().cloned());
    assert_eq!(snapshot.len().unwrap(), expected.len() as u64);
    expected.reverse();
    assert_eq!(visited(|each| snapshot.range(all.0, all.1, Order::Descending, each)), expected);
    for (key, value) in expected {
        assert_eq!(snapshot.get(&key).unwrap(), Some(value));
    }
}

fn check_neighbours(reader: &TableReader<Live>, model: &Map, key: &[u8]) {
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    let after = model.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next().map(pair);
    let before = model.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back().map(pair);
    assert_eq!(reader.next(key).unwrap(), after);
    assert_eq!(reader.prev(key).unwrap(), before);
    assert_eq!(reader.first().unwrap(), model.iter().next().map(pair));
    assert_eq!(reader.last().unwrap(), model.iter().next_back().map(pair));
}

fn insert(writer: &mut TableWriter<Live>, model: &mut Map, key: &[u8], value: Vec<u8>) {
    match writer.insert(key, &value) {
        Ok(replaced) => assert_eq!(replaced, model.insert(key.to_vec(), value).is_some()),
        Err(WriteError::TableFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn transact(writer: &mut TableWriter<Live>, model: &mut Map, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
    let mut after = model.clone();
    let mut transaction = writer.transaction();
    for (key, value) in writes {
        match &value {
            Some(value) => transaction.insert(&key, value).unwrap(),
            None => transaction.remove(&key).unwrap(),
        }
        assert_eq!(transaction.get(&key).unwrap(), value);
        match value {
            Some(value) => after.insert(key, value),
            None => after.remove(&key),
        };
    }
    match transaction.commit() {
        Ok(_) => *model = after,
        Err(WriteError::TableFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_ordered_set_is_a_btree_map(ops in ops()) {
        let region = new_table(Kind::OrderedSet, 1 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let reader = TableReader::open(region.clone()).unwrap();
        let mut model = Map::new();
        let mut pins = VecDeque::new();
        for (salt, op) in ops.into_iter().enumerate() {
            match op {
                Op::Insert(key, length) => insert(&mut writer, &mut model, &key, vec![salt as u8; length]),
                Op::Remove(key) => {
                    prop_assert_eq!(writer.remove(&key).unwrap(), model.remove(&key).is_some());
                }
                Op::RemoveMany(count) => {
                    for key in model.keys().take(count).cloned().collect::<Vec<_>>() {
                        prop_assert!(writer.remove(&key).unwrap() && model.remove(&key).is_some());
                    }
                }
                Op::Transaction(writes) => {
                    let value = |length: usize| vec![salt as u8; length];
                    let writes = writes.into_iter().map(|(key, length)| (key, length.map(value))).collect();
                    transact(&mut writer, &mut model, writes);
                }
                Op::Range(from, to) => check_range(&reader, &model, &from, &to),
                Op::Prefix(prefix) => {
                    let mut expected: Vec<_> =
                        model.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(key, value)| (key.clone(), value.clone())).collect();
                    prop_assert_eq!(visited(|each| reader.prefix(&prefix, Order::Ascending, each)), expected.clone());
                    expected.reverse();
                    prop_assert_eq!(visited(|each| reader.prefix(&prefix, Order::Descending, each)), expected);
                }
                Op::Neighbours(key) => check_neighbours(&reader, &model, &key),
                Op::Handoff => {
                    table::verify(&region).unwrap();
                    writer = TableWriter::open(region.clone(), 0).unwrap();
                }
                Op::Pin => pins.push_back((table::pin(&region).unwrap(), model.clone())),
                Op::Unpin => {
                    if let Some((pin, model)) = pins.pop_front() {
                        check_snapshot(&reader, pin, &model);
                        table::unpin(&region, pin);
                    }
                }
            }
            prop_assert_eq!(reader.len(), model.len() as u64);
        }
        for (pin, model) in pins {
            check_snapshot(&reader, pin, &model);
        }
        check_range(&reader, &model, &Bound::Unbounded, &Bound::Unbounded);
        for key in model.keys() {
            prop_assert_eq!(reader.get(key).unwrap(), model.get(key).cloned());
        }
        let report = table::verify(&region).unwrap();
        prop_assert_eq!(report.entries, model.len() as u64);
    }
}

/// Thousands of keys in several orders: the tree grows by several levels and is taken down again.
#[test]
fn trees_of_several_levels_grow_and_go() {
    for (name, order) in [("ascending", 0), ("descending", 1), ("random", 2)] {
        let region = new_table(Kind::OrderedSet, 16 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let mut random = Random(order);
        let mut keys: Vec<u64> = (0..20_000).collect();
        match order {
            0 => {}
            1 => keys.reverse(),
            _ => (1..keys.len()).for_each(|at| keys.swap(at, random.below(at + 1))),
        }
        for key in &keys {
            assert!(!writer.insert(&key.to_be_bytes(), &key.to_le_bytes()).unwrap());
        }
        let report = table::verify(&region).unwrap();
        let most_leaves = if order == 0 { 20_000 / 14 + 1 } else { 20_000 / 6 };
        assert!(report.leaves <= most_leaves, "{name}: {report:?}");
        assert!(report.inner_nodes >= 50, "{name}: {report:?}");
        let reader = TableReader::open(region.clone()).unwrap();
        let entries = visited(|each| reader.scan(each));
        assert!(entries.len() == 20_000 && entries.is_sorted(), "{name}");
        for key in keys.iter().filter(|key| **key % 10 != 3) {
            assert!(writer.remove(&key.to_be_bytes()).unwrap());
        }
        assert_eq!(visited(|each| reader.scan(each)).len(), 2000);
        let report = table::verify(&region).unwrap();
        assert!(report.leaves <= 2000 / 3, "{name}: {report:?}");
        for key in keys.iter().filter(|key| **key % 10 == 3) {
            assert!(writer.remove(&key.to_be_bytes()).unwrap());
        }
        for _ in 0..300 {
            writer.bequeath(b"housekeeping follows each commit").unwrap();
        }
        let report = table::verify(&region).unwrap();
        assert!(report.leaves <= 1 && report.inner_nodes == 0, "{name}: {report:?}");
    }
}

/// Each fill takes about as much as the first, in whatever order, so no memory is lost to nodes.
#[test]
fn a_full_ordered_set_can_be_emptied_and_filled_again() {
    let region = new_table(Kind::OrderedSet, table::MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let mut fills = Vec::new();
    for round in 0..6_u64 {
        let key = |number: u64| match round % 3 {
            0 => (round << 32 | number).to_be_bytes(),
            1 => number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(),
            _ => (round << 40 | 1 << 30).wrapping_sub(number).to_be_bytes(),
        };
        let count = (0..).take_while(|number| writer.insert(&key(*number), &[7; 40]).is_ok()).count() as u64;
        assert_eq!(table::verify(&region).unwrap().entries, count);
        for number in 0..count {
            assert!(writer.remove(&key(number)).unwrap());
        }
        assert_eq!(table::verify(&region).unwrap().entries, 0);
        fills.push(count);
    }
    assert!(fills[0] > 2000, "{fills:?}");
    // Leaves are as full as the order of the keys lets them be: the orders are compared with themselves. One span of the
    // sixteen may have become the nodes' meanwhile.
    let lost = |round: usize| fills[round + 3] * 20 < fills[round] * 18;
    assert!(!(0..3).any(lost), "memory is lost between fills: {fills:?}");
}

#[test]
fn a_set_has_no_order() {
    let region = new_table(Kind::Set, 1 << 20);
    let reader = TableReader::open(region).unwrap();
    assert_eq!(reader.first(), Err(ReadError::NotOrdered));
    let range = reader.range(Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut |_, _| true);
    assert_eq!(range, Err(ReadError::NotOrdered));
}

/// A region where the owner does something before one of a reader's loads.
struct Interrupted {
    inner: Live,
    loads_left: AtomicUsize,
    owner: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Region for Interrupted {
    fn words(&self) -> u64 {
        self.inner.words()
    }

    fn load(&self, word: u64) -> u64 {
        if self.loads_left.fetch_sub(1, Ordering::Relaxed) == 0
            && let Some(owner) = self.owner.lock().expect("no owner panics").take()
        {
            owner();
        }
        self.inner.load(word)
    }

    fn store(&self, _: u64, _: u64) {
        unreachable!("readers store nothing")
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        unreachable!("readers need no memory")
    }
}

/// A reader whose owner does something before one of its loads.
fn interrupted(
    region: &Live,
    before_load: usize,
    owner: impl FnOnce() + Send + 'static,
) -> TableReader<Interrupted> {
    let interrupted = Interrupted {
        inner: region.clone(),
        loads_left: AtomicUsize::new(usize::MAX),
        owner: Mutex::new(Some(Box::new(owner))),
    };
    let reader = TableReader::open(interrupted).unwrap();
    reader.region().loads_left.store(before_load, Ordering::Relaxed);
    reader
}

/// Commits until all that was removed before the last move of the horizon is taken out of its leaf.
fn keep_house(writer: &mut TableWriter<Live>) {
    (0..20).for_each(|_| writer.bequeath(b"housekeeping follows each commit").unwrap());
}

/// While a reader is on its way to a leaf, the leaf's neighbour ends, and a new key of the neighbour's range comes into
/// the leaf. The range goes on from the separator that was between them, and must not meet that key twice.
#[test]
fn a_range_takes_of_a_leaf_what_lies_within_the_separators_it_met() {
    let key = |number: u64| number.to_be_bytes();
    let cases =
        [(16..24_u64, 16, Order::Ascending), (16..24, 20, Order::Ascending), (0..8, 5, Order::Descending)];
    for (gone, new, order) in cases {
        for before_load in 0.. {
            let region = new_table(Kind::OrderedSet, 1 << 20);
            let mut writer = TableWriter::open(region.clone(), 0).unwrap();
            writer.batch_commits = 10_000;
            // Descending, so that each leaf has eight keys and free lanes: 0 to 7, 8 to 15, and so on.
            (0..32).rev().for_each(|number| assert!(!writer.insert(&key(number), b"v").unwrap()));
            assert_eq!(table::verify(&region).unwrap().leaves, 4);
            gone.clone().for_each(|number| assert!(writer.remove(&key(number)).unwrap()));
            writer.move_horizon();
            let reader = interrupted(&region, before_load, move || {
                keep_house(&mut writer);
                assert!(!writer.insert(&key(new), b"new").unwrap());
                assert_eq!(table::verify(writer.reader().region()).unwrap().leaves, 3);
            });
            let mut met: Vec<u64> =
                visited(|each| reader.range(Bound::Unbounded, Bound::Unbounded, order, each))
                    .iter()
                    .map(|(key, _)| u64::from_be_bytes(key.as_slice().try_into().unwrap()))
                    .collect();
            if order == Order::Descending {
                met.reverse();
            }
            assert!(met.is_sorted_by(|one, other| one < other), "{met:?} before load {before_load}");
            let mut standing = (0..32).filter(|number| !gone.contains(number));
            assert!(standing.all(|number| met.contains(&number)), "{met:?} before load {before_load}");
            if reader.region().owner.lock().unwrap().is_some() {
                break;
            }
        }
    }
}

/// While a reader looks for a key in a full leaf, the least key is taken out of it, and a greater one comes. Had that one
/// the lane of the other, it would stand in the way of a reader that has the leaf's old permutation.
#[test]
fn a_lane_is_not_used_again_before_the_horizon_has_passed() {
    let key = |number: u64| number.to_be_bytes();
    for wanted in 1..14 {
        for before_load in 0.. {
            let region = new_table(Kind::OrderedSet, 1 << 20);
            let mut writer = TableWriter::open(region.clone(), 0).unwrap();
            writer.batch_commits = 10_000;
            (0..14).for_each(|number| assert!(!writer.insert(&key(number), b"v").unwrap()));
            assert!(writer.remove(&key(0)).unwrap());
            writer.move_horizon();
            let reader = interrupted(&region, before_load, move || {
                keep_house(&mut writer);
                assert!(!writer.insert(&key(14), b"new").unwrap());
            });
            assert_eq!(reader.get(&key(wanted)).unwrap(), Some(b"v".to_vec()), "before load {before_load}");
            if reader.region().owner.lock().unwrap().is_some() {
                break;
            }
        }
    }
}
