//! Scenes of a `set`; the general ones serve the other kinds too.

use super::operation::{Act, Writes, insert, key, random_operation, remove, transaction};
use super::scene::Scene;
use super::states::{States, count};
use crate::table::tests::support::effort;
use crate::table::{self, Kind, WriteError};

#[test]
fn every_store_of_every_operation() {
    let kind = Kind::Set;
    let mut states = States::of(kind);
    growing_and_shrinking(&mut states);
    re_inserts(&mut states, kind);
    full_table(&mut states, kind);
    large_transactions(&mut states, kind);
    for seed in 0..10 * effort() as u64 {
        random_operations(&mut states, kind, 100 + seed);
    }
    states.must_have(&[
        "insert",
        "overwrite",
        "remove",
        "re-insert",
        "bequest",
        "transaction of several",
        "large transaction",
        "growth of the index",
        "shrinking of the index",
        "growth of the arena",
        "reclaim of removed entries",
        "reuse (horizon moved)",
        "full table",
        "remove in a full table",
    ]);
    count("sets", &[states]);
}

/// All operations, on few keys, so that every state comes up: removed, reclaimed, inserted again, in and out of order.
pub(super) fn random_operations(states: &mut States, kind: Kind, seed: u64) {
    let mut scene = Scene::new(states, kind, 1 << 20, seed).with_batches_of(1 + seed % 8);
    for _ in 0..500 {
        let operation = random_operation(&mut scene, 12 + seed % 5 * 6);
        scene.cut(&operation).unwrap();
    }
}

/// Through the depth at which the window of the tags changes, and back.
fn growing_and_shrinking(states: &mut States) {
    let mut scene = Scene::new(states, Kind::Set, 1 << 20, 3);
    let insert = |number: u64| insert(key(number), vec![number as u8; 16]);
    // 64 buckets, where the window changes, are reached at 350 entries.
    for number in 0..420 {
        match number {
            0..60 | 330..380 => scene.cut(&insert(number)).unwrap(),
            _ => scene.prepare(&insert(number)).unwrap(),
        }
    }
    for number in 0..420 {
        match number {
            285..300 | 400..420 => scene.cut(&remove(key(number))).unwrap(),
            _ => scene.prepare(&remove(key(number))).unwrap(),
        }
    }
    for number in 0..30 {
        scene.cut(&insert(number)).unwrap();
    }
}

/// A key comes back before its slot was emptied, and after.
pub(super) fn re_inserts(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, 1 << 20, 4);
    for number in 0..12 {
        scene.prepare(&insert(key(number), vec![1; 20])).unwrap();
    }
    for round in 0..20 {
        let again = round % 12;
        scene.cut(&remove(key(again))).unwrap();
        for other in 0..round % 8 {
            scene.prepare(&insert(key((again + 1 + other) % 12), vec![2; 20])).unwrap();
        }
        scene.cut(&Act::Insert(key(again), vec![round as u8; 20]).named("re-insert")).unwrap();
    }
}

/// The last writes that fit, the first that do not, and the way out.
pub(super) fn full_table(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, table::MIN_BYTES, 5);
    let mut number = 0;
    while scene.prepare(&insert(key(number), vec![3; 2000])).is_ok() {
        number += 1;
    }
    let refused = |scene: &mut Scene<'_>, act: Act| {
        let result = scene.cut(&act.named("what does not fit"));
        assert!(matches!(result, Err(WriteError::TableFull { .. })), "{result:?}");
    };
    for length in [2000, 500, 3000] {
        refused(&mut scene, Act::Insert(key(number), vec![4; length]));
    }
    // What fits is prepared, and then abandoned for what does not.
    for (gone, round) in [(20, 1), (24, 2), (28, 3)] {
        for gone in gone..gone + 4 {
            scene.prepare(&remove(key(gone))).unwrap();
        }
        let fits = (gone..gone + 2).map(|back| (key(back), Some(vec![round; 2000])));
        let writes = fits.chain([(key(0), None), (key(number), Some(vec![5; 9000]))]);
        refused(&mut scene, transaction(writes).into());
    }
    for number in 0..12 {
        scene.cut(&Act::Remove(key(number)).named("remove in a full table")).unwrap();
    }
    for number in 0..6 {
        scene.cut(&insert(key(number), vec![6; 2000])).unwrap();
    }
}

/// Hundreds of writes at once, cut here and there.
pub(super) fn large_transactions(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, 2 << 20, 6);
    scene.stride = 61;
    for round in 0..4 {
        let value = |number| (number % (round + 2) != 1).then(|| vec![round as u8; 30]);
        // The last write of a key counts.
        let writes = (0..300).map(|number| (key(number * (round + 1) % 500), value(number)));
        let writes = Writes { bequest: Some(vec![round as u8; 100]), ..transaction(writes) };
        scene.cut(&Act::from(writes).named("large transaction")).unwrap();
    }
}
