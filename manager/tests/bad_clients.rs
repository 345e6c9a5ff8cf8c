//! Clients that say what they must not: an error for them, and nothing for anybody else.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_protocol::message::{Event, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Refusal, Request};
use heirloom_protocol::sys::needs;
use house::{BY_NAME, Client, House, config};

#[test]
fn actor() {
    house::act();
}

/// Nothing more comes, and the connection has ended.
fn is_cut_off(client: &Client) {
    assert!(client.hear_all().is_none());
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = house.worker();
    owner.tell("offered");
    owner.tell("accept");
    let hello = heirloom_protocol::codec::encode(&Request::Hello { version: PROTOCOL_VERSION }).unwrap();
    let mut trailing = hello.clone();
    trailing.push(0);
    for garbage in
        [&b"\xff\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 4096], &trailing, &hello[..1]]
    {
        let client = Client::connected(house.socket());
        client.connection.send(garbage, None).unwrap();
        client.hears_refusal(Refusal::Malformed);
        is_cut_off(&client);
    }
    owner.tell("insert a a");
    assert_eq!(house.sales().state, "owned");
}

#[test]
fn a_message_that_is_too_long_ends_the_connection() {
    let house = House::start(&config(BY_NAME, ""));
    let client = house.client();
    // Past our own library, which does not send such messages.
    let packet = vec![0; MAX_MESSAGE_BYTES + 1];
    rustix::net::send(&client.connection, &packet, rustix::net::SendFlags::empty()).unwrap();
    client.hears_refusal(Refusal::Malformed);
    is_cut_off(&client);
    house.status();
}

#[test]
fn another_version_is_told_so() {
    let house = House::start(&config(BY_NAME, ""));
    let client = Client::connected(house.socket());
    client.say(&Request::Hello { version: PROTOCOL_VERSION + 1 });
    let message = client.hears_refusal(Refusal::Version);
    let named = [PROTOCOL_VERSION, PROTOCOL_VERSION + 1].map(|version| format!("version {version}"));
    assert!(named.iter().all(|version| message.contains(version)), "{message}");
    is_cut_off(&client);
}

#[test]
fn hello_comes_first() {
    let house = House::start(&config(BY_NAME, ""));
    let client = Client::connected(house.socket());
    client.say(&Request::Ready);
    client.hears_refusal(Refusal::Malformed);
    is_cut_off(&client);
}

#[test]
fn what_makes_no_sense_is_refused_and_the_connection_goes_on() {
    let house = House::start(&config(BY_NAME, ""));
    let client = house.client();
    let sales = || "sales".to_owned();
    client.say(&Request::Ready);
    client.hears_refusal(Refusal::NotNow);
    client.say(&Request::Accept { table: sales(), epoch: 1 });
    client.hears_refusal(Refusal::NotNow);
    client.say(&Request::Register { name: "nobody".to_owned(), client: 0 });
    assert!(client.hears_refusal(Refusal::UnknownWorker).contains("`nobody`"));
    client.say(&Request::Register { name: "w".repeat(1000), client: 0 });
    client.hears_refusal(Refusal::Malformed);

    let client = house.client();
    client.register("w", &[]);
    client.say(&Request::Register { name: "w".to_owned(), client: 0 });
    client.hears_refusal(Refusal::NotNow);
    client.say(&Request::Heir { table: "boats".to_owned() });
    assert!(client.hears_refusal(Refusal::UnknownTable).contains("`boats`"));
    client.say(&Request::Open { request: 5, table: "boats".to_owned() });
    match client.hear() {
        Event::Refused { request: Some(5), why: Refusal::UnknownTable, .. } => {}
        other => panic!("{other:?}"),
    }
    client.say(&Request::Children { children: vec![] });
    client.hears_refusal(Refusal::NotPermitted);
}

#[test]
fn who_does_not_read_loses_its_connection_and_nobody_waits_for_it() {
    let house = House::start(&config(BY_NAME, ""));
    let deaf = house.client();
    deaf.connection.set_nonblocking(true).unwrap();
    // Asks, and never reads an answer, until the manager has enough of it.
    let mut request = 0;
    let deadline = std::time::Instant::now() + house::PATIENCE;
    loop {
        request += 1;
        match deaf.connection.send_message(&Request::Status { request }, None) {
            Ok(()) => {}
            Err(error) if error.is_would_block() => {
                house.status();
            }
            Err(_) => break,
        }
        assert!(std::time::Instant::now() < deadline, "it is still listened to after {request} requests");
    }
    house.status();
}

#[test]
fn who_does_not_read_gets_no_more_descriptors() {
    let house = House::start(&config(BY_NAME, ""));
    let mut client = house.client();
    let open = |request| client.say(&Request::Open { request, table: "sales".to_owned() });
    (0..20).for_each(open);
    // What another one of its user says once these are received, is answered after them.
    let deadline = std::time::Instant::now() + house::PATIENCE;
    while client.connection.unread().unwrap() > 0 {
        assert!(std::time::Instant::now() < deadline, "it is not listened to");
        std::thread::yield_now();
    }
    house.status();
    let answers: Vec<_> = (0..20).map(|_| client.hear()).collect();
    let refused = |event: &&Event| matches!(event, Event::Refused { why: Refusal::TooMany, .. });
    assert_eq!(answers.iter().filter(refused).count(), 12, "{answers:?}");
    // Once it has read them, it is as any other.
    client.status();
    client.open("sales");
}

#[test]
fn another_user_gets_what_the_configuration_grants() {
    if !needs::root("another_user_gets_what_the_configuration_grants") {
        return;
    }
    let (nobody, somebody) = (65_534, 65_533);
    let house = House::start_for_all(&config(
        &format!("{BY_NAME}\nreaders = {{ users = [\"{somebody}\"] }}"),
        "[[table]]\nid = \"secret\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\n",
    ));
    let mut actor = house.actor_as(nobody);
    actor.tell("register w");
    assert!(actor.tell("open secret").contains("NotPermitted"));
    assert!(actor.tell("open sales").contains("NotPermitted"));
    assert!(actor.tell("heir sales").contains("NotPermitted"));
    let mut actor = house.actor_as(somebody);
    actor.tell("register w");
    assert!(actor.tell("open secret").contains("NotPermitted"));
    assert!(actor.tell("open sales").contains("Opened"));
    assert!(actor.tell("heir sales").contains("NotPermitted"));
}

#[test]
fn connections_of_one_user_are_counted() {
    let house = House::start(&config(BY_NAME, ""));
    let greet = || {
        let client = Client::connected(house.socket());
        // One that is refused may be gone already.
        let _ = client.connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None);
        client
    };
    let mut clients = Vec::new();
    loop {
        let client = greet();
        match client.try_hear() {
            Some(Event::Welcome { .. }) => clients.push(client),
            Some(Event::Refused { why: Refusal::TooMany, message, .. }) => {
                break assert!(message.contains(&format!("{} connections", clients.len())), "{message}");
            }
            // Cut off with its Hello unread: the kernel says that first, and once.
            None if !clients.is_empty() => {}
            other => panic!("{other:?}"),
        }
        assert!(clients.len() <= 4096, "nobody counts");
    }
    clients.truncate(1);
    // The manager takes note of each end in its own time.
    let deadline = std::time::Instant::now() + house::PATIENCE;
    loop {
        if matches!(greet().try_hear(), Some(Event::Welcome { .. })) {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn a_forked_child_does_not_speak_for_its_parent() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = house.worker();
    owner.tell("offered");
    owner.tell("accept");
    // Another process on the same connection: the kernel says who sends.
    assert!(owner.tell("child_releases").contains("NotPermitted"));
    assert_eq!(house.sales().state, "owned");
}
