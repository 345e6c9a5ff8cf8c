//! Looking and writing in one step, on a writer and in a transaction; and entries that expire.

use crate::region::HeapRegion;
use crate::table::{self, Change, Clock, Modify, Step, Swap, TableReader, TableWriter, WriteError};

use super::support::new_table;

/// Each operation does the same on a writer and in a transaction.
fn operate(table: &mut impl Modify) {
    assert!(table.insert_new(b"a", b"1").unwrap());
    assert!(!table.insert_new(b"a", b"2").unwrap());
    table.update(b"a", |value| Some([value.unwrap(), b"+"].concat())).unwrap();
    assert_eq!(table.get_or_insert_with(b"a", || unreachable!()).unwrap(), b"1+");
    assert_eq!(table.get_or_insert_with(b"b", || b"new".to_vec()).unwrap(), b"new");

    let differs = Swap::Differs(Some(b"1+".to_vec()));
    assert_eq!(table.compare_and_swap(b"a", Some(b"1"), Some(b"9")).unwrap(), differs);
    assert_eq!(table.compare_and_swap(b"a", None, Some(b"9")).unwrap(), differs);
    assert_eq!(table.compare_and_swap(b"a", Some(b"1+"), Some(b"3")).unwrap(), Swap::Swapped);
    assert_eq!(table.compare_and_swap(b"c", Some(b"x"), None).unwrap(), Swap::Differs(None));
    assert_eq!(table.compare_and_swap(b"c", None, Some(b"4")).unwrap(), Swap::Swapped);
    assert_eq!(table.compare_and_swap(b"c", Some(b"4"), None).unwrap(), Swap::Swapped);
    assert_eq!(table.take(b"c").unwrap(), None);
    assert_eq!(table.take(b"a").unwrap(), Some(b"3".to_vec()));
    table.update(b"b", |_| None).unwrap();
    table.update(b"b", |value| value.map(<[u8]>::to_vec)).unwrap();

    assert_eq!(table.add(b"n", 5).unwrap(), 5);
    assert_eq!(table.add(b"n", -7).unwrap(), -2);
    assert_eq!(table.add_step(b"n", Step::by(-1).wrapping_beyond(-2, 40)).unwrap(), 40);
    assert_eq!(table.add_step(b"m", Step::by(2).starting_at(10)).unwrap(), 12);
    assert_eq!(table.add_step(b"m", Step::by(i64::MAX)).unwrap_err(), WriteError::CounterOverflow);
    assert_eq!(table.add_step(b"m", Step::by(1).wrapping_beyond(12, 3)).unwrap(), 3);
    assert!(table.insert_new(b"word", b"seven b").unwrap());
    assert_eq!(table.add(b"word", 1).unwrap_err(), WriteError::NotACounter { bytes: 7 });
}

fn check_operated(reader: &TableReader<impl crate::region::Region>) {
    assert_eq!(reader.len(), 3);
    assert_eq!(reader.get(b"n").unwrap().unwrap(), 40_i64.to_le_bytes());
    assert_eq!(reader.get(b"m").unwrap().unwrap(), 3_i64.to_le_bytes());
    assert_eq!(reader.get(b"word").unwrap().unwrap(), b"seven b");
}

#[test]
fn each_is_one_commit_or_none() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    operate(&mut writer);
    check_operated(writer.reader());
    let version = writer.version();
    assert!(!writer.insert_new(b"n", b"1").unwrap());
    assert!(matches!(writer.compare_and_swap(b"n", None, None).unwrap(), Swap::Differs(Some(_))));
    assert_eq!(writer.version(), version, "what changes nothing commits nothing");
    writer.add(b"n", 1).unwrap();
    assert_eq!(writer.version(), version + 1);
    table::verify(&region).unwrap();
}

