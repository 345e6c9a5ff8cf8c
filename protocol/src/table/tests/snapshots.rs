//! Snapshots, against a model that keeps every pinned version whole; and what pins cost.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::support::{Frail, effort, new_table, new_table_of};
use crate::region::{HeapRegion, Region};
use crate::table::layout::{MOST_PINS, PINS};
use crate::table::{self, Kind, MIN_BYTES, Pin, PinError, ReadError, TableReader, TableWriter, WriteError};

/// What a table holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    pub(super) entries: HashMap<Vec<u8>, Vec<u8>>,
    pub(super) bequest: Option<Vec<u8>>,
}

impl Content {
    pub(super) fn apply(&mut self, writes: &[(usize, Option<Vec<u8>>)], bequest: Option<Vec<u8>>) {
        for (number, value) in writes {
            match value {
                Some(value) => self.entries.insert(key(*number), value.clone()),
                None => self.entries.remove(&key(*number)),
            };
        }
        if bequest.is_some() {
            self.bequest = bequest;
        }
    }
}

/// A table, what it holds, and what it held at each version that is pinned.
struct Scene {
    region: Arc<HeapRegion>,
    writer: TableWriter<Arc<HeapRegion>>,
    reader: TableReader<Arc<HeapRegion>>,
    batch_commits: u64,
    now: Content,
    pinned: Vec<(Pin, Content)>,
}

pub(super) const KEYS: usize = 24;

pub(super) fn key(number: usize) -> Vec<u8> {
    // One is empty, one is long.
    match number {
        0 => Vec::new(),
        1 => vec![9; 300],
        _ => vec![number as u8; 1 + number % 5],
    }
}

impl Scene {
    fn new(kind: Kind, batch_commits: u64) -> Self {
        let region = new_table_of(kind, 1 << 20);
        let reader = TableReader::open(region.clone()).unwrap();
        let writer = TableWriter::open(region.clone(), 0).unwrap();
        let mut scene =
            Self { region, writer, reader, batch_commits, now: Content::default(), pinned: Vec::new() };
        scene.hand_over();
        scene
    }

    fn hand_over(&mut self) {
        self.writer = TableWriter::open(self.region.clone(), 0).unwrap();
        self.writer.batch_commits = self.batch_commits;
    }

