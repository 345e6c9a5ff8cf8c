//! The largest and the smallest that a table takes, and reads that take longer than the horizon rests (R10).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::support::new_table;
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::{self, MAX_KEY_BYTES, MAX_VALUE_BYTES, TableReader, TableWriter, WriteError};

/// Bytes of which no part is like another.
fn bytes(length: usize, salt: u64) -> Vec<u8> {
    (0..length.div_ceil(8) as u64).flat_map(|word| (word << 16 | salt).to_le_bytes()).take(length).collect()
}

#[test]
fn the_largest_and_the_smallest_keys_and_values() {
    let region = new_table(64 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let reader = TableReader::open(region.clone()).unwrap();
    let pairs = [
        (bytes(MAX_KEY_BYTES, 1), bytes(MAX_VALUE_BYTES, 2)),
        (bytes(MAX_KEY_BYTES - 1, 3), Vec::new()),
        (Vec::new(), bytes(MAX_VALUE_BYTES - 1, 4)),
        (bytes(255, 5), bytes(4095, 6)),
        (bytes(256, 7), bytes(4096, 8)),
    ];
    for (key, value) in &pairs {
        assert!(!writer.insert(key, value).unwrap());
    }
    writer.bequeath(&bytes(5_000_000, 9)).unwrap();
    for (key, value) in &pairs {
        assert!(reader.get(key).unwrap().as_ref() == Some(value), "{} bytes", key.len());
    }
    let mut scanned = 0;
    reader
        .scan(&mut |key, value| {
            scanned += 1;
            pairs.iter().any(|pair| pair.0 == key && pair.1 == value)
        })
        .unwrap();
    assert_eq!(scanned, pairs.len());
    assert!(reader.bequest().unwrap() == Some(bytes(5_000_000, 9)));
    table::verify(&region).unwrap();

    let too_long = writer.insert(&vec![0; MAX_KEY_BYTES + 1], b"");
    assert_eq!(too_long, Err(WriteError::KeyTooLong(MAX_KEY_BYTES + 1)));
    let too_long = writer.insert(b"k", &vec![0; MAX_VALUE_BYTES + 1]);
    assert_eq!(too_long, Err(WriteError::ValueTooLong(MAX_VALUE_BYTES + 1)));
    let too_long = writer.bequeath(&vec![0; MAX_VALUE_BYTES + 1]);
    assert_eq!(too_long, Err(WriteError::ValueTooLong(MAX_VALUE_BYTES + 1)));

    for (key, _) in &pairs {
        assert!(writer.insert(key, b"").unwrap());
        assert_eq!(reader.get(key).unwrap(), Some(Vec::new()));
        assert!(writer.remove(key).unwrap());
        assert_eq!(reader.get(key).unwrap(), None);
    }
    // The memory of the large ones is found again.
    for round in 0..6 {
        writer.insert(b"k", &bytes(MAX_VALUE_BYTES, round)).unwrap();
        writer.remove(b"k").unwrap();
    }
    writer.bequeath(b"").unwrap();
    assert_eq!(reader.bequest().unwrap(), Some(Vec::new()), "an empty bequest is one");
    assert_eq!(table::verify(&region).unwrap().entries, 0);
}

/// The length of a key of 256 bytes is also the flag of a large entry. Such a key that is equal to what stands in a large
/// entry from its lengths on, and falls into its bucket with its tag, is another key all the same.
#[test]
fn a_key_like_the_bytes_of_a_large_entry_is_another_key() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region, 0).unwrap();
    let layout = *writer.reader().layout();
    let value = bytes(5000, 1);
    let (key, other) = (0..)
        .map(|salt| {
            let key = bytes(240, salt);
            let lengths = 240_u64 << 32 | 5000;
            let other = [&lengths.to_le_bytes()[..], &layout.hash(&key).to_le_bytes(), &key].concat();
            (key, other)
        })
        .find(|(key, other)| {
            let differ = layout.hash(key) ^ layout.hash(other);
            differ >> 55 == 0 && differ & 3 == 0
        })
        .unwrap();
    assert_eq!(other.len(), 256);
    assert!(!writer.insert(&key, &value).unwrap());
    assert_eq!(writer.reader().get(&other).unwrap(), None);
    assert!(!writer.insert(&other, b"other").unwrap());
    assert_eq!(writer.reader().get(&key).unwrap(), Some(value));
    assert_eq!(writer.reader().get(&other).unwrap(), Some(b"other".to_vec()));
}

/// A region whose owner commits, and moves the horizon, each time that so many words were read.
struct Busy {
    inner: Arc<HeapRegion>,
    owner: Mutex<TableWriter<Arc<HeapRegion>>>,
    loads: AtomicU64,
}

const LOADS_PER_COMMIT: u64 = 500;
const MOST_LOADS: u64 = 10_000_000;

impl Region for Busy {
    fn words(&self) -> u64 {
        self.inner.words()
    }

    fn load(&self, word: u64) -> u64 {
        let loads = self.loads.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(loads < MOST_LOADS, "a read does not end while the horizon never rests");
        if loads.is_multiple_of(LOADS_PER_COMMIT) {
            let mut owner = self.owner.lock().unwrap();
            owner.insert(b"counter", &loads.to_le_bytes()).unwrap();
            owner.space.wait();
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

#[test]
fn reads_end_while_the_horizon_never_rests() {
    let inner = new_table(4 << 20);
    let mut owner = TableWriter::open(inner.clone(), 0).unwrap();
    owner.batch_commits = 1;
    for number in 0..20_u64 {
        owner.insert(&number.to_le_bytes(), &bytes(50_000, number)).unwrap();
    }
    owner.bequeath(&bytes(1_000_000, 99)).unwrap();
    let reader =
        TableReader::open(Busy { inner, owner: Mutex::new(owner), loads: AtomicU64::new(0) }).unwrap();
    let start_again = || reader.region().loads.store(0, Ordering::Relaxed);

    start_again();
    assert!(reader.get(&3_u64.to_le_bytes()).unwrap() == Some(bytes(50_000, 3)));
    start_again();
    assert!(reader.bequest().unwrap() == Some(bytes(1_000_000, 99)));
    start_again();
    let mut met = 0;
    reader
        .scan(&mut |key, value| {
            met += u64::from(key != b"counter");
            key == b"counter" || value == bytes(50_000, u64::from_le_bytes(key.try_into().unwrap()))
        })
        .unwrap();
    assert_eq!(met, 20);
}

#[test]
fn a_bequest_is_read_while_the_owner_commits_at_full_speed() {
    // Where a read never ended, it would after so many commits.
    const MOST_COMMITS: u64 = 30_000_000;
    let region = new_table(40 << 20);
    let mut owner = TableWriter::open(region.clone(), 0).unwrap();
    owner.batch_commits = 1;
    owner.bequeath(&bytes(MAX_VALUE_BYTES, 1)).unwrap();
    let expected = bytes(MAX_VALUE_BYTES, 1);
    let enough = AtomicBool::new(false);
    let commits = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut commits = 0;
            while !enough.load(Ordering::Relaxed) && commits < MOST_COMMITS {
                owner.insert(b"counter", &commits.to_le_bytes()).unwrap();
                commits += 1;
            }
            commits
        });
        let reader = TableReader::open(region.clone()).unwrap();
        for _ in 0..3 {
            assert!(reader.bequest().unwrap().as_ref() == Some(&expected));
        }
        enough.store(true, Ordering::Relaxed);
        writing.join().unwrap()
    });
    assert!(commits < MOST_COMMITS, "the bequest was read only once the owner rested");
}