#[test]
fn a_transaction_sees_its_own() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let mut abandoned = writer.transaction();
    operate(&mut abandoned);
    drop(abandoned);
    assert!(writer.reader().is_empty());
    let mut transaction = writer.transaction();
    operate(&mut transaction);
    assert_eq!(transaction.commit().unwrap(), 1);
    check_operated(writer.reader());
    table::verify(&region).unwrap();
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let region = new_table(table::MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let mut number = 0_u32;
    while writer.insert(&number.to_le_bytes(), &[7; 1000]).is_ok() {
        number += 1;
    }
    let full = |result: Result<(), WriteError>| matches!(result, Err(WriteError::TableFull { .. }));
    assert!(full(writer.insert_new(b"more", &[1; 1000]).map(drop)));
    assert!(full(writer.update(&0_u32.to_le_bytes(), |_| Some(vec![2; 5000]))));
    assert!(matches!(
        writer.update(b"long", |_| Some(vec![0; table::MAX_VALUE_BYTES + 1])),
        Err(WriteError::ValueTooLong(_))
    ));
    assert_eq!(writer.take(&0_u32.to_le_bytes()).unwrap(), Some(vec![7; 1000]));
    assert!(writer.insert_new(b"more", &[1; 1000]).unwrap(), "the room of the one that was taken");
    assert_eq!(table::verify(&region).unwrap().entries, u64::from(number));
}

#[test]
fn a_panic_in_a_change_leaves_nothing() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.insert(b"a", b"1").unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.update(b"a", |_| std::panic::resume_unwind(Box::new("in the closure")))
    }));
    assert!(panicked.is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut transaction = writer.transaction();
        transaction.insert(b"b", b"2").unwrap();
        transaction.update(b"a", |_| std::panic::resume_unwind(Box::new("in the closure"))).unwrap();
    }));
    assert!(panicked.is_err());
    assert_eq!(writer.version(), 1);
    assert_eq!(writer.take(b"a").unwrap(), Some(b"1".to_vec()));
    assert!(writer.reader().is_empty());
}

/// A table whose clock stands at 1000, with `short` until 2000, `long` until 3000, and `ever`.
fn expiring() -> (TableWriter<std::sync::Arc<HeapRegion>>, Clock) {
    let clock = Clock::manual(1000);
    let mut writer = TableWriter::open(new_table(1 << 20), 0).unwrap().with_clock(clock.clone());
    assert!(!writer.insert_expiring(b"short", b"1", 2000).unwrap());
    writer.insert_expiring(b"long", &[2; 6000], 3000).unwrap();
    writer.insert(b"ever", b"3").unwrap();
    (writer, clock)
}

#[test]
fn no_reader_sees_what_is_expired() {
    let (mut writer, clock) = expiring();
    let reader = TableReader::open(writer.reader().region().clone()).unwrap().with_clock(clock.clone());
    let scanned = || {
        let mut keys = Vec::new();
        reader
            .scan(&mut |key, _| {
                keys.push(String::from_utf8(key.to_vec()).unwrap());
                true
            })
            .unwrap();
        keys.sort();
        keys
    };
    clock.set(1999);
    assert_eq!(reader.get(b"short").unwrap(), Some(b"1".to_vec()));
    assert_eq!(scanned(), ["ever", "long", "short"]);
    clock.set(2000);
    assert_eq!(reader.get(b"short").unwrap(), None);
    assert!(!reader.contains(b"short").unwrap());
    assert_eq!(scanned(), ["ever", "long"]);
    assert_eq!(reader.len(), 3, "counted until it is removed");
    clock.set(3000);
    assert_eq!(reader.get(b"long").unwrap(), None);
    assert_eq!(scanned(), ["ever"]);
    // A reader with a clock of its own decides by that.
    clock.set(1000);
    assert!(reader.contains(b"long").unwrap());
    assert!(!writer.insert_expiring(b"past", b"", 999).unwrap());
    assert!(!reader.contains(b"past").unwrap());
    table::verify(reader.region()).unwrap();
}

#[test]
fn an_expired_entry_counts_as_none_for_who_writes() {
    let (mut writer, clock) = expiring();
    clock.set(5000);
    assert!(!writer.insert(b"short", b"again").unwrap(), "nothing was replaced");
    assert_eq!(writer.reader().read_into(b"short", &mut Vec::new()).unwrap().unwrap().deadline_ms, None);
    assert!(writer.insert_new(b"long", b"again").unwrap());
    writer.insert_expiring(b"short", b"1", 4000).unwrap();
    assert_eq!(writer.compare_and_swap(b"short", Some(b"1"), None).unwrap(), Swap::Differs(None));
    assert_eq!(writer.add(b"short", 1).unwrap(), 1, "a new counter");
    writer.insert_expiring(b"short", b"1", 4000).unwrap();
    assert_eq!(writer.reader().len(), 3);
    assert_eq!(writer.take(b"short").unwrap(), None);
    assert_eq!(writer.reader().len(), 2, "and it is gone");
    writer.insert_expiring(b"short", b"1", 4000).unwrap();
    assert!(!writer.remove(b"short").unwrap());
    assert_eq!(table::verify(writer.reader().region()).unwrap().entries, 2);
}

