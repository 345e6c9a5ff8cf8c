//! Readers interleaved with the owner, step by step: a reader starts at one store, is paused before one of its loads while the
//! owner goes on to a later store, goes on itself, is paused once more, and finishes. Every start, every load of a get for
//! the first pause, many loads for the second, many stores to go on to; the owner commits, reuses memory as early as it
//! may, splits and merges meanwhile.
//!
//! What the reader answers must be what the key had at some moment between its start and its end. Each write has a
//! value of its own, so an answer from another time, or put together from two, shows. A scan must meet each key that
//! stands throughout exactly once.

use std::collections::HashSet;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::support::{Random, effort};
use crate::region::{HeapRegion, OutOfMemory, RecordingRegion, Region, Store};
use crate::table::layout::{ROOT, TREE_NODES};
use crate::table::{self, Kind, Order, TableOptions, TableReader, TableWriter};

/// The reader stands still before one of its loads (counted from its start), until the owner has come to a store.
#[derive(Debug, Clone, Copy)]
struct Pause {
    before_load: usize,
    until: usize,
}

/// The memory that a reader sees who is paused.
struct Paused<'a> {
    recorded: &'a Recorded,
    pauses: &'a [Pause],
    /// Whether the reader has started, so that its loads count.
    started: AtomicBool,
    loads: AtomicUsize,
    /// How many pauses there were so far.
    paused: AtomicUsize,
    /// Which store the owner has come to.
    now: AtomicUsize,
}

impl<'a> Paused<'a> {
    fn new(recorded: &'a Recorded, start: usize, pauses: &'a [Pause]) -> Self {
        let zero = || AtomicUsize::new(0);
        let now = AtomicUsize::new(start);
        Self { recorded, pauses, started: AtomicBool::new(false), loads: zero(), paused: zero(), now }
    }

    fn pause(&self, load: usize) {
        let paused = self.paused.load(Ordering::Relaxed);
        if let Some(pause) = self.pauses.get(paused).filter(|pause| pause.before_load == load) {
            for store in &self.recorded.stores[self.now()..pause.until] {
                self.recorded.image.store(store.word, store.new);
            }
            self.now.store(pause.until, Ordering::Relaxed);
            self.paused.store(paused + 1, Ordering::Relaxed);
        }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

impl Region for Paused<'_> {
    fn words(&self) -> u64 {
        self.recorded.image.words()
    }

    fn load(&self, word: u64) -> u64 {
        if self.started.load(Ordering::Relaxed) {
            self.pause(self.loads.fetch_add(1, Ordering::Relaxed));
        }
        self.recorded.image.load(word)
    }

    fn store(&self, _: u64, _: u64) {
        unreachable!("readers store nothing")
    }

    fn make_present(&self, _: Range<u64>) -> Result<(), OutOfMemory> {
        unreachable!("readers need no memory")
    }
}

/// A value of a key, and the stores of the operation that gave it: it may show from the first of them on, and what was
/// before it may show until the last.
#[derive(Debug)]
struct Change {
    stores: Range<usize>,
    value: Option<Vec<u8>>,
}

/// The changes of each key, and behind them those of the bequest.
struct History(Vec<Vec<Change>>);

impl History {
    /// What a key may have shown between two stores.
    fn between(&self, key: usize, between: &Range<usize>) -> impl Iterator<Item = Option<&Vec<u8>>> {
        let changes = &self.0[key];
        let shows = move |(number, change): &(usize, &Change)| {
            let begins = change.stores.start <= between.end;
            let ends = changes.get(number + 1).is_some_and(|next| next.stores.end <= between.start);
            begins && !ends
        };
        changes.iter().enumerate().filter(shows).map(|(_, change)| change.value.as_ref())
    }

    fn had(&self, key: usize, between: &Range<usize>, value: Option<&Vec<u8>>) -> bool {
        self.between(key, between).any(|had| had == value)
    }

