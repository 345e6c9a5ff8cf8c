//! Memory comes back: to other classes, and to the host.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::support::{new_table, new_table_of};
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::class::SPAN_UNITS;
use crate::table::layout::{BLOCKS, FREE_SPANS, LOG_PRESENT, LOG_STEP_WORDS, Layout, MOST_BUCKETS};
use crate::table::spans::Span;
use crate::table::{self, Kind, TableOptions, TableReader, TableWriter};
#[cfg(target_os = "linux")]
use crate::{region::MappedRegion, sys::segment::Segment};

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn writer_of(max_bytes: u64) -> (Arc<HeapRegion>, TableWriter<Arc<HeapRegion>>) {
    let region = new_table(max_bytes);
    let writer = TableWriter::open(region.clone(), 0).unwrap();
    (region, writer)
}

/// Values of 8 bytes to 64 KiB, each update with another length: the memory in use stays within 1.3 of what the entries
/// take. `HEIRLOOM_LONG` makes it ten million updates.
#[test]
fn values_that_change_their_size_do_not_scatter_memory() {
    let (region, mut writer) = writer_of(256 << 20);
    change_sizes(&mut writer);
    table::verify(&region).unwrap();
}

/// The same at the pace of an owner of a real segment, who gives memory back in a part of its time.
#[cfg(target_os = "linux")]
#[test]
fn nor_do_they_at_the_pace_of_a_real_owner() {
    let options = TableOptions::set(256 << 20);
    let segment = Segment::create("test", options.segment_bytes()).unwrap();
    let region = Arc::new(MappedRegion::writable(segment.fresh_writable().unwrap()).unwrap());
    table::create(&region, &options).unwrap();
    change_sizes(&mut TableWriter::open(region.clone(), 0).unwrap());
    table::verify(&region).unwrap();
}

/// A region whose time passes as the test says, and by a little with each look: so that a slice is one step, as it is on the
/// slowest of machines.
struct Timed {
    heap: HeapRegion,
    micros: AtomicU64,
}

impl Timed {
    const LOOK: u64 = 25;

