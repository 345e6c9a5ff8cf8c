//! The stage for the models: a table, prepared once, whose words are loom's where the model stores to them.
//!
//! All else is constant (a word whose value stays, too), so it is neither a step of a thread nor a choice of loom's: that is what makes models of the
//! whole engine small enough. Which words those are, a rehearsal tells: what the model will do is done once before, by one
//! thread. Words that only the owner loads (the log, the allocator's) are plain ones. A store to another word fails the
//! model, and so does a plain word that another thread loads.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loom::sync::atomic::AtomicU64;
use loom::thread::ThreadId;

use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region, Store};
use crate::sync::{LOAD, STORE};
use crate::table::layout::{
    APPLIED, BEQUEST, COMMITTED, COUNTS, HEADER_WORDS, HORIZON, Layout, MOST_PINS, PINS, RING_LOST, RING_LOW,
    RING_SINCE, RING_TAIL, ROOT, TREE,
};
use crate::table::tests::support::create_with_ring;
use crate::table::{Kind, MIN_BYTES, TableOptions, TableReader, TableWriter};

/// What readers and the manager load of the header, and the owner stores.
const LOOKED_AT: [Range<u64>; 12] = [
    PINS..PINS + MOST_PINS,
    one(COMMITTED),
    one(APPLIED),
    one(COUNTS),
    one(BEQUEST),
    one(HORIZON),
    one(ROOT),
    one(TREE),
    one(RING_TAIL),
    one(RING_SINCE),
    one(RING_LOW),
    one(RING_LOST),
];

const fn one(word: u64) -> Range<u64> {
    word..word + 1
}

/// A table before the model begins, and the stores of the rehearsal.
#[derive(Clone)]
pub(super) struct Scene {
    image: Arc<[u64]>,
    stores: Arc<[Store]>,
    layout: Layout,
    relaxed: Option<u64>,
}

pub(super) type Owner = TableWriter<Arc<Words>>;
pub(super) type Reader = TableReader<Arc<Words>>;

impl Scene {
    /// Prepares a table, and rehearses what the model will do to it.
    pub(super) fn new(
        options: TableOptions,
        prepare: impl Fn(&mut Owner) + Send + Sync + 'static,
        rehearse: impl Fn(&mut Owner) + Send + Sync + 'static,
    ) -> Self {
        let ring_words = 8192;
        Self::with_ring(options, ring_words, prepare, rehearse)
    }

    /// The same, with a change ring of that length.
    pub(super) fn with_ring(
        options: TableOptions,
        ring_words: u64,
        prepare: impl Fn(&mut Owner) + Send + Sync + 'static,
        rehearse: impl Fn(&mut Owner) + Send + Sync + 'static,
    ) -> Self {
        let result = Arc::new(Mutex::new(None));
        let scene = result.clone();
        // The fences are loom's, so this runs in a model as well: in one of one thread, which has one order.
        loom::model(move || {
            let recording = RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8 + ring_words));
            let words = Arc::new(Words::Rehearsed(recording));
            create_with_ring(&words, &options, ring_words);
            prepare(&mut own(&words));
            words.stores();
            let image = (0..words.words()).map(|word| words.load(word)).collect();
            let mut owner = own(&words);
            rehearse(&mut owner);
            let (layout, stores) = (*owner.reader().layout(), words.stores().into());
            *scene.lock().unwrap() = Some(Self { image, stores, layout, relaxed: None });
        });
        result.lock().unwrap().take().expect("it was made")
    }

    /// The stores of the rehearsal.
    pub(super) fn stores(&self) -> &[Store] {
        &self.stores
    }

    /// A word before the model begins.
    pub(super) fn word(&self, word: u64) -> u64 {
        self.image[word as usize]
    }

    /// The same with a fault: stores to one word are relaxed.
    pub(super) fn with_relaxed(self, word: u64) -> Self {
        Self { relaxed: Some(word), ..self }
    }

    /// What a look at the table says, before the model begins.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Reader) -> T + Send + Sync + 'static,
    ) -> T {
        let (scene, result) = (self.clone(), Arc::new(Mutex::new(None)));
        let answer = result.clone();
        loom::model(move || {
            *answer.lock().unwrap() = Some(question(&TableReader::open(scene.words()).unwrap()))
        });
        result.lock().unwrap().take().expect("it was asked")
    }

    /// The table as it is when the model begins.
    pub(super) fn words(&self) -> Arc<Words> {
        let changed = self.stores.iter().filter(|store| store.new != self.word(store.word));
        let stored: BTreeSet<u64> = changed.map(|store| store.word).collect();
        let (kept, shared): (Vec<u64>, Vec<u64>) = stored.into_iter().partition(|word| self.is_kept(*word));
        Arc::new(Words::Played(Box::new(Played {
            image: self.image.clone(),
            kept: Mutex::new((None, kept.into_iter().map(|word| (word, self.word(word))).collect())),
            shared: shared.into_iter().map(|word| (word, Shared::new(self.word(word)))).collect(),
            relaxed: self.relaxed,
        })))
    }

    /// Whether only the owner ever loads a word: the log, the table of spans, and the header but for what readers and the
    /// manager look at.
    fn is_kept(&self, word: u64) -> bool {
        let areas = [self.layout.log, self.layout.spans];
        areas.iter().any(|area| (area.start..area.end()).contains(&word))
            || word < HEADER_WORDS && !LOOKED_AT.iter().any(|words| words.contains(&word))
    }

    /// The model of an owner beside a reader.
    ///
    /// The reader stores nothing, so the owner does the same whenever the reader runs, and what the reader can see is decided
    /// by which store each of its loads takes. So the owner runs first, to its end, and loom then lets each load take
    /// every store, old or new, that the orderings allow after the loads before: all there is, without a preemption.
    pub(super) fn play(
        self,
        name: &str,
        owner: impl Fn(&mut Owner) + Send + Sync + 'static,
        reader: impl Fn(&Reader) + Send + Sync + 'static,
    ) {
        let reader = Arc::new(reader);
        explore(name, 0, move || {
            let words = self.words();
            let (reader, read) = (reader.clone(), words.clone());
            let reading = loom::thread::spawn(move || reader(&TableReader::open(read).unwrap()));
            owner(&mut own(&words));
            reading.join().unwrap();
        });
    }
}