    fn stood(&self, key: usize, between: &Range<usize>) -> bool {
        self.between(key, between).all(|had| had.is_some())
    }
}

struct Recorded {
    image: HeapRegion,
    stores: Vec<Store>,
    keys: Vec<Vec<u8>>,
    history: History,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    /// Keys come and go at random.
    Random,
    /// They come until all are there and go until none is, so that the index grows and shrinks.
    Tides,
    /// The index grows and shrinks again before the horizon moves.
    Turns,
}

/// What an owner does while its stores are noted.
#[derive(Debug, Clone, Copy)]
struct Plan {
    kind: Kind,
    seed: u64,
    /// How many keys there are. Two thirds of them fall into one of the first four buckets, which overflows.
    keys: usize,
    /// Operations before the stores are noted, and while they are.
    before: usize,
    noted: usize,
    course: Course,
    /// Every how many operations there is a bequest.
    bequest_every: usize,
    /// How many words longer every other value is.
    long_words: usize,
    batch_commits: u64,
}

fn record(plan: Plan) -> Recorded {
    let options =
        TableOptions { seed: plan.seed, reserve_bytes: 1 << 20, ..TableOptions::new(plan.kind, 1 << 20) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&live, &options).unwrap();
    let mut writer = TableWriter::open(live.clone(), 0).unwrap();
    writer.batch_commits = plan.batch_commits;
    let mut random = Random(plan.seed | 1);
    let keys = choose_keys(&writer, plan.keys);
    let nothing = || vec![Change { stores: 0..0, value: None }];
    let mut changes: Vec<Vec<Change>> = (0..=plan.keys).map(|_| nothing()).collect();
    let image = HeapRegion::new(live.words());
    let mut stores = Vec::new();
    for operation in 0..plan.before + plan.noted {
        if plan.course == Course::Turns && [0, EMPTY].contains(&(operation % TURN)) {
            writer.move_horizon();
        }
        let start = stores.len();
        let writes = writes(plan, operation, &mut random);
        carry_out(&mut writer, &keys, &writes);
        if operation < plan.before {
            for store in live.take() {
                image.store(store.word, store.new);
            }
        } else {
            stores.extend(live.take());
        }
        for (number, value) in writes {
            if operation < plan.before {
                changes[number].clear();
            }
            changes[number].push(Change { stores: start..stores.len(), value });
        }
    }
    Recorded { image, stores, keys, history: History(changes) }
}

/// A turn of the index: some keys stand throughout, some come and go and leave their slots behind, and then a few more
/// come at once, so that a bucket splits; while those that stand are overwritten, the slots are emptied, until it merges.
const STAYING: usize = 4;
const COMING: usize = 16;
const LATE: usize = 3;
const FULL: usize = STAYING + COMING;
const EMPTY: usize = FULL + COMING;
const TURN: usize = EMPTY + 1 + 12 + LATE;

/// What an operation writes; the number after the last key's is the bequest's.
fn writes(plan: Plan, operation: usize, random: &mut Random) -> Vec<(usize, Option<Vec<u8>>)> {
    let value = |number: usize| {
        let length = 1 + operation % 2 * plan.long_words;
        Some(format!("{operation:04}-{number:03}").repeat(length).into_bytes())
    };
    let (number, stands) = match plan.course {
        Course::Turns => match operation % TURN {
            step @ 0..FULL => (step, true),
            step @ FULL..EMPTY => (step - FULL + STAYING, false),
            EMPTY => return (FULL..FULL + LATE).map(|number| (number, value(number))).collect(),
            step if step < TURN - LATE => (step % STAYING, true),
            step => (step - (TURN - LATE) + FULL, false),
        },
        _ if operation % plan.bequest_every == 1 => (plan.keys, true),
        Course::Random => (random.below(plan.keys), random.below(10) < 6),
        Course::Tides => (operation % plan.keys, (operation / plan.keys).is_multiple_of(2)),
    };
    vec![(number, if stands { value(number) } else { None })]
}

fn carry_out(
    writer: &mut TableWriter<Arc<RecordingRegion<HeapRegion>>>,
    keys: &[Vec<u8>],
    writes: &[(usize, Option<Vec<u8>>)],
) {
    match writes {
        [(number, Some(value))] if *number == keys.len() => writer.bequeath(value).unwrap(),
        [(number, Some(value))] => assert!(writer.insert(&keys[*number], value).is_ok()),
        [(number, None)] => assert!(writer.remove(&keys[*number]).is_ok()),
        several => {
            let mut transaction = writer.transaction();
            for (number, value) in several {
                transaction.insert(&keys[*number], value.as_ref().unwrap()).unwrap();
            }
            transaction.commit().unwrap();
        }
    }
}

fn choose_keys(writer: &TableWriter<Arc<RecordingRegion<HeapRegion>>>, count: usize) -> Vec<Vec<u8>> {
    if writer.reader().layout().kind.is_ordered() {
        // Some are told apart by their prefixes, the others are not.
        let key = |number: usize| match number % 3 {
            0 => format!("customer {number:03}").into_bytes(),
            _ => number.to_be_bytes()[6..].to_vec(),
        };
        return (0..count).map(|number| key(number * 7 % count)).collect();
    }
    let all = (0_u32..).map(|number| number.to_le_bytes().to_vec());
    let crowded = |key: &Vec<u8>| writer.reader().layout().hash(key) & 3 == 0;
    let mut keys: Vec<Vec<u8>> = all.clone().filter(crowded).take(count * 2 / 3).collect();
    let others = all.filter(|key| !crowded(key)).take(count - keys.len());
    keys.extend(others);
    keys
}

/// What the reader is asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    /// The value of a key, as every get begins.
    Get(usize),
    /// The same, as a get goes on that was disturbed.
    GetAgain(usize),
    Bequest,
    Scan,
    /// The same from the greatest key to the least.
    ScanBackwards,
}

