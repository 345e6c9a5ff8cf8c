//! Scenes of the ordered index.

use super::operation::{Act, Operation, insert, remove, transaction};
use super::scene::Scene;
use super::sets::{full_table, large_transactions, random_operations, re_inserts};
use super::states::{States, count};
use crate::table::tests::support::effort;
use crate::table::{self, Kind};

/// What is met with any kind that has an order.
pub(super) const OF_ANY_ORDER: [&str; 8] = [
    "insert",
    "remove",
    "bequest",
    "transaction of several",
    "reclaim of removed entries",
    "reuse (horizon moved)",
    "split of a leaf",
    "end of a leaf",
];

#[test]
fn every_store_of_every_operation() {
    let kind = Kind::OrderedSet;
    let mut states = States::of(kind);
    growing_and_shrinking(&mut states);
    long_separators(&mut states);
    lanes(&mut states);
    ascending(&mut states);
    re_inserts(&mut states, kind);
    full_table(&mut states, kind);
    full_of_empty_leaves(&mut states);
    large_transactions(&mut states, kind);
    for seed in 0..8 * effort() as u64 {
        random_operations(&mut states, kind, 100 + seed);
    }
    states.must_have(&OF_ANY_ORDER);
    states.must_have(&[
        "overwrite",
        "re-insert",
        "large transaction",
        "transaction that splits",
        "growth of the arena",
        "full table",
        "remove in a full table",
        "insert with a long separator",
        "remove with a long separator",
        "insert into a lane that was freed",
        "insert at the end",
        "insert in place of empty leaves",
        "copy of a leaf",
        "split of an inner node",
        "end of an inner node",
        "growth of the root",
        "lowering of the root",
    ]);
    count("trees", &[states]);
}

fn number_key(number: u64) -> Vec<u8> {
    number.to_be_bytes()[5..].to_vec()
}

/// Two levels of inner nodes, and back. Descending keys fill the leaves by half, so that little makes many.
fn growing_and_shrinking(states: &mut States) {
    let mut scene = Scene::new(states, Kind::OrderedSet, 1 << 20, 13);
    let insert = |number: u64| insert(number_key(1000 - number), vec![number as u8; 16]);
    let remove = |number: u64| remove(number_key(1000 - number));
    for number in 0..480 {
        // The second and third leaf, the node above 31 of them, and the splits of that one.
        match number {
            0..24 | 214..236 | 320..350 => scene.cut(&insert(number)).unwrap(),
            _ => scene.prepare(&insert(number)).unwrap(),
        }
    }
    let writes = (0..200).map(|number| (number_key(2 * number + 1), Some(vec![9; 12])));
    scene.stride = 197;
    scene.cut(&Act::from(transaction(writes)).named("transaction that splits")).unwrap();
    let writes = (0..200).map(|number| (number_key(2 * number + 1), None));
    scene.cut(&Act::from(transaction(writes)).named("transaction of several")).unwrap();
    // Everywhere at once, so that leaves and inner nodes are merged, and then from one end, so that they end.
    scene.stride = 3;
    for number in (0..480).filter(|number| number % 8 != 0) {
        scene.carry_out_and_cut_if(number % 32 == 3 || number > 470, &remove(number));
    }
    for number in (0..480).step_by(8) {
        scene.carry_out_and_cut_if(number % 64 == 0 || number > 400, &remove(number));
    }
    scene.stride = 1;
    for number in 0..12 {
        scene.cut(&remove(number)).unwrap();
        scene.cut(&insert(number)).unwrap();
    }
}

/// Keys that have much in common: their separators are long, have blocks of their own, and are handed on and freed.
fn long_separators(states: &mut States) {
    let mut scene = Scene::new(states, Kind::OrderedSet, 1 << 20, 14);
    let key = |number: u64| {
        let middle = if number.is_multiple_of(3) { "" } else { "/a long way to the number" };
        format!("customer{middle}/{:03}", number * 7 % 240).into_bytes()
    };
    for number in 0..240 {
        let insert = Act::Insert(key(number), vec![number as u8; 8]).named("insert with a long separator");
        scene.carry_out_and_cut_if(number % 10 == 0, &insert);
    }
    for number in 0..240 {
        let remove = Act::Remove(key(number)).named("remove with a long separator");
        scene.carry_out_and_cut_if(number % 10 == 0, &remove);
    }
}

/// One leaf, whose lanes are freed and used again, before the horizon moves and after.
fn lanes(states: &mut States) {
    let mut scene = Scene::new(states, Kind::OrderedSet, 1 << 20, 15);
    let insert = |number: u64, value: u8| insert(number_key(number), vec![value; 8]);
    for number in 0..14 {
        scene.prepare(&insert(number, 1)).unwrap();
    }
    for round in 0..12_u64 {
        for gone in 0..=round % 5 {
            scene.cut(&remove(number_key((3 * round + gone) % 14))).unwrap();
        }
        for waiting in 0..round % 9 {
            scene.prepare(&insert((3 * round + 9) % 14, waiting as u8)).unwrap();
        }
        for gone in 0..=round % 5 {
            let number = (3 * round + gone) % 14 + 100 * (round % 2);
            let again =
                Operation { name: "insert into a lane that was freed", ..insert(number, round as u8) };
            scene.cut(&again).unwrap();
        }
        for number in 100..114 {
            scene.prepare(&remove(number_key(number))).unwrap();
        }
        for number in 0..14 {
            scene.prepare(&insert(number, 1)).unwrap();
        }
    }
}

/// Full leaves and inner nodes stay as they are where keys come in order.
fn ascending(states: &mut States) {
    let mut scene = Scene::new(states, Kind::OrderedSet, 1 << 20, 16);
    for number in 0..14 * 31 + 20 {
        scene.stride = if number % 14 == 0 && number < 60 || number > 14 * 31 - 3 && number < 14 * 31 + 3 {
            1
        } else {
            1000
        };
        scene.cut(&Act::Insert(number_key(number), vec![2; 8]).named("insert at the end")).unwrap();
    }
    scene.stride = 97;
    for round in 0..2 {
        let writes = (0..300).map(|number| (number_key(1000 + 1000 * round + number), Some(vec![3; 8])));
        scene.cut(&Act::from(transaction(writes)).named("transaction that splits")).unwrap();
    }
}

/// A full table whose entries are all gone: its leaves are empty, and make room for others where these are needed.
fn full_of_empty_leaves(states: &mut States) {
    let mut scene = Scene::new(states, Kind::OrderedSet, table::MIN_BYTES, 17);
    let insert =
        |number: u64| Act::Insert(number_key(number), vec![7; 24]).named("insert in place of empty leaves");
    let mut count = 0;
    while scene.prepare(&insert(count)).is_ok() {
        count += 1;
    }
    for number in 0..count {
        scene.prepare(&remove(number_key(number))).unwrap();
    }
    // Nodes become free one after the other while the new keys need them.
    scene.stride = 101;
    for number in 0..count {
        scene.carry_out_and_cut_if(number % 100 == 13, &insert(count + number));
    }
}
