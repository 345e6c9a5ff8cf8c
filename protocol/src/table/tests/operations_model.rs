//! Random operations that look before they write, alone and in transactions, with a clock that goes on, against a plain
//! map whose entries expire.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::support::effort;
use crate::region::HeapRegion;
use crate::table::{
    self, Clock, Kind, Modify, Step, Swap, TableOptions, TableReader, TableWriter, WriteError,
};

/// What is done with one key.
#[derive(Debug, Clone)]
enum Write {
    Insert(usize),
    InsertExpiring(usize, u64),
    InsertNew(usize),
    Append(usize),
    Remove,
    Take,
    /// Whether what is expected is there.
    Swap(bool, Option<usize>),
    Add(i64),
}

#[derive(Debug, Clone)]
enum Op {
    One(u8, Write),
    Transaction { clears_first: bool, writes: Vec<(u8, Write)>, commits: bool },
    Tick(u64),
    RemoveExpired(usize),
    Clear,
    Handoff,
}

fn write() -> impl Strategy<Value = Write> {
    let length = prop_oneof![8 => 0..40_usize, 1 => 4000..5000_usize];
    prop_oneof![
        3 => length.clone().prop_map(Write::Insert),
        3 => (length.clone(), 0..60_u64).prop_map(|(length, ttl)| Write::InsertExpiring(length, ttl)),
        1 => length.clone().prop_map(Write::InsertNew),
        1 => (0..10_usize).prop_map(Write::Append),
        2 => Just(Write::Remove),
        1 => Just(Write::Take),
        2 => (any::<bool>(), prop::option::of(length)).prop_map(|(is, new)| Write::Swap(is, new)),
        2 => (-5..5_i64).prop_map(Write::Add),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let writes = prop::collection::vec((0..40_u8, write()), 0..20);
    prop_oneof![
        30 => (0..40_u8, write()).prop_map(|(key, write)| Op::One(key, write)),
        4 => (prop::bool::weighted(0.2), writes, prop::bool::weighted(0.8))
            .prop_map(|(clears_first, writes, commits)| Op::Transaction { clears_first, writes, commits }),
        4 => (0..20_u64).prop_map(Op::Tick),
        2 => (0..10_usize).prop_map(Op::RemoveExpired),
        1 => Just(Op::Clear),
        1 => Just(Op::Handoff),
    ]
}

/// A map whose entries expire; they are there, for who counts, until they are removed.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    now_ms: u64,
}

impl Model {
    fn get(&self, key: &[u8]) -> Option<&(Vec<u8>, Option<u64>)> {
        self.entries.get(key).filter(|(_, deadline)| deadline.is_none_or(|deadline| deadline > self.now_ms))
    }

    /// Gives a key another value, which keeps the deadline that there is.
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let deadline = self.get(key).and_then(|(_, deadline)| *deadline);
        self.entries.insert(key.to_vec(), (value, deadline));
    }
}

fn value(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte * 31 + salt) as u8).collect()
}

/// Carries a write out on both, and compares what they say. A counter is a counter where its value has 8 bytes.
macro_rules! carry_out {
    ($table:expr, $model:expr, $key:expr, $write:expr, $salt:expr) => {{
        let (table, model, key, salt): (_, &mut Model, &[u8], usize) = ($table, $model, $key, $salt);
        let current = model.get(key).map(|(value, _)| value.clone());
        match $write {
            Write::Insert(length) => {
                table.insert(key, &value(length, salt))?;
                model.entries.insert(key.to_vec(), (value(length, salt), None));
            }
            Write::InsertExpiring(length, ttl) => {
                let deadline = model.now_ms + ttl;
                table.insert_expiring(key, &value(length, salt), deadline)?;
                model.entries.insert(key.to_vec(), (value(length, salt), Some(deadline)));
            }
            Write::InsertNew(length) => {
                let inserted = table.insert_new(key, &value(length, salt))?;
                assert_eq!(inserted, current.is_none());
                if inserted {
                    model.put(key, value(length, salt));
                }
            }
            Write::Append(length) => {
                let longer = |current: Option<&[u8]>| {
                    let appended = [current.unwrap_or_default(), &value(length, salt)].concat();
                    (appended.len() < 6000).then_some(appended)
                };
                table.update(key, |found| {
                    assert_eq!(found, current.as_deref());
                    longer(found)
                })?;
                match longer(current.as_deref()) {
                    Some(value) => model.put(key, value),
                    None => drop(model.entries.remove(key)),
                }
            }
            Write::Remove => {
                table.remove(key)?;
                model.entries.remove(key);
            }
            Write::Take => {
                assert_eq!(table.take(key)?, current);
                model.entries.remove(key);
            }
            Write::Swap(expects_what_is, new) => {
                let expected = if expects_what_is { current.clone() } else { Some(b"other".to_vec()) };
                let new = new.map(|length| value(length, salt));
                let swapped = table.compare_and_swap(key, expected.as_deref(), new.as_deref())?;
                if expected == current {
                    assert_eq!(swapped, Swap::Swapped);
                    match new {
                        Some(new) => model.put(key, new),
                        None => drop(model.entries.remove(key)),
                    }
                } else {
                    assert_eq!(swapped, Swap::Differs(current));
                }
            }
            Write::Add(by) => {
                let counter: Option<Option<[u8; 8]>> = current.map(|value| value.try_into().ok());
                let added = table.add_step(key, Step::by(by).starting_at(100));
                match counter {
                    Some(None) => assert!(matches!(added, Err(WriteError::NotACounter { .. }))),
                    counter => {
                        let before = counter.flatten().map_or(100, i64::from_le_bytes);
                        match before.checked_add(by) {
                            None => assert_eq!(added, Err(WriteError::CounterOverflow)),
                            Some(sum) => {
                                assert_eq!(added?, sum);
                                model.put(key, sum.to_le_bytes().to_vec());
                            }
                        }
                    }
                }
            }
        }
        Ok::<(), WriteError>(())
    }};
}

