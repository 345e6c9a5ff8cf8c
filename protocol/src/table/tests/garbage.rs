//! Garbage: whatever the bytes of a segment say, every call ends with an answer or an error (R9). None panics, none goes
//! on for ever, none takes memory by a length that it found there.
//!
//! A call that reads far more words than there are is taken for one that does not end: see [`Frail::allow_loads`].

use std::ops::Bound;
use std::sync::Arc;

use super::support::{Frail, Random, effort, new_table};
use crate::region::{HeapRegion, RecordingRegion, Region};
use crate::table::class::{SPAN_UNITS, Unit};
use crate::table::entry::{HEADER_WORDS, MAX_VERSION};
use crate::table::layout::{
    APPLIED, BEQUEST, COMMITTED, COUNTS, EPOCH, HORIZON, LOG_PRESENT, Layout, MERGED_AT, MOST_BUCKETS,
    NEXT_SPAN, Queue, RETIRED, ROOT, TREE, queue_word,
};
use crate::table::{self, Kind, MIN_BYTES, OpenError, Order, TableOptions, TableReader, TableWriter};

/// Far more than any call needs on the small tables here.
const MOST_LOADS: u64 = 30_000_000;

type Garbled = Frail<RecordingRegion<HeapRegion>>;

fn key(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// Entries, removed ones too, free blocks, overflow buckets and a bequest.
fn fill<R: Region>(region: R) -> TableWriter<R> {
    let mut writer = TableWriter::open(region, 0).unwrap();
    for number in 0..600 {
        writer.insert(&key(number), &[7; 40]).unwrap();
    }
    writer.bequeath(b"the last words").unwrap();
    for number in 0..150 {
        writer.remove(&key(number)).unwrap();
    }
    writer
}

fn image() -> HeapRegion {
    let region = new_table(MIN_BYTES);
    fill(region.clone());
    HeapRegion::from_words(&region.to_words())
}

fn garbled(image: HeapRegion) -> Garbled {
    Frail::new(RecordingRegion::new(image))
}

/// Says what was tried where it panics.
struct Trying(String);

impl Drop for Trying {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while trying {}", self.0);
        }
    }
}

/// Everything that can be asked of a table. What the answers are does not matter here.
fn try_everything(region: &Garbled, what: &str) {
    let mut trying = Trying(String::new());
    let mut call = |name: &str, call: &mut dyn FnMut()| {
        trying.0 = format!("{name} of {what}");
        region.allow_loads(MOST_LOADS);
        call();
    };
    let Ok(reader) = TableReader::open(region) else { return };
    for number in (0..700).step_by(23) {
        call("get", &mut || drop(reader.get(&key(number))));
    }
    call("contains", &mut || drop(reader.contains(&key(1))));
    call("bequest", &mut || drop(reader.bequest()));
    call("info", &mut || assert!(format!("{:?}", reader.info()).contains("entries")));
    call("scan", &mut || drop(reader.scan(&mut |_, _| true)));
    call("range", &mut || {
        let from = Bound::Excluded(key(400).to_vec());
        drop(reader.range(
            from.as_ref().map(Vec::as_slice),
            Bound::Unbounded,
            Order::Descending,
            &mut |_, _| true,
        ));
    });
    call("next", &mut || drop(reader.next(&key(300))));
    call("prev", &mut || drop(reader.prev(&key(300))));
    call("values", &mut || drop(reader.values(&key(200), &mut |_| true)));
    call("verify", &mut || drop(table::verify(region)));
    call("recover", &mut || drop(table::recover(region)));
    call("verify after recovery", &mut || drop(table::verify(region)));
    let Ok(mut writer) = TableWriter::open(region, region.load(EPOCH)) else { return };
    for number in 0..80 {
        call("insert", &mut || drop(writer.insert(&key(number * 7), &[1; 40])));
        call("remove", &mut || drop(writer.remove(&key(number * 5))));
    }
    call("insert of a long value", &mut || drop(writer.insert(b"long", &[1; 20_000])));
    call("bequeath", &mut || drop(writer.bequeath(b"x")));
    call("a transaction", &mut || {
        let mut transaction = writer.transaction();
        (0..50).for_each(|number| drop(transaction.insert(&key(1000 + number), &[2; 100])));
        drop(transaction.commit());
    });
    call("verify after writes", &mut || drop(table::verify(region)));
}

