//! What is fetched ahead is what the reads then look at.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::support::new_table;
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::layout::{Layout, ROOT};
use crate::table::{TableReader, TableWriter};

/// The words of a cache line.
const LINE: u64 = 8;

/// A region that notes which lines were fetched ahead, and which were looked at since.
struct Noted {
    heap: Arc<HeapRegion>,
    fetched: Mutex<HashSet<u64>>,
    read: Mutex<HashSet<u64>>,
}

impl Region for Noted {
    fn words(&self) -> u64 {
        self.heap.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.read.lock().unwrap().insert(word / LINE);
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
    const KEYS: u64 = 5000;
    let region = new_table(4 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    for number in 0..KEYS {
        writer.insert(&number.to_be_bytes(), &[number as u8; 64]).unwrap();
    }
    let index = Layout::read(&region).unwrap().index.start / LINE;
    let noted = Noted { heap: region, fetched: Mutex::default(), read: Mutex::default() };
    let reader = TableReader::open(&noted).unwrap();
    let mut missed = 0;
    for number in 0..KEYS {
        let key = number.to_be_bytes();
        reader.prefetch(&[&key]);
        noted.read.lock().unwrap().clear();
        assert_eq!(reader.get(&key).unwrap(), Some(vec![number as u8; 64]));
        // All of them are beside the header, which is never far.
        let fetched = std::mem::take(&mut *noted.fetched.lock().unwrap());
        let read = noted.read.lock().unwrap();
        missed += usize::from(read.iter().any(|line| *line >= index && !fetched.contains(line)));
    }
    // Some keys have an overflow bucket, or share their tag with another one.
    assert!(missed < KEYS as usize / 20, "{missed} of {KEYS} keys were read elsewhere");
}

#[test]
fn garbage_is_fetched_ahead_without_harm() {
    for filling in [0, 1, u64::MAX, 0x5555_5555_5555_5555] {
        for root in [None, Some(0), Some(u64::MAX), Some(filling)] {
            let region = new_table(1 << 20);
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
