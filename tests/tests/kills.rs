//! Real kills: owners are killed at random, round after round, under load, with readers, snapshots and watchers in
//! other processes. What each heir finds is compared with a record of what returned, kept outside of the table; and so does
//! whoever reads with what it finds.
//!
//! `HEIRLOOM_KILL_ROUNDS=5000 cargo test -p heirloom-tests --test kills` is the long version.

use heirloom_tests::eventually;
use heirloom_tests::victims::{READERS, Stage, Victim};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::thread;
use std::time::Duration;

#[test]
fn whoever_is_killed_whenever_nothing_that_returned_is_lost() {
    let rounds = std::env::var("HEIRLOOM_KILL_ROUNDS")
        .map_or(60, |rounds| rounds.parse().expect("HEIRLOOM_KILL_ROUNDS is a number"));
    let stage = Stage::open();
    let returned = stage.returned();

    let mut random = StdRng::seed_from_u64(17);
    let mut owner = stage.start("own");
    let mut heir = stage.start("own");
    let mut readers = READERS.map(|role| stage.start(role));
    for round in 0..rounds {
        assert!(owner.next_line().starts_with("owns"), "round {round}");
        let before = returned.last().expect("it can be read");
        eventually("a commit", || (returned.last().expect("it can be read") > before).then_some(()));
        // At any moment: this is the thing tested, not something waited for.
        thread::sleep(Duration::from_micros(random.random_range(0..8000)));
        owner.kill();
        owner = std::mem::replace(&mut heir, stage.start("own"));
        if round % 5 == 4 {
            let reader = &mut readers[random.random_range(0..READERS.len())];
            let role = reader.role();
            std::mem::replace(reader, stage.start(role)).kill();
        }
    }
    assert!(owner.next_line().starts_with("owns"));
    readers.into_iter().for_each(Victim::kill);
    println!("{rounds} owners killed, {} writes", returned.last().expect("it can be read"));
}
