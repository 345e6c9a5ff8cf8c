//! The change ring: what its readers are told, and when they are told that they were overtaken.
//!
//! | file | what is shown |
//! | --- | --- |
//! | `cuts` | the owner may die at any store |
//! | `pauses` | a reader may stand still at any load while the owner goes on |
//! | `model` | a copy that follows the changes is the table, at each version |
//! | `history` | what these share |

mod cuts;
mod history;
mod model;
mod pauses;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::support::{new_table, new_table_with_ring};
use crate::region::{HeapRegion, Region};
use crate::table::layout::{FOLLOWED, RING_TAIL};
use crate::table::{self, Changes, Cursor, FollowError, MAX_KEY_BYTES, TableReader, TableWriter};

type Live = Arc<HeapRegion>;

fn table(ring_words: u64) -> (Live, TableWriter<Live>, TableReader<Live>) {
    let region = new_table_with_ring(1 << 20, ring_words);
    let writer = TableWriter::open(region.clone(), 0).unwrap();
    let reader = TableReader::open(region.clone()).unwrap();
    (region, writer, reader)
}

/// The keys that changed since the cursor's version, which moves on.
fn changed(reader: &TableReader<Live>, cursor: &mut Cursor) -> Result<Vec<String>, FollowError> {
    let mut changes = Changes::default();
    *cursor = reader.changes(*cursor, u64::MAX, &mut changes)?;
    Ok(changes.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect())
}

#[test]
fn each_changed_key_is_told_once_in_the_order_of_the_last_changes() {
    let (region, mut writer, reader) = table(8192);
    region.store(FOLLOWED, 1);
    let mut cursor = reader.follow();
    for key in ["ann", "bob", "ann", "a key of more than one word"] {
        writer.insert(key.as_bytes(), b"1").unwrap();
    }
    writer.remove(b"bob").unwrap();
    writer.remove(b"nobody").unwrap();
    assert_eq!(changed(&reader, &mut cursor).unwrap(), ["ann", "a key of more than one word", "bob"]);
    assert_eq!(changed(&reader, &mut cursor).unwrap(), [""; 0]);
    assert_eq!(cursor.version(), writer.version());
    let mut transaction = writer.transaction();
    transaction.insert(b"eve", b"2").unwrap();
    transaction.remove(b"ann").unwrap();
    transaction.bequeath(b"17").unwrap();
    transaction.commit().unwrap();
    let mut changes = Changes::default();
    let after = reader.changes(cursor, u64::MAX, &mut changes).unwrap();
    assert!(changes.has_bequest() && !changes.is_cleared());
    assert_eq!(changes.keys().collect::<Vec<_>>(), [b"eve".as_slice(), b"ann"]);
    // Up to an older version, nothing of what came later is told.
    let none = reader.changes(cursor, cursor.version(), &mut changes).unwrap();
    assert!(changes.is_empty() && none == cursor);
    assert!(after.version() > cursor.version());
    table::verify(&region).unwrap();
}

#[test]
fn nothing_is_recorded_while_nobody_follows() {
    let (region, mut writer, reader) = table(64);
    let mut cursor = reader.follow();
    for number in 0..100_u8 {
        writer.insert(&[number % 7], &[number]).unwrap();
    }
    assert_eq!(region.load(RING_TAIL), 0);
    assert_eq!(changed(&reader, &mut cursor), Err(FollowError::Overtaken { seen: 0 }));
    // From the first commit on that saw a follower, everything is there.
    region.store(FOLLOWED, 1);
    let mut cursor = reader.follow();
    writer.insert(b"one", b"1").unwrap();
    assert_eq!(changed(&reader, &mut cursor).unwrap(), ["one"]);
}

#[test]
fn a_pause_of_the_recording_overtakes_whoever_missed_it() {
    let (region, mut writer, reader) = table(64);
    region.store(FOLLOWED, 1);
    writer.insert(b"one", b"1").unwrap();
    let mut before = reader.follow();
    region.store(FOLLOWED, 0);
    writer.insert(b"two", b"2").unwrap();
    assert_eq!(changed(&reader, &mut { before }), Err(FollowError::Overtaken { seen: before.version() }));
    let mut meanwhile = reader.follow();
    region.store(FOLLOWED, 1);
    writer.insert(b"three", b"3").unwrap();
    let seen = before.version();
    assert_eq!(changed(&reader, &mut before), Err(FollowError::Overtaken { seen }));
    assert_eq!(changed(&reader, &mut meanwhile).unwrap(), ["three"]);
    table::verify(&region).unwrap();
}

