//! Readers of a pinned version: whatever the owner does while they stand still, they answer what was there then, or that
//! their pin is gone.

use std::ops::Bound;

use super::paused::{Pause, Paused};
use super::questions::{Question, explore};
use super::recorded::*;
use crate::table::tests::support::{Random, effort};
use crate::table::{Kind, Order, ReadError, TableReader};

/// What is asked as of a pinned version.
#[derive(Debug, Clone, Copy)]
pub(super) enum OfSnapshot {
    Get(usize),
    Contains(usize),
    Bequest,
    Len,
    Scan,
    ScanBackwards,
}

/// One answer, as of one of the pins.
pub(super) fn ask(
    recorded: &Recorded,
    reader: &TableReader<Paused<'_>>,
    number: usize,
    question: OfSnapshot,
    pauses: &[Pause],
) {
    let Pinned { pin, stands, values } = &recorded.pins[number];
    let snapshot = reader.snapshot(*pin);
    let key = |number: usize| &recorded.keys[number];
    let entries = values[..recorded.keys.len()].iter().flatten();
    let answer = match question {
        OfSnapshot::Get(number) => snapshot.get(key(number)).map(|found| found == values[number]),
        OfSnapshot::Contains(number) => {
            snapshot.contains(key(number)).map(|is| is == values[number].is_some())
        }
        OfSnapshot::Bequest => snapshot.bequest().map(|found| Some(&found) == values.last()),
        OfSnapshot::Len => snapshot.len().map(|len| len == entries.count() as u64),
        OfSnapshot::Scan | OfSnapshot::ScanBackwards => {
            let mut met = Vec::new();
            let each = &mut |key: &[u8], value: &[u8]| {
                met.push((key.to_vec(), value.to_vec()));
                true
            };
            let scanned = match question {
                OfSnapshot::Scan => snapshot.scan(each),
                _ => snapshot.range(Bound::Unbounded, Bound::Unbounded, Order::Descending, each),
            };
            met.sort_unstable();
            let keys = recorded.keys.iter().zip(values);
            let mut was: Vec<_> =
                keys.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
            was.sort_unstable();
            scanned.map(|()| met == was)
        }
    };
    let now = reader.region().now();
    match answer {
        Ok(is_right) => assert!(is_right, "as of {pin:?}, until store {now}, {question:?}: {pauses:?}"),
        // It is gone with the store that takes it back.
        Err(ReadError::SnapshotExpired) => {
            assert!(now > stands.end, "{pin:?} stands: {question:?}, {pauses:?}")
        }
        Err(error) => panic!("{question:?}: {error}; {pauses:?}"),
    }
}

/// Something about one of the pins that stand at a store.
fn question(recorded: &Recorded, start: usize, random: &mut Random) -> Option<Question> {
    let stands = |number: &usize| recorded.pins[*number].stands.contains(&start);
    let standing: Vec<usize> = (0..recorded.pins.len()).filter(stands).collect();
    let number = *standing.get(random.below(standing.len().max(1)))?;
    let key = random.below(recorded.keys.len());
    let backwards = match recorded.kind {
        Kind::Set => OfSnapshot::Scan,
        _ => OfSnapshot::ScanBackwards,
    };
    let question = match random.below(12) {
        0..6 => OfSnapshot::Get(key),
        6 => OfSnapshot::Contains(key),
        7 => OfSnapshot::Bequest,
        8 => OfSnapshot::Len,
        9 => backwards,
        _ => OfSnapshot::Scan,
    };
    Some(Question::Pinned(number, question))
}

#[test]
fn a_snapshot_may_be_paused_anywhere() {
    for kind in [Kind::Set, Kind::OrderedSet] {
        let mut tried = 0;
        for seed in 0..effort() as u64 {
            let few = Plan { kind, seed, pin_every: 12, noted: 120, ..RANDOM };
            let tides = Plan { kind, seed, pin_every: 30, ..TIDES };
            for plan in
                [few, Plan { keys: 8, batch_commits: 4, ..few }, tides, Plan { batch_commits: 16, ..tides }]
            {
                tried += explore(plan, question);
            }
            // A pin ends what gives memory back; one that the owner does not know yet does not.
            let emptied = Plan { kind, seed, pin_every: 90, batch_commits: 24, ..EMPTIED };
            tried += explore(emptied, |recorded, start, random| match start % 16 {
                0 => question(recorded, start, random),
                _ => None,
            });
        }
        println!("{}: {tried} interleavings of a snapshot with its owner", kind.name());
        assert!(tried > 100_000, "{tried}");
    }
}
