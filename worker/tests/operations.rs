//! What a program can do with a key, a range, a snapshot, and with many entries, in Rust types.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use heirloom_worker::testing::{Rehearsal, Table, table};
use heirloom_worker::{Clock, Order, ReadError, Reader, Step, Swap, WriteError};

/// The same calls on a writer and on a transaction.
macro_rules! operate {
    ($table:expr) => {{
        let table = $table;
        assert!(table.insert_new("Zonda", &1).unwrap());
        assert!(!table.insert_new("Zonda", &9).unwrap());
        assert_eq!(table.compare_and_swap("Zonda", Some(&2), None).unwrap(), Swap::Differs(Some(1)));
        assert_eq!(table.compare_and_swap("Zonda", Some(&1), Some(&2)).unwrap(), Swap::Swapped);
        assert_eq!(table.get_or_insert_with("Zonda", || unreachable!()).unwrap(), 2);
        assert_eq!(table.get_or_insert_with("Huayra", || 7).unwrap(), 7);
        assert_eq!(table.add("Zonda", 40).unwrap(), 42);
        assert_eq!(table.add_step("Zonda", Step::by(-1).wrapping_beyond(42, 5)).unwrap(), 5);
        assert_eq!(table.add_step("new", Step::by(1).starting_at(9)).unwrap(), 10);
        assert!(matches!(table.add("new", -11), Err(WriteError::CounterOverflow { .. })));
        assert_eq!(table.take("new").unwrap(), Some(10));
        assert_eq!(table.take("new").unwrap(), None);
        table.update("Huayra", |_| None).unwrap();
        assert_eq!(table.get("Zonda").unwrap(), Some(5));
        assert_eq!(table.get("Huayra").unwrap(), None);
    }};
}

#[test]
fn a_writer_and_a_transaction_can_do_the_same() {
    for kind in [Table::set("sales"), Table::ordered_set("sales")] {
        let (mut sales, reader) = table::<String, u64>(kind);
        let mut transaction = sales.transaction();
        operate!(&mut transaction);
        drop(transaction);
        assert!(reader.is_empty());
        operate!(&mut sales);
        assert_eq!(reader.entries().unwrap(), [("Zonda".to_owned(), 5)]);
        let mut transaction = sales.transaction();
        transaction.clear();
        operate!(&mut transaction);
        transaction.commit().unwrap();
        assert_eq!(reader.entries().unwrap(), [("Zonda".to_owned(), 5)]);
    }
}

#[test]
fn many_entries_come_and_go() {
    let (mut sales, reader) = table::<u32, String>(Table::ordered_set("sales").max_bytes(4 << 20));
    assert_eq!(sales.extend((0..2000).map(|car| (car, format!("car {car}")))).unwrap(), 2000);
    assert_eq!(reader.len(), 2000);
    assert_eq!(sales.clear().unwrap(), 2000);
    assert!(reader.is_empty());
    let mut load = sales.transaction();
    load.extend((0..10).map(|car| (car, "again".to_owned()))).unwrap();
    load.commit().unwrap();
    assert_eq!(reader.len(), 10);
}

#[test]
fn many_keys_are_read_as_one_by_one() {
    for kind in [Table::set("sales"), Table::ordered_set("sales")] {
        let (mut sales, reader) = table::<str, String>(kind);
        for car in (0..100).step_by(3) {
            sales.insert(format!("car {car}").as_str(), &car.to_string()).unwrap();
        }
        let snapshot = reader.snapshot().unwrap();
        sales.insert("car 3", &"another".to_owned()).unwrap();
        // Of many lengths, more than are read together, some of them twice, and most of them not there.
        let keys: Vec<String> = (0..150).map(|car| format!("car {}", car % 120)).collect();
        let one_by_one = |get: &dyn Fn(&String) -> Option<String>| keys.iter().map(get).collect::<Vec<_>>();
        let now = one_by_one(&|key| reader.get(key.as_str()).unwrap());
        assert_eq!(now[3].as_deref(), Some("another"));
        assert_eq!(reader.get_many(keys.iter().map(String::as_str)).unwrap(), now);
        assert_eq!(sales.get_many(keys.iter().map(String::as_str)).unwrap(), now);
        let then = one_by_one(&|key| snapshot.get(key.as_str()).unwrap());
        assert_eq!(snapshot.get_many(keys.iter().map(String::as_str)).unwrap(), then);
        assert_eq!(then[3].as_deref(), Some("3"));
        for number in [0, 1, 15, 16, 17, 32] {
            let keys = || keys.iter().map(String::as_str).take(number);
            let one_by_one = keys().map(|key| {
                let mut bytes = Vec::new();
                reader.get_bytes(key, &mut bytes).unwrap().then_some(bytes)
            });
            let mut together = Vec::new();
            reader.get_many_bytes(keys(), |value| together.push(value.map(<[u8]>::to_vec))).unwrap();
            assert_eq!(together, one_by_one.collect::<Vec<_>>());
        }
    }
}

