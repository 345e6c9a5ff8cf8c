//! Rust types in a table on the heap: what a program sees of keys, values, transactions and errors.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use heirloom_worker::testing::{Rehearsal, Table, table};
use heirloom_worker::{
    Client, CodecError, Key, Owned, ReadError, Reader, Transfer, Value, Worker, WriteError, Writer,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Car {
    year: u16,
    model: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Total {
    count: u64,
    price: f64,
    notes: Vec<String>,
}

fn zonda() -> Car {
    Car { year: 2022, model: "Zonda".into() }
}

#[test]
fn handles_go_where_programs_need_them() {
    fn send<T: Send>() {}
    fn shared<T: Clone + Send + Sync>() {}
    // Neither the key's nor the value's type matters: a handle holds none.
    type NotSend = *const u8;
    send::<Writer<NotSend, NotSend>>();
    send::<Transfer>();
    shared::<Reader<NotSend, NotSend>>();
    shared::<Owned<NotSend, NotSend>>();
    shared::<Client>();
    shared::<Worker>();
}

#[test]
fn structs_are_keys_and_values() {
    let (mut sales, reader) = table::<Car, Total>(Table::set("sales"));
    let total = Total { count: 1, price: 4_181_000.0, notes: vec!["first".into()] };
    assert!(!sales.insert(&zonda(), &total).unwrap());
    assert_eq!(reader.get(&zonda()).unwrap(), Some(total.clone()));
    assert_eq!(reader.entries().unwrap(), [(zonda(), total)]);
    assert!(sales.insert(&zonda(), &Total::default()).unwrap(), "there was one before");
    assert!(sales.remove(&zonda()).unwrap());
    assert!(!sales.contains(&zonda()).unwrap());
    assert!(reader.is_empty());
}

#[test]
fn borrowed_forms_find_what_owned_ones_wrote() {
    let (mut sales, reader) = table::<String, u8>(Table::set("sales"));
    sales.insert("Zonda", &1).unwrap();
    assert_eq!(reader.get(&"Zonda".to_owned()).unwrap(), Some(1));
    assert!(reader.contains("Zonda").unwrap());

    let (mut blobs, reader) = table::<Vec<u8>, str>(Table::set("blobs"));
    blobs.insert(b"a\0b".as_slice(), "text").unwrap();
    assert_eq!(reader.get(&b"a\0b".to_vec()).unwrap().as_deref(), Some("text"));
}

#[test]
fn the_raw_form_is_the_bytes() {
    let mut rehearsal = Rehearsal::new(Table::set("sales"));
    let mut sales = rehearsal.transfer().accept::<String, u16>().unwrap();
    sales.insert("abc", &300).unwrap();
    let raw: Reader<[u8], [u8]> = rehearsal.reader();
    assert_eq!(raw.entries().unwrap(), [(b"abc".to_vec(), vec![0xAC, 0x02])]);
    let mut bytes = vec![9];
    assert!(raw.get_bytes(b"abc".as_slice(), &mut bytes).unwrap());
    assert_eq!(bytes, [9, 0xAC, 0x02], "appended");
    assert!(!raw.get_bytes(b"abd".as_slice(), &mut bytes).unwrap());
}

#[test]
fn update_makes_changes_and_removes() {
    let (mut sales, reader) = table::<str, u64>(Table::set("sales"));
    sales.update("Zonda", |sold| Some(sold.map_or(1, |sold| sold + 1))).unwrap();
    sales.update("Zonda", |sold| Some(sold.map_or(1, |sold| sold + 1))).unwrap();
    assert_eq!(reader.get("Zonda").unwrap(), Some(2));
    sales.update("Zonda", |_| None).unwrap();
    assert_eq!(reader.get("Zonda").unwrap(), None);
    sales.update("Zonda", |_| None).unwrap();
}

#[test]
fn a_transaction_is_whole_or_nothing() {
    let mut rehearsal = Rehearsal::new(Table::set("sales"));
    let mut sales = rehearsal.transfer().accept::<str, u64>().unwrap();
    sales.insert("old", &1).unwrap();
    let version = sales.version();

    let mut abandoned = sales.transaction();
    abandoned.insert("Zonda", &1).unwrap();
    abandoned.bequeath("never").unwrap();
    assert_eq!(abandoned.get("Zonda").unwrap(), Some(1), "it sees its own writes");
    drop(abandoned);
    assert_eq!((sales.version(), sales.bequest::<String>().unwrap()), (version, None));

    let mut transaction = sales.transaction();
    transaction.insert("Zonda", &1).unwrap();
    transaction.update("Zonda", |sold| sold.map(|sold| sold + 1)).unwrap();
    transaction.remove("old").unwrap();
    transaction.bequeath(&7_u32).unwrap();
    let reader: Reader<str, u64> = rehearsal.reader();
    assert_eq!(reader.len(), 1);
    assert_eq!(transaction.commit().unwrap(), version + 1);
    assert_eq!((reader.get("old").unwrap(), reader.get("Zonda").unwrap()), (None, Some(2)));
    assert_eq!((reader.version(), reader.epoch()), (version + 1, 1));
    assert_eq!(reader.bequest::<u32>().unwrap(), Some(7));

    // The heir finds all of it, and the old writer writes no more.
    let transfer = rehearsal.transfer();
    assert_eq!(transfer.bequest::<u32>().unwrap(), Some(7));
    let heir = transfer.accept::<str, u64>().unwrap();
    assert_eq!(heir.get("Zonda").unwrap(), Some(2));
    let error = sales.insert("Zonda", &9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "epoch 1 of table `sales` is over here: drop the writer and wait for the next transfer"
    );
}

#[test]
fn a_scan_stops_where_it_is_told_to() {
    let (mut sales, reader) = table::<u32, u32>(Table::set("sales"));
    for key in 0..100 {
        sales.insert(&key, &(key * 2)).unwrap();
    }
    let mut seen = 0;
    let found = reader.scan(|key, value| {
        seen += 1;
        if value == 84 { ControlFlow::Break(key) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(found.unwrap(), Some(42));
    assert!(seen <= 100);
    assert_eq!(reader.scan(|_, _| ControlFlow::<()>::Continue(())).unwrap(), None);
}

#[test]
fn errors_say_what_and_where() {
    let mut rehearsal = Rehearsal::new(Table::set("sales").max_bytes(256 * 1024));
    let mut sales = rehearsal.transfer().accept::<[u8], [u8]>().unwrap();
    let too_long = sales.insert(&[0; 65 * 1024], b"").unwrap_err();
    assert_eq!(
        too_long.to_string(),
        "a key of 66560 bytes is too long for table `sales`: at most 65536, encoded"
    );

    let mut key = 0_u32;
    let full = loop {
        match sales.insert(&key.to_be_bytes(), &[7; 1000]) {
            Ok(_) => key += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&full, WriteError::TableFull { table, .. } if table == "sales"), "{full}");
    assert_eq!(sales.info().entries, u64::from(key), "nothing changed");
    assert!(sales.remove(&0_u32.to_be_bytes()).unwrap(), "removing always works");

    let other: Reader<u32, String> = rehearsal.reader();
    let error = other.get(&1).unwrap_err();
    assert!(matches!(&error, ReadError::Codec { .. }), "{error}");
    assert!(
        error.to_string().starts_with("table `sales`: cannot decode a value as `alloc::string::String`: "),
        "{error}"
    );
    assert!(matches!(other.entries(), Err(ReadError::Codec { .. })));

    let maps: Reader<BTreeMap<u8, u8>, u8> = rehearsal.reader();
    let error = maps.get(&BTreeMap::from([(1, 2)])).unwrap_err();
    assert!(error.to_string().contains("a map cannot be part of a key"), "{error}");
}

/// A type without serde: it is its own codec.
#[derive(Debug, PartialEq)]
struct Plate([u8; 3]);

impl Key for Plate {
    type Owned = Plate;
    fn encode_key(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend(self.0);
        Ok(())
    }
    fn decode_key(bytes: &[u8]) -> Result<Plate, CodecError> {
        let plate = bytes.try_into().map_err(|error| CodecError::new::<Plate>("decode a key", error))?;
        Ok(Plate(plate))
    }
}

impl Value for Plate {
    type Owned = Plate;
    fn encode_value(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        self.encode_key(bytes)
    }
    fn decode_value(bytes: &[u8]) -> Result<Plate, CodecError> {
        Self::decode_key(bytes)
    }
}

#[test]
fn types_without_serde_bring_their_own_codec() {
    let (mut plates, reader) = table::<Plate, Plate>(Table::set("plates"));
    plates.insert(&Plate(*b"abc"), &Plate(*b"xyz")).unwrap();
    plates.bequeath(&Plate(*b"end")).unwrap();
    assert_eq!(reader.entries().unwrap(), [(Plate(*b"abc"), Plate(*b"xyz"))]);
    assert_eq!(reader.bequest::<Plate>().unwrap(), Some(Plate(*b"end")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A typed table is a map.
    #[test]
    fn a_table_is_a_map(writes in prop::collection::vec((0..20_u16, "[a-c]{0,2}", prop::option::of(any::<f64>().prop_filter("equal to itself", |price| !price.is_nan()))), 0..60)) {
        let (mut sales, reader) = table::<Car, Total>(Table::set("sales"));
        let mut model = BTreeMap::new();
        for (year, model_name, price) in writes {
            let car = Car { year, model: model_name };
            let total = price.map(|price| Total { count: 1, price, notes: Vec::new() });
            match total {
                Some(total) => {
                    let replaced = model.insert(car.clone(), total.clone()).is_some();
                    prop_assert_eq!(sales.insert(&car, &total).unwrap(), replaced);
                }
                None => prop_assert_eq!(sales.remove(&car).unwrap(), model.remove(&car).is_some()),
            }
        }
        let mut entries = reader.entries().unwrap();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        prop_assert_eq!(entries, Vec::from_iter(model));
    }
}
