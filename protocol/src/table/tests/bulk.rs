//! Many entries at once: clear, remove_expired, extend, and transactions of a million writes.

use std::sync::Arc;

use crate::region::HeapRegion;
use crate::table::{self, Clock, Kind, TableOptions, TableReader, TableWriter, WriteError};

const KINDS: [Kind; 4] = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag];

/// An empty table of a kind, with no more addresses than it needs.
fn empty(kind: Kind, max_bytes: u64) -> TableWriter<Arc<HeapRegion>> {
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    TableWriter::open(region, 0).unwrap()
}

fn filled(kind: Kind, entries: u64, max_bytes: u64) -> TableWriter<Arc<HeapRegion>> {
    let mut writer = empty(kind, max_bytes);
    let entries = (0..entries).map(|number| (number.to_le_bytes(), [number as u8; 40]));
    writer.extend(entries).unwrap();
    writer
}

#[test]
fn a_cleared_table_is_empty_and_is_filled_again() {
    for kind in KINDS {
        let mut writer = filled(kind, 3000, 2 << 20);
        let used = writer.reader().info().used_bytes;
        for round in 0..5_u64 {
            let version = writer.version();
            assert_eq!(writer.clear().unwrap(), 3000);
            assert!(writer.reader().is_empty());
            assert_eq!(writer.reader().get(&7_u64.to_le_bytes()).unwrap(), None);
            assert!(writer.version() > version);
            table::verify(writer.reader().region()).unwrap();
            let refill = (0..3000_u64).map(|number| ((number + round).to_le_bytes(), [1; 40]));
            assert_eq!(writer.extend(refill).unwrap(), 3000);
            assert_eq!(table::verify(writer.reader().region()).unwrap().entries, 3000);
        }
        let now = writer.reader().info().used_bytes;
        assert!(now < used * 5 / 2, "{kind:?}: what was cleared is used again: {used} bytes became {now}");
        assert_eq!(writer.clear().unwrap(), 3000);
        assert_eq!(writer.clear().unwrap(), 0);
    }
}

#[test]
fn a_full_table_can_be_cleared() {
    for kind in KINDS {
        let mut writer = empty(kind, table::MIN_BYTES);
        let mut number = 0_u64;
        while writer.insert(&number.to_le_bytes(), &[7; 100]).is_ok() {
            number += 1;
        }
        assert_eq!(writer.clear().unwrap(), number);
        assert_eq!(table::verify(writer.reader().region()).unwrap().entries, 0);
        for key in 0..number * 8 / 10 {
            writer.insert(&key.to_le_bytes(), &[8; 100]).unwrap();
        }
    }
}

#[test]
fn a_transaction_clears_and_fills_at_once() {
    for kind in KINDS {
        let mut writer = filled(kind, 100, 1 << 20);
        let version = writer.version();
        let mut transaction = writer.transaction();
        transaction.insert(b"forgotten", b"").unwrap();
        transaction.bequeath(b"kept").unwrap();
        transaction.clear();
        assert_eq!(transaction.get(&7_u64.to_le_bytes()).unwrap(), None);
        assert_eq!(transaction.get(b"forgotten").unwrap(), None);
        // The same object as before, in a bag.
        transaction.insert(&7_u64.to_le_bytes(), &[7; 40]).unwrap();
        transaction.insert(b"new", b"1").unwrap();
        transaction.remove(&8_u64.to_le_bytes()).unwrap();
        assert_eq!(transaction.commit().unwrap(), version + 1);
        let reader = writer.reader();
        assert_eq!(reader.len(), 2, "{kind:?}");
        assert_eq!(reader.get(&7_u64.to_le_bytes()).unwrap(), Some(vec![7; 40]));
        assert_eq!(reader.get(b"new").unwrap(), Some(b"1".to_vec()));
        assert_eq!(reader.bequest().unwrap(), Some(b"kept".to_vec()));
        table::verify(reader.region()).unwrap();
        // Dropped, it clears nothing.
        writer.transaction().clear();
        assert_eq!(writer.reader().len(), 2);
    }
}

