//! Owners under a lease: who shows no sign of life is killed and replaced, and nobody else is.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_protocol::message::{Event, LOADER, Refusal, Request};
use heirloom_protocol::sys::needs::Cgroup;
use heirloom_protocol::sys::{Process, Signal};
use house::{Actor, BY_NAME, Client, House, config, owner_that_wrote};
use std::time::{Duration, Instant};

#[test]
fn actor() {
    house::act();
}

/// Long enough for a healthy process on a busy machine.
const LEASE: Duration = Duration::from_secs(1);

fn under_a_lease() -> House {
    House::start(&config(&format!("{BY_NAME}\nlease = \"1s\""), "[manager]\ngrace = \"300ms\"\n"))
}

fn owns_and_sees(worker: &mut Actor, key: &str) {
    worker.tell("offered");
    worker.tell("accept");
    assert_eq!(worker.tell(&format!("get {key}")), key);
}

/// Returns when the manager has waited for that long.
fn the_manager_waits(client: &Client, time: Duration) {
    let deadline_ms = Some(time.as_millis() as u64);
    let (table, to) = ("sales".to_owned(), None);
    client.say(&Request::Recall { request: 5, table, to, force: false, deadline_ms });
    assert!(client.hears_refusal(Refusal::NotNow).contains("did not release it in time"));
}

#[test]
fn an_owner_that_shows_nothing_is_killed_with_its_children_and_replaced() {
    let house = under_a_lease();
    assert_eq!(house.sales().lease_ms, Some(1000));
    let mut owner = house.worker();
    owner.tell("offered");
    // Before its first sign.
    let since = Instant::now();
    owner.tell("accept");
    let child: u32 = owner.tell("child same_group").parse().unwrap();
    let child = Process::open(child).unwrap();
    let mut next = house.worker();
    owner.is_killed();
    assert!(since.elapsed() >= LEASE);
    assert!(child.wait_exit(house::PATIENCE), "the child lives on, and could write");
    assert_eq!(next.tell("offered"), "2");
    let last = |house: &House| house.sales().last_handoff.unwrap().reason;
    next.tell("accept");
    assert!(last(&house).contains("died"), "{}", last(&house));
    // And so is the next.
    let mut third = house.worker();
    next.tell("insert b b");
    next.is_killed();
    owns_and_sees(&mut third, "b");
}

#[test]
fn an_owner_that_is_stopped_is_killed_and_replaced() {
    let house = under_a_lease();
    let (mut owner, mut next) = (owner_that_wrote(&house, "a"), house.worker());
    owner.signal(Signal::STOP);
    owner.is_killed();
    owns_and_sees(&mut next, "a");
}

#[test]
fn commits_and_renewals_keep_the_table_and_words_to_the_manager_do_not() {
    let house = under_a_lease();
    let (mut owner, mut next) = (owner_that_wrote(&house, "a"), house.worker());
    for how in ["commits", "renewals"] {
        let start = Instant::now();
        owner.tell(&format!("shows_life {how} 75"));
        assert!(start.elapsed() > LEASE);
        assert!(owner.is_alive(), "{how} are signs of life");
    }
    // What a thread of a library says while the work hangs.
    owner.tell_only("talks_for_ever");
    owner.is_killed();
    owns_and_sees(&mut next, "a");
}

#[test]
fn without_a_lease_an_owner_may_be_silent() {
    let house = House::start(&config(BY_NAME, ""));
    assert_eq!(house.sales().lease_ms, None);
    let (mut owner, _next) = (owner_that_wrote(&house, "a"), house.worker());
    owner.signal(Signal::STOP);
    the_manager_waits(&house.client(), LEASE);
    assert_eq!(house.sales().owner.unwrap().pid, owner.pid());
    owner.signal(Signal::CONT);
    assert!(owner.is_alive());
    owner.tell("insert b b");
}

#[test]
fn a_command_that_has_the_table_has_no_lease() {
    let house = under_a_lease();
    let mut loader = house.actor();
    loader.tell("register_loader");
    let client = house.client();
    let (table, to) = ("sales".to_owned(), Some(LOADER.to_owned()));
    client.say(&Request::Recall { request: 5, table, to, force: false, deadline_ms: None });
    loader.tell("offered");
    loader.tell("accept");
    assert!(matches!(client.hear(), Event::HandedOn { .. }));
    the_manager_waits(&client, 2 * LEASE);
    assert!(loader.is_alive());
    loader.tell("insert a a");
}

#[test]
fn an_owner_that_cannot_die_keeps_its_table_until_it_can() {
    let Some(freezer) = Cgroup::unkillable("an_owner_that_cannot_die_keeps_its_table_until_it_can") else {
        return;
    };
    let house = under_a_lease();
    let (mut owner, mut next) = (owner_that_wrote(&house, "a"), house.worker());
    freezer.add(owner.pid());
    freezer.freeze(true);
    let stuck = house.wait_for("stuck", |sales| sales.state == "stuck");
    println!("{}", stuck.detail.as_ref().unwrap());
    assert!(stuck.detail.unwrap().contains("frozen"));
    assert_eq!(stuck.owner.unwrap().pid, owner.pid(), "killed, and not dead");
    the_manager_waits(&house.client(), LEASE);
    let later = house.sales();
    assert_eq!((later.state.as_str(), later.epoch), ("stuck", 1));
    freezer.freeze(false);
    owner.is_killed();
    owns_and_sees(&mut next, "a");
}
