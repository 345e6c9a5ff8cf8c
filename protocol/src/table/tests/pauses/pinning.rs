//! A manager who pins, and stands still in the middle of it while the owner goes on, from one of its loads or stores
//! to a later one: every place of the manager, and one place of the owner after the other to begin at.
//!
//! Whichever version is pinned in the end reads exactly, while the owner overwrites, removes and reuses as early as it may.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region};
use crate::table::tests::snapshots::{Content, check_snapshot, key};
use crate::table::tests::support::{Random, effort};
use crate::table::{self, Kind, Pin, TableOptions, TableReader, TableWriter};

type Memory = RecordingRegion<HeapRegion>;

/// Counted in loads and stores: when the manager begins and when it goes on, by the owner's; where it stands still, by its own.
#[derive(Debug, Clone, Copy)]
struct Meeting {
    begins: usize,
    stands_before: usize,
    goes_on: usize,
}

/// What the manager has come to.
enum Came {
    ToStand,
    ToEnd(Pin),
}

/// The memory as a process sees it to which something happens before some of its loads and stores.
struct Stepped<'a> {
    memory: &'a Memory,
    steps: AtomicUsize,
    before_step: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Stepped<'a> {
    fn new(memory: &'a Memory, before_step: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self { memory, steps: AtomicUsize::new(0), before_step }
    }

    fn step(&self) {
        (self.before_step)(self.steps.fetch_add(1, Ordering::Relaxed));
    }
}

impl Region for Stepped<'_> {
    fn words(&self) -> u64 {
        self.memory.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.step();
        self.memory.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.step();
        self.memory.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.memory.make_present(words)
    }
}

/// The manager, on a thread of its own, which runs only while the owner waits for it.
struct Manager {
    go: Sender<()>,
    came: Receiver<Came>,
    pin: Option<Pin>,
}

impl Manager {
    /// Lets it go on until it stands or has pinned.
    fn go(&mut self) {
        if self.pin.is_none() && self.go.send(()).is_ok() {
            match self.came.recv().expect("the manager pins") {
                Came::ToStand => {}
                Came::ToEnd(pin) => self.pin = Some(pin),
            }
        }
    }
}

/// Pins, when it may go, and stands still once.
fn manage(memory: &Memory, stands_before: usize, may_go: Receiver<()>, came: Sender<Came>) {
    // The owner's thread waits for what is said, so nobody else holds these.
    let (may_go, said) = (Mutex::new(may_go), Mutex::new(came.clone()));
    let wait = || may_go.lock().unwrap_or_else(PoisonError::into_inner).recv().expect("the owner says so");
    let stand = |step| {
        if step == stands_before {
            said.lock().unwrap_or_else(PoisonError::into_inner).send(Came::ToStand).expect("the owner waits");
            wait();
        }
    };
    wait();
    let pin = table::pin(&Stepped::new(memory, &stand)).expect("a pin");
    came.send(Came::ToEnd(pin)).expect("the owner waits");
}

/// What the owner does: some keys come, are overwritten, go, and come back. Says what was there as of each version.
fn own<R: Region>(region: R, pinned: &dyn Fn() -> Option<Pin>, memory: &Memory) -> usize {
    let mut writer = TableWriter::open(region, 0).unwrap();
    writer.batch_commits = 1;
    let reader = TableReader::open(memory).unwrap();
    let mut now = Content::default();
    let mut versions = vec![(writer.version(), now.clone())];
    let mut checked = 0;
    for number in 0..22 {
        let is_there = number % 4 != 3;
        let writes = [(number % 3, is_there.then(|| vec![number as u8; 30]))];
        let mut transaction = writer.transaction();
        match &writes[0] {
            (name, Some(value)) => transaction.insert(&key(*name), value).unwrap(),
            (name, None) => transaction.remove(&key(*name)).unwrap(),
        }
        let version = transaction.commit().unwrap();
        now.apply(&writes, None);
        versions.push((version, now.clone()));
        if let Some(pin) = pinned() {
            let was = versions.iter().rfind(|(version, _)| *version <= pin.version());
            check_snapshot(&reader, pin, &was.expect("the first version is that of the empty table").1);
            checked += 1;
        }
    }
    table::verify(memory).unwrap();
    checked
}

/// One meeting; whether the manager stood still, and how many loads and stores the owner made.
fn meet(memory: &Memory, meeting: Meeting) -> (bool, usize) {
    let stood = AtomicUsize::new(0);
    let steps = thread::scope(|scope| {
        let ((go, may_go), (came, has_come)) = (channel(), channel());
        let manager = Mutex::new(Manager { go, came: has_come, pin: None });
        scope.spawn(move || manage(memory, meeting.stands_before, may_go, came));
        let before_step = |step| {
            if step == meeting.begins || step == meeting.goes_on {
                let mut manager = manager.lock().unwrap();
                manager.go();
                stood.fetch_add(usize::from(manager.pin.is_none()), Ordering::Relaxed);
            }
        };
        let owning = Stepped::new(memory, &before_step);
        own(&owning, &|| manager.lock().unwrap().pin, memory);
        // Where the owner did not come so far.
        let mut manager = manager.lock().unwrap();
        while manager.pin.is_none() {
            manager.go();
        }
        owning.steps.load(Ordering::Relaxed)
    });
    memory.undo();
    (stood.load(Ordering::Relaxed) > 0, steps)
}

/// The manager begins before every so many of the owner's loads and stores.
const STRIDE: usize = 23;

fn explore(kind: Kind, seed: u64) -> usize {
    let options = TableOptions { seed, reserve_bytes: 1 << 20, ..TableOptions::new(kind, 1 << 20) };
    let memory = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&memory, &options).unwrap();
    memory.take();
    let mut random = Random(seed);
    let (_, steps) = meet(&memory, Meeting { begins: usize::MAX, stands_before: 0, goes_on: usize::MAX });
    let mut tried = 0;
    for begins in (seed as usize % STRIDE..steps * 3 / 4).step_by(STRIDE) {
        // The header is read first, and does not change; then come the handshake's own steps.
        for stands_before in 0.. {
            let farthest = [12, 60, 300, 1200][random.below(4)];
            let goes_on = begins + 1 + random.below(farthest);
            if !meet(&memory, Meeting { begins, stands_before, goes_on }).0 {
                break;
            }
            tried += 1;
        }
    }
    tried
}

#[test]
fn a_manager_may_be_paused_anywhere_while_it_pins() {
    let mut tried = 0;
    for kind in [Kind::Set, Kind::OrderedSet] {
        for seed in 0..effort() as u64 {
            tried += explore(kind, seed);
        }
    }
    println!("{tried} interleavings of a pin with an owner");
    assert!(tried > 10_000, "{tried}");
}
