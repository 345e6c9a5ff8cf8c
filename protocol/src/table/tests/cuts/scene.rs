//! A table whose every store is tried.

use std::collections::HashSet;
use std::sync::Arc;

use super::check::{Moment, Pinned, open, visit};
use super::engine::Engine;
use super::operation::{Act, Content, Operation};
use super::states::States;
use crate::region::{HeapRegion, RecordingRegion, Region, Store};
use crate::table::layout::{APPLIED, COMMITTED};
use crate::table::tests::support::Random;
use crate::table::versions::AsOf;
use crate::table::{self, Kind, Order, Pin, TableOptions, TableWriter, WriteError};

type Live = Arc<RecordingRegion<HeapRegion>>;

pub(super) struct Scene<'s> {
    pub(super) kind: Kind,
    live: Live,
    pub(super) writer: TableWriter<Live>,
    batch_commits: u64,
    /// The same words, some stores behind.
    image: Image,
    pub(super) content: Content,
    pub(super) pinned: Vec<Pinned>,
    states: &'s mut States,
    /// Every how many stores of a long operation a cut is tried.
    pub(super) stride: usize,
    random: Random,
}

/// The words at a cut, and a hash of all of them.
struct Image {
    region: HeapRegion,
    hash: u64,
}

impl Image {
    fn step(&mut self, store: Store) {
        self.hash = hash_after(self.hash, &[store]);
        self.region.store(store.word, store.new);
    }
}

/// The hash of all words after some stores.
fn hash_after(hash: u64, stores: &[Store]) -> u64 {
    stores.iter().fold(hash, |hash, store| hash ^ mix(store.word, store.old) ^ mix(store.word, store.new))
}