#[test]
fn entries_expire() {
    let clock = Clock::manual(0);
    let mut rehearsal = Rehearsal::new(Table::set("sessions")).clock(clock.clone());
    let mut sessions = rehearsal.transfer().accept::<u8, u8>().unwrap();
    let reader: Reader<u8, u8> = rehearsal.reader();
    assert!(!sessions.insert_with_ttl(&1, &10, Duration::from_secs(1)).unwrap());
    let mut transaction = sessions.transaction();
    transaction.insert_with_ttl(&2, &20, Duration::from_secs(2)).unwrap();
    transaction.insert(&3, &30).unwrap();
    transaction.commit().unwrap();
    let snapshot = reader.snapshot().unwrap();
    clock.set(1000);
    assert_eq!((reader.get(&1).unwrap(), reader.get(&2).unwrap()), (None, Some(20)));
    assert_eq!(snapshot.get(&1).unwrap(), Some(10), "it was there when the snapshot was taken");
    clock.set(u64::MAX);
    assert_eq!(reader.entries().unwrap(), [(3, 30)]);
    assert_eq!(sessions.add(&2, 1).unwrap(), 1);
    assert_eq!(reader.len(), 3);
    assert_eq!(sessions.remove_expired(10).unwrap(), 1);
    assert_eq!(reader.len(), 2);
    assert_eq!(snapshot.entries().unwrap().len(), 3);
}

#[test]
fn ranges_go_both_ways() {
    let (mut sales, reader) = table::<(u16, String), u32>(Table::ordered_set("sales"));
    for year in 2020..2024_u16 {
        for car in ["Huayra", "Zonda"] {
            sales.insert(&(year, car.to_owned()), &u32::from(year)).unwrap();
        }
    }
    let years = |from: Bound<&(u16, String)>, to: Bound<&(u16, String)>, order| {
        let mut years = Vec::new();
        reader
            .range((from, to), order, |(year, _), _| {
                years.push(year);
                ControlFlow::<()>::Continue(())
            })
            .unwrap();
        years
    };
    let key = |year| (year, "Zonda".to_owned());
    let (from, to) = (key(2021), key(2022));
    assert_eq!(years(Bound::Excluded(&from), Bound::Included(&to), Order::Ascending), [2022, 2022]);
    assert_eq!(years(Bound::Unbounded, Bound::Excluded(&from), Order::Descending), [2021, 2020, 2020]);
    let found = reader.range(key(2021).., Order::Ascending, |(year, car), _| {
        if car == "Huayra" { ControlFlow::Break(year) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(found.unwrap(), Some(2022));

    let mut cars = Vec::new();
    reader
        .prefix(&(2022_u16,), Order::Descending, |(_, car), _| {
            cars.push(car);
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    assert_eq!(cars, ["Zonda", "Huayra"]);
    assert_eq!(reader.first().unwrap().unwrap().0, (2020, "Huayra".to_owned()));
    assert_eq!(reader.last().unwrap().unwrap().0, key(2023));
    assert_eq!(reader.next(&key(2020)).unwrap().unwrap().0, (2021, "Huayra".to_owned()));
    assert_eq!(reader.prev(&(2020, "Huayra".to_owned())).unwrap(), None);

    let snapshot = reader.snapshot().unwrap();
    sales.clear().unwrap();
    assert_eq!(reader.first().unwrap(), None);
    assert_eq!(snapshot.prev(&key(2023)).unwrap().unwrap().0, (2023, "Huayra".to_owned()));
    assert_eq!((snapshot.len().unwrap(), snapshot.is_empty().unwrap()), (8, false));

    let (_writer, unordered) = table::<u8, u8>(Table::set("sales"));
    assert!(matches!(unordered.first(), Err(ReadError::NotOrdered { .. })));
}

#[test]
fn a_bag_has_several_values_for_a_key() {
    let (mut bids, reader) = table::<str, u32>(Table::bag("bids"));
    for bid in [310, 295, 310] {
        bids.insert("Zonda", &bid).unwrap();
    }
    let mut values = reader.values("Zonda").unwrap();
    values.sort();
    assert_eq!(values, [295, 310]);
    assert_eq!(bids.remove_value("Zonda", &295).unwrap(), 1);
    assert_eq!(bids.values("Zonda").unwrap(), [310]);
    assert!(matches!(bids.take("Zonda"), Err(WriteError::SeveralValues { .. })));
    assert!(bids.remove("Zonda").unwrap());
    assert!(reader.values("Zonda").unwrap().is_empty());

    let (mut bids, reader) = table::<str, u32>(Table::duplicate_bag("bids"));
    let mut transaction = bids.transaction();
    for bid in [310, 295, 310] {
        transaction.insert("Zonda", &bid).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(reader.values("Zonda").unwrap(), [310, 295, 310]);
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(bids.remove_value("Zonda", &310).unwrap(), 2);
    assert_eq!(reader.values("Zonda").unwrap(), [295]);
    assert_eq!(snapshot.values("Zonda").unwrap(), [310, 295, 310]);
}

#[test]
fn a_snapshot_is_of_one_version() {
    let mut rehearsal = Rehearsal::new(Table::set("sales"));
    let mut sales = rehearsal.transfer().accept::<u32, u32>().unwrap();
    let reader: Reader<u32, u32> = rehearsal.reader();
    sales.extend((0..100).map(|car| (car, 1))).unwrap();
    sales.bequeath(&1_u8).unwrap();
    let snapshot = reader.snapshot().unwrap();
    for round in 2..20 {
        sales.extend((0..150).map(|car| (car, round))).unwrap();
        sales.bequeath(&2_u8).unwrap();
    }
    assert_eq!(snapshot.len().unwrap(), 100);
    assert!(snapshot.entries().unwrap().iter().all(|(car, value)| *car < 100 && *value == 1));
    assert!(snapshot.contains(&99).unwrap() && !snapshot.contains(&100).unwrap());
    assert_eq!(snapshot.bequest::<u8>().unwrap(), Some(1));
    assert!(snapshot.version() < reader.version());
}
