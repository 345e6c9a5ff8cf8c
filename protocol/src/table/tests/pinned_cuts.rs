//! Every store, with pins: the owner is killed after each store of what it does while versions are pinned, and so is the
//! manager after each store of a pin. At each of these cuts,
//!
//! 1. each snapshot reads exactly its version, also before recovery and after it; whoever has none, before or after;
//! 2. recovery gives all of before or all of after, and `verify` finds nothing wrong;
//! 3. the heir goes on in full batches, with the pins and then without them; snapshots stay exact, and `verify` finds
//!    nothing wrong.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::snapshots::{Content, KEYS, check_snapshot, key};
use super::support::{Random, effort};
use crate::region::{HeapRegion, RecordingRegion, Region, Store};
use crate::table::layout::{
    COMMITTED, COUNTS, Counts, HORIZON, MOST_PINS, Queue, RECALLED, RETIRED, held_size_word, held_word,
};
use crate::table::pin::HeldSize;
use crate::table::{self, Kind, Pin, TableOptions, TableReader, TableWriter};

type Live = Arc<RecordingRegion<HeapRegion>>;

#[derive(Debug, Clone)]
enum Op {
    Write(Vec<(usize, Option<Vec<u8>>)>, Option<Vec<u8>>),
    Pin,
    Unpin(usize),
    Handoff,
}