fn mix(word: u64, value: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&word.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

impl<'s> Scene<'s> {
    /// Its seed is that of no other scene of the kind, or some states would be those of the other.
    pub(super) fn new(states: &'s mut States, kind: Kind, max_bytes: u64, seed: u64) -> Self {
        let options = TableOptions { seed, reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
        let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
        table::create(&live, &options).unwrap();
        let mut image = Image { region: HeapRegion::new(live.words()), hash: 0 };
        for store in live.take() {
            image.step(store);
        }
        let mut scene = Self {
            kind,
            writer: TableWriter::open(live.clone(), 0).unwrap(),
            live,
            batch_commits: 5,
            image,
            content: Content::default(),
            pinned: Vec::new(),
            states,
            stride: 1,
            random: Random(seed | 1),
        };
        scene.hand_over();
        scene
    }

    /// The same with another number of commits between two batches of reuse.
    pub(super) fn with_batches_of(mut self, commits: u64) -> Self {
        self.batch_commits = commits;
        self.writer.batch_commits = commits;
        self
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random.below(below as usize) as u64
    }

    /// Another owner goes on.
    pub(super) fn hand_over(&mut self) {
        self.writer = TableWriter::open(self.live.clone(), 0).unwrap();
        self.writer.batch_commits = self.batch_commits;
    }

    /// Carries an operation out without trying its cuts.
    pub(super) fn prepare(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let (result, pinned) = self.carry_out(operation);
        for store in self.live.take() {
            self.image.step(store);
        }
        self.pinned.extend(pinned);
        result
    }

    /// Carries an operation out and tries each of its cuts.
    pub(super) fn cut(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let before = self.content.clone();
        let (version, engine) = (self.writer.version(), Engine::of(&self.live, &self.writer));
        let (result, pinned) = self.carry_out(operation);
        let stores = self.live.take();
        let now = Engine::of(&self.live, &self.writer);
        let names = engine.what_it_did(&now, &stores, &result);
        let after = self.content.clone();

        let already = std::mem::take(&mut self.pinned);
        let moment = Moment::new(operation.name, &before, &after, &already);
        let mut cuts = Cuts { moment, names, version, tried: HashSet::new() };
        let length = stores.len();
        for (done, store) in stores.into_iter().enumerate() {
            if done % self.stride == 0 || done + 20 > length {
                self.try_cut(operation.name, &mut cuts);
            }
            self.image.step(store);
        }
        self.try_cut(operation.name, &mut cuts);
        assert_eq!(cuts.moment.whole(&self.image.region, AsOf::Newest), &after, "{}", operation.name);
        self.pinned = already;
        self.pinned.extend(pinned);
        result
    }

    /// Carries an operation out, and tries each of its cuts where that is of interest.
    pub(super) fn carry_out_and_cut_if(&mut self, is_of_interest: bool, operation: &Operation) {
        if is_of_interest { self.cut(operation) } else { self.prepare(operation) }.unwrap();
    }

    /// What becomes of it, and what it pins.
    fn carry_out(&mut self, operation: &Operation) -> (Result<(), WriteError>, Option<Pinned>) {
        let mut pinned = None;
        match operation.act {
            Act::Pin => pinned = table::pin(&self.live).ok().map(|pin| (pin, self.content.clone())),
            Act::Unpin(_) if self.pinned.is_empty() => {}
            Act::Unpin(number) => {
                let (pin, _) = self.pinned.swap_remove(number % self.pinned.len());
                table::unpin(&self.live, pin);
            }
            _ => {}
        }
        let result = operation.carry_out(&mut self.writer);
        if result.is_ok() {
            self.content = operation.after(&self.content);
            // The composite keys of a bag's objects are said by the bag itself, and whether they are right by the tests of
            // bags; so it is with which entries expired, and the tests of operations.
            if self.kind.is_bag() || matches!(operation.act, Act::RemoveExpired(_)) {
                let entries = &mut self.content.entries;
                entries.clear();
                visit(&open(&self.live), AsOf::Newest, Order::Ascending, &mut |key, value| {
                    entries.insert(key.to_vec(), value.to_vec());
                    true
                });
            }
        }
        (result, pinned)
    }
}

/// The cuts of one operation.
struct Cuts<'a> {
    moment: Moment<'a>,
    /// What the engine did.
    names: Vec<&'static str>,
    /// The last commit before.
    version: u64,
    /// The images at which readers have looked.
    tried: HashSet<u64>,
}

impl Scene<'_> {
    fn try_cut(&mut self, operation: &'static str, cuts: &mut Cuts<'_>) {
        let Image { region, hash } = &self.image;
        if !self.states.note(operation, &cuts.names, *hash) {
            return;
        }
        let moment = &cuts.moment;
        cuts.tried.insert(*hash);
        moment.readers_see(region);
        let is_before = region.load(COMMITTED) == cuts.version;
        let glimpse = Pin::none(region.load(APPLIED));
        let glimpsed = moment.whole(region, AsOf::Version(glimpse));

        let recovering = RecordingRegion::new(region);
        let found = table::recover(&recovering).expect("recovery of a killed owner's table");
        self.states.note_recovery(found);
        let stores = recovering.take();
        let recovered = moment.whole(region, AsOf::Newest);
        assert!(!is_before || recovered == moment.before, "{operation}: it is there before it is committed");
        assert!(glimpsed != moment.after || recovered == moment.after, "{operation}: recovery goes back");
        moment.heirs_go_on(region, recovered);

        // Recovery is cut after each of its stores, from the last to none, and done again. Most of the images that this
        // leaves are those of the owner's own cuts too: readers look at each once more at most.
        let recovered = hash_after(*hash, &stores);
        let mut hash = recovered;
        for cut in (0..stores.len()).rev() {
            region.store(stores[cut].word, stores[cut].old);
            hash = hash_after(hash, &stores[cut..=cut]);
            if cuts.tried.insert(hash) {
                moment.readers_see(region);
            }
            let again = RecordingRegion::new(region);
            table::recover(&again).expect("recovery of a killed recovery");
            let again = again.take();
            let ends_there = hash_after(hash, &again) == recovered;
            assert!(ends_there, "{operation}: recovery that was cut after {cut} stores ends elsewhere");
            for store in again.iter().rev() {
                region.store(store.word, store.old);
            }
        }
    }
}