    fn write(&mut self, writes: &[(usize, Option<Vec<u8>>)], bequest: Option<Vec<u8>>) {
        let mut transaction = self.writer.transaction();
        for (number, value) in writes {
            match value {
                Some(value) => transaction.insert(&key(*number), value).unwrap(),
                None => transaction.remove(&key(*number)).unwrap(),
            }
        }
        if let Some(bequest) = &bequest {
            transaction.bequeath(bequest).unwrap();
        }
        match transaction.commit() {
            Ok(_) => self.now.apply(writes, bequest),
            Err(WriteError::TableFull { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn pin(&mut self) {
        match table::pin(&self.region) {
            Ok(pin) => {
                assert_eq!(pin.version(), self.writer.version());
                self.pinned.push((pin, self.now.clone()));
            }
            Err(error) => assert!(error == PinError::TooMany && self.pinned.len() as u64 == MOST_PINS),
        }
    }

    fn unpin(&mut self, number: usize) {
        if !self.pinned.is_empty() {
            let (pin, _) = self.pinned.swap_remove(number % self.pinned.len());
            table::unpin(&self.region, pin);
            assert_eq!(self.reader.snapshot(pin).get(&key(1)), Err(ReadError::SnapshotExpired));
        }
    }

    /// Each pinned version is as it was, and the table is whole.
    fn check(&self) {
        for (pin, content) in &self.pinned {
            check_snapshot(&self.reader, *pin, content);
        }
        let report = table::verify(&self.region).unwrap();
        let held = self.reader.held();
        assert_eq!(held.pins, self.pinned.len() as u64);
        assert_eq!(held.oldest, self.pinned.iter().map(|(pin, _)| pin.version()).min());
        assert_eq!((report.held, report.entries), (held.entries, self.now.entries.len() as u64));
    }
}

pub(super) fn check_snapshot<R: Region>(reader: &TableReader<R>, pin: Pin, content: &Content) {
    let snapshot = reader.snapshot(pin);
    for number in 0..KEYS {
        let (found, was) = (snapshot.get(&key(number)).unwrap(), content.entries.get(&key(number)));
        assert_eq!(found.as_ref(), was, "key {number} as of {}", pin.version());
        assert_eq!(snapshot.contains(&key(number)).unwrap(), was.is_some());
    }
    assert_eq!(snapshot.bequest().unwrap(), content.bequest);
    assert_eq!(snapshot.len().unwrap(), content.entries.len() as u64);
    let mut scanned = HashMap::new();
    snapshot
        .scan(&mut |key, value| {
            assert!(scanned.insert(key.to_vec(), value.to_vec()).is_none(), "visited twice");
            true
        })
        .unwrap();
    assert_eq!(scanned, content.entries);
}

#[derive(Debug, Clone)]
enum Op {
    Write(Vec<(usize, Option<usize>)>, Option<usize>),
    /// Overwrites one key so often.
    Hammer(usize, usize),
    Pin,
    Unpin(usize),
    Handoff,
    /// What does not fit is prepared, and abandoned.
    Refused,
}

fn ops() -> impl Strategy<Value = Op> {
    let length = prop_oneof![8 => 0..80_usize, 1 => 0..5000_usize];
    let write = (0..KEYS, prop::option::weighted(0.7, length.clone()));
    let bequest = prop::option::weighted(0.2, length);
    prop_oneof![
        20 => (prop::collection::vec(write, 1..4), bequest).prop_map(|(writes, bequest)| Op::Write(writes, bequest)),
        3 => (0..KEYS, 1..60_usize).prop_map(|(key, times)| Op::Hammer(key, times)),
        4 => Just(Op::Pin),
        4 => any::<usize>().prop_map(Op::Unpin),
        1 => Just(Op::Handoff),
        1 => Just(Op::Refused),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64 * effort() as u32))]

    #[test]
    fn a_pinned_version_stays_as_it_was(
        ops in prop::collection::vec(ops(), 1..250),
        batch_commits in prop_oneof![Just(1), Just(3), Just(64)],
        kind in prop_oneof![Just(Kind::Set), Just(Kind::OrderedSet)],
    ) {
        let mut scene = Scene::new(kind, batch_commits);
        for (salt, op) in ops.into_iter().enumerate() {
            let value = |length: usize| (0..length).map(|byte| (byte * 31 + salt) as u8).collect::<Vec<u8>>();
            match op {
                Op::Write(writes, bequest) => {
                    let writes: Vec<_> = writes.into_iter().map(|(key, length)| (key, length.map(value))).collect();
                    scene.write(&writes, bequest.map(value));
                }
                Op::Hammer(key, times) => {
                    for time in 0..times {
                        scene.write(&[(key, Some(vec![time as u8; 1 + time % 60]))], None);
                    }
                }
                Op::Pin => scene.pin(),
                Op::Unpin(number) => scene.unpin(number),
                Op::Handoff => scene.hand_over(),
                Op::Refused => {
                    let large = vec![1; 1 << 20];
                    let writes = (0..6).map(|number| (number, Some(vec![2; 50]))).chain([(7, Some(large))]);
                    scene.write(&writes.collect::<Vec<_>>(), None);
                }
            }
            if salt % 8 == 0 {
                scene.check();
            }
        }
        scene.check();
        while !scene.pinned.is_empty() {
            scene.unpin(0);
        }
        for _ in 0..3 {
            scene.write(&[(3, Some(vec![1]))], None);
            scene.writer.move_horizon();
            while scene.writer.make_room(usize::MAX).unwrap() > 0 {}
        }
        scene.check();
        let report = table::verify(&scene.region).unwrap();
        prop_assert_eq!((report.retired, report.held), (0, 0), "nothing is held for nobody");
    }
}

/// One key overwritten over and over under an old pin: no write pays for more than the entries of some batches, and what
/// is held is one entry.
#[test]
fn a_hot_key_under_an_old_pin_costs_little() {
    let region = Arc::new(Frail::new(new_table(1 << 20)));
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.insert(b"hot", &[0; 64]).unwrap();
    let pin = table::pin(&region).unwrap();
    let (writes, most) = (20_000, 1_000_000_000);
    region.allow_loads(most);
    let mut worst = 0;
    for number in 1..=writes {
        let before = region.loads_left();
        writer.insert(b"hot", &[number as u8; 64]).unwrap();
        worst = worst.max(before - region.loads_left());
    }
    let loads = (most - region.loads_left()) / writes;
    region.allow_loads(u64::MAX);
    println!("a hot key under an old pin: {loads} words are read a write, {worst} at most");
    assert!(loads < 250 && worst < 3000, "{loads} loads a write, {worst} at most");
    let reader = TableReader::open(region.clone()).unwrap();
    assert_eq!(reader.snapshot(pin).get(b"hot").unwrap(), Some(vec![0; 64]));
    assert_eq!(reader.held().entries, 1);
    assert!(table::verify(&region).unwrap().retired < 200, "unwanted entries are freed while the pin stands");
}

/// Pins that hold everything make the table full, and leave it as it was: removing works, and once they are gone, so does
/// the rest (R15).
#[test]
fn a_table_that_pins_fill_is_full_until_they_are_gone() {
    let region = new_table(MIN_BYTES);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let keys = 0..300_u32;
    for key in keys.clone() {
        writer.insert(&key.to_le_bytes(), &[1; 100]).unwrap();
    }
    let pin = table::pin(&region).unwrap();
    let mut round = 1_u8;
    let refused = 'rounds: loop {
        round += 1;
        for key in keys.clone() {
            let before = writer.reader().get(&key.to_le_bytes()).unwrap();
            if let Err(error) = writer.insert(&key.to_le_bytes(), &vec![round; 100 * usize::from(round)]) {
                assert_eq!(writer.reader().get(&key.to_le_bytes()).unwrap(), before);
                break 'rounds error;
            }
        }
    };
    assert!(matches!(refused, WriteError::TableFull { .. }), "{refused}");
    let reader = TableReader::open(region.clone()).unwrap();
    assert_eq!(reader.held().entries, 300, "one of each key");
    for key in keys.clone() {
        assert!(writer.remove(&key.to_le_bytes()).unwrap());
        assert_eq!(reader.snapshot(pin).get(&key.to_le_bytes()).unwrap(), Some(vec![1; 100]));
    }
    table::verify(&region).unwrap();
    assert_eq!(reader.snapshot(pin).len().unwrap(), 300);
    table::unpin(&region, pin);
    for key in keys {
        writer.insert(&key.to_le_bytes(), &[7; 250]).unwrap();
    }
    table::verify(&region).unwrap();
}

#[test]
fn a_manager_that_died_while_it_pinned_leaves_no_pin() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.insert(b"k", b"v").unwrap();
    region.store(PINS, (writer.version() + 1) | 1 << 63);
    assert_eq!((table::pins(&region), table::held(&region).pins), (Vec::new(), 0));
    let taken = table::pin(&region).unwrap();
    assert_eq!((taken.slot(), table::pins(&region)), (0, vec![taken]));
    assert_eq!(TableReader::open(&region).unwrap().snapshot(taken).get(b"k").unwrap(), Some(b"v".to_vec()));