/// The smallest table.
pub(super) fn options() -> TableOptions {
    of_kind(Kind::Set)
}

/// The same of any kind.
pub(super) fn of_kind(kind: Kind) -> TableOptions {
    TableOptions { reserve_bytes: MIN_BYTES, ..TableOptions::new(kind, MIN_BYTES) }
}

/// An owner that reuses memory as early as it may.
pub(super) fn own(words: &Arc<Words>) -> Owner {
    let mut owner = TableWriter::open(words.clone(), 0).unwrap();
    owner.batch_commits = 1;
    owner
}

/// Loom keeps so many stores of a word. An older one would not be seen any more.
const KEPT_STORES: usize = 7;

/// A model that takes longer is too large: it fails, rather than pass with orders that were not tried.
const MOST_TIME: Duration = Duration::from_secs(180);

/// Runs a model in every order with so many preemptions, and says how many these are.
pub(super) fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let (counted, called, started) = (orders.clone(), name.to_owned(), Instant::now());
    builder.check(move || {
        let orders = counted.fetch_add(1, Ordering::Relaxed);
        let took = started.elapsed();
        assert!(took < MOST_TIME, "{called} is too large: {orders} orders in {took:?} are not all");
        model();
    });
    let (orders, seconds) = (orders.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    println!("{name}: all {orders} orders with {preemptions} preemptions, {seconds:.1} s");
}

/// The words of a table: of the heap in a rehearsal, some of loom's among constant ones in a model.
pub(super) enum Words {
    Rehearsed(RecordingRegion<HeapRegion>),
    Played(Box<Played>),
}

pub(super) struct Played {
    image: Arc<[u64]>,
    /// What only the owner loads and stores, and the thread that it is.
    kept: Mutex<(Option<ThreadId>, HashMap<u64, u64>)>,
    shared: HashMap<u64, Shared>,
    /// Where stores are not release stores: a fault.
    relaxed: Option<u64>,
}

struct Shared {
    word: AtomicU64,
    stores: AtomicUsize,
}

impl Shared {
    fn new(value: u64) -> Self {
        Self { word: AtomicU64::new(value), stores: AtomicUsize::new(1) }
    }
}

impl Played {
    /// What is done with a word that the owner keeps to itself, where it is one.
    fn kept<T>(&self, word: u64, what: impl FnOnce(&mut u64) -> T) -> Option<T> {
        let (owner, kept) = &mut *self.kept.lock().unwrap();
        let found = kept.get_mut(&word)?;
        let here = loom::thread::current().id();
        assert_eq!(*owner.get_or_insert(here), here, "word {word} is not the owner's alone");
        Some(what(found))
    }

    fn load(&self, word: u64) -> u64 {
        let Some(shared) = self.shared.get(&word) else {
            return self.kept(word, |value| *value).unwrap_or_else(|| self.constant(word));
        };
        let is_owner = || self.kept.lock().unwrap().0 == Some(loom::thread::current().id());
        let stores = shared.stores.load(Ordering::Relaxed);
        assert!(stores <= KEPT_STORES || is_owner(), "{stores} stores to word {word}, and loom keeps fewer");
        shared.word.load(LOAD)
    }

    fn constant(&self, word: u64) -> u64 {
        self.image.get(word as usize).copied().unwrap_or(0)
    }

    fn store(&self, word: u64, value: u64) {
        if let Some(shared) = self.shared.get(&word) {
            shared.stores.fetch_add(1, Ordering::Relaxed);
            let ordering = if self.relaxed == Some(word) { Ordering::Relaxed } else { STORE };
            return shared.word.store(value, ordering);
        }
        let stays = self.kept(word, |kept| *kept = value).is_some() || self.constant(word) == value;
        assert!(stays, "word {word} is changed, and was not in the rehearsal");
    }
}

impl Words {
    fn stores(&self) -> Vec<Store> {
        match self {
            Self::Rehearsed(recording) => recording.take(),
            Self::Played(_) => unreachable!("only a rehearsal is noted"),
        }
    }
}

impl Region for Words {
    fn words(&self) -> u64 {
        match self {
            Self::Rehearsed(recording) => recording.words(),
            Self::Played(played) => played.image.len() as u64,
        }
    }

    fn load(&self, word: u64) -> u64 {
        match self {
            Self::Rehearsed(recording) => recording.load(word),
            Self::Played(played) => played.load(word),
        }
    }

    fn store(&self, word: u64, value: u64) {
        match self {
            Self::Rehearsed(recording) => recording.store(word, value),
            Self::Played(played) => played.store(word, value),
        }
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        Ok(())
    }

    /// What is zero stays constant: a model has no room for thousands of words.
    fn give_back(&self, words: Range<u64>) {
        for word in words {
            if self.load(word) != 0 {
                self.store(word, 0);
            }
        }
    }
}
