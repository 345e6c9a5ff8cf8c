//! A table some of whose words are garbage, under everything that can be asked of a table.

use super::bounded::Bounded;
use super::input::Input;
use heirloom_protocol::region::{HeapRegion, RecordingRegion, Region};
use heirloom_protocol::table::{
    self, Changes, Kind, MIN_BYTES, Order, TableOptions, TableReader, TableWriter,
};
use std::cell::RefCell;
use std::ops::{Bound, Range};

/// Far more than any call needs on tables as small as these.
const MOST_LOADS: u64 = 30_000_000;
const KINDS: [Kind; 4] = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag];

type Words = Bounded<RecordingRegion<HeapRegion>>;

thread_local! {
    /// A table of each kind; what an input does to it is taken back.
    static TABLES: RefCell<Vec<Option<Words>>> = const { RefCell::new(Vec::new()) };
}

/// What is asked of a table: one of these for each input, so that there are many inputs a second.
const PARTS: [fn(&Words, &TableReader<&Words>); 4] = [read, snapshots, recover_and_verify, write];

/// The first byte says which kind of table, and what is asked of it; then come the changes to its words, until the input
/// ends.
pub(super) fn segment(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let first = usize::from(input.byte());
    let (kind, part) = (first % KINDS.len(), first / KINDS.len() % PARTS.len());
    TABLES.with_borrow_mut(|tables| {
        tables.resize_with(KINDS.len(), || None);
        let words = &*tables[kind].get_or_insert_with(|| table_of(KINDS[kind]));
        words.inner().undo();
        garble(words.inner(), &mut input);
        words.allow(MOST_LOADS);
        if let Ok(reader) = TableReader::open(words) {
            PARTS[part](words, &reader);
        }
    });
}

fn key(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// With entries, older versions of some, removed ones, free blocks, a full index, a bequest, and a change ring.
fn table_of(kind: Kind) -> Words {
    let options = TableOptions { reserve_bytes: MIN_BYTES, ..TableOptions::new(kind, MIN_BYTES) };
    let words = RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&words, &options).expect("a table");
    let words = Bounded::new(words);
    words.allow(u64::MAX);
    let mut writer = TableWriter::open(&words, 0).expect("a table");
    for number in 0..400 {
        writer.insert(&key(number), &[7; 40]).expect("room");
    }
    let pin = table::pin(&words).expect("a pin");
    for number in 0..50 {
        writer.insert(&key(number), &[8; 100]).expect("room");
        writer.remove(&key(number + 100)).expect("removing works");
    }
    writer.insert(b"large", &[9; 5000]).expect("room");
    table::unpin(&words, pin);
    writer.bequeath(b"the last words").expect("room");
    table::pin(&words).expect("a pin");
    for number in 50..90 {
        writer.insert(&key(number), &[8; 100]).expect("room");
        writer.remove(&key(number + 110)).expect("removing works");
    }
    drop(writer);
    words.inner().take();
    words
}

/// Where the header says that the areas are: span table, index, log, change ring, arena.
fn areas(words: &impl Region) -> Vec<Range<u64>> {
    (0..5)
        .map(|area| (words.load(8 + 2 * area), words.load(9 + 2 * area)))
        .map(|(start, words)| start..start + words)
        .collect()
}

fn garble(words: &RecordingRegion<HeapRegion>, input: &mut Input<'_>) {
    let areas = areas(words);
    // Only the first words of each area are in use.
    let word = |input: &mut Input<'_>| match input.byte() % 8 {
        0..3 => 64 + input.below(1024 - 64),
        3 => areas[1].start + input.below(1024),
        4 => areas[2].start + input.below(256),
        5 => areas[3].start + input.below(4096),
        6 => areas[0].start + input.below(32),
        _ => areas[4].start + 2048 + input.below(12 * 2048),
    };
    while !input.is_over() {
        let at = word(input);
        let old = words.load(at);
        let new = match input.byte() % 8 {
            0 => old ^ 1 << (input.byte() % 64),
            1 => words.load(word(input)),
            2 => old & !0xffff_ffff | input.number(4),
            3 => old & 0xffff_ffff | input.number(4) << 32,
            4 => old.wrapping_add(1),
            5 => old.wrapping_sub(1),
            6 => input.number(2),
            _ => input.number(8),
        };
        words.store(at, new);
    }
}

/// A call may end in any answer, but must end.
fn call(words: &Words, call: impl FnOnce()) {
    words.allow(MOST_LOADS);
    call();
}

fn read(words: &Words, reader: &TableReader<&Words>) {
    call(words, || gets(reader));
    call(words, || drop(reader.scan(&mut |_, _| true)));
    call(words, || {
        let _ = reader.range(Bound::Unbounded, Bound::Unbounded, Order::Descending, &mut |_, _| true);
        let _ = reader.prefix(&[3], Order::Ascending, &mut |_, _| true);
    });
    call(words, || follow(reader));
}

fn gets(reader: &TableReader<&Words>) {
    reader.prefetch(&[&key(0), &key(19), b"large"]);
    for number in (0..450).step_by(19) {
        let _ = reader.get(&key(number));
        let _ = reader.values(&key(number), &mut |_| true);
        let _ = reader.next(&key(number));
        let _ = reader.prev(&key(number));
    }
    let _ = reader.get(b"large");
    let _ = (reader.contains(&key(1)), reader.bequest(), reader.first(), reader.last());
    assert!(format!("{:?}", (reader.info(), reader.held())).contains("entries"));
}

fn follow(reader: &TableReader<&Words>) {
    let mut changes = Changes::default();
    for from in [0, reader.version() / 2] {
        if reader.changes(reader.follow_from(from), u64::MAX, &mut changes).is_ok() {
            assert!(changes.keys().len() <= 1 << 20);
        }
    }
}

/// The pins that are there, and one more.
fn snapshots(words: &Words, reader: &TableReader<&Words>) {
    call(words, || drop(table::pin(words)));
    for slot in 0..3 {
        let Some(version) = words.inner().load(72 + slot).checked_sub(1) else { continue };
        let snapshot = reader.snapshot(table::Pin::from_parts(slot as u32, version));
        call(words, || {
            for number in (0..450).step_by(37) {
                let _ = snapshot.get(&key(number));
            }
            let _ = (snapshot.len(), snapshot.bequest(), snapshot.contains(&key(7)));
            let _ = snapshot.scan(&mut |_, _| true);
        });
    }
}

fn recover_and_verify(words: &Words, _: &TableReader<&Words>) {
    call(words, || drop(table::verify(words)));
    call(words, || drop(table::recover(words)));
    call(words, || drop(table::verify(words)));
}

fn write(words: &Words, reader: &TableReader<&Words>) {
    call(words, || drop(table::recover(words)));
    let Ok(mut writer) = TableWriter::open(words, reader.epoch()) else { return };
    for number in 0..60 {
        call(words, || drop(writer.insert(&key(number * 7), &[1; 40])));
        call(words, || drop(writer.remove(&key(number * 5))));
    }
    call(words, || drop(writer.insert(b"long", &[1; 20_000])));
    call(words, || drop(writer.bequeath(b"x")));
    call(words, || drop(writer.remove_value(&key(3), &[7; 40])));
    call(words, || {
        let mut transaction = writer.transaction();
        for number in 0..50 {
            let _ = transaction.insert(&key(1000 + number), &[2; 100]);
        }
        let _ = transaction.commit();
    });
    call(words, || drop(table::verify(words)));
}
