//! Every store of commits that are recorded: the owner is killed after each, through wrap-around, overtaking, and the start
//! and the end of following.
//!
//! At each cut, whoever has seen any version is told exactly what the commits since then changed, whole commits only, or
//! that it was overtaken, and that only where it must be. The same again after recovery, itself cut after each of its
//! stores; and the heir goes on with the ring.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::{History, Operation};
use crate::region::{HeapRegion, RecordingRegion, Region};
use crate::table::layout::{FOLLOWED, RING_LOW, RING_SINCE};
use crate::table::tests::support::{Random, create_with_ring, effort};
use crate::table::{self, Cursor, TableOptions, TableReader, TableWriter};

type Live = Arc<RecordingRegion<HeapRegion>>;

/// So many consumers are asked at each cut: those that stopped last, at each of so many operations.
const CONSUMERS: usize = 6;

struct Scene {
    live: Live,
    /// The same words, some stores behind.
    image: HeapRegion,
    history: History,
    ring_words: u64,
    /// Where consumers stopped.
    cursors: Vec<Cursor>,
    states: BTreeMap<&'static str, usize>,
}

impl Scene {
    fn new(ring_words: u64, seed: u64) -> (Self, TableWriter<Live>) {
        let options = TableOptions { seed, reserve_bytes: 1 << 20, ..TableOptions::set(1 << 20) };
        let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
        create_with_ring(&live, &options, ring_words);
        let image = HeapRegion::new(live.words());
        for store in live.take() {
            image.store(store.word, store.new);
        }
        let mut writer = TableWriter::open(live.clone(), 0).unwrap();
        writer.batch_commits = 3;
        let history = History::new(ring_words);
        (Self { live, image, history, ring_words, cursors: Vec::new(), states: BTreeMap::new() }, writer)
    }

    fn follow(&mut self, followed: bool) {
        self.live.store(FOLLOWED, u64::from(followed));
        for store in self.live.take() {
            self.image.store(store.word, store.new);
        }
    }

    /// Carries an operation out and tries each of its cuts.
    fn cut(&mut self, writer: &mut TableWriter<Live>, operation: &Operation) {
        let reader = TableReader::open(&self.image).unwrap();
        self.cursors.push(reader.follow());
        let gone = self.cursors.len().saturating_sub(CONSUMERS);
        self.cursors.drain(..gone);
        drop(reader);

        let (low, since) = (self.live.load(RING_LOW), self.live.load(RING_SINCE));
        operation.carry_out(writer, &mut self.history);
        let mut names = vec![operation.name];
        names.extend((self.live.load(RING_LOW) > low).then_some("wrap-around"));
        names.extend((since == 0 && self.live.load(RING_SINCE) != 0).then_some("the start of following"));
        names.extend((since != 0 && self.live.load(RING_SINCE) == 0).then_some("the end of following"));

        for store in self.live.take() {
            self.try_cut(operation.words());
            self.image.store(store.word, store.new);
            for name in &names {
                *self.states.entry(name).or_default() += 1;
            }
        }
        self.try_cut(operation.words());
    }

    fn consumers_see<R: Region>(&self, region: R, at_most: u64) {
        let reader = TableReader::open(region).unwrap();
        for cursor in &self.cursors {
            self.history.check(&reader, *cursor, at_most);
            // Who kept the version only finds the place again.
            self.history.check(&reader, reader.follow_from(cursor.version()), at_most);
        }
    }

    fn try_cut(&self, at_most: u64) {
        self.consumers_see(&self.image, at_most);
        let recovering = RecordingRegion::new(&self.image);
        table::recover(&recovering).unwrap();
        let stores = recovering.take();
        self.consumers_see(&self.image, at_most);
        table::verify(&self.image).unwrap();
        self.heir_goes_on();
        for store in stores.iter().rev() {
            self.image.store(store.word, store.old);
            self.consumers_see(&self.image, at_most);
        }
    }

    /// What the heir writes is told to whoever follows then, once more than around the ring.
    fn heir_goes_on(&self) {
        let inherited = RecordingRegion::new(&self.image);
        let mut writer = TableWriter::open(&inherited, 0).unwrap();
        let reader = TableReader::open(&inherited).unwrap();
        let mut history = History::new(self.ring_words);
        inherited.store(FOLLOWED, 1);
        let mut random = Random(7);
        for _ in 0..self.ring_words / 6 {
            let cursor = reader.follow();
            let operation = Operation::random(&mut random, 12);
            operation.carry_out(&mut writer, &mut history);
            history.check(&reader, cursor, 0);
        }
        table::verify(&inherited).unwrap();
        inherited.undo();
    }
}

#[test]
fn every_store_of_every_commit_that_is_recorded() {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..6 * effort() as u64 {
        let ring_words = [16, 32, 64][seed as usize % 3];
        let (mut scene, mut writer) = Scene::new(ring_words, seed);
        let mut random = Random(seed | 1);
        for _ in 0..120 {
            match random.below(12) {
                0 => scene.follow(false),
                1..6 => scene.follow(true),
                6 => {
                    drop(writer);
                    writer = TableWriter::open(scene.live.clone(), 0).unwrap();
                    writer.batch_commits = 3;
                }
                _ => {}
            }
            scene.cut(&mut writer, &Operation::random(&mut random, ring_words));
        }
        for (name, count) in scene.states {
            *states.entry(name).or_default() += count;
        }
    }
    for (name, count) in &states {
        println!("change ring: {name}: {count} states");
    }
    assert_eq!(states.len(), 8, "an operation without a state: {states:?}");
}
