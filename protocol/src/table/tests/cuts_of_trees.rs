//! Every store of every operation on the ordered index, and on bags: scenes for [`super::cuts`], which says what is
//! checked at each cut.

use std::collections::BTreeMap;

use super::cuts::{
    Operation, Scene, full_table, key, large_transactions, random_operations, re_inserts, report, single,
};
use crate::table::{self, Kind};

fn assert_all(states: &BTreeMap<&'static str, usize>, names: &[&str]) {
    for name in names {
        assert!(states.get(name).is_some_and(|count| *count > 0), "no state of: {name}");
    }
}

const OF_ANY_KIND: [&str; 6] = [
    "insert",
    "remove",
    "bequest",
    "transaction of several",
    "reclaim of removed entries",
    "reuse (horizon moved)",
];

#[test]
fn every_store_of_every_operation_on_an_ordered_set() {
    let kind = Kind::OrderedSet;
    let scenes = [
        random_operations(kind, 11),
        random_operations(kind, 12),
        growing_and_shrinking(kind),
        long_separators(),
        lanes(),
        ascending(),
        re_inserts(kind),
        full_table(kind),
        full_of_empty_leaves(),
        large_transactions(kind),
    ];
    let states = report(&scenes);
    assert_all(&states, &OF_ANY_KIND);
    assert_all(
        &states,
        &[
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
            "split of a leaf",
            "copy of a leaf",
            "end of a leaf",
            "split of an inner node",
            "end of an inner node",
            "growth of the root",
            "lowering of the root",
        ],
    );
}

#[test]
fn every_store_of_every_operation_on_bags() {
    for kind in [Kind::Bag, Kind::DuplicateBag] {
        let scenes = [random_operations(kind, 21), objects(kind), large_transactions(kind), full_table(kind)];
        let states = report(&scenes);
        assert_all(&states, &OF_ANY_KIND);
        assert_all(
            &states,
            &[
                "insert of an object",
                "remove of all objects",
                "split of a leaf",
                "end of a leaf",
                "growth of the root",
            ],
        );
    }
}

/// Carries an operation out, and tries each of its cuts where that is of interest.
fn carry_out(scene: &mut Scene, operation: &Operation, is_of_interest: bool) {
    if is_of_interest { scene.cut(operation) } else { scene.prepare(operation) }.unwrap();
}

fn number_key(number: u64) -> Vec<u8> {
    number.to_be_bytes()[5..].to_vec()
}

/// Two levels of inner nodes, and back. Descending keys fill the leaves by half, so that little makes many.
fn growing_and_shrinking(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, 1 << 20, 13);
    let insert = |number: u64| single("insert", number_key(1000 - number), Some(vec![number as u8; 16]));
    let remove = |number: u64| single("remove", number_key(1000 - number), None);
    for number in 0..480 {
        // The second and third leaf, the node above 31 of them, and the splits of that one.
        match number {
            0..24 | 214..236 | 320..350 => scene.cut(&insert(number)).unwrap(),
            _ => scene.prepare(&insert(number)).unwrap(),
        }
    }
    let writes = (0..200).map(|number| (number_key(2 * number + 1), Some(vec![9; 12]))).collect();
    scene.stride = 197;
    scene.cut(&Operation { name: "transaction that splits", writes, ..Operation::default() }).unwrap();
    let writes = (0..200).map(|number| (number_key(2 * number + 1), None)).collect();
    scene.cut(&Operation { name: "transaction of several", writes, ..Operation::default() }).unwrap();
    // Everywhere at once, so that leaves and inner nodes are merged, and then from one end, so that they end.
    scene.stride = 3;
    for number in (0..480).filter(|number| number % 8 != 0) {
        carry_out(&mut scene, &remove(number), number % 32 == 3 || number > 470);
    }
    for number in (0..480).step_by(8) {
        carry_out(&mut scene, &remove(number), number % 64 == 0 || number > 400);
    }
    scene.stride = 1;
    for number in 0..12 {
        scene.cut(&single("bequest", number_key(number), None)).unwrap();
        scene.cut(&insert(number)).unwrap();
    }
    scene
}