/// How far the answer took.
struct Taken {
    loads: usize,
    pauses: usize,
}

/// One answer of a paused reader.
fn ask(recorded: &Recorded, start: usize, pauses: &[Pause], question: Question) -> Taken {
    let reader = TableReader::open(Paused::new(recorded, start, pauses)).expect("the header never changes");
    reader.region().started.store(true, Ordering::Relaxed);
    match question {
        Question::Get(number) => {
            let found = reader.get(&recorded.keys[number]).expect("a get");
            check(recorded, start..reader.region().now(), number, found, &(question, pauses));
        }
        Question::GetAgain(number) => {
            let (key, mut value) = (&recorded.keys[number], Vec::new());
            let found = reader.get_again(key, reader.layout().hash(key), &mut value).expect("a get");
            let found = found.map(|_| value);
            check(recorded, start..reader.region().now(), number, found, &(question, pauses));
        }
        Question::Bequest => {
            let found = reader.bequest().expect("the bequest");
            check(recorded, start..reader.region().now(), recorded.keys.len(), found, &(question, pauses));
        }
        Question::Scan | Question::ScanBackwards => scan(recorded, &reader, start, &(question, pauses)),
    }
    let taken = Taken {
        loads: reader.region().loads.load(Ordering::Relaxed),
        pauses: reader.region().paused.load(Ordering::Relaxed),
    };
    for store in recorded.stores[start..reader.region().now()].iter().rev() {
        recorded.image.store(store.word, store.old);
    }
    taken
}

fn check(
    recorded: &Recorded,
    between: Range<usize>,
    number: usize,
    found: Option<Vec<u8>>,
    how: &(Question, &[Pause]),
) {
    assert!(
        recorded.history.had(number, &between, found.as_ref()),
        "between stores {between:?}, asked {how:?}: {:?}, of {:?}",
        found.map(|value| String::from_utf8_lossy(&value).into_owned()),
        recorded.history.0[number],
    );
}

fn scan(recorded: &Recorded, reader: &TableReader<Paused<'_>>, start: usize, how: &(Question, &[Pause])) {
    let backwards = matches!(how.0, Question::ScanBackwards);
    let mut met = HashSet::new();
    let mut last: Option<Vec<u8>> = None;
    let each = &mut |key: &[u8], value: &[u8]| {
        let in_order = last.as_ref().is_none_or(|last| (**last < *key) != backwards);
        assert!(in_order || reader.layout().kind == Kind::Set, "{key:?} comes after {last:?}: {how:?}");
        last = Some(key.to_vec());
        let number = recorded.keys.iter().position(|known| known == key).expect("a key that was inserted");
        assert!(met.insert(number), "a scan from store {start} on meets key {number} twice: {how:?}");
        check(recorded, start..reader.region().now(), number, Some(value.to_vec()), how);
        true
    };
    if backwards {
        reader.range(Bound::Unbounded, Bound::Unbounded, Order::Descending, each).expect("a range");
    } else {
        reader.scan(each).expect("a scan");
    }
    let between = start..reader.region().now();
    for number in 0..recorded.keys.len() {
        assert!(
            met.contains(&number) || !recorded.history.stood(number, &between),
            "a scan between stores {between:?} misses key {number}: {how:?}",
        );
    }
}

/// Tries pauses of one question, and says how many.
fn explore_question(recorded: &Recorded, start: usize, question: Question, random: &mut Random) -> usize {
    // Near ends meet the commit in flight, far ones reuse.
    let farthest = [12, 40, 80, 600, 3000][random.below(5)];
    let end = |from: usize, random: &mut Random| {
        let left = recorded.stores.len() - from;
        if left == 0 { from } else { from + 1 + random.below(left.min(farthest)) }
    };
    let undisturbed = ask(recorded, start, &[], question).loads;
    // A get of a short value is paused before each of its loads, what takes longer before some.
    let step = 1 + undisturbed / 24;
    let mut before_load = random.below(step);
    let until = end(start, random);
    let mut tried = 0;
    loop {
        let first = Pause { before_load, until };
        let later = 1 + random.below(1 + undisturbed);
        let second = Pause { before_load: before_load + later, until: end(until, random) };
        if ask(recorded, start, &[first, second], question).pauses == 0 {
            return tried;
        }
        tried += 1;
        before_load += step;
    }
}