#[test]
fn a_change_in_place_keeps_the_deadline_and_an_insert_does_not() {
    let (mut writer, _clock) = expiring();
    let deadline = |writer: &TableWriter<_>, key: &[u8]| {
        writer.reader().read_into(key, &mut Vec::new()).unwrap().unwrap().deadline_ms
    };
    writer.update(b"short", |value| value.map(<[u8]>::to_vec)).unwrap();
    assert_eq!(deadline(&writer, b"short"), Some(2000));
    writer.modify(b"short", |_, _| (Change::PutUntil(2500), ())).unwrap();
    assert_eq!(deadline(&writer, b"short"), Some(2500));
    let mut transaction = writer.transaction();
    transaction.update(b"short", |_| Some(vec![9])).unwrap();
    transaction.insert_expiring(b"mine", b"1", 1200).unwrap();
    transaction.update(b"mine", |value| value.map(<[u8]>::to_vec)).unwrap();
    transaction.insert(b"long", b"ever").unwrap();
    transaction.commit().unwrap();
    assert_eq!(deadline(&writer, b"short"), Some(2500));
    assert_eq!(deadline(&writer, b"mine"), Some(1200));
    assert_eq!(deadline(&writer, b"long"), None);
    writer.insert(b"short", b"ever").unwrap();
    assert_eq!(deadline(&writer, b"short"), None);
}

#[test]
fn a_transaction_sees_its_own_expire() {
    let (mut writer, clock) = expiring();
    let mut transaction = writer.transaction();
    transaction.insert_expiring(b"mine", b"1", 1500).unwrap();
    assert!(transaction.get(b"mine").unwrap().is_some());
    clock.set(1500);
    assert_eq!(transaction.get(b"mine").unwrap(), None);
    assert!(transaction.insert_new(b"mine", b"2").unwrap());
    transaction.commit().unwrap();
    assert_eq!(writer.reader().get(b"mine").unwrap(), Some(b"2".to_vec()));
}

#[test]
fn the_first_name_of_a_schema_stays_and_entries_say_other_versions() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let reader = TableReader::open(region.clone()).unwrap();
    assert_eq!((reader.schema().unwrap(), reader.has_schema()), (None, false));
    let schema = writer.set_schema("total", 3).unwrap();
    assert!(reader.has_schema());
    assert_eq!(reader.schema().unwrap(), Some(&schema));
    assert_eq!((schema.name.as_str(), schema.base_version), ("total", 3));
    let version_of = |key: &[u8]| schema.version_of(reader.read_into(key, &mut Vec::new()).unwrap().unwrap());

    writer.insert(b"old", b"1").unwrap();
    let refused = writer.set_schema("sum", 3).unwrap_err();
    assert_eq!(refused, WriteError::OtherSchema { table: "total".into() });
    let mut heir = TableWriter::open(region.clone(), 0).unwrap();
    assert_eq!(heir.set_schema("total", 4).unwrap(), schema);
    heir.insert(b"new", &[2; 5000]).unwrap();
    heir.insert_expiring(b"both", b"3", u64::MAX).unwrap();
    let mut transaction = heir.transaction();
    transaction.insert(b"drafted", b"4").unwrap();
    transaction.commit().unwrap();
    assert_eq!([b"old".as_slice(), b"new", b"both", b"drafted"].map(version_of), [3, 4, 4, 4]);
    assert_eq!(reader.get(b"both").unwrap(), Some(b"3".to_vec()));
    heir.set_schema("total", 3).unwrap();
    heir.update(b"new", |value| value.map(<[u8]>::to_vec)).unwrap();
    assert_eq!(version_of(b"new"), 3, "a value is of the version of who wrote it last");
    table::verify(&region).unwrap();
}

#[test]
fn values_from_before_a_schema_are_of_version_0() {
    let mut writer = TableWriter::open(new_table(1 << 20), 0).unwrap();
    writer.insert(b"raw", b"1").unwrap();
    let schema = writer.set_schema("total", 2).unwrap();
    writer.insert(b"named", b"2").unwrap();
    let version_of =
        |key: &[u8]| schema.version_of(writer.reader().read_into(key, &mut Vec::new()).unwrap().unwrap());
    assert_eq!((version_of(b"raw"), version_of(b"named")), (0, 2));
}