#[test]
fn whoever_falls_behind_the_ring_is_told_so_and_exactly_then() {
    let (region, mut writer, reader) = table(32);
    region.store(FOLLOWED, 1);
    let mut cursors = Vec::new();
    for number in 0..200_u64 {
        cursors.push(reader.follow());
        let key = number.to_le_bytes();
        writer.insert(&key[..2], b"").unwrap();
        table::verify(&region).unwrap();
        // A ring of 32 words has 16 such records, and two words are given up at a time.
        for (seen, cursor) in cursors.iter().enumerate() {
            let since = cursors.len() - seen;
            let from_version = reader.follow_from(cursor.version());
            for mut cursor in [*cursor, from_version] {
                match changed(&reader, &mut cursor) {
                    Ok(keys) => {
                        assert!(since <= 16 && keys.len() == since, "{keys:?} since {seen} of {number}")
                    }
                    Err(FollowError::Overtaken { .. }) => assert!(since > 15, "{since}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn a_transaction_longer_than_the_ring_overtakes_everybody_and_nobody_after_it() {
    let (region, mut writer, reader) = table(32);
    region.store(FOLLOWED, 1);
    let mut before = reader.follow();
    writer.insert(b"one", b"1").unwrap();
    let seen = reader.follow().version();
    let mut transaction = writer.transaction();
    for number in 0..20_u8 {
        transaction.insert(&[number], b"").unwrap();
    }
    transaction.commit().unwrap();
    table::verify(&region).unwrap();
    assert_eq!(changed(&reader, &mut before), Err(FollowError::Overtaken { seen: 0 }));
    let mut from = reader.follow_from(seen);
    assert_eq!(changed(&reader, &mut from), Err(FollowError::Overtaken { seen }));
    let mut after = reader.follow();
    writer.insert(b"two", b"2").unwrap();
    assert_eq!(changed(&reader, &mut after).unwrap(), ["two"]);
}

#[test]
fn the_longest_key_overtakes_in_the_smallest_ring_and_fits_the_next() {
    let long = vec![b'k'; MAX_KEY_BYTES];
    for (ring_words, fits) in [(8192, false), (16384, true)] {
        let (region, mut writer, reader) = table(ring_words);
        region.store(FOLLOWED, 1);
        let mut cursor = reader.follow();
        writer.insert(&long, b"1").unwrap();
        assert_eq!(changed(&reader, &mut cursor).is_ok(), fits);
        let mut cursor = reader.follow();
        // 254 bytes are the longest with a header of one word.
        let lengths = [0, 1, 8, 253, 254, 255, 256, 257, 4096];
        for length in lengths {
            writer.insert(&long[..length], b"2").unwrap();
        }
        let told = changed(&reader, &mut cursor).unwrap();
        assert_eq!(told.iter().map(String::len).collect::<Vec<_>>(), lengths);
        table::verify(&region).unwrap();
    }
}

#[test]
fn an_abandoned_write_records_nothing() {
    let (region, mut writer, reader) = table(64);
    region.store(FOLLOWED, 1);
    let mut cursor = reader.follow();
    let mut transaction = writer.transaction();
    transaction.insert(b"fits", b"").unwrap();
    transaction.insert(b"does not", &vec![0; 8 << 20]).unwrap();
    assert!(transaction.commit().is_err());
    assert_eq!(changed(&reader, &mut cursor).unwrap(), [""; 0]);
    writer.insert(b"one", b"1").unwrap();
    assert_eq!(changed(&reader, &mut cursor).unwrap(), ["one"]);
}

#[test]
fn the_heir_goes_on_with_the_ring() {
    let (region, mut writer, reader) = table(64);
    region.store(FOLLOWED, 1);
    let mut cursor = reader.follow();
    let mut expected = BTreeSet::new();
    for number in 0..20_u8 {
        drop(writer);
        writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.insert(&[number], b"").unwrap();
        expected.insert(String::from_utf8_lossy(&[number]).into_owned());
    }
    assert_eq!(changed(&reader, &mut cursor).unwrap().into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_table_without_room_for_the_ring_is_not_recorded_and_goes_on() {
    let (region, mut writer, reader) = {
        let region = new_table(table::MIN_BYTES);
        let writer = TableWriter::open(region.clone(), 0).unwrap();
        (region.clone(), writer, TableReader::open(region).unwrap())
    };
    let mut number = 0_u32;
    while writer.insert(&number.to_le_bytes(), &[7; 40]).is_ok() {
        number += 1;
    }
    region.store(FOLLOWED, 1);
    let mut cursor = reader.follow();
    assert!(writer.remove(&1_u32.to_le_bytes()).unwrap());
    assert!(matches!(changed(&reader, &mut cursor), Err(FollowError::Overtaken { .. })));
    table::verify(&region).unwrap();
}
