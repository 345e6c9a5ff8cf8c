//! Every store of giving memory back: scenes for [`super::cuts`], which says what is checked at each cut.

use super::cuts::{Operation, Scene, report, single};
use crate::region::Region;
use crate::table::Kind;
use crate::table::class::SPAN_UNITS;
use crate::table::layout::FREE_SPANS;

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes()[6..].to_vec()
}

/// Most entries go, the rest is moved together, and the table fills again; all of it while one key is overwritten.
fn emptied_and_filled(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, 1 << 20, 31);
    scene.writer.compaction.least_free_units = SPAN_UNITS;
    for number in 0..700 {
        scene.prepare(&single("insert", key(number), Some(vec![number as u8; 100]))).unwrap();
    }
    let gone = (0..700).filter(|number| number % 7 != 3).map(|number| (key(number), None)).collect();
    scene.prepare(&Operation { name: "remove of most", writes: gone, ..Operation::default() }).unwrap();
    let mut beat = 0_u32;
    // Each of the steps is taken by one overwrite or another; some of the many moves and looks will do.
    while scene.writer.reader().region().load(FREE_SPANS) < 3 {
        beat += 1;
        scene.stride = if scene.writer.compaction.phase_name() == Some("release of a run") { 97 } else { 1 };
        let operation = single("overwrite", key(3), Some(beat.to_le_bytes().repeat(5)));
        match beat % 12 {
            0 | 1 => scene.cut(&operation).unwrap(),
            _ if scene.stride > 1 => scene.cut(&operation).unwrap(),
            _ => scene.prepare(&operation).unwrap(),
        }
        assert!(beat < 3000, "nothing is given back");
    }
    // Spans that were free are another class's now.
    scene.stride = 5;
    for number in 700..760 {
        scene.cut(&single("insert", key(number), Some(vec![number as u8; 900]))).unwrap();
    }
    scene
}

#[test]
fn every_store_of_giving_memory_back() {
    for kind in [Kind::Set, Kind::OrderedSet] {
        let states = report(&[emptied_and_filled(kind)]);
        for name in [
            "survey of the runs",
            "move of entries",
            "collection of free blocks",
            "release of a run",
            "use of free spans",
        ] {
            assert!(states.get(name).is_some_and(|count| *count > 0), "{}: no state of: {name}", kind.name());
        }
    }
}
