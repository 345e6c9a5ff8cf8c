//! What a reader is asked who is paused, and what it may answer.

use std::collections::HashSet;
use std::ops::{Bound, Range};
use std::sync::atomic::Ordering;

use super::paused::{Pause, Paused};
use super::recorded::{Plan, Recorded, record};
use super::snapshots::{self, OfSnapshot};
use crate::region::{Region, Store};
use crate::table::layout::{ROOT, TREE_NODES};
use crate::table::tests::support::Random;
use crate::table::{Kind, Order, TableReader};

/// What the reader is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// The value of a key, as every get begins.
    Get(usize),
    /// The same, as a get goes on that was disturbed.
    GetAgain(usize),
    Bequest,
    Scan,
    /// The same from the greatest key to the least.
    ScanBackwards,
    /// One of these as of a pinned version.
    Pinned(usize, OfSnapshot),
}

/// How far the answer took.
pub(super) struct Taken {
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
        Question::Pinned(number, question) => {
            snapshots::ask(recorded, &reader, number, question, pauses);
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

/// Tries pauses from each store on that an owner of this plan makes, and says how many. Where nothing is asked, none.
pub(super) fn explore(
    plan: Plan,
    questions: impl Fn(&Recorded, usize, &mut Random) -> Option<Question>,
) -> usize {
    let recorded = record(plan);
    let mut random = Random(plan.seed);
    let mut tried = 0;
    for start in 0..recorded.stores.len() {
        // Around a split or a merge, it matters which key is asked for.
        let moves = |store: &Store| [ROOT, TREE_NODES].contains(&store.word);
        let near = start.saturating_sub(12)..recorded.stores.len().min(start + 12);
        let moving = recorded.stores[near].iter().any(moves);
        for _ in 0..if moving { 16 } else { 1 } {
            if let Some(question) = questions(&recorded, start, &mut random) {
                tried += explore_question(&recorded, start, question, &mut random);
            }
        }
        let store = recorded.stores[start];
        recorded.image.store(store.word, store.new);
    }
    tried
}
