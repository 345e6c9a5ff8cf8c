//! Two builds of one program, whose value types differ in their version, take turns as owners of a table, a hundred
//! times, while a reader of each build reads on: either a value is decoded, or the reader is told that its schema has
//! changed. No value is wrong, and no commit is lost.

use heirloom_tests::builds::{Met, TABLE, Term, WORKER};
use heirloom_tests::{Actor, House, one_table, program};
use heirloom_worker::HandOn;
use std::process::Command;

const HANDOFFS: u32 = 100;

fn start(house: &House, build: &str, role: &str) -> Actor {
    Actor::start(Command::new(program(build)).arg(role).env("HEIRLOOM_SOCKET", house.socket()))
}

fn end(mut reader: Actor) -> Met {
    reader.that_is_enough();
    let line = reader.next_line().expect("no value is wrong, and no read fails");
    line.parse().expect("a reader tells what it has met")
}

#[test]
fn they_take_turns_and_no_value_is_wrong() {
    let house = House::start(|_| one_table(TABLE, WORKER));
    let client = house.client();
    let owners = [start(&house, "older", "own"), start(&house, "newer", "own")];
    let readers = [start(&house, "older", "read"), start(&house, "newer", "read")];
    let mut last = 0;
    for round in 0..HANDOFFS {
        let (old, new) = (&owners[round as usize % 2], &owners[(round as usize + 1) % 2]);
        let owner = client.hand_on(TABLE, HandOn::new()).expect("the other one is there").owner;
        assert_eq!(owner.map(|owner| owner.pid), Some(new.process().id()), "round {round}");
        let line = old.next_line().unwrap_or_else(|| panic!("round {round}: the owner has ended"));
        let term: Term = line.parse().expect("an owner tells of its term");
        assert_eq!(term.writes.0, last, "round {round}: a commit that returned is lost");
        last = term.writes.1;
    }
    let [older, newer] = readers.map(end);
    println!("{HANDOFFS} handoffs, {last} commits; the older reader: {older:?}; the newer: {newer:?}");
    assert!(older.decoded > 0 && older.changed > 0, "it has met both: {older:?}");
    assert!(newer.decoded > 0 && newer.changed == 0, "it can decode both: {newer:?}");
}
