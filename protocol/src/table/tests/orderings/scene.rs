//! The stage for the models: a table, prepared once, whose words are loom's where the model stores to them.
//!
//! All else is constant, so it is neither a step of a thread nor a choice of loom's: that is what makes models of the
//! whole engine small enough. Which words those are, a rehearsal tells: what the model will do is done once before, by one
//! thread. A store to another word fails the model.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loom::sync::atomic::AtomicU64;

use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region, Store};
use crate::sync::{LOAD, STORE};
use crate::table::tests::support::create_with_ring;
use crate::table::{MIN_BYTES, TableOptions, TableReader, TableWriter};

/// A table before the model begins, and the stores of the rehearsal.
#[derive(Clone)]
pub(super) struct Scene {
    image: Arc<[u64]>,
    stores: Arc<[Store]>,
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
            rehearse(&mut own(&words));
            *scene.lock().unwrap() = Some(Self { image, stores: words.stores().into() });
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
        let stored: BTreeSet<u64> = self.stores.iter().map(|store| store.word).collect();
        let watched = stored.into_iter().map(|word| (word, AtomicU64::new(self.word(word)))).collect();
        Arc::new(Words::Watched { image: self.image.clone(), watched })
    }

    /// The model of an owner beside a reader: two threads. `fewer`: that many preemptions less than usual, where the model is long.
    pub(super) fn play(
        self,
        name: &str,
        fewer: usize,
        owner: impl Fn(&mut Owner) + Clone + Send + Sync + 'static,
        reader: impl Fn(&Reader) + Send + Sync + 'static,
    ) {
        explore(name, fewer, move || {
            let words = self.words();
            let mut writer = own(&words);
            let owner = owner.clone();
            let writing = loom::thread::spawn(move || owner(&mut writer));
            reader(&TableReader::open(words).unwrap());
            writing.join().unwrap();
        });
    }
}

/// The smallest table.
pub(super) fn options() -> TableOptions {
    TableOptions { reserve_bytes: MIN_BYTES, ..TableOptions::set(MIN_BYTES) }
}

/// An owner that reuses memory as early as it may.
pub(super) fn own(words: &Arc<Words>) -> Owner {
    let mut owner = TableWriter::open(words.clone(), 0).unwrap();
    owner.batch_commits = 1;
    owner
}

/// What a model may take, unless more is asked for.
const MOST_TIME: Duration = Duration::from_secs(45);

/// Runs a model in every order with so many preemptions, and says how many these are.
pub(super) fn explore(name: &str, fewer: usize, model: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("HEIRLOOM_PREEMPTIONS").ok();
    let preemptions =
        asked.as_ref().map_or(2_usize, |most| most.parse().expect("HEIRLOOM_PREEMPTIONS is a number"));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions.saturating_sub(fewer));
    // Without being asked for more, no model takes much longer than that; the time is looked at now and then.
    builder.max_duration = asked.is_none().then_some(MOST_TIME);
    builder.checkpoint_interval = 500;
    builder.max_branches = 100_000;
    let orders = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = orders.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} orders", orders.load(Ordering::Relaxed));
}

/// The words of a table: of the heap in a rehearsal, some of loom's among constant ones in a model.
pub(super) enum Words {
    Rehearsed(RecordingRegion<HeapRegion>),
    Watched { image: Arc<[u64]>, watched: HashMap<u64, AtomicU64> },
}

impl Words {
    fn stores(&self) -> Vec<Store> {
        match self {
            Self::Rehearsed(recording) => recording.take(),
            Self::Watched { .. } => unreachable!("only a rehearsal is noted"),
        }
    }
}

impl Region for Words {
    fn words(&self) -> u64 {
        match self {
            Self::Rehearsed(recording) => recording.words(),
            Self::Watched { image, .. } => image.len() as u64,
        }
    }

    fn load(&self, word: u64) -> u64 {
        match self {
            Self::Rehearsed(recording) => recording.load(word),
            Self::Watched { image, watched } => match watched.get(&word) {
                Some(watched) => watched.load(LOAD),
                None => image.get(word as usize).copied().unwrap_or(0),
            },
        }
    }

    fn store(&self, word: u64, value: u64) {
        match self {
            Self::Rehearsed(recording) => recording.store(word, value),
            Self::Watched { watched, .. } => match watched.get(&word) {
                Some(watched) => watched.store(value, STORE),
                None => panic!("word {word} is stored to, and was not in the rehearsal"),
            },
        }
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        Ok(())
    }
}
