//! Scenes of entries that expire, and of their removal.

use super::operation::{Act, key};
use super::scene::Scene;
use super::states::{States, count};
use crate::table::Kind;

#[test]
fn every_store_of_what_expires() {
    let states = [Kind::Set, Kind::OrderedSet, Kind::Bag].map(|kind| {
        let mut states = States::of(kind);
        for seed in 0..2 {
            expired_ones(&mut states, kind, 40 + seed);
        }
        let names = [
            "insert of what expires",
            "overwrite of what has expired",
            "remove of what has expired",
            "remove of all that has expired",
        ];
        states.must_have(&names);
        states
    });
    count("expiry", &states);
}

/// Entries whose time is over, among others, are overwritten, removed, and removed several at once, with and without a
/// pin that wants them.
fn expired_ones(states: &mut States, kind: Kind, seed: u64) {
    let mut scene = Scene::new(states, kind, 1 << 20, seed);
    for round in 0..12 {
        for number in 0..24 {
            let value = vec![round as u8; 8 + scene.random(40) as usize];
            let act = match scene.random(3) {
                0 => Act::Insert(key(number), value).named("insert"),
                _ => Act::InsertExpired(key(number), value).named("insert of what expires"),
            };
            if scene.random(4) == 0 { scene.cut(&act) } else { scene.prepare(&act) }.unwrap();
        }
        if round % 3 == 1 {
            scene.cut(&Act::Pin.named("pin")).unwrap();
        }
        for number in 0..3 {
            let value = vec![round as u8; 30];
            scene.cut(&Act::Insert(key(5 * number), value).named("overwrite of what has expired")).unwrap();
            scene.cut(&Act::Remove(key(5 * number + 1)).named("remove of what has expired")).unwrap();
        }
        for limit in [1, 3, 8, 100] {
            scene.cut(&Act::RemoveExpired(limit).named("remove of all that has expired")).unwrap();
        }
        if round % 3 == 0 {
            scene.cut(&Act::Unpin(0).named("unpin")).unwrap();
        }
    }
}