fn one(
    writer: &mut TableWriter<Arc<HeapRegion>>,
    model: &mut Model,
    key: &[u8],
    write: Write,
    salt: usize,
) -> Result<(), WriteError> {
    carry_out!(writer, model, key, write, salt)
}

fn several(
    writer: &mut TableWriter<Arc<HeapRegion>>,
    model: &mut Model,
    (clears_first, writes, commits): (bool, Vec<(u8, Write)>, bool),
    salt: usize,
) -> Result<(), WriteError> {
    let mut transaction = writer.transaction();
    let mut after = model.clone();
    if clears_first {
        transaction.clear();
        after.entries.clear();
    }
    for (key, write) in writes {
        carry_out!(&mut transaction, &mut after, &[key], write, salt)?;
        assert_eq!(transaction.get(&[key])?, after.get(&[key]).map(|(value, _)| value.clone()));
    }
    if commits {
        transaction.commit()?;
        *model = after;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64 * effort() as u32))]

    #[test]
    fn a_table_is_a_map_that_expires(
        kind in prop_oneof![Just(Kind::Set), Just(Kind::OrderedSet)],
        ops in prop::collection::vec(ops(), 1..300),
    ) {
        let options = TableOptions { reserve_bytes: 1 << 20, ..TableOptions::new(kind, 1 << 20) };
        let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
        table::create(&region, &options).unwrap();
        let clock = Clock::manual(0);
        let open = || TableWriter::open(region.clone(), 0).unwrap().with_clock(clock.clone());
        let mut writer = open();
        let reader = TableReader::open(region.clone()).unwrap().with_clock(clock.clone());
        let mut model = Model::default();
        for (salt, op) in ops.into_iter().enumerate() {
            let done = match op {
                Op::One(key, write) => one(&mut writer, &mut model, &[key], write, salt),
                Op::Transaction { clears_first, writes, commits } => {
                    several(&mut writer, &mut model, (clears_first, writes, commits), salt)
                }
                Op::Tick(by) => {
                    model.now_ms += by;
                    clock.set(model.now_ms);
                    Ok(())
                }
                Op::RemoveExpired(limit) => {
                    let removed = writer.remove_expired(limit).unwrap();
                    let expired: Vec<_> =
                        model.entries.keys().filter(|key| model.get(key).is_none()).cloned().collect();
                    assert_eq!(removed, limit.min(expired.len()));
                    // Which of them went is the table's choice.
                    let left = removed == expired.len();
                    for key in expired {
                        let gone = left || writer.find(reader.layout().hash(&key), &key).unwrap()
                            .is_none_or(|found| found.entry.is_removed());
                        if gone {
                            model.entries.remove(&key);
                        }
                    }
                    Ok(())
                }
                Op::Clear => {
                    assert_eq!(writer.clear().unwrap(), model.entries.len() as u64);
                    model.entries.clear();
                    Ok(())
                }
                Op::Handoff => {
                    table::verify(&region).unwrap();
                    writer = open();
                    Ok(())
                }
            };
            assert!(matches!(done, Ok(()) | Err(WriteError::TableFull { .. })), "{done:?}");
            prop_assert_eq!(reader.len(), model.entries.len() as u64);
        }
        let mut scanned = BTreeMap::new();
        reader.scan_attributed(&mut |key, value, attributes| {
            scanned.insert(key.to_vec(), (value.to_vec(), attributes.deadline_ms));
            true
        }).unwrap();
        for key in 0..40_u8 {
            let expected = model.get(&[key]).map(|(value, _)| value.clone());
            prop_assert_eq!(reader.get(&[key]).unwrap(), expected);
        }
        model.entries = model.entries.clone().into_iter().filter(|(key, _)| model.get(key).is_some()).collect();
        prop_assert_eq!(scanned, model.entries);
        table::verify(&region).unwrap();
    }
}