    fn pass(&self, micros: u64) {
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Region for Timed {
    fn words(&self) -> u64 {
        self.heap.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.heap.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.heap.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.heap.make_present(words)
    }

    fn clock(&self) -> Option<Duration> {
        self.pass(Self::LOOK);
        Some(Duration::from_micros(self.micros.load(Ordering::Relaxed)))
    }
}

/// It goes back although nothing else makes the owner look round: each write finds a free block.
#[test]
fn what_a_snapshot_needed_goes_back_while_the_owner_writes_seldom() {
    const KEYS: u64 = 30_000;
    let options = TableOptions { reserve_bytes: 16 << 20, ..TableOptions::set(16 << 20) };
    let region =
        Arc::new(Timed { heap: HeapRegion::new(options.segment_bytes() / 8), micros: AtomicU64::new(0) });
    table::create(&region, &options).unwrap();
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let mut write = |number: u64| {
        writer.insert(&(number % KEYS).to_le_bytes(), &[number as u8; 64]).unwrap();
        region.pass(1000);
        writer.reader().info().used_bytes
    };
    let alone = (0..2 * KEYS).map(&mut write).last().unwrap();
    let pin = table::pin(&region).unwrap();
    let beside_a_pin = (0..KEYS).map(&mut write).last().unwrap();
    table::unpin(&region, pin);
    assert!(beside_a_pin > alone * 3 / 2, "{alone} bytes, and {beside_a_pin} with a snapshot");
    // Fewer writes than there are free blocks.
    let needed = (0..KEYS * 9 / 10).map(&mut write).position(|used| used <= alone * 5 / 4);
    assert!(
        needed.is_some(),
        "{alone} bytes, and {beside_a_pin} with a snapshot; then {}",
        writer.reader().info().used_bytes
    );
    table::verify(&region).unwrap();
}

fn change_sizes<R: Region>(writer: &mut TableWriter<R>) {
    let updates = if std::env::var_os("HEIRLOOM_LONG").is_some() { 10_000_000 } else { 150_000 };
    let mut random = Random(7);
    let value = vec![5; 64 * 1024 + 8];
    let mut lengths: HashMap<u64, u64> = HashMap::new();
    let (mut live, mut worst) = (0, 0.0_f64);
    for update in 0..updates {
        let key = random.below(10_000);
        // As many short values as long ones, by orders of magnitude.
        let most = 8 << random.below(14);
        let length = 8 + random.below(most);
        writer.insert(&key.to_le_bytes(), &value[..length as usize]).unwrap();
        live += length + 32;
        live -= lengths.insert(key, length + 32).unwrap_or(0);
        if update > updates / 2 && update % 64 == 0 {
            worst = worst.max(writer.reader().info().used_bytes as f64 / live as f64);
        }
    }
    println!("at worst {worst:.3} of the live data in use, after {updates} updates of {live} bytes");
    assert!(worst < 1.3, "{worst}");
}

/// Nine of ten entries go, at random: their memory goes too, and the rest is as it was.
#[test]
fn memory_is_given_back_after_many_removals() {
    let (region, mut writer) = writer_of(64 << 20);
    let count = 200_000_u64;
    for key in 0..count {
        writer.insert(&key.to_le_bytes(), &[key as u8; 64]).unwrap();
    }
    let before = writer.reader().info().used_bytes;
    let is_kept = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 == 0;
    for key in (0..count).filter(|key| !is_kept(*key)) {
        assert!(writer.remove(&key.to_le_bytes()).unwrap());
    }
    // Ordinary life goes on, and with it the housekeeping.
    for round in 0..count / 4 {
        writer.insert(&u64::MAX.to_le_bytes(), &round.to_le_bytes()).unwrap();
    }
    let report = table::verify(&region).unwrap();
    let after = writer.reader().info().used_bytes;
    println!("{before} bytes before, {after} after, {} entries of {count} left; {report:?}", report.entries);
    assert!(after * 4 < before, "{before} bytes, then {after}");
    for key in 0..count {
        let found = writer.reader().get(&key.to_le_bytes()).unwrap();
        assert_eq!(found, is_kept(key).then(|| vec![key as u8; 64]));
    }
    // What was given back is there again when it is needed.
    for key in 0..count {
        writer.insert(&key.to_le_bytes(), &[1; 64]).unwrap();
    }
    let again = writer.reader().info().used_bytes;
    assert!(again < before + before / 8, "{before} bytes, then {again}");
    assert_eq!(table::verify(&region).unwrap().entries, count + 1);
}

/// The log of a long transaction, and an index that was large, do not stay for ever.
#[test]
fn the_index_and_the_log_are_shortened() {
    let (region, mut writer) = writer_of(64 << 20);
    let mut transaction = writer.transaction();
    for key in 0..100_000_u64 {
        transaction.insert(&key.to_le_bytes(), b"").unwrap();
    }
    transaction.commit().unwrap();
    let buckets = region.load(MOST_BUCKETS);
    for key in 0..100_000_u64 {
        writer.remove(&key.to_le_bytes()).unwrap();
    }
    for round in 0..100_000_u64 {
        writer.insert(b"beat", &round.to_le_bytes()).unwrap();
    }
    table::verify(&region).unwrap();
    // The log of that transaction had more than 800,000 words.
    assert!(region.load(LOG_PRESENT) <= 32 * LOG_STEP_WORDS, "{} words of log", region.load(LOG_PRESENT));
    assert!(region.load(MOST_BUCKETS) < buckets / 4, "{buckets} buckets, then {}", region.load(MOST_BUCKETS));
    assert!(region.load(FREE_SPANS) > 0 && region.load(BLOCKS) < 10_000, "{} blocks", region.load(BLOCKS));
}

/// Memory of one size of values is there for another size, though the table is full, and an heir goes on where the last
/// owner stopped in the middle.
#[test]
fn memory_of_one_class_serves_another() {
    let max_bytes = 2 << 20;
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::set(max_bytes) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    let mut random = Random(3);
    for round in 0..40_u64 {
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        let length = [40, 3000, 200, 12_000, 900, 90][round as usize % 6];
        let fits = max_bytes * 6 / 10 / (length + 60);
        for key in 0..fits {
            writer.insert(&(round << 32 | key).to_le_bytes(), &vec![1; length as usize]).unwrap_or_else(
                |error| {
                    panic!(
                        "round {round}, {key} of {fits} entries of {length}: {error}; {:?}",
                        table::verify(&region)
                    )
                },
            );
        }
        table::verify(&region).unwrap();
        for key in 0..fits {
            writer.remove(&(round << 32 | key).to_le_bytes()).unwrap();
            if random.below(fits) == 0 {
                writer = TableWriter::open(region.clone(), 0).unwrap();
            }
        }
        table::verify(&region).unwrap();
    }
}

/// A run of several spans comes up where the survey is about to go on: among free spans, of which it passes many at a time.
#[test]
fn a_survey_takes_the_middle_of_a_run_for_none() {
    const KEYS: u64 = 16_000;
    let (region, mut writer) = writer_of(64 << 20);
    writer.batch_commits = 1;
    let layout = Layout::read(&region).unwrap();
    let word = |span: u64| region.load(layout.span_word(span));
    for number in 0..KEYS {
        writer.insert(&number.to_le_bytes(), &[1; 1000]).unwrap();
    }
    // All but some at both ends, and then every second one of these, so that there is work for another pass.
    let ends = || (0..KEYS / 50).chain(KEYS - KEYS / 50..KEYS);
    for number in KEYS / 50..KEYS - KEYS / 50 {
        writer.remove(&number.to_le_bytes()).unwrap();
    }
    let beat = |writer: &mut TableWriter<Arc<HeapRegion>>| writer.insert(b"beat", b"").unwrap();
    let mut beats = 0..100_000;
    while region.load(FREE_SPANS) < 700 || writer.compaction.phase_name().is_some() {
        beats.next().expect("memory is given back");
        beat(&mut writer);
    }
    for number in ends().step_by(2) {
        writer.remove(&number.to_le_bytes()).unwrap();
    }
    writer.compaction.least_free_units = 0;
    let is_free = |span: &u64| word(*span) == 0;
    let stops_at = beats.find_map(|_| {
        beat(&mut writer);
        writer.compaction.surveyed_span().filter(is_free)
    });
    let stops_at = stops_at.expect("a survey passes what is free");
    let mut transaction = writer.transaction();
    for number in 0..1200_u64 {
        transaction.insert(&number.to_be_bytes(), &[2; 20_000]).unwrap();
    }
    transaction.commit().unwrap();
    let taken = Span::from_word(word(stops_at)).unwrap();
    let is_amid_a_block = !(taken.place * SPAN_UNITS).is_multiple_of(taken.class.units());
    assert!(is_amid_a_block, "{taken:?} at {stops_at}");
    // The survey went on with the commit's chores, to its end and beyond.
    assert_eq!(writer.compaction.surveyed_span(), None);
    table::verify(&region).unwrap();
}

/// A pin may come at any time while memory is given back, and go again: what it wants stays where it is, and no run is given
/// back that has some of it.
#[test]
fn a_pin_may_come_while_memory_is_given_back() {
    let key = |number: u64| number.to_be_bytes()[6..].to_vec();
    let (keys, stay) = (700_u64, |number: &u64| number % 7 == 3);
    for kind in [Kind::Set, Kind::OrderedSet] {
        let (mut released_beside, mut released) = (0, 0);
        for pinned_at in 0..200 {
            let region = new_table_of(kind, 1 << 20);
            let mut writer = TableWriter::open(region.clone(), 0).unwrap();
            writer.batch_commits = 5;
            for number in 0..keys {
                writer.insert(&key(number), &[number as u8; 100]).unwrap();
            }
            let mut transaction = writer.transaction();
            for number in (0..keys).filter(|number| !stay(number)) {
                transaction.remove(&key(number)).unwrap();
            }
            transaction.commit().unwrap();
            while writer.make_room(1000).unwrap() > 0 {}
            writer.compaction.least_free_units = SPAN_UNITS;
            let mut pin = None;
            for beat in 0..320 {
                if beat == pinned_at {
                    pin = Some(table::pin(&region).unwrap());
                }
                if beat == pinned_at + 40 {
                    table::unpin(&region, pin.take().expect("it was pinned"));
                }
                writer.insert(&key(beat % 10 * 7 + 3), &[1; 20]).unwrap();
                if let Some(pin) = pin {
                    let snapshot = TableReader::open(&region).unwrap();
                    assert_eq!(snapshot.snapshot(pin).len().unwrap(), keys / 7);
                }
                if (pinned_at..pinned_at + 60).contains(&beat) {
                    table::verify(&region).unwrap_or_else(|error| panic!("pinned at {pinned_at}: {error}"));
                }
            }
            let report = table::verify(&region).unwrap();
            released += usize::from(report.free_spans > 0);
            released_beside += usize::from(report.draining > 0);
        }
        println!("{}: {released} gave back, {released_beside} were left draining", kind.name());
        assert!(released > 0);
    }
}