#[test]
fn no_word_of_the_header_is_believed() {
    let cases: &[(&str, &[(u64, u64)])] = &[
        ("no span", &[(NEXT_SPAN, 0)]),
        ("more spans than addresses", &[(NEXT_SPAN, 1 << 50)]),
        ("spans up to the largest number", &[(NEXT_SPAN, u64::MAX)]),
        ("no bucket", &[(ROOT, 0)]),
        ("one bucket", &[(ROOT, 1)]),
        ("three buckets", &[(ROOT, 3)]),
        ("2^31 buckets", &[(ROOT, 1 << 31)]),
        ("buckets and merges up to the largest number", &[(ROOT, u64::MAX)]),
        ("nothing counted", &[(COUNTS, 0)]),
        ("everything counted", &[(COUNTS, u64::MAX)]),
        ("version 2^52 - 1", &[(COMMITTED, MAX_VERSION), (APPLIED, MAX_VERSION)]),
        ("version 2^52", &[(COMMITTED, 1 << 52), (APPLIED, 1 << 52)]),
        ("the largest version", &[(COMMITTED, u64::MAX), (APPLIED, u64::MAX)]),
        (
            "the largest version and horizon",
            &[(COMMITTED, u64::MAX), (APPLIED, u64::MAX), (HORIZON, u64::MAX)],
        ),
        ("the largest version applied", &[(COMMITTED, 0), (APPLIED, u64::MAX)]),
        ("a horizon ahead", &[(HORIZON, 1 << 40)]),
        ("a merge ahead", &[(MERGED_AT, u64::MAX)]),
        ("fewer buckets than there are", &[(MOST_BUCKETS, 0)]),
        ("a removed one outside", &[(RETIRED, u64::MAX)]),
        ("a bequest outside", &[(BEQUEST, u64::MAX)]),
    ];
    for (name, words) in cases {
        let region = garbled(image());
        for (word, value) in *words {
            region.inner.store(*word, *value);
        }
        assert!(table::verify(&region).is_err(), "verify finds nothing wrong with {name}");
        try_everything(&region, name);
    }
    // What says how much memory is in use only says when the table is full.
    for (word, value) in [(MOST_BUCKETS, u64::MAX), (LOG_PRESENT, u64::MAX), (LOG_PRESENT, 0)] {
        let region = garbled(image());
        region.inner.store(word, value);
        try_everything(&region, "a table of strange size");
    }
}

#[test]
fn after_the_last_version_nothing_is_written() {
    let region = garbled(image());
    for word in [COMMITTED, APPLIED] {
        region.inner.store(word, MAX_VERSION - 2);
    }
    let mut writer = TableWriter::open(&region, 0).unwrap();
    writer.remove(&key(200)).unwrap();
    while writer.remove(&key(201)).is_ok_and(|_| writer.version() < MAX_VERSION) {}
    assert!(writer.insert(b"one more", b"").is_err());
    assert!(writer.version() <= MAX_VERSION);
    assert!(matches!(TableWriter::open(&region, 0), Err(OpenError::Corrupt(_))));
}

#[test]
fn queues_that_bite_their_tail_end() {
    let whole = image();
    let layout = Layout::read(&whole).unwrap();
    let queues = std::iter::once(RETIRED).chain(crate::table::class::Class::all().map(queue_word));
    let mut tried = 0;
    for word in queues {
        let queue = Queue::from_word(whole.load(word));
        if queue.is_empty() || queue.first == queue.last {
            continue;
        }
        tried += 1;
        let region = garbled(HeapRegion::from_words(&whole.to_words()));
        let link = layout.block(queue.first) + 2;
        region.inner.store(link, region.inner.load(link) & 0xffff_ffff | u64::from(queue.first.0) << 32);
        assert!(table::verify(&region).is_err(), "a queue that bites its tail: {queue:?}");
        try_everything(&region, &format!("a queue that bites its tail: {queue:?}"));
    }
    assert!(tried >= 2, "the image has {tried} queues of more than one");
}

