//! Scenes of giving memory back.

use super::operation::{Act, insert, transaction};
use super::scene::Scene;
use super::states::{States, count};
use crate::region::Region;
use crate::table::Kind;
use crate::table::class::SPAN_UNITS;
use crate::table::layout::FREE_SPANS;

#[test]
fn every_store_of_giving_memory_back() {
    let states = [Kind::Set, Kind::OrderedSet].map(|kind| {
        let mut states = States::of(kind);
        emptied_and_filled(&mut states, kind);
        let names = [
            "survey of the runs",
            "move of entries",
            "collection of free blocks",
            "release of a run",
            "use of free spans",
        ];
        states.must_have(&names);
        states
    });
    count("compaction", &states);
}

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes()[6..].to_vec()
}

/// Most entries go, the rest is moved together, and the table fills again; all of it while one key is overwritten.
fn emptied_and_filled(states: &mut States, kind: Kind) {
    let mut scene = Scene::new(states, kind, 1 << 20, 31);
    scene.writer.compaction.least_free_units = SPAN_UNITS;
    for number in 0..700 {
        scene.prepare(&insert(key(number), vec![number as u8; 100])).unwrap();
    }
    let gone = (0..700).filter(|number| number % 7 != 3).map(|number| (key(number), None));
    scene.prepare(&Act::from(transaction(gone)).named("remove of most")).unwrap();
    let mut beat = 0_u32;
    // Each of the steps is taken by one overwrite or another; some of the many moves and looks will do.
    while scene.writer.reader().region().load(FREE_SPANS) < 3 {
        beat += 1;
        let is_release = scene.writer.compaction.phase_name() == Some("release of a run");
        scene.stride = if is_release { 97 } else { 1 };
        let overwrite = Act::Insert(key(3), beat.to_le_bytes().repeat(5)).named("overwrite");
        scene.carry_out_and_cut_if(is_release || beat % 12 < 2, &overwrite);
        assert!(beat < 3000, "nothing is given back");
    }
    // Spans that were free are another class's now.
    scene.stride = 5;
    for number in 700..760 {
        scene.cut(&insert(key(number), vec![number as u8; 900])).unwrap();
    }
}
