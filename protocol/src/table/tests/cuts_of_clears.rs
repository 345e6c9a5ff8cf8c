//! Every store of clears, and of writes that look at what is there first; see [`super::cuts`].

use super::cuts::{Operation, Scene, key, report, single};
use crate::table::{self, Kind};

#[test]
fn every_store_of_clears_and_of_writes_that_look_first() {
    let states = report(&[clears(Kind::Set), clears(Kind::OrderedSet)]);
    for name in
        ["clear", "clear and fill", "clear a full table", "change in place", "several changes in place"]
    {
        assert!(states.get(name).is_some_and(|count| *count > 0), "no state of: {name}");
    }
}

/// Tables that are cleared, again and again, and whose entries are changed in place and have deadlines.
fn clears(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, table::MIN_BYTES, 7);
    for round in 0..4_u8 {
        for number in 0..25 {
            let value = Some(vec![round; 10 * usize::from(round)]);
            let looks = Operation { looks: true, ..single("change in place", key(number), value) };
            scene.cut(&looks).unwrap();
        }
        let writes = |from: u64, name| {
            let writes =
                (from..from + 6).map(|number| (key(number), (number % 4 > 0).then(|| vec![round; 30])));
            Operation { name, writes: writes.collect(), ..Operation::default() }
        };
        scene.cut(&Operation { looks: true, ..writes(20, "several changes in place") }).unwrap();
        scene.cut(&Operation { clears: true, ..writes(23, "clear and fill") }).unwrap();
        let clear = |name| Operation { name, clears: true, single: true, ..Operation::default() };
        scene.cut(&clear("clear")).unwrap();
        if round % 3 == 2 {
            let mut number = 0;
            while scene.prepare(&single("insert", key(number), Some(vec![3; 2000]))).is_ok() {
                number += 1;
            }
            scene.cut(&clear("clear a full table")).unwrap();
        }
    }
    scene
}
