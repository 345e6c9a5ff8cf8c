//! What readers have at the manager: pins and being told of changes, given back whatever becomes of them; and limits.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_protocol::message::{Event, Refusal, Request};
use heirloom_protocol::table::{Pin, ReadError, TableReader, is_followed};
use house::{Actor, BY_NAME, Client, House, config, owner_that_wrote};
use std::time::{Duration, Instant};

#[test]
fn actor() {
    house::act();
}

fn sales() -> String {
    "sales".to_owned()
}

fn pin(client: &Client) -> Pin {
    client.say(&Request::Pin { request: 9, table: sales() });
    match client.hear() {
        Event::Pinned { request: 9, slot, version, .. } => Pin::from_parts(slot, version),
        other => panic!("not pinned: {other:?}"),
    }
}

/// A process that holds a pin.
fn holder(house: &House) -> Actor {
    let mut actor = house.actor();
    actor.tell("connect");
    // Answered once the tables are hydrated.
    assert!(actor.tell("open sales").starts_with("Opened"));
    let pinned = actor.tell("pin sales");
    assert!(pinned.starts_with("Pinned"), "{pinned}");
    actor
}

#[test]
fn a_snapshot_is_kept_until_its_reader_says_so() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let client = house.client();
    let region = client.open("sales");
    let reader = TableReader::open(region).unwrap();
    let pin = pin(&client);
    let snapshot = reader.snapshot(pin);
    owner.tell("insert a changed");
    owner.tell("insert b b");
    assert_eq!(snapshot.get(b"a").unwrap().unwrap(), b"a");
    assert_eq!(snapshot.get(b"b").unwrap(), None);
    let sales = house.sales();
    assert_eq!((sales.pins, sales.oldest_pin_version), (1, Some(pin.version())));
    assert!(sales.oldest_pin_age_ms.is_some());

    // Somebody else's, and one that there is not.
    let other = house.client();
    let unpin = |slot, version| Request::Unpin { table: "sales".to_owned(), slot, version };
    other.say(&unpin(pin.slot(), pin.version()));
    other.say(&unpin(u32::MAX, u64::MAX));
    other.say(&Request::Sync { request: 1 });
    assert_eq!(other.hear(), Event::Done { request: 1 });
    assert_eq!(snapshot.get(b"a").unwrap().unwrap(), b"a");

    client.say(&unpin(pin.slot(), pin.version()));
    house.wait_for("unpinned", |sales| sales.pins == 0);
    assert_eq!(snapshot.get(b"a"), Err(ReadError::SnapshotExpired));
}

#[test]
fn the_pins_of_a_killed_reader_are_given_back() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let mut readers: Vec<_> = (0..8).map(|_| holder(&house)).collect();
    assert_eq!(house.sales().pins, 8);
    for number in 0..500 {
        owner.tell(&format!("insert a {number}"));
    }
    for reader in &mut readers {
        reader.kill_only();
    }
    house.wait_for("without pins", |sales| sales.pins == 0);
    // What they held back is reused, or given back, by and by: the owner writes on, and nothing is held any more.
    for number in 0..500 {
        owner.tell(&format!("insert a {number}"));
    }
    house.wait_for("without held entries", |sales| (sales.held_entries, sales.held_bytes) == (0, 0));
}

#[test]
fn there_are_64_pins_and_half_of_them_for_one() {
    let house = House::start(&config(BY_NAME, ""));
    let clients = [house.client(), house.client(), house.client()];
    clients[0].open("sales");
    let again = |client: &Client| client.say(&Request::Pin { request: 1, table: sales() });
    for client in &clients[..2] {
        for _ in 0..32 {
            pin(client);
        }
        again(client);
        assert!(client.hears_refusal(Refusal::TooMany).contains("already"));
    }
    again(&clients[2]);
    assert!(clients[2].hears_refusal(Refusal::TooMany).contains("64"));
    assert_eq!(house.sales().pins, 64);
    drop(clients);
    house.wait_for("without pins", |sales| sales.pins == 0);
}