struct Scene {
    live: Live,
    writer: TableWriter<Live>,
    /// The same words, some stores behind.
    image: HeapRegion,
    image_hash: u64,
    now: Content,
    pinned: Vec<(Pin, Content)>,
    seen: BTreeMap<&'static str, HashSet<u64>>,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let options = TableOptions { reserve_bytes: 1 << 20, ..TableOptions::new(kind, 1 << 20) };
        let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
        table::create(&live, &options).unwrap();
        let image = HeapRegion::new(live.words());
        let writer = open(live.clone());
        for store in live.take() {
            image.store(store.word, store.new);
        }
        let now = Content::default();
        Self { live, writer, image, image_hash: 0, now, pinned: Vec::new(), seen: BTreeMap::new() }
    }

    /// Carries an operation out and tries each of its cuts.
    fn cut(&mut self, op: &Op) {
        let before = self.now.clone();
        let words = Words::of(&self.live);
        let mut pinned = None;
        let name = match op {
            Op::Write(writes, bequest) => {
                write(&mut self.writer, &mut self.now, writes, bequest.clone());
                "write"
            }
            Op::Pin => {
                pinned = table::pin(&self.live).ok().map(|pin| (pin, self.now.clone()));
                "pin"
            }
            Op::Unpin(number) if !self.pinned.is_empty() => {
                let (pin, _) = self.pinned.swap_remove(number % self.pinned.len());
                table::unpin(&self.live, pin);
                "unpin"
            }
            Op::Unpin(_) => return,
            Op::Handoff => {
                self.writer = open(self.live.clone());
                return;
            }
        };
        let stores = self.live.take();
        let arena = self.writer.reader().layout().arena.start;
        let names = words.names(&Words::of(&self.live), name, &stores, arena);
        for store in &stores {
            self.try_cut(&names, &before);
            self.image_hash ^= mix(store.word, store.old) ^ mix(store.word, store.new);
            self.image.store(store.word, store.new);
        }
        self.try_cut(&names, &before);
        self.pinned.extend(pinned);
    }

    fn try_cut(&mut self, names: &[&'static str], before: &Content) {
        let mut new = false;
        for name in names {
            new |= self.seen.entry(name).or_default().insert(self.image_hash);
        }
        if !new {
            return;
        }
        self.check_snapshots(&self.image);
        self.check_readers(names, before);
        let stands = RecordingRegion::new(&self.image);
        table::recover(&stands).expect("recovery");
        self.check_snapshots(&self.image);
        // Housekeeping may have committed before the write, and after it.
        let mut content = read(&self.image);
        assert!(content == *before || content == self.now, "{names:?}: neither before nor after");
        check(&self.image, names, &content);

        self.go_on(&stands, &mut content);
        self.check_snapshots(&self.image);
        check(&self.image, names, &content);
        for (pin, _) in &self.pinned {
            table::unpin(&stands, *pin);
        }
        self.go_on(&stands, &mut content);
        check(&self.image, names, &content);
        stands.undo();
    }

    fn check_snapshots(&self, region: &HeapRegion) {
        let reader = TableReader::open(region).unwrap();
        for (pin, content) in &self.pinned {
            check_snapshot(&reader, *pin, content);
        }
    }

    /// Readers without a pin see each key, and the bequest, as before or as after.
    fn check_readers(&self, names: &[&'static str], before: &Content) {
        let (now, found) = (&self.now, read(&self.image));
        for number in 0..KEYS {
            let of = |content: &Content| content.entries.get(&key(number)).cloned();
            let value = of(&found);
            assert!(value == of(before) || value == of(now), "{names:?}: key {number} is {value:?}");
        }
        assert!(found.bequest == before.bequest || found.bequest == now.bequest, "{names:?}: the bequest");
    }

    /// The heir overwrites, removes, and inserts over several batches.
    fn go_on(&self, region: &RecordingRegion<&HeapRegion>, content: &mut Content) {
        let mut writer = open(region);
        for number in 0..14 {
            let value = (number % 5 != 4).then(|| vec![number as u8; 5 + number * 3]);
            let bequest = (number % 6 == 1).then(|| vec![number as u8; 9]);
            write(&mut writer, content, &[(number % 4, value)], bequest);
        }
    }
}

fn open<R: Region>(region: R) -> TableWriter<R> {
    let mut writer = TableWriter::open(region, 0).unwrap();
    writer.batch_commits = 4;
    writer
}

fn write<R: Region>(
    writer: &mut TableWriter<R>,
    content: &mut Content,
    writes: &[(usize, Option<Vec<u8>>)],
    bequest: Option<Vec<u8>>,
) {
    let mut transaction = writer.transaction();
    for (number, value) in writes {
        match value {
            Some(value) => transaction.insert(&key(*number), value).unwrap(),
            None => transaction.remove(&key(*number)).unwrap(),
        }
    }
    if let Some(bequest) = &bequest {
        transaction.bequeath(bequest).unwrap();
    }
    transaction.commit().unwrap();
    content.apply(writes, bequest);
}

fn read(image: &HeapRegion) -> Content {
    let reader = TableReader::open(image).unwrap();
    let get = |number| Some((key(number), reader.get(&key(number)).unwrap()?));
    Content { entries: (0..KEYS).filter_map(get).collect(), bequest: reader.bequest().unwrap() }
}

fn check(image: &HeapRegion, names: &[&'static str], content: &Content) {
    let report = table::verify(image).unwrap_or_else(|error| panic!("{names:?}: {error}"));
    assert_eq!(report.entries, content.entries.len() as u64, "{names:?}");
    assert_eq!(read(image), *content, "{names:?}");
}

/// What names what the owner did.
struct Words {
    horizon: u64,
    slots: u32,
    held: Vec<(bool, u32)>,
    retired: Queue,
    recalled: Queue,
}

impl Words {
    fn of(region: &Live) -> Self {
        let held = |slot| {
            let is_empty = Queue::from_word(region.load(held_word(slot))).is_empty();
            (is_empty, HeldSize::from_word(region.load(held_size_word(slot))).entries)
        };
        Self {
            horizon: region.load(HORIZON),
            slots: Counts::from_word(region.load(COUNTS)).slots,
            held: (0..MOST_PINS).map(held).collect(),
            retired: Queue::from_word(region.load(RETIRED)),
            recalled: Queue::from_word(region.load(RECALLED)),
        }
    }

    fn names(&self, after: &Self, name: &'static str, stores: &[Store], arena: u64) -> Vec<&'static str> {
        let mut names = vec![name];
        let any_held = |happened: fn((bool, u32), (bool, u32)) -> bool| {
            self.held.iter().zip(&after.held).any(|(before, after)| happened(*before, *after))
        };
        names.extend((after.horizon > self.horizon).then_some("batch"));
        names.extend((after.slots < self.slots).then_some("slot emptied"));
        names.extend(any_held(|before, after| after.1 > before.1).then_some("hold"));
        names.extend(any_held(|before, after| after.0 && !before.0).then_some("held is retired again"));
        names.extend((after.recalled.last != self.recalled.last).then_some("recall"));
        names.extend((after.recalled.first != self.recalled.first).then_some("sweep of recalled"));
        names.extend((after.retired.first != self.retired.first).then_some("sweep of retired"));
        // A new entry's words are stored one after the other; what is unlinked has one of them stored alone.
        for [before, Store { word, old, new }, next] in
            stores.windows(3).map(|some| [some[0], some[1], some[2]])
        {
            let is_alone = word != before.word + 1 && next.word != word + 1;
            if word > arena && is_alone {
                names.extend((new >> 12 == (1 << 52) - 1).then_some("join"));
                names.extend((old >> 32 == new >> 32 && old as u32 != new as u32).then_some("unlink"));
                // What a commit removes has its version, what it steps back to an older one.
                let is_older = old >> 12 == 0 && new >> 12 > 0 && new >> 12 < before.new;
                names.extend((before.word == COMMITTED && is_older).then_some("step back"));
            }
        }
        names
    }
}

fn mix(word: u64, value: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&word.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// Few keys and many pins, so that every state comes up.
fn random_op(random: &mut Random, number: usize) -> Op {
    let value = |random: &mut Random| vec![number as u8; random.below(40)];
    match random.below(16) {
        0 | 1 => Op::Pin,
        2 | 3 => Op::Unpin(random.below(8)),
        4 if random.below(3) == 0 => Op::Handoff,
        _ => {
            let writes = (0..1 + random.below(2))
                .map(|_| (random.below(4), (random.below(10) < 7).then(|| value(random))))
                .collect();
            Op::Write(writes, (random.below(6) == 0).then(|| value(random)))
        }
    }
}

fn explore(kind: Kind, seed: u64) -> BTreeMap<&'static str, HashSet<u64>> {
    let (mut scene, mut random) = (Scene::new(kind), Random(seed));
    for number in 0..150 {
        // The same key over and over, under an old pin.
        let hammers = number % 50 >= 42;
        let op = if hammers {
            Op::Write(vec![(1, Some(vec![number as u8; 20]))], None)
        } else {
            random_op(&mut random, number)
        };
        scene.cut(&op);
    }
    scene.seen
}

#[test]
fn every_store_with_pins() {
    for kind in [Kind::Set, Kind::OrderedSet] {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for seed in 1..=effort() as u64 {
            for (name, seen) in explore(kind, seed) {
                *states.entry(name).or_default() += seen.len();
            }
        }
        for (name, count) in &states {
            println!("{}: {name}: {count} distinct states", kind.name());
        }
        for name in [
            "write",
            "pin",
            "unpin",
            "batch",
            "hold",
            "held is retired again",
            "recall",
            "sweep of recalled",
            "sweep of retired",
            "slot emptied",
            "unlink",
            "join",
            "step back",
        ] {
            assert!(states.contains_key(name), "{}: no state of: {name}", kind.name());
        }
    }
}