    let all: Vec<Pin> = (1..MOST_PINS).map(|_| table::pin(&region).unwrap()).collect();
    assert_eq!(table::pin(&region), Err(PinError::TooMany));
    for pin in all {
        table::unpin(&region, pin);
    }
    // One that another has in its place now is left alone.
    table::unpin(&region, Pin::from_parts(0, taken.version() + 1));
    assert_eq!(table::pins(&region), vec![taken]);
}

/// An heir cannot tell whether such a pin holds, and reuses nothing while it stands.
#[test]
fn the_next_manager_takes_up_the_pins_and_takes_away_what_is_none() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.insert(b"k", b"v").unwrap();
    let taken = table::pin(&region).unwrap();
    let overtaken = writer.version();
    writer.insert(b"k", b"w").unwrap();
    writer.move_horizon();
    region.store(PINS + 1, (overtaken + 1) | 1 << 63);
    drop(writer);

    let mut heir = TableWriter::open(region.clone(), 0).unwrap();
    let churn = |heir: &mut TableWriter<_>| {
        for round in 0..2000_u64 {
            heir.insert(b"churn", &round.to_le_bytes()).unwrap();
        }
        heir.reader().info().used_bytes
    };
    let (first, second) = (churn(&mut heir), churn(&mut heir));
    assert!(second > first, "nothing is used again: {first}, {second}");
    assert_eq!(table::adopt_pins(&region), vec![taken]);
    assert_eq!(table::pins(&region), vec![taken]);
    let (third, fourth) = (churn(&mut heir), churn(&mut heir));
    assert!(fourth <= third, "{third}, {fourth}");
    let snapshot = TableReader::open(&region).unwrap();
    assert_eq!(snapshot.snapshot(taken).get(b"k").unwrap(), Some(b"v".to_vec()));
}

