//! What an owner does while its stores are noted, and what each key had meanwhile.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::region::{HeapRegion, RecordingRegion, Region, Store};
use crate::table::class::SPAN_UNITS;
use crate::table::layout::{COMMITTED, HORIZON, ROOT};
use crate::table::tests::support::Random;
use crate::table::{self, Kind, Pin, TableOptions, TableWriter};

type Live = Arc<RecordingRegion<HeapRegion>>;

pub(super) struct Recorded {
    pub(super) kind: Kind,
    pub(super) image: HeapRegion,
    pub(super) stores: Vec<Store>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) history: History,
    pub(super) pins: Vec<Pinned>,
    /// What was done meanwhile to give memory back.
    pub(super) phases: BTreeSet<&'static str>,
}

/// A version that was pinned.
pub(super) struct Pinned {
    pub(super) pin: Pin,
    /// Between which stores it stands. The last one takes it back.
    pub(super) stands: Range<usize>,
    /// What each key had, and behind them the bequest.
    pub(super) values: Vec<Option<Vec<u8>>>,
}

/// A value of a key, and the stores of the operation that gave it, from a commit on: it may show from the first of them on,
/// and what was before it may show until the last.
#[derive(Debug)]
pub(super) struct Change {
    stores: Range<usize>,
    value: Option<Vec<u8>>,
}

/// The changes of each key, and behind them those of the bequest.
pub(super) struct History(pub(super) Vec<Vec<Change>>);

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

    pub(super) fn had(&self, key: usize, between: &Range<usize>, value: Option<&Vec<u8>>) -> bool {
        self.between(key, between).any(|had| had == value)
    }

    pub(super) fn stood(&self, key: usize, between: &Range<usize>) -> bool {
        self.between(key, between).all(|had| had.is_some())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Course {
    /// Keys come and go at random.
    Random,
    /// They come until all are there and go until none is, so that the index grows and shrinks.
    Tides,
    /// The index grows and shrinks again before the horizon moves.
    Turns,
    /// Most keys go, and memory is given back while some of the others are overwritten.
    Emptied,
}

/// What an owner does while its stores are noted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    /// How many keys there are. Two thirds of them fall into one of the first four buckets, which overflows.
    pub(super) keys: usize,
    /// Operations before the stores are noted, and while they are.
    pub(super) before: usize,
    pub(super) noted: usize,
    pub(super) course: Course,
    /// Every how many operations there is a bequest.
    pub(super) bequest_every: usize,
    /// Every how many operations a version is pinned; the pin before is taken back after half of them. Never, where 0.
    pub(super) pin_every: usize,
    /// How many words longer every other value is.
    pub(super) long_words: usize,
    pub(super) batch_commits: u64,
}

pub(super) fn record(plan: Plan) -> Recorded {
    let options =
        TableOptions { seed: plan.seed, reserve_bytes: 1 << 20, ..TableOptions::new(plan.kind, 1 << 20) };
    let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
    table::create(&live, &options).unwrap();
    let mut writer = TableWriter::open(live.clone(), 0).unwrap();
    writer.batch_commits = plan.batch_commits;
    let mut random = Random(plan.seed | 1);
    let keys = choose_keys(&writer, plan);
    let nothing = || vec![Change { stores: 0..0, value: None }];
    let mut recorded = Recorded {
        kind: plan.kind,
        image: HeapRegion::new(live.words()),
        stores: Vec::new(),
        history: History((0..=plan.keys).map(|_| nothing()).collect()),
        pins: Vec::new(),
        phases: BTreeSet::new(),
        keys,
    };
    for operation in 0..plan.before + plan.noted {
        if plan.course == Course::Turns && [0, EMPTY].contains(&(operation % TURN)) {
            writer.move_horizon();
        }
        if plan.course == Course::Emptied && operation == plan.before {
            writer.compaction.least_free_units = SPAN_UNITS;
        }
        if operation >= plan.before && plan.pin_every > 0 {
            recorded.pin_and_unpin((operation - plan.before) % plan.pin_every, plan.pin_every, &live);
        }
        let writes = writes(plan, operation, &mut random);
        carry_out(&mut writer, &recorded.keys, &writes);
        if operation < plan.before {
            for store in live.take() {
                recorded.image.store(store.word, store.new);
            }
        } else {
            recorded.phases.extend(writer.compaction.phase_name());
        }
        // No part of what it writes shows before there is a commit.
        let stores = live.take();
        let commit = stores.iter().position(|store| store.word == COMMITTED).unwrap_or(stores.len());
        let start = recorded.stores.len() + commit;
        recorded.stores.extend(stores);
        for (number, value) in writes {
            let changes = &mut recorded.history.0[number];
            if operation < plan.before {
                changes.clear();
            }
            changes.push(Change { stores: start..recorded.stores.len(), value });
        }
    }
    recorded
}

