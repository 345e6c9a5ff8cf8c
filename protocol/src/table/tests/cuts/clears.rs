//! Scenes of clears, and of writes that look at what is there first.

use super::operation::{Act, Writes, insert, key, transaction};
use super::scene::Scene;
use super::states::{States, count};
use crate::table::{self, Kind};

#[test]
fn every_store_of_clears_and_of_writes_that_look_first() {
    let states = [Kind::Set, Kind::OrderedSet].map(|kind| {
        let mut states = States::of(kind);
        clears(&mut states, kind);
        let names =
            ["clear", "clear and fill", "clear a full table", "change in place", "several changes in place"];
        states.must_have(&names);
        states
    });
    count("clears", &states);
}

/// Tables that are cleared, again and again, and whose entries are changed in place and have deadlines.
fn clears(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, table::MIN_BYTES, 7);
    for round in 0..4_u8 {
        for number in 0..25 {
            let value = Some(vec![round; 10 * usize::from(round)]);
            scene.cut(&Act::Change(key(number), value).named("change in place")).unwrap();
        }
        let writes = |from: u64| {
            transaction(
                (from..from + 6).map(|number| (key(number), (number % 4 > 0).then(|| vec![round; 30]))),
            )
        };
        let looks = Writes { looks: true, ..writes(20) };
        scene.cut(&Act::from(looks).named("several changes in place")).unwrap();
        let clears = Writes { clears: true, ..writes(23) };
        scene.cut(&Act::from(clears).named("clear and fill")).unwrap();
        scene.cut(&Act::Clear.named("clear")).unwrap();
        if round % 3 == 2 {
            let mut number = 0;
            while scene.prepare(&insert(key(number), vec![3; 2000])).is_ok() {
                number += 1;
            }
            scene.cut(&Act::Clear.named("clear a full table")).unwrap();
        }
    }
}
