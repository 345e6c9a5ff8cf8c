//! What is fetched ahead is what the reads then look at.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::support::new_table_of;
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::layout::{Layout, ROOT};
use crate::table::{Kind, TableReader, TableWriter};

/// The words of a cache line.
const LINE: u64 = 8;
const KEYS: u64 = 5000;

/// A region that notes which lines were fetched ahead, and which were looked at without that.
struct Noted {
    heap: Arc<HeapRegion>,
    /// All of them are beside the header, which is never far.
    header_lines: u64,
    fetched: Mutex<HashSet<u64>>,
    missed: Mutex<HashSet<u64>>,
}

impl Noted {
    /// A table of that kind with so many keys.
    fn table(kind: Kind) -> Self {
        let heap = new_table_of(kind, 4 << 20);
        let mut writer = TableWriter::open(heap.clone(), 0).unwrap();
        for number in 0..KEYS {
            writer.insert(&key(number), &[number as u8; 64]).unwrap();
        }
        let header_lines = Layout::read(&heap).unwrap().index.start / LINE;
        Self { heap, header_lines, fetched: Mutex::default(), missed: Mutex::default() }
    }

    fn forget(&self) {
        self.fetched.lock().unwrap().clear();
        self.missed.lock().unwrap().clear();
    }

    fn missed(&self) -> usize {
        self.missed.lock().unwrap().len()
    }
}

/// Keys in no order.
fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

impl Region for Noted {
    fn words(&self) -> u64 {
        self.heap.words()
    }

    fn load(&self, word: u64) -> u64 {
        let line = word / LINE;
        if line >= self.header_lines && !self.fetched.lock().unwrap().contains(&line) {
            self.missed.lock().unwrap().insert(line);
        }
        self.heap.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.heap.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.heap.make_present(words)
    }

    fn prefetch(&self, word: u64) {
        self.fetched.lock().unwrap().insert(word / LINE);
    }
}

#[test]
fn the_lines_of_keys_are_fetched_before_they_are_read() {
    let noted = Noted::table(Kind::Set);
    let reader = TableReader::open(&noted).unwrap();
    let mut missed = 0;
    for number in 0..KEYS {
        noted.forget();
        reader.prefetch(&[&key(number)]);
        assert_eq!(reader.get(&key(number)).unwrap(), Some(vec![number as u8; 64]));
        missed += usize::from(noted.missed() > 0);
    }
    // Some keys have an overflow bucket, or share their tag with another one.
    assert!(missed < KEYS as usize / 20, "{missed} of {KEYS} keys were read elsewhere");
}

#[test]
fn the_lines_of_a_scan_are_fetched_before_they_are_read() {
    for kind in [Kind::Set, Kind::OrderedSet] {
        let noted = Noted::table(kind);
        let reader = TableReader::open(&noted).unwrap();
        let glimpse = reader.glimpse();
        for as_of in ["now", "version"] {
            noted.forget();
            let mut seen = 0;
            let mut each = |_: &[u8], _: &[u8]| {
                seen += 1;
                true
            };
            if as_of == "now" { reader.scan(&mut each) } else { glimpse.scan(&mut each) }.unwrap();
            assert_eq!(seen, KEYS);
            // Overflow buckets, the inner nodes of a tree and what is behind their last children: an entry takes two lines.
            assert!(noted.missed() < KEYS as usize / 10, "{kind:?}, {as_of}: {} lines", noted.missed());
        }
    }
}

/// Who asks for one entry, or for few, does not pay for many.
#[test]
fn a_step_fetches_nothing_it_does_not_read() {
    let noted = Noted::table(Kind::OrderedSet);
    let reader = TableReader::open(&noted).unwrap();
    for number in 0..KEYS {
        reader.next(&key(number)).unwrap();
    }
    assert_eq!(noted.fetched.lock().unwrap().len(), 0);
}

#[test]
fn garbage_is_fetched_ahead_without_harm() {
    for filling in [0, 1, u64::MAX, 0x5555_5555_5555_5555] {
        for root in [None, Some(0), Some(u64::MAX), Some(filling)] {
            let region = new_table_of(Kind::Set, 1 << 20);
            let mut writer = TableWriter::open(region.clone(), 0).unwrap();
            writer.insert(b"key", b"value").unwrap();
            let reader = TableReader::open(region.clone()).unwrap();
            let layout = Layout::read(&region).unwrap();
            (layout.index.start..region.words()).for_each(|word| region.store(word, filling));
            if let Some(root) = root {
                region.store(ROOT, root);
            }
            reader.prefetch(&[b"key", b"", &[7; 100]]);
        }
    }
}
