//! Scenes of bags.

use super::operation::{Act, key};
use super::scene::Scene;
use super::sets::{full_table, large_transactions, random_operations};
use super::states::{States, count};
use super::trees::OF_ANY_ORDER;
use crate::table::Kind;
use crate::table::tests::support::effort;

#[test]
fn every_store_of_every_operation() {
    let states = [Kind::Bag, Kind::DuplicateBag].map(|kind| {
        let mut states = States::of(kind);
        for seed in 0..effort() as u64 {
            random_operations(&mut states, kind, 100 + seed);
        }
        objects(&mut states, kind);
        large_transactions(&mut states, kind);
        full_table(&mut states, kind);
        states.must_have(&OF_ANY_ORDER);
        states.must_have(&["insert of an object", "remove of all objects", "growth of the root"]);
        states
    });
    count("bags", &states);
}

/// Several objects under a few keys.
fn objects(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, 1 << 20, 22);
    let insert = |key: Vec<u8>, value: Vec<u8>| Act::Insert(key, value).named("insert of an object");
    for number in 0..160 {
        let value = if number % 4 == 0 { b"same hash".to_vec() } else { Vec::new() };
        let value = [value, vec![number as u8 % 70; 9]].concat();
        scene.carry_out_and_cut_if(number % 8 < 2, &insert(key(number % 5), value));
    }
    scene.stride = 23;
    for number in 0..5 {
        scene.cut(&Act::Remove(key(number)).named("remove of all objects")).unwrap();
    }
    for number in 0..20 {
        scene.cut(&insert(key(number % 5), vec![number as u8; 9])).unwrap();
    }
}
