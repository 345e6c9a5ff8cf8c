//! Scenes with pins: what they hold, what is recalled, unlinked and stepped back to for them, and their own stores.

use super::operation::{Act, Operation, insert, key, random_operation, remove};
use super::scene::Scene;
use super::states::{States, count};
use crate::table::Kind;
use crate::table::tests::support::effort;

#[test]
fn every_store_with_pins() {
    let states = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag].map(|kind| {
        let mut states = States::of(kind);
        for seed in 0..2 * effort() as u64 {
            versions(&mut states, kind, SEEDS + seed);
        }
        let names = [
            "pin",
            "unpin",
            "insert",
            "remove",
            "bequest",
            "transaction of several",
            "clear",
            "reuse (horizon moved)",
            "reuse beside what is held",
            "hold",
            "wait",
            "end of the wait",
            "held is retired again",
            "recall",
            "sweep of recalled",
            "sweep of retired",
            "reclaim of removed entries",
            "unlink",
        ];
        states.must_have(&names);
        tides(&mut states, kind);
        match kind {
            Kind::Set => states.must_have(&["growth of the index", "shrinking of the index"]),
            _ => states.must_have(&["split of a leaf", "end of a leaf"]),
        }
        if !kind.is_bag() {
            states.must_have(&["overwrite", "join of a run", "step back to an older entry"]);
        }
        states
    });
    count("pinned", &states);
}

/// Seeds from here on are those of scenes with pins.
const SEEDS: u64 = 1 << 32;

/// Few keys and many pins, so that every state comes up.
fn versions(states: &mut States, kind: Kind, seed: u64) {
    let mut scene = Scene::new(states, kind, 1 << 20, seed).with_batches_of(4);
    for number in 0..300 {
        if scene.random(40) == 0 {
            scene.hand_over();
        }
        let operation = pinning_operation(&mut scene, number);
        scene.cut(&operation).unwrap();
    }
}

/// Keys come until all are there and go until none is, under pins of before, so that the index grows; and shrinks while
/// only pins are left that want none of them.
fn tides(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, 1 << 20, SEEDS - 1);
    for round in 0..3 {
        for number in 0..60 {
            scene.carry_out_and_cut_if(number % 4 == 0, &insert(key(number), vec![round; 20]));
        }
        scene.cut(&Act::Pin.named("pin")).unwrap();
        for number in 0..60 {
            scene.carry_out_and_cut_if(number % 4 == 0, &remove(key(number)));
        }
        scene.cut(&Act::Pin.named("pin")).unwrap();
        scene.cut(&Act::Unpin(usize::from(round)).named("unpin")).unwrap();
        scene.stride = 3;
        for beat in 0..80 {
            scene.cut(&Act::Insert(key(0), vec![beat; 20]).named("overwrite")).unwrap();
        }
        scene.stride = 1;
        scene.cut(&remove(key(0))).unwrap();
    }
}

fn pinning_operation(scene: &mut Scene<'_>, number: usize) -> Operation {
    if number % 50 >= 42 {
        // The same key over and over, under an old pin.
        return Act::Insert(key(1), vec![number as u8; 20]).named("overwrite");
    }
    match scene.random(16) {
        0 | 1 if scene.pinned.len() < 4 => Act::Pin.named("pin"),
        0..4 => Act::Unpin(scene.random(8) as usize).named("unpin"),
        4 if scene.random(6) == 0 => Act::Clear.named("clear"),
        _ => random_operation(scene, 4),
    }
}