/// A log that no owner wrote is refused, and nothing of it is stored (R2).
#[test]
fn a_log_that_no_owner_wrote_is_not_applied() {
    let whole = image();
    let layout = Layout::read(&whole).unwrap();
    let (committed, log) = (whole.load(COMMITTED) + 1, layout.log.start);
    let with_log = |version: u64, count: u64, pairs: &[(u64, u64)]| {
        let region = garbled(HeapRegion::from_words(&whole.to_words()));
        let store = |word, value| region.inner.store(word, value);
        store(COMMITTED, committed);
        store(log, version);
        store(log + 1, count);
        for (at, (word, value)) in (log + 2..).step_by(2).zip(pairs) {
            store(at, *word);
            store(at + 1, *value);
        }
        region
    };
    let is_refused = |region: Garbled, what: &str| {
        assert!(matches!(table::recover(&region), Err(OpenError::Corrupt(_))), "{what}");
        assert_eq!(region.stores(), 0, "{what}: something was stored");
    };
    let good = (COUNTS, whole.load(COUNTS));
    assert!(table::recover(&with_log(committed, 1, &[good])).is_ok());
    is_refused(with_log(committed + 1, 1, &[good]), "a log of another version");
    is_refused(with_log(committed, u64::MAX, &[good]), "a log longer than its area");
    is_refused(with_log(committed, layout.log.words / 2, &[good]), "a log a little longer than its area");
    let outside = [
        0,
        COMMITTED,
        APPLIED,
        HORIZON,
        LOG_PRESENT,
        EPOCH,
        layout.spans.start - 1,
        log,
        layout.ring.start,
        layout.arena.end(),
        u64::MAX,
    ];
    for word in outside {
        is_refused(with_log(committed, 2, &[good, (word, 1)]), &format!("a log that names word {word}"));
    }
}