/// Keys that have much in common: their separators are long, have blocks of their own, and are handed on and freed.
fn long_separators() -> Scene {
    let mut scene = Scene::new(Kind::OrderedSet, 1 << 20, 14);
    let key = |number: u64| {
        let middle = if number.is_multiple_of(3) { "" } else { "/a long way to the number" };
        format!("customer{middle}/{:03}", number * 7 % 240).into_bytes()
    };
    for number in 0..240 {
        let insert = single("insert with a long separator", key(number), Some(vec![number as u8; 8]));
        carry_out(&mut scene, &insert, number % 10 == 0);
    }
    for number in 0..240 {
        let remove = single("remove with a long separator", key(number), None);
        carry_out(&mut scene, &remove, number % 10 == 0);
    }
    scene
}

/// One leaf, whose lanes are freed and used again, before the horizon moves and after.
fn lanes() -> Scene {
    let mut scene = Scene::new(Kind::OrderedSet, 1 << 20, 15);
    for number in 0..14 {
        scene.prepare(&single("insert", number_key(number), Some(vec![1; 8]))).unwrap();
    }
    for round in 0..12_u64 {
        for gone in 0..=round % 5 {
            scene.cut(&single("remove", number_key((3 * round + gone) % 14), None)).unwrap();
        }
        for waiting in 0..round % 9 {
            scene
                .prepare(&single("overwrite", number_key((3 * round + 9) % 14), Some(vec![waiting as u8; 8])))
                .unwrap();
        }
        for gone in 0..=round % 5 {
            let number = (3 * round + gone) % 14 + 100 * (round % 2);
            let name = "insert into a lane that was freed";
            scene.cut(&single(name, number_key(number), Some(vec![round as u8; 8]))).unwrap();
        }
        for number in 100..114 {
            scene.prepare(&single("remove", number_key(number), None)).unwrap();
        }
        for number in 0..14 {
            scene.prepare(&single("insert", number_key(number), Some(vec![1; 8]))).unwrap();
        }
    }
    scene
}

/// Full leaves and inner nodes stay as they are where keys come in order.
fn ascending() -> Scene {
    let mut scene = Scene::new(Kind::OrderedSet, 1 << 20, 16);
    for number in 0..14 * 31 + 20 {
        scene.stride = if number % 14 == 0 && number < 60 || number > 14 * 31 - 3 && number < 14 * 31 + 3 {
            1
        } else {
            1000
        };
        scene.cut(&single("insert at the end", number_key(number), Some(vec![2; 8]))).unwrap();
    }
    scene.stride = 97;
    for round in 0..2 {
        let writes =
            (0..300).map(|number| (number_key(1000 + 1000 * round + number), Some(vec![3; 8]))).collect();
        scene.cut(&Operation { name: "transaction that splits", writes, ..Operation::default() }).unwrap();
    }
    scene
}

/// A full table whose entries are all gone: its leaves are empty, and make room for others where these are needed.
fn full_of_empty_leaves() -> Scene {
    let mut scene = Scene::new(Kind::OrderedSet, table::MIN_BYTES, 17);
    let insert =
        |number: u64| single("insert in place of empty leaves", number_key(number), Some(vec![7; 24]));
    let mut count = 0;
    while scene.prepare(&insert(count)).is_ok() {
        count += 1;
    }
    for number in 0..count {
        scene.prepare(&single("remove in a full table", number_key(number), None)).unwrap();
    }
    // Nodes become free one after the other while the new keys need them.
    scene.stride = 101;
    for number in 0..count {
        carry_out(&mut scene, &insert(count + number), number % 100 == 13);
    }
    scene
}

/// Several objects under a few keys.
fn objects(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, 1 << 20, 22);
    for number in 0..160 {
        let object = key(number % 5);
        let value = if number % 4 == 0 { b"same hash".to_vec() } else { Vec::new() };
        let value = [value, vec![number as u8 % 70; 9]].concat();
        carry_out(&mut scene, &single("insert of an object", object, Some(value)), number % 8 < 2);
    }
    scene.stride = 23;
    for number in 0..5 {
        scene.cut(&single("remove of all objects", key(number), None)).unwrap();
    }
    for number in 0..20 {
        scene.cut(&single("insert of an object", key(number % 5), Some(vec![number as u8; 9]))).unwrap();
    }
    scene
}
