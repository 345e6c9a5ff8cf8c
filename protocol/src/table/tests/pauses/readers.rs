//! Readers of what is there now.

use super::questions::{Question, explore};
use super::recorded::*;
use crate::table::Kind;
use crate::table::tests::support::{Random, effort};

/// A get of some key, as it begins or as it goes on.
fn get(recorded: &Recorded, _: usize, random: &mut Random) -> Option<Question> {
    let key = random.below(recorded.keys.len());
    Some(if random.below(2) == 0 { Question::Get(key) } else { Question::GetAgain(key) })
}

#[test]
fn a_read_may_be_paused_anywhere_while_memory_is_given_back() {
    let mut tried = 0;
    for kind in [Kind::Set, Kind::OrderedSet] {
        for seed in 0..effort() as u64 {
            let plan = Plan { kind, seed, ..EMPTIED };
            let phases = record(plan).phases;
            for phase in
                ["survey of the runs", "move of entries", "collection of free blocks", "release of a run"]
            {
                assert!(phases.contains(phase), "{}: no {phase}", kind.name());
            }
            tried += explore(plan, |recorded, start, random| match start % 64 {
                // Those that stand, and some that are gone.
                0 => Some(Question::Scan),
                place if place % 4 == 1 => Some(Question::Get(random.below(recorded.keys.len() / 7) * 7)),
                place if place % 16 == 2 => get(recorded, start, random),
                _ => None,
            });
        }
    }
    println!("{tried} interleavings of a read with an owner that gives memory back");
    assert!(tried > 20_000);
}

#[test]
fn a_get_from_a_tree_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..4 * effort() as u64 {
        for plan in [LEAF, Plan { keys: 17, ..LEAF }, TREE, BATCHED_TREE] {
            tried += explore(Plan { seed, ..plan }, get);
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
            tried += explore(Plan { seed, ..plan }, |_, _, _| Some(Question::Scan));
            tried += explore(Plan { seed, ..plan }, |_, _, _| Some(Question::ScanBackwards));
        }
    }
    println!("ordered_set: {tried} interleavings of a range with its owner");
    assert!(tried > 10_000);
}

#[test]
fn a_get_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..8 * effort() as u64 {
        for plan in [RANDOM, CROWDED, TIDES, BATCHED_TIDES] {
            tried += explore(Plan { seed, ..plan }, get);
        }
        let turns = Plan { seed, ..TURNS };
        assert!(record(turns).comes_back(), "the index never has as many buckets as before in one horizon");
        // A get that misses at first begins again, and that look is the one that counts.
        tried += explore(turns, |recorded, _, random| {
            Some(Question::GetAgain(random.below(recorded.keys.len().min(STAYING))))
        });
    }
    println!("set: {tried} interleavings of a get with its owner");
    assert!(tried > 100_000);
}

#[test]
fn the_read_of_a_bequest_or_of_a_long_value_may_be_paused_anywhere() {
    let mut tried = 0;
    for seed in 0..4 * effort() as u64 {
        tried += explore(Plan { seed, ..BEQUESTS }, |_, _, _| Some(Question::Bequest));
        tried += explore(Plan { seed, ..LONG }, |recorded, start, random| match random.below(4) {
            0 => Some(Question::Bequest),
            _ => get(recorded, start, random),
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
            tried += explore(Plan { seed, ..plan }, |_, _, _| Some(Question::Scan));
        }
    }
    println!("set: {tried} interleavings of a scan with its owner");
    assert!(tried > 10_000);
}