#[test]
fn expired_entries_are_removed_some_at_a_time() {
    for kind in KINDS {
        let clock = Clock::manual(0);
        let mut writer = filled(kind, 500, 1 << 20).with_clock(clock.clone());
        for number in 500..900_u64 {
            writer.insert_expiring(&number.to_le_bytes(), &[1; 40], number).unwrap();
        }
        assert_eq!(writer.remove_expired(1000).unwrap(), 0);
        clock.set(799);
        assert_eq!(writer.reader().len(), 900);
        let mut removed = Vec::new();
        loop {
            let version = writer.version();
            let count = writer.remove_expired(70).unwrap();
            removed.push(count);
            if count < 70 {
                break;
            }
            assert!(writer.version() > version);
            // The index grows and shrinks meanwhile.
            for number in 0..60_u64 {
                writer.insert(&(10_000 * count as u64 + number).to_le_bytes(), b"").unwrap();
            }
            for number in 0..60_u64 {
                writer.remove(&(10_000 * count as u64 + number).to_le_bytes()).unwrap();
            }
            table::verify(writer.reader().region()).unwrap();
        }
        assert_eq!(removed, [70, 70, 70, 70, 20], "{kind:?}");
        assert_eq!(writer.reader().len(), 600);
        assert_eq!(writer.remove_expired(70).unwrap(), 0);
        assert!(writer.reader().contains(&800_u64.to_le_bytes()).unwrap());
        assert_eq!(table::verify(writer.reader().region()).unwrap().entries, 600);
    }
}

#[test]
fn expired_entries_go_from_a_full_table() {
    for kind in KINDS {
        let clock = Clock::manual(0);
        let mut writer = empty(kind, table::MIN_BYTES).with_clock(clock.clone());
        let mut number = 0_u64;
        while writer.insert_expiring(&number.to_le_bytes(), &[7; 100], 10).is_ok() {
            number += 1;
        }
        clock.set(10);
        assert_eq!(writer.remove_expired(usize::MAX).unwrap() as u64, number, "{kind:?}");
        assert_eq!(table::verify(writer.reader().region()).unwrap().entries, 0);
    }
}

#[test]
fn a_load_that_fails_keeps_the_chunks_before() {
    let mut writer = empty(Kind::Set, table::MIN_BYTES);
    let error = writer.extend((0..10_000_u64).map(|number| (number.to_le_bytes(), [1; 64]))).unwrap_err();
    assert!(matches!(error, WriteError::TableFull { .. }), "{error}");
    let entries = writer.reader().len();
    assert!(entries > 0 && entries.is_multiple_of(512), "{entries} entries are whole chunks");
    assert_eq!(table::verify(writer.reader().region()).unwrap().entries, entries);
}

#[test]
fn a_million_writes_are_one_commit() {
    let mut writer = empty(Kind::Set, 512 << 20);
    let started = std::time::Instant::now();
    let mut transaction = writer.transaction();
    for number in 0..1_000_000_u64 {
        transaction.insert(&number.to_le_bytes(), &number.to_be_bytes()).unwrap();
    }
    println!("1,000,000 writes collected in {:?}", started.elapsed());
    assert_eq!(transaction.get(&999_999_u64.to_le_bytes()).unwrap().unwrap(), 999_999_u64.to_be_bytes());
    drop(transaction);
    assert!(writer.reader().is_empty());
    let mut transaction = writer.transaction();
    for number in 0..1_000_000_u64 {
        transaction.insert(&number.to_le_bytes(), &number.to_be_bytes()).unwrap();
    }
    let started = std::time::Instant::now();
    let version = transaction.commit().unwrap();
    println!("1,000,000 writes committed in {:?}", started.elapsed());
    assert_eq!(writer.version(), version);
    let reader = TableReader::open(writer.reader().region().clone()).unwrap();
    assert_eq!(reader.len(), 1_000_000);
    assert_eq!(reader.get(&123_456_u64.to_le_bytes()).unwrap().unwrap(), 123_456_u64.to_be_bytes());
    let started = std::time::Instant::now();
    assert_eq!(writer.clear().unwrap(), 1_000_000);
    println!("1,000,000 entries cleared in {:?}", started.elapsed());
    assert!(reader.is_empty());
    assert_eq!(reader.get(&123_456_u64.to_le_bytes()).unwrap(), None);
}
