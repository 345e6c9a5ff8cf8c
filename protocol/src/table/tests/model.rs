//! Random operations, against a plain map.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::region::HeapRegion;
use crate::table::{self, TableOptions, TableReader, TableWriter, WriteError};

#[derive(Debug, Clone)]
enum Op {
    Insert(u16, usize),
    Remove(u16),
    Transaction(Vec<(u16, Option<usize>)>, Option<usize>),
    Handoff,
}

fn ops() -> impl Strategy<Value = Op> {
    let key = 0..600_u16;
    let length = prop_oneof![8 => 0..80_usize, 1 => 0..5000_usize];
    prop_oneof![
        10 => (key.clone(), length.clone()).prop_map(|(key, length)| Op::Insert(key, length)),
        6 => key.clone().prop_map(Op::Remove),
        1 => (prop::collection::vec((key, prop::option::of(length.clone())), 0..60), prop::option::of(length))
            .prop_map(|(writes, bequest)| Op::Transaction(writes, bequest)),
        1 => Just(Op::Handoff),
    ]
}

fn key_bytes(key: u16) -> Vec<u8> {
    // Some keys are long, some are empty.
    if key == 0 {
        return Vec::new();
    }
    let mut bytes = key.to_le_bytes().to_vec();
    bytes.resize(2 + if key.is_multiple_of(50) { 300 } else { usize::from(key % 9) }, 7);
    bytes
}

fn value_bytes(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte * 31 + salt) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_set_is_a_map(ops in prop::collection::vec(ops(), 1..800)) {
        let options = TableOptions { reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
        let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
        table::create(&region, &options).unwrap();
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let reader = TableReader::open(region.clone()).unwrap();
        let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut bequest = None;
        let mut version = 0;
        for (salt, op) in ops.into_iter().enumerate() {
            match op {
                Op::Insert(key, length) => {
                    let value = value_bytes(length, salt);
                    match writer.insert(&key_bytes(key), &value) {
                        Ok(replaced) => prop_assert_eq!(replaced, model.insert(key_bytes(key), value).is_some()),
                        Err(WriteError::TableFull { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Op::Remove(key) => {
                    prop_assert_eq!(writer.remove(&key_bytes(key)).unwrap(), model.remove(&key_bytes(key)).is_some());
                }
                Op::Transaction(writes, leave) => {
                    let mut transaction = writer.transaction();
                    let mut after = model.clone();
                    for (key, length) in writes {
                        match length {
                            Some(length) => {
                                transaction.insert(&key_bytes(key), &value_bytes(length, salt)).unwrap();
                                after.insert(key_bytes(key), value_bytes(length, salt));
                            }
                            None => {
                                transaction.remove(&key_bytes(key)).unwrap();
                                after.remove(&key_bytes(key));
                            }
                        }
                        prop_assert_eq!(transaction.get(&key_bytes(key)).unwrap(), after.get(&key_bytes(key)).cloned());
                    }
                    if let Some(length) = leave {
                        transaction.bequeath(&value_bytes(length, salt)).unwrap();
                    }
                    match transaction.commit() {
                        Ok(_) => {
                            model = after;
                            if let Some(length) = leave { bequest = Some(value_bytes(length, salt)); }
                        }
                        Err(WriteError::TableFull { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Op::Handoff => {
                    table::verify(&region).unwrap();
                    writer = TableWriter::open(region.clone(), 0).unwrap();
                }
            }
            prop_assert!(writer.version() >= version);
            version = writer.version();
            prop_assert_eq!(reader.len(), model.len() as u64);
        }
        for key in 0..600 {
            prop_assert_eq!(reader.get(&key_bytes(key)).unwrap(), model.get(&key_bytes(key)).cloned());
            prop_assert_eq!(reader.contains(&key_bytes(key)).unwrap(), model.contains_key(&key_bytes(key)));
        }
        prop_assert_eq!(reader.bequest().unwrap(), bequest);
        let mut scanned = HashMap::new();
        reader.scan(&mut |key, value| {
            assert!(scanned.insert(key.to_vec(), value.to_vec()).is_none(), "visited twice");
            true
        }).unwrap();
        prop_assert_eq!(&scanned, &model);
        let report = table::verify(&region).unwrap();
        prop_assert_eq!(report.entries, model.len() as u64);
    }
}

#[test]
fn a_full_table_says_so_and_can_be_emptied_and_filled_again() {
    let options = TableOptions { reserve_bytes: table::MIN_BYTES, ..TableOptions::set(table::MIN_BYTES) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let mut fills = Vec::new();
    for _ in 0..5 {
        let mut count = 0_u32;
        let error = loop {
            match writer.insert(&count.to_le_bytes(), &[7; 40]) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, WriteError::TableFull { .. }), "{error}");
        assert_eq!(table::verify(&region).unwrap().entries, u64::from(count));
        for key in 0..count {
            assert!(writer.remove(&key.to_le_bytes()).unwrap());
        }
        assert_eq!(table::verify(&region).unwrap().entries, 0);
        fills.push(count);
    }
    assert!(fills[0] > 2000, "{fills:?}");
    assert!(fills.iter().all(|fill| *fill * 20 >= fills[0] * 19), "memory is lost between fills: {fills:?}");
}