#[test]
fn a_snapshot_that_is_held_for_too_long_expires() {
    let house = House::start(&config("snapshot_max_age = \"200ms\"", ""));
    let client = house.client();
    let reader = TableReader::open(client.open("sales")).unwrap();
    let since = Instant::now();
    let old = pin(&client);
    let snapshot = reader.snapshot(old);
    assert_eq!(snapshot.get(b"a"), Ok(None));
    house.wait_for("expired", |sales| sales.pins == 0);
    assert!(since.elapsed() >= Duration::from_millis(200));
    assert_eq!(snapshot.get(b"a"), Err(ReadError::SnapshotExpired));
    // A newer one is not touched by what is said of the old one.
    let new = pin(&client);
    assert_eq!((new.slot(), new.version()), (old.slot(), old.version()));
}

#[test]
fn a_table_is_followed_as_long_as_anybody_follows() {
    let house = House::start(&config(BY_NAME, ""));
    let client = house.client();
    let region = client.open("sales");
    let follow = |client: &Client| {
        client.say(&Request::Follow { request: 2, table: sales() });
        assert_eq!(client.hear(), Event::Done { request: 2 });
    };
    assert!(!is_followed(&region));
    follow(&client);
    follow(&client);
    let mut other = house.actor();
    other.tell("connect");
    assert!(other.tell("follow sales").starts_with("Done"));
    assert!(is_followed(&region));
    assert_eq!(house.sales().followers, 3);
    for _ in 0..3 {
        client.say(&Request::Unfollow { table: sales() });
    }
    house.wait_for("followed by the other", |sales| sales.followers == 1);
    assert!(is_followed(&region));
    other.kill_only();
    house.wait_for("followed by nobody", |sales| sales.followers == 0);
    assert!(!is_followed(&region));
}

#[test]
fn a_private_table_is_its_owners_alone() {
    let house = House::start(&config(&format!("{BY_NAME}\naccess = \"private\""), ""));
    let mut owner = house.worker();
    owner.tell("private_offered none");
    owner.tell("accept");
    owner.tell("insert a a");
    owner.tell("bequeath here");
    let client = house.client();
    for request in [
        Request::Open { request: 1, table: sales() },
        Request::Pin { request: 1, table: sales() },
        Request::Follow { request: 1, table: sales() },
    ] {
        client.say(&request);
        assert!(client.hears_refusal(Refusal::NotPermitted).contains("private"));
    }
    assert_eq!(house.sales().access, "private");
    let mut next = house.worker();
    owner.kill_only();
    assert_eq!(next.tell("private_offered here"), "2");
    next.tell("accept");
    assert_eq!(next.tell("get a"), "a");
    next.tell("bequeath_bytes 49153");
    let mut third = house.worker();
    next.kill_only();
    third.tell("private_offered 49153");
}

#[test]
fn a_limit_is_raised_while_the_owner_waits_for_room() {
    let house = House::start(&config(BY_NAME, "").replace("16MiB", "1MiB"));
    let mut owner = owner_that_wrote(&house, "a");
    let said = owner.tell("fill");
    assert!(said.contains("TableFull") || said.contains("full"), "{said}");
    house.wait_for("nearly full", |sales| sales.nearly_full);
    let client = house.client();
    let limit = |max_bytes| client.say(&Request::SetLimit { request: 3, table: sales(), max_bytes });
    // 8 times its first limit is reserved.
    limit(9 << 20);
    assert!(client.hears_refusal(Refusal::NotNow).contains("reserved"));
    limit(600 << 10);
    assert!(client.hears_refusal(Refusal::NotNow).contains("fewer"));
    limit(8 << 20);
    assert_eq!(client.hear(), Event::Done { request: 3 });
    assert_eq!(owner.tell("insert b b"), "done");
    let sales = house.sales();
    assert_eq!((sales.max_bytes, sales.nearly_full), (8 << 20, false));
}

#[test]
fn status_answers_at_once_whatever_readers_do() {
    let house = House::start(&config(BY_NAME, ""));
    let _readers: Vec<_> = (0..8).map(|_| holder(&house)).collect();
    assert_eq!(house.sales().pins, 8);
    house.answers_as_fast_as_an_idle_one();
}