/// A write that finds the table full reclaims what waits. Where that never ends, the write does all the same.
#[test]
fn a_full_table_whose_removed_entries_never_end_refuses_a_write() {
    let region = new_table(MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let count = (0..).take_while(|number| writer.insert(&key(*number), &[7; 40]).is_ok()).count();
    for number in 0..10 {
        assert!(count > 1000 && writer.remove(&key(number)).unwrap());
    }
    let queue = Queue::from_word(region.load(RETIRED));
    let link = writer.reader().layout().block(queue.first) + 2;
    region.store(link, region.load(link) & 0xffff_ffff | u64::from(queue.first.0) << 32);

    let region = garbled(HeapRegion::from_words(&region.to_words()));
    region.allow_loads(MOST_LOADS);
    let mut heir = TableWriter::open(&region, 0).unwrap();
    assert!(heir.insert(b"large", &[0; 3000]).is_err());
}

/// All slots of a long chain point to one entry with a large value: copied for each slot, that were gigabytes.
#[test]
fn a_scan_does_not_copy_one_entry_for_each_slot() {
    let heap = new_table(4 << 20);
    let layout = Layout::read(&heap).unwrap();
    let large = Unit(SPAN_UNITS as u32);
    let block = layout.block(large);
    heap.store(block, 1 << 12 | 1 << 8);
    heap.store(block + HEADER_WORDS, 1 << 20);
    let mut next = 0;
    for number in 0..300_u64 {
        let unit = 100 * SPAN_UNITS + number * 6;
        let bucket = layout.block(Unit(unit as u32)) + HEADER_WORDS;
        (3..8).for_each(|word| heap.store(bucket + word, u64::from(large.0) << 32 | u64::from(large.0)));
        // The entry has no key; all tags are those of the empty key.
        let tags = (layout.hash(b"") >> 55 << 7) * 0x0001_0001_0001_0001;
        (0..2).for_each(|word| heap.store(bucket + word, tags));
        heap.store(bucket + 2, next << 32 | tags & 0xffff_ffff);
        next = unit;
    }
    let bucket = (layout.hash(b"") & 3) as u32;
    heap.store(layout.bucket(bucket) + 2, next << 32);
    let region = Frail::new(heap);
    let reader = TableReader::open(&region).unwrap();
    region.allow_loads(1_000_000);
    let mut met = 0;
    reader
        .scan(&mut |key, value| {
            assert!(key.is_empty() && value.len() == 1 << 20);
            met += 1;
            true
        })
        .unwrap();
    assert_eq!(met, 1);
}

/// A forked child sees words of zero where the segment was, and none beyond: its handles answer with errors (H2).
#[test]
fn a_region_that_vanished_gives_errors() {
    let region = garbled(image());
    let mut writer = TableWriter::open(&region, 0).unwrap();
    let reader = TableReader::open(&region).unwrap();
    region.vanish();
    region.allow_loads(MOST_LOADS);
    assert!(reader.get(&key(300)).is_err());
    assert!(reader.get(b"").is_err());
    assert!(reader.contains(&key(300)).is_err());
    assert!(reader.scan(&mut |_, _| true).is_err());
    assert_eq!(reader.bequest(), Ok(None));
    assert_eq!(reader.len(), 0);
    assert!(writer.insert(&key(300), b"v").is_err());
    assert!(writer.remove(&key(300)).is_err());
    assert!(writer.bequeath(b"v").is_err());
    assert!(table::recover(&region).is_err());
    assert!(table::verify(&region).is_err());
    assert!(TableReader::open(&region).is_err());
    assert!(TableWriter::open(&region, 0).is_err());
}

/// Words are changed here and there, at rest and in the middle of a commit.
#[test]
fn tables_with_random_words_changed() {
    change_random_words(Kind::Set, 600);
}

#[test]
fn trees_with_random_words_changed() {
    change_random_words(Kind::OrderedSet, 400);
    change_random_words(Kind::Bag, 100);
    change_random_words(Kind::DuplicateBag, 100);
}

fn change_random_words(kind: Kind, tries: u64) {
    let options = TableOptions { reserve_bytes: MIN_BYTES, ..TableOptions::new(kind, MIN_BYTES) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&live, &options).unwrap();
    let mut writer = fill(live.clone());
    live.take();
    let at_rest = HeapRegion::from_words(&(0..live.words()).map(|word| live.load(word)).collect::<Vec<_>>());
    let mut transaction = writer.transaction();
    (500..560).for_each(|number| transaction.insert(&key(number * 2), &[3; 60]).unwrap());
    (200..230).for_each(|number| transaction.remove(&key(number)).unwrap());
    transaction.bequeath(b"other words").unwrap();
    transaction.commit().unwrap();
    let in_flight = live.take();

    let region = garbled(at_rest);
    let layout = Layout::read(&region).unwrap();
    for seed in 0..tries * effort() as u64 {
        let mut random = Random(seed);
        let mut what = format!("seed {seed}:");
        if seed % 2 == 1 {
            let cut = random.below(in_flight.len());
            in_flight[..cut].iter().for_each(|store| region.inner.store(store.word, store.new));
            what += &format!(" {cut} stores of a commit,");
        }
        for _ in 0..=random.below(4) {
            let word = some_word(&layout, &mut random);
            let value = some_value(&region.inner, word, &mut random);
            region.inner.store(word, value);
            what += &format!(" [{word}] = {value:#x}");
        }
        try_everything(&region, &what);
        region.inner.undo();
    }
}

/// Mostly words that matter.
fn some_word(layout: &Layout, random: &mut Random) -> u64 {
    let (start, words) = match random.below(9) {
        0 | 1 => (COMMITTED, 11),
        2 => (COMMITTED, 310),
        3 => (layout.index.start, 1100),
        4 => (layout.arena.start + 2048, 20_000),
        5 => (layout.spans.start, 20),
        6 => (layout.log.start, 30),
        7 => (TREE, 2),
        _ => (EPOCH, 2),
    };
    start + random.below(words) as u64
}

/// Mostly values that could be meant.
fn some_value(region: &impl Region, word: u64, random: &mut Random) -> u64 {
    let old = region.load(word);
    let small = random.below(20_000) as u64;
    match random.below(10) {
        0 => random.word(),
        1 => 0,
        2 => u64::MAX,
        3 => old ^ 1 << random.below(64),
        4 => small,
        5 => region.load(COMMITTED + random.below(310) as u64),
        6 => old.wrapping_add(1),
        7 => small << 32 | small,
        8 => small << 12 | old & 0xfff,
        _ => 1 << random.below(64),
    }
}