fn explore(plan: Plan, questions: fn(usize, &mut Random) -> Question) -> usize {
    let recorded = record(plan);
    let mut random = Random(plan.seed);
    let mut tried = 0;
    for start in 0..recorded.stores.len() {
        // Around a split or a merge, it matters which key is asked for.
        let moves = |store: &Store| [ROOT, TREE_NODES].contains(&store.word);
        let moving = recorded.stores[start.saturating_sub(12)..start].iter().any(moves);
        for _ in 0..if moving { 16 } else { 1 } {
            let question = questions(plan.keys, &mut random);
            tried += explore_question(&recorded, start, question, &mut random);
        }
        let store = recorded.stores[start];
        recorded.image.store(store.word, store.new);
    }
    tried
}

const RANDOM: Plan = Plan {
    kind: Kind::Set,
    seed: 0,
    keys: 3,
    before: 70,
    noted: 90,
    course: Course::Random,
    bequest_every: 9,
    long_words: 1,
    batch_commits: 1,
};
const BEQUESTS: Plan = Plan { bequest_every: 2, ..RANDOM };
const CROWDED: Plan = Plan { keys: 24, ..RANDOM };
const TIDES: Plan = Plan { keys: 60, before: 110, noted: 140, course: Course::Tides, ..RANDOM };
const BATCHED_TIDES: Plan = Plan { batch_commits: 64, ..TIDES };
const TURNS: Plan = Plan {
    keys: FULL + LATE,
    before: 20,
    noted: 2 * TURN,
    course: Course::Turns,
    batch_commits: 10_000,
    ..RANDOM
};
/// Longer than what a scan copies with its bucket.
const LONG: Plan = Plan { long_words: 160, noted: 20, bequest_every: 4, ..RANDOM };

const TREE: Plan = Plan { kind: Kind::OrderedSet, ..TIDES };
const BATCHED_TREE: Plan = Plan { batch_commits: 64, ..TREE };
/// One leaf, whose lanes are used again and again.
const LEAF: Plan = Plan { kind: Kind::OrderedSet, keys: 8, ..RANDOM };
const LONG_IN_TREE: Plan = Plan { kind: Kind::OrderedSet, keys: 8, ..LONG };

#[test]
fn a_get_from_a_tree_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..4 * effort() as u64 {
        for plan in [LEAF, Plan { keys: 17, ..LEAF }, TREE, BATCHED_TREE] {
            tried += explore(Plan { seed, ..plan }, |keys, random| match random.below(2) {
                0 => Question::Get(random.below(keys)),
                _ => Question::GetAgain(random.below(keys)),
            });
        }
    }
    println!("ordered_set: {tried} interleavings of a get with its owner");
    assert!(tried > 100_000);
}

#[test]
fn a_range_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..effort() as u64 {
        for plan in [LEAF, Plan { keys: 17, ..LEAF }, TREE, BATCHED_TREE, LONG_IN_TREE] {
            tried += explore(Plan { seed, ..plan }, |_, _| Question::Scan);
            tried += explore(Plan { seed, ..plan }, |_, _| Question::ScanBackwards);
        }
    }
    println!("ordered_set: {tried} interleavings of a range with its owner");
    assert!(tried > 10_000);
}

#[test]
fn a_get_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..10 * effort() as u64 {
        for plan in [RANDOM, RANDOM, CROWDED, TIDES, BATCHED_TIDES, TURNS] {
            tried += explore(Plan { seed, ..plan }, |keys, random| match random.below(2) {
                0 => Question::Get(random.below(keys)),
                _ => Question::GetAgain(random.below(keys)),
            });
        }
    }
    println!("set: {tried} interleavings of a get with its owner");
    assert!(tried > 100_000);
}

#[test]
fn the_read_of_a_bequest_or_of_a_long_value_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..4 * effort() as u64 {
        tried += explore(Plan { seed, ..BEQUESTS }, |_, _| Question::Bequest);
        tried += explore(Plan { seed, ..LONG }, |keys, random| match random.below(4) {
            0 => Question::Bequest,
            1 => Question::Get(random.below(keys)),
            _ => Question::GetAgain(random.below(keys)),
        });
    }
    println!("set: {tried} interleavings of bequests and long values with their owner");
    assert!(tried > 10_000);
}

#[test]
fn a_scan_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..effort() as u64 {
        for plan in [RANDOM, CROWDED, TIDES, BATCHED_TIDES, TURNS, LONG] {
            tried += explore(Plan { seed, ..plan }, |_, _| Question::Scan);
        }
    }
    println!("set: {tried} interleavings of a scan with its owner");
    assert!(tried > 10_000);
}
