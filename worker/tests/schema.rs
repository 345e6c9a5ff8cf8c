//! Two builds of one program share a table: each reads what it can decode, and says so where it cannot.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use heirloom_worker::testing::{Rehearsal, Table};
use heirloom_worker::{
    AcceptError, CodecError, ReadError, Reader, Schema, Value, Versioned, WriteError, Writer,
};
use serde::{Deserialize, Serialize};

/// A number and its check, in the form of the old build ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    number: u32,
    check: u32,
}

/// ... and of the new one: in another order, so that to read one as the other gives a wrong number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New {
    check: u32,
    number: u32,
    note: String,
}

impl Schema for Old {
    const NAME: &'static str = "checked number";
    const VERSION: u32 = 1;
}

impl Schema for New {
    const NAME: &'static str = "checked number";
    const VERSION: u32 = 2;

    fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        if version != 1 {
            return Ok(None);
        }
        let Old { number, check } = Old::decode_value(bytes)?;
        Ok(Some(Self { check, number, note: String::new() }))
    }
}

fn check(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761) ^ 0x5EED
}

fn old(number: u32) -> Versioned<Old> {
    Old { number, check: check(number) }.into()
}

fn new(number: u32) -> Versioned<New> {
    New { check: check(number), number, note: "new".into() }.into()
}

#[test]
fn two_builds_alternate_as_owner_and_nobody_reads_a_wrong_value() {
    const KEYS: u32 = 64;
    let mut rehearsal = Rehearsal::new(Table::set("numbers"));
    let mut first = rehearsal.transfer().accept::<u32, Versioned<Old>>().unwrap();
    for key in 0..KEYS {
        first.insert(&key, &old(key)).unwrap();
    }
    drop(first);
    let older: Reader<u32, Versioned<Old>> = rehearsal.reader();
    let newer: Reader<u32, Versioned<New>> = rehearsal.reader();
    let stop = AtomicBool::new(false);
    let (decoded, changed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for key in 0..KEYS {
                    match older.get(&key) {
                        Ok(value) => {
                            let value = value.expect("no key is ever removed");
                            assert_eq!(value.check, check(value.number));
                            decoded.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(ReadError::SchemaChanged { found, .. }) => {
                            assert_eq!(found, "schema `checked number`, version 2");
                            changed.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    let value = newer.get(&key).unwrap().expect("no key is ever removed");
                    assert_eq!(value.check, check(value.number));
                }
            }
        });
        for round in 0..100_u32 {
            let transfer = rehearsal.transfer();
            assert_eq!(transfer.epoch(), u64::from(round) + 2);
            if round % 2 == 0 {
                let mut owner = transfer.accept::<u32, Versioned<New>>().unwrap();
                for key in (0..KEYS).filter(|key| (key + round) % 3 == 0) {
                    let seen = owner.get(&key).unwrap().unwrap();
                    assert_eq!(seen.check, check(seen.number));
                    owner.insert(&key, &new(seen.number + round)).unwrap();
                }
            } else {
                let mut owner = transfer.accept::<u32, Versioned<Old>>().unwrap();
                for key in (0..KEYS).filter(|key| (key + round) % 5 == 0) {
                    match owner.update(&key, |value| value) {
                        Ok(()) | Err(WriteError::SchemaChanged { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    owner.insert(&key, &old(key + round)).unwrap();
                }
            }
        }
        // Both answers are awaited, however the threads were scheduled.
        while decoded.load(Ordering::Relaxed) == 0 || changed.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_table_has_one_name_for_good() {
    let mut rehearsal = Rehearsal::new(Table::set("numbers"));
    drop(rehearsal.transfer().accept::<u32, Versioned<Old>>().unwrap());
    let refused: Result<Writer<u32, u64>, _> = rehearsal.transfer().accept();
    let error = refused.unwrap_err();
    assert!(matches!(&error, AcceptError::OtherSchema { found, .. } if found == "checked number"), "{error}");

    #[derive(Debug, Serialize, Deserialize)]
    struct Stranger(u8);
    impl Schema for Stranger {
        const NAME: &'static str = "stranger";
        const VERSION: u32 = 1;
    }
    let refused = rehearsal.transfer().accept::<u32, Versioned<Stranger>>().unwrap_err();
    assert!(matches!(refused, AcceptError::OtherSchema { .. }), "{refused}");
    let mut owner = rehearsal.transfer().accept::<u32, Versioned<New>>().unwrap();
    owner.insert(&1, &new(1)).unwrap();
    let plain: Reader<u32, u64> = rehearsal.reader();
    assert!(matches!(plain.get(&1), Err(ReadError::SchemaChanged { .. })));
    let stranger: Reader<u32, Versioned<Stranger>> = rehearsal.reader();
    assert!(matches!(stranger.entries(), Err(ReadError::SchemaChanged { .. })));
    // Bytes are bytes.
    let raw: Reader<u32, [u8]> = rehearsal.reader();
    assert!(raw.get(&1).unwrap().is_some());
    rehearsal.transfer().accept::<u32, [u8]>().unwrap();
}

#[test]
fn what_was_there_before_the_name_is_of_version_0() {
    let mut rehearsal = Rehearsal::new(Table::set("numbers"));
    let plain: Reader<u32, u32> = rehearsal.reader();
    let named: Reader<u32, Versioned<Old>> = rehearsal.reader();
    let mut owner = rehearsal.transfer().accept::<u32, u32>().unwrap();
    owner.insert(&1, &7).unwrap();
    assert_eq!(plain.get(&1).unwrap(), Some(7));
    assert!(matches!(named.get(&1), Err(ReadError::SchemaChanged { found, .. }) if found == "no schema"));
    let mut owner = rehearsal.transfer().accept::<u32, Versioned<Old>>().unwrap();
    owner.insert(&2, &old(2)).unwrap();
    assert_eq!(named.get(&2).unwrap(), Some(old(2)));
    // A reader that was there before there was a name sees it.
    assert!(matches!(plain.get(&2), Err(ReadError::SchemaChanged { .. })));
    let error = named.get(&1).unwrap_err();
    assert!(error.to_string().contains("schema `checked number`, version 0"), "{error}");
}

#[test]
fn a_watch_knows_the_schema() {
    let mut rehearsal = Rehearsal::new(Table::set("numbers"));
    let mut owner = rehearsal.transfer().accept::<u32, Versioned<Old>>().unwrap();
    let newer: Reader<u32, Versioned<New>> = rehearsal.reader();
    let mut watch = newer.watch().unwrap();
    owner.insert(&5, &old(5)).unwrap();
    let Some(Ok(heirloom_worker::Watched::Changes(changes))) = watch.next() else { panic!("overtaken") };
    let (key, value) = changes.iter().next().unwrap().unwrap();
    assert_eq!((key, value.unwrap().number), (5, 5));
}
