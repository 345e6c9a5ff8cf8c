//! A follower that keeps a copy of the table: at each version that it is told, the copy equals a plain model's map of that
//! version, whatever happens in between: hand-overs, owners that die at any store, pauses of the recording, a ring of a
//! few records.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proptest::prelude::*;

use crate::region::{HeapRegion, Region};
use crate::table::layout::FOLLOWED;
use crate::table::tests::support::{Frail, create_with_ring};
use crate::table::{
    self, Changes, Cursor, FollowError, Pin, TableOptions, TableReader, TableSnapshot, TableWriter,
};

type Live = Arc<Frail<HeapRegion>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Write = (u8, Option<u8>);

#[derive(Debug, Clone)]
enum Op {
    /// A transaction; killed after so many stores, where there is a number.
    Write(Vec<Write>, Option<u64>),
    Clear,
    HandOver,
    Follow(bool),
    /// The follower looks, as of now.
    Look,
    /// It pins a version, and looks as of that later.
    Pin,
    LookPinned,
}

fn ops() -> impl Strategy<Value = Op> {
    let write = (0..24_u8, prop::option::of(any::<u8>()));
    let single = write.clone().prop_map(|write| Op::Write(vec![write], None));
    prop_oneof![
        20 => single,
        6 => prop::collection::vec(write.clone(), 2..8).prop_map(|writes| Op::Write(writes, None)),
        1 => prop::collection::vec(write.clone(), 30..60).prop_map(|writes| Op::Write(writes, None)),
        4 => (prop::collection::vec(write, 1..5), 0..60_u64)
            .prop_map(|(writes, stores)| Op::Write(writes, Some(stores))),
        1 => Just(Op::Clear),
        2 => Just(Op::HandOver),
        1 => any::<bool>().prop_map(Op::Follow),
        8 => Just(Op::Look),
        3 => Just(Op::Pin),
        3 => Just(Op::LookPinned),
    ]
}

fn key(number: u8) -> Vec<u8> {
    vec![number; 1 + usize::from(number % 3) * 6]
}

struct World {
    region: Live,
    writer: TableWriter<Live>,
    reader: TableReader<Live>,
    model: Map,
    /// What the table held, from each version on.
    versions: BTreeMap<u64, Map>,
    cursor: Cursor,
    copy: Map,
    pin: Option<Pin>,
}

impl World {
    fn new() -> Self {
        let options = TableOptions { reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
        let region = Arc::new(Frail::new(HeapRegion::new(options.segment_bytes() / 8)));
        create_with_ring(&region, &options, 32);
        region.store(FOLLOWED, 1);
        let mut writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.batch_commits = 4;
        let reader = TableReader::open(region.clone()).unwrap();
        let cursor = reader.follow();
        let versions = BTreeMap::from([(0, Map::new())]);
        Self { region, writer, reader, model: Map::new(), versions, cursor, copy: Map::new(), pin: None }
    }

    fn take_over(&mut self) {
        table::recover(&self.region).unwrap();
        table::verify(&self.region).unwrap();
        self.writer = TableWriter::open(self.region.clone(), 0).unwrap();
        self.writer.batch_commits = 4;
    }

    fn write(&mut self, writes: &[Write], dies_after: Option<u64>) {
        let mut after = self.model.clone();
        for (number, value) in writes {
            match value {
                Some(value) => after.insert(key(*number), vec![*value; usize::from(*value) % 40]),
                None => after.remove(&key(*number)),
            };
        }
        self.region.die_after(dies_after);
        let survived = catch_unwind(AssertUnwindSafe(|| {
            let mut transaction = self.writer.transaction();
            for (number, value) in writes {
                let value = value.map(|value| vec![value; usize::from(value) % 40]);
                match value {
                    Some(value) => transaction.insert(&key(*number), &value).unwrap(),
                    None => transaction.remove(&key(*number)).unwrap(),
                }
            }
            transaction.commit().unwrap();
        }));
        self.region.die_after(None);
        if survived.is_err() {
            self.take_over();
        }
        self.becomes(after, survived.is_err());
    }

    fn clear(&mut self) {
        self.writer.clear().unwrap();
        self.becomes(Map::new(), false);
    }

    /// Whether the table is what it is to be; or as before, where the owner may have died before it committed.
    fn becomes(&mut self, expected: Map, or_as_before: bool) {
        let mut found = Map::new();
        self.reader.scan(&mut |key, value| found.insert(key.to_vec(), value.to_vec()).is_none()).unwrap();
        assert!(found == expected || or_as_before && found == self.model, "the table itself is wrong");
        self.versions.insert(self.reader.version(), found.clone());
        self.model = found;
    }

    fn look(&mut self, pin: Option<Pin>) {
        let reader = self.reader.clone();
        let snapshot = pin.map_or_else(|| reader.glimpse(), |pin| reader.snapshot(pin));
        let mut changes = Changes::default();
        match reader.changes(self.cursor, snapshot.version(), &mut changes) {
            Ok(after) => {
                self.apply(&changes, &snapshot);
                self.cursor = after;
            }
            Err(FollowError::Overtaken { .. }) => {
                self.copy.clear();
                snapshot
                    .scan(&mut |key, value| self.copy.insert(key.to_vec(), value.to_vec()).is_none())
                    .unwrap();
                self.cursor = reader.follow_from(snapshot.version());
            }
            Err(error) => panic!("{error}"),
        }
        let version = self.cursor.version();
        let (_, model) = self.versions.range(..=version).next_back().unwrap();
        assert_eq!(&self.copy, model, "at version {version}");
    }

    fn apply(&mut self, changes: &Changes, snapshot: &TableSnapshot<'_, Live>) {
        if changes.is_cleared() {
            self.copy.clear();
        }
        for key in changes.keys() {
            match snapshot.get(key).unwrap() {
                Some(value) => self.copy.insert(key.to_vec(), value),
                None => self.copy.remove(key),
            };
        }
    }

    fn carry_out(&mut self, op: Op) {
        match op {
            Op::Write(writes, dies_after) => self.write(&writes, dies_after),
            Op::Clear => self.clear(),
            Op::HandOver => self.take_over(),
            Op::Follow(followed) => self.region.store(FOLLOWED, u64::from(followed)),
            Op::Look => self.look(None),
            Op::Pin => {
                let pin = || table::pin(&self.region).unwrap();
                self.pin = Some(self.pin.unwrap_or_else(pin));
            }
            Op::LookPinned => {
                if let Some(pin) = self.pin.take() {
                    if pin.version() >= self.cursor.version() {
                        self.look(Some(pin));
                    }
                    table::unpin(&self.region, pin);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_that_follows_the_changes_is_the_table(ops in prop::collection::vec(ops(), 1..300)) {
        let mut world = World::new();
        for op in ops {
            world.carry_out(op);
        }
        world.look(None);
        table::verify(&world.region).unwrap();
    }
}
