//! At the limit: what must work in a full table works, and what is refused is refused for good reason.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use super::support::{Frail, new_table, new_table_of};
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::bucket::{BUCKET_WORDS, SLOTS};
use crate::table::class::{SPAN_UNITS, Unit};
use crate::table::entry::HEADER_WORDS;
use crate::table::index::MAX_CHAIN;
use crate::table::layout::HORIZON;
use crate::table::reclaim::SWEEPS_WHEN_SHORT;
use crate::table::{self, Kind, MIN_BYTES, TableOptions, TableWriter, WriteError};

/// Inserts until the table is full, and says how many there were.
fn fill<R: Region>(writer: &mut TableWriter<R>, first: u64, value: &[u8]) -> u64 {
    for number in first.. {
        match writer.insert(&number.to_le_bytes(), value) {
            Ok(_) => {}
            Err(WriteError::TableFull { .. }) => return number - first,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a table has a limit")
}

fn empty(writer: &mut TableWriter<Arc<HeapRegion>>, first: u64, count: u64) {
    for number in first..first + count {
        assert!(writer.remove(&number.to_le_bytes()).unwrap());
    }
}

/// Other values take all memory that the index gave up while the table was nearly empty. If they could have that, a
/// table that is filled again would be one of long chains.
#[test]
fn the_index_keeps_the_memory_it_had() {
    let max_bytes = 80 * 16 * 1024;
    let options = TableOptions { reserve_bytes: 2 * max_bytes, ..TableOptions::set(max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let count = fill(&mut writer, 0, &[1; 64]);
    assert!(count > 8000, "{count}");
    empty(&mut writer, 0, count);
    for length in [100_000, 12_000, 6000, 3000, 1500, 700, 300, 20] {
        let other = 1 << 40;
        let others = fill(&mut writer, other, &vec![2; length]);
        empty(&mut writer, other, others);
    }
    for number in 0..count / 2 {
        writer.insert(&number.to_le_bytes(), &[3; 64]).unwrap();
    }
    let report = table::verify(&region).unwrap();
    assert!(report.buckets * 6 > count / 2, "{report:?}");
    assert!(report.overflows * 10 < report.buckets, "{report:?}");
}

/// What a host has to find for a table is counted as its memory, but for the 64 KiB that are made ready for the next
/// buckets.
#[test]
fn what_is_present_is_counted() {
    let options = TableOptions { reserve_bytes: 1 << 21, ..TableOptions::set(80 * 16 * 1024) };
    let region = Present::new(options.segment_bytes() / 8);
    table::create(&region, &options).unwrap();
    let mut writer = TableWriter::open(&region, 0).unwrap();
    let check = |writer: &TableWriter<&Present>| {
        let (used, present) = (writer.reader().info().used_bytes, region.present_bytes());
        assert!(present <= used + 64 * 1024, "{present} bytes are there, and {used} are counted");
    };
    for round in 0..3 {
        let count = fill(&mut writer, 0, &[1; 64]);
        check(&writer);
        for number in 0..count {
            assert!(writer.remove(&number.to_le_bytes()).unwrap());
            if number % 500 == 0 {
                check(&writer);
            }
        }
        while writer.make_room(100).unwrap() > 0 {}
        for beat in 0..20_000_u64 {
            writer.insert(b"beat", &beat.to_le_bytes()).unwrap();
        }
        check(&writer);
        fill(&mut writer, 0, &vec![2; 300 << (2 * round)]);
        check(&writer);
        writer.clear().unwrap();
    }
}

/// A region that knows which of its words are backed by memory.
struct Present {
    inner: HeapRegion,
    words: Mutex<Vec<bool>>,
}

impl Present {
    fn new(words: u64) -> Self {
        Self { inner: HeapRegion::new(words), words: Mutex::new(vec![false; words as usize]) }
    }

    fn present_bytes(&self) -> u64 {
        8 * self.words.lock().unwrap().iter().filter(|is_present| **is_present).count() as u64
    }

    fn set(&self, words: Range<u64>, are_present: bool) {
        self.words.lock().unwrap()[words.start as usize..words.end as usize].fill(are_present);
    }
}

impl Region for Present {
    fn words(&self) -> u64 {
        self.inner.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.inner.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.inner.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.inner.make_present(words.clone())?;
        self.set(words, true);
        Ok(())
    }

    fn give_back(&self, words: Range<u64>) {
        self.inner.give_back(words.clone());
        self.set(words, false);
    }
}

/// A log for so many removals needs memory of its own; removing works all the same (R15).
#[test]
fn any_number_of_entries_can_be_removed_at_once() {
    for some in [1, 100, 254, 300, 1000, u64::MAX] {
        let region = new_table(MIN_BYTES);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let count = fill(&mut writer, 0, &[7; 40]);
        let small = fill(&mut writer, count, &[]);
        let some = some.min(count + small);
        let mut transaction = writer.transaction();
        for number in 0..some {
            transaction.remove(&number.to_le_bytes()).unwrap();
        }
        transaction.commit().unwrap_or_else(|error| panic!("{some} of {count} and {small}: {error}"));
        assert_eq!(table::verify(&region).unwrap().entries, count + small - some);
    }
}

/// What the last owner freed and made reusable is found by the next one, even where the horizon need not move for it.
#[test]
fn an_heirs_first_insert_finds_the_free_blocks() {
    let region = new_table(MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    fill(&mut writer, 0, &[7; 40]);
    empty(&mut writer, 0, 2);
    // So few that there is nothing to gather; and the horizon is where it would be moved to.
    while writer.make_room(100).unwrap() > 0 {}
    writer.move_horizon();
    assert_eq!(region.load(HORIZON), writer.version());
    drop(writer);
    let report = table::verify(&region).unwrap();
    assert!(report.free_blocks > 0 && report.free_spans == 0, "{report:?}");

    let mut heir = TableWriter::open(region.clone(), 0).unwrap();
    heir.insert(&0_u64.to_le_bytes(), &[7; 40]).expect("there are free blocks for it");
    table::verify(&region).unwrap();
}

/// A write that cannot fit gives up after reclaiming what there is, and leaves the table as it was.
#[test]
fn a_write_that_cannot_fit_gives_up() {
    let region = new_table(MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let count = fill(&mut writer, 0, &[7; 40]);
    empty(&mut writer, 0, count);
    let version = writer.version();
    for _ in 0..3 {
        let refused = writer.insert(b"large", &vec![1; 300_000]);
        assert!(matches!(refused, Err(WriteError::TableFull { .. })), "{refused:?}");
    }
    assert!(writer.version() - version <= 2 * count, "more commits than there was to reclaim");
    let report = table::verify(&region).unwrap();
    assert_eq!((report.entries, report.retired), (0, 0));
}

/// A refused write costs about the same in a table of any size: it is not tried again where nothing could be reclaimed.
#[test]
fn a_write_is_refused_at_once_where_nothing_can_be_reclaimed() {
    for max_bytes in [MIN_BYTES, 8 << 20] {
        let region = Arc::new(Frail::new(new_table(max_bytes)));
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let count = fill(&mut writer, 0, &[7; 2000]);
        for number in count..count + 3 {
            region.allow_loads(3000);
            let refused = writer.insert(&number.to_le_bytes(), &[7; 2000]);
            assert!(matches!(refused, Err(WriteError::TableFull { .. })), "{refused:?}");
            region.allow_loads(u64::MAX);
        }
    }
}

/// A transaction that needs all that another one has just removed is prepared some times, and not once for each few
/// entries that are reclaimed.
#[test]
fn all_entries_can_be_replaced_by_two_transactions() {
    let region = Arc::new(Frail::new(new_table(4 << 20)));
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let count = fill(&mut writer, 0, &[7; 64]);
    let mut removal = writer.transaction();
    for number in 0..count {
        removal.remove(&number.to_le_bytes()).unwrap();
    }
    removal.commit().unwrap();
    // The log of so many writes is memory as well, so not quite as many fit.
    let mut replacement = writer.transaction();
    for number in 0..count * 9 / 10 {
        replacement.insert(&number.to_le_bytes(), &[8; 64]).unwrap();
    }
    region.allow_loads(count * 2000);
    let done = replacement.commit();
    region.allow_loads(u64::MAX);
    done.expect("what was removed makes room");
    assert_eq!(table::verify(&region).unwrap().entries, count * 9 / 10);
}

/// A chain as long as readers follow is not made longer: the key in the bucket after it would never be found again.
#[test]
fn no_chain_becomes_longer_than_readers_follow() {
    for (length, fits) in [(MAX_CHAIN - 1, true), (MAX_CHAIN, false)] {
        let region = new_table(1 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.growth_waits_until = u64::MAX;
        make_chains(&region, &writer, length);
        match writer.insert(b"k", b"v") {
            Ok(_) => assert!(fits),
            Err(WriteError::TableFull { .. }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(writer.reader().get(b"k").unwrap().is_some(), fits);
        assert_eq!(writer.remove(b"k").unwrap(), fits);
    }
}

/// Gives each of the four buckets the same chain of full buckets, of memory that the allocator does not know of. All
/// slots hold an entry with another key.
fn make_chains(region: &Arc<HeapRegion>, writer: &TableWriter<Arc<HeapRegion>>, buckets: usize) {
    let layout = *writer.reader().layout();
    let unit = |number: usize| Unit((8 * SPAN_UNITS) as u32 + 6 * number as u32);
    let entry = unit(buckets);
    region.store(layout.block(entry), 1 << 12 | 5);
    let write = |bucket: u64, next: Unit| {
        for word in 0..BUCKET_WORDS {
            region.store(bucket + word, 0);
        }
        for word in 3..3 + SLOTS / 2 {
            region.store(bucket + word, u64::from(entry.0) << 32 | u64::from(entry.0));
        }
        region.store(bucket + 2, u64::from(next.0) << 32);
    };
    let mut next = Unit::NONE;
    for number in 0..buckets - 1 {
        write(layout.block(unit(number)) + HEADER_WORDS, next);
        next = unit(number);
    }
    (0..4).for_each(|number| write(layout.bucket(number), next));
}

/// What a pin held is free for the next write once that is gone: it is neither refused, nor pays for a pass over the table.
#[test]
fn a_table_full_of_what_waited_for_a_pin_takes_the_next_write_without_it() {
    for (kind, bytes) in [(Kind::Set, 40), (Kind::Set, 400), (Kind::OrderedSet, 40), (Kind::OrderedSet, 400)]
    {
        let region = new_table_of(kind, 1 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let mut keys = 0_u32;
        while writer.reader().info().used_bytes < 700_000 {
            writer.insert(&keys.to_le_bytes(), &vec![0; bytes]).unwrap();
            keys += 1;
        }
        let pin = table::pin(&region).unwrap();
        let refused = (0..keys).find(|key| writer.insert(&key.to_le_bytes(), &vec![1; bytes]).is_err());
        let refused = refused.expect("it cannot hold all of them twice").to_le_bytes();
        // Once more, so that nothing is left to be swept.
        writer.insert(&refused, &vec![1; bytes]).unwrap_err();
        table::unpin(&region, pin);
        let before = writer.version();
        writer.insert(&refused, &vec![1; bytes]).unwrap();
        let commits = writer.version() - before;
        let most = SWEEPS_WHEN_SHORT as u64 + 8;
        assert!(commits <= most, "{kind:?}: {commits} commits for one write");
        table::verify(&region).unwrap();
    }
}