/// A key that was removed and came back was not there in between, for a pin that the owner does not know yet when it looks
/// at the removed entry, and behind which an older one is held for another pin.
#[test]
fn a_key_that_came_back_was_not_there_in_between() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    writer.batch_commits = u64::MAX;
    writer.insert(b"k", b"first").unwrap();
    let oldest = table::pin(&region).unwrap();
    writer.insert(b"k", b"second").unwrap();
    let old = table::pin(&region).unwrap();
    writer.remove(b"k").unwrap();
    // It is held for the newer of the pins, and retired again when that one is gone.
    writer.move_horizon();
    while writer.make_room(10).unwrap() > 0 {}
    table::unpin(&region, old);
    writer.move_horizon();
    assert_eq!(table::verify(&region).unwrap().retired, 1);

    let between = table::pin(&region).unwrap();
    writer.insert(b"k", b"third").unwrap();
    let reader = TableReader::open(region.clone()).unwrap();
    let get = |pin| reader.snapshot(pin).get(b"k").unwrap();
    for _ in 0..3 {
        assert_eq!((get(oldest), get(between)), (Some(b"first".to_vec()), None));
        writer.insert(b"other", b"").unwrap();
        writer.move_horizon();
    }
    table::verify(&region).unwrap();
}

/// Keys that come and go under an old pin leave nothing behind but what the pin wants.
#[test]
fn keys_that_come_and_go_under_an_old_pin_hold_little() {
    for kind in [Kind::Set, Kind::OrderedSet] {
        let region = new_table_of(kind, 1 << 20);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.batch_commits = 4;
        for number in 0..10_u8 {
            writer.insert(&[number], b"as pinned").unwrap();
        }
        let pin = table::pin(&region).unwrap();
        for round in 0..200 {
            for number in 0..10_u8 {
                writer.insert(&[number], &[round; 40]).unwrap();
            }
            for number in 0..10_u8 {
                writer.remove(&[number]).unwrap();
            }
        }
        let reader = TableReader::open(region.clone()).unwrap();
        let snapshot = reader.snapshot(pin);
        for number in 0..10_u8 {
            assert_eq!(snapshot.get(&[number]).unwrap(), Some(b"as pinned".to_vec()));
        }
        assert_eq!((snapshot.len().unwrap(), reader.len()), (10, 0));
        let report = table::verify(&region).unwrap();
        // And a few that were removed while there were recalled ones.
        assert!((10..30).contains(&reader.held().entries), "{report:?}");
        assert!(report.retired < 40, "{report:?}");
    }
}
