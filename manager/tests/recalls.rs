//! Handing a table on because somebody wants it: to whom, by when, and at what price.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_protocol::message::{Event, LOADER, OwnerStatus, Refusal, Request};
use house::{Actor, BY_NAME, Client, House, config, owner_that_wrote};
use std::time::{Duration, Instant};

#[test]
fn actor() {
    house::act();
}

const TWO_NAMES: &str = "[[worker]]\nname = \"v\"\nexternal = true\n";

fn recall_to(client: &Client, to: &str, force: bool, deadline_ms: u64) {
    let deadline_ms = Some(deadline_ms);
    let to = Some(to.to_owned());
    client.say(&Request::Recall { request: 5, table: "sales".to_owned(), to, force, deadline_ms });
}

fn recall(client: &Client) {
    client.say(&Request::Recall {
        request: 5,
        table: "sales".to_owned(),
        to: None,
        force: false,
        deadline_ms: None,
    });
}

fn handed_on(client: &Client) -> (Option<OwnerStatus>, u64) {
    match client.hear() {
        Event::HandedOn { request: 5, owner, handoff } => {
            (owner, handoff.map_or(0, |handoff| handoff.granted_us))
        }
        other => panic!("not handed on: {other:?}"),
    }
}

fn worker(house: &House, name: &str) -> Actor {
    let mut actor = house.actor();
    actor.tell(&format!("register {name} sales"));
    actor
}

#[test]
fn it_goes_to_the_worker_of_that_name_though_find_me_says_another() {
    let house = House::start(&config(BY_NAME, TWO_NAMES));
    let mut owner = owner_that_wrote(&house, "a");
    let (_standby, mut wanted) = (house.worker(), worker(&house, "v"));
    let client = house.client();
    recall_to(&client, "v", false, 30_000);
    assert!(owner.tell("hear").starts_with("Recalled"));
    assert!(house.sales().detail.unwrap().contains(&wanted.pid().to_string()));
    owner.tell("release");
    assert_eq!(wanted.tell("offered"), "2");
    wanted.tell("accept");
    let (owner, paused_us) = handed_on(&client);
    assert_eq!(owner, Some(OwnerStatus { name: "v".to_owned(), pid: wanted.pid() }));
    assert!(paused_us > 0);
    assert_eq!(wanted.tell("get a"), "a");
}

#[test]
fn the_owner_is_not_asked_before_the_other_is_ready() {
    let house = House::start(&config(BY_NAME, TWO_NAMES));
    let mut owner = owner_that_wrote(&house, "a");
    let client = house.client();
    recall_to(&client, "v", false, 100);
    assert!(client.hears_refusal(Refusal::NotNow).contains("no other worker `v`"));
    assert_eq!(house.sales().detail, None);

    recall_to(&client, "v", false, 30_000);
    owner.tell("insert b b");
    assert_eq!(house.sales().detail, None, "nobody is asked for anything");
    let mut wanted = worker(&house, "v");
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.tell("release");
    wanted.tell("offered");
    wanted.tell("accept");
    assert_eq!(handed_on(&client).0.unwrap().name, "v");
}

#[test]
fn a_recall_that_is_not_answered_is_withdrawn_and_a_forced_one_kills() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let mut next = house.worker();
    let client = house.client();
    recall_to(&client, "w", false, 200);
    assert!(owner.tell("hear").starts_with("Recalled"));
    assert!(client.hears_refusal(Refusal::NotNow).contains("did not release it in time"));
    assert!(owner.tell("hear").starts_with("Withdrawn"));
    owner.tell("insert b b");

    let since = Instant::now();
    recall_to(&client, "w", true, 200);
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.is_killed();
    assert!(since.elapsed() >= Duration::from_millis(200));
    next.tell("offered");
    next.tell("accept");
    assert_eq!(handed_on(&client).0.unwrap().pid, next.pid());
    assert_eq!(next.tell("get b"), "b");
}

#[test]
fn an_heir_that_dies_is_followed_by_the_next_of_its_name() {
    let house = House::start(&config(BY_NAME, TWO_NAMES));
    let mut owner = owner_that_wrote(&house, "a");
    let mut first = worker(&house, "v");
    let client = house.client();
    recall_to(&client, "v", false, 30_000);
    assert!(owner.tell("hear").starts_with("Recalled"));
    first.kill();
    assert!(owner.tell("hear").starts_with("Withdrawn"));
    let mut second = worker(&house, "v");
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.tell("release");
    second.tell("offered");
    // Dead with the offer in hand: whoever there is gets it, since it is taken back by now.
    let mut third = worker(&house, "v");
    second.kill();
    third.tell("offered");
    third.tell("accept");
    assert_eq!(handed_on(&client).0.unwrap().pid, third.pid());
}

#[test]
fn whoever_wants_it_handed_on_is_not_kept_waiting_however_often() {
    let house = House::start(&config(BY_NAME, ""));
    let (mut owner, mut other) = (owner_that_wrote(&house, "a"), house.worker());
    let client = house.client();
    // Far more than the tries of find-me that are made within a second.
    for round in 0..40 {
        recall(&client);
        assert!(owner.tell("hear").starts_with("Recalled"));
        owner.tell("release");
        other.tell("offered");
        other.tell("accept");
        assert_eq!(handed_on(&client).0.map(|owner| owner.pid), Some(other.pid()), "round {round}");
        std::mem::swap(&mut owner, &mut other);
    }
}

#[test]
fn without_anybody_to_take_it_the_manager_has_it() {
    let house = House::start(&config("", ""));
    let mut owner = worker(&house, "w");
    let client = house.client();
    recall_to(&client, "w", false, 30_000);
    owner.tell("offered");
    owner.tell("accept");
    assert_eq!(handed_on(&client).0.unwrap().pid, owner.pid(), "what nobody owned");
    recall(&client);
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.tell("release");
    assert_eq!(handed_on(&client), (None, 0));
    assert_eq!(house.sales().state, "unowned");
}

#[test]
fn a_loader_is_handed_a_table_when_it_asks_and_never_otherwise() {
    let house = House::start(&config("find_me = \"any\"", ""));
    let loader = house.client();
    loader.register(LOADER, &["sales"]);
    loader.say(&Request::Ready);
    let mut owner = house.worker();
    assert_eq!(owner.tell("offered"), "1", "find-me passes the loader over");
    owner.tell("accept");
    recall_to(&loader, LOADER, false, 30_000);
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.tell("release");
    let (event, _descriptor) = loader.hear_all().unwrap();
    assert!(matches!(event, Event::Offered { epoch: 2, .. }), "{event:?}");
    loader.say(&Request::Decline { table: "sales".to_owned(), epoch: 2, reason: "it is a test".to_owned() });
    assert_eq!(owner.tell("offered"), "3");
}
