//! A dead owner's child that inherited the table's descriptor: while it could write, nobody is given the table.

use heirloom_tests::{Candidate, House, Misbehaviour, eventually, one_table};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

#[test]
fn the_table_waits_until_the_child_is_gone_and_says_so() {
    let house = House::start(|_| {
        [
            "[manager]
grace = \"60s\"
",
            &one_table("ledger", "clerk"),
        ]
        .concat()
    });
    let client = house.client();
    let start = |misbehaviour| Candidate::start(&house.socket(), "clerk", "ledger", misbehaviour, 0);
    let owner = start(Misbehaviour::LeavesAChildWithTheDescriptor);
    let words = owner.next_words();
    let [child, pid] = words.as_slice() else { panic!("the owner says {words:?}") };
    assert_eq!(child, "child");
    let child = Pid::from_raw(pid.parse().expect("this is a number")).expect("a pid is not 0");
    let heir = start(Misbehaviour::None);
    owner.kill();

    let detail = eventually("the status to say why the table waits", || {
        house.table(&client, "ledger").detail.filter(|detail| detail.contains(pid))
    });
    eprintln!("status: {detail}");
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        let table = house.table(&client, "ledger");
        assert!(
            table.owner.is_none_or(|table_owner| table_owner.pid == owner.pid()),
            "granted to {}",
            heir.pid()
        );
        assert_ne!(table.state, "owned", "while process {pid} could write");
    }

    kill_process(child, Signal::KILL).expect("the child can be killed");
    assert_eq!(heir.next_words()[0], "owns", "as soon as the child is gone");
}