impl Recorded {
    /// Whether the index grows and shrinks, so that it has as many buckets as before, while the horizon stands.
    pub(super) fn comes_back(&self) -> bool {
        let mut before = Vec::new();
        self.stores.iter().any(|store| match store.word {
            HORIZON => {
                before.clear();
                false
            }
            ROOT => {
                before.push(store.old as u32);
                before.contains(&(store.new as u32))
            }
            _ => false,
        })
    }

    /// Pins a version at the first of so many steps, and takes back what was pinned before in the middle of them.
    fn pin_and_unpin(&mut self, step: usize, steps: usize, live: &Live) {
        if step == 0 {
            let pin = table::pin(live).unwrap();
            self.stores.extend(live.take());
            let newest = |changes: &Vec<Change>| changes.last().and_then(|change| change.value.clone());
            let values = self.history.0.iter().map(newest).collect();
            self.pins.push(Pinned { pin, stands: self.stores.len()..usize::MAX, values });
        }
        if step == steps / 2
            && let [.., before, _] = &mut self.pins[..]
        {
            before.stands.end = self.stores.len();
            table::unpin(live, before.pin);
            self.stores.extend(live.take());
        }
    }
}

/// A turn of the index: some keys stand throughout, some come and go and leave their slots behind, and then a few more
/// come at once, so that a bucket splits; while those that stand are overwritten, the slots are emptied, until it merges.
pub(super) const STAYING: usize = 4;
const COMING: usize = 16;
const LATE: usize = 4;
const FULL: usize = STAYING + COMING;
const EMPTY: usize = FULL + COMING;
const TURN: usize = EMPTY + 1 + 12 + LATE;

/// What an operation writes; the number after the last key's is the bequest's.
fn writes(plan: Plan, operation: usize, random: &mut Random) -> Vec<(usize, Option<Vec<u8>>)> {
    let value = |number: usize| {
        let is_long = plan.course == Course::Emptied || operation % 2 == 1;
        let length = 1 + if is_long { plan.long_words } else { 0 };
        Some(format!("{operation:04}-{number:03}").repeat(length).into_bytes())
    };
    let (number, stands) = match plan.course {
        Course::Emptied if operation < 2 * plan.keys => {
            let number = operation % plan.keys;
            (number, operation < plan.keys || number.is_multiple_of(7))
        }
        Course::Emptied => (random.below(plan.keys / 7) * 7, true),
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

fn carry_out(writer: &mut TableWriter<Live>, keys: &[Vec<u8>], writes: &[(usize, Option<Vec<u8>>)]) {
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

fn choose_keys(writer: &TableWriter<Live>, plan: Plan) -> Vec<Vec<u8>> {
    let count = plan.keys;
    if plan.course == Course::Emptied {
        return (0..count).map(|number| number.to_be_bytes()[6..].to_vec()).collect();
    }
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

pub(super) const RANDOM: Plan = Plan {
    kind: Kind::Set,
    seed: 0,
    keys: 3,
    before: 70,
    noted: 90,
    course: Course::Random,
    bequest_every: 9,
    pin_every: 0,
    long_words: 1,
    batch_commits: 1,
};
pub(super) const BEQUESTS: Plan = Plan { bequest_every: 2, ..RANDOM };
pub(super) const CROWDED: Plan = Plan { keys: 24, ..RANDOM };
pub(super) const TIDES: Plan = Plan { keys: 60, before: 110, noted: 140, course: Course::Tides, ..RANDOM };
pub(super) const BATCHED_TIDES: Plan = Plan { batch_commits: 64, ..TIDES };
pub(super) const TURNS: Plan = Plan {
    keys: FULL + LATE,
    before: 20,
    noted: 2 * TURN,
    course: Course::Turns,
    batch_commits: 10_000,
    ..RANDOM
};
/// Longer than what a scan copies with its bucket.
pub(super) const LONG: Plan = Plan { long_words: 160, noted: 20, bequest_every: 4, ..RANDOM };

pub(super) const TREE: Plan = Plan { kind: Kind::OrderedSet, ..TIDES };
pub(super) const BATCHED_TREE: Plan = Plan { batch_commits: 64, ..TREE };
/// One leaf, whose lanes are used again and again.
pub(super) const LEAF: Plan = Plan { kind: Kind::OrderedSet, keys: 8, ..RANDOM };
pub(super) const LONG_IN_TREE: Plan = Plan { kind: Kind::OrderedSet, keys: 8, ..LONG };

/// Moves, and spans that are given back.
pub(super) const EMPTIED: Plan =
    Plan { keys: 700, before: 1400, noted: 240, course: Course::Emptied, long_words: 12, ..RANDOM };
