//! Whatever is sent to the control socket, the manager answers the next one.

use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Refusal, Request};
use heirloom_protocol::sys::{Connection, SocketError};
use heirloom_tests::{Candidate, House, Misbehaviour, PATIENCE, one_table};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::fs::File;
use std::os::fd::AsFd;

const HELLO: Request = Request::Hello { version: PROTOCOL_VERSION };

fn say(connection: &Connection, requests: &[Request]) {
    for request in requests {
        // The manager may have hung up on us already.
        let _ = connection.send_message(request, None);
    }
}

/// Everything that the manager says until it hangs up, or has answered a last question.
fn hear(connection: &Connection) -> Vec<Event> {
    say(connection, &[Request::Status { request: 99 }]);
    let mut events = Vec::new();
    while connection.wait_readable(Some(PATIENCE)).expect("waiting works") {
        match connection.recv_message::<Event>() {
            Ok(Some((Event::Status { request: 99, more: false, .. }, _))) | Ok(None) => return events,
            Ok(Some((event, _))) => events.push(event),
            Err(SocketError::WouldBlock) => {}
            Err(_) => return events,
        }
    }
    panic!("the manager neither answers nor hangs up; it said {events:?}");
}

fn refusal(house: &House, requests: &[Request]) -> Option<Refusal> {
    let connection = Connection::connect(&house.socket()).expect("there is a manager");
    say(&connection, requests);
    hear(&connection).into_iter().find_map(|event| match event {
        Event::Refused { why, message, .. } => {
            assert!(!message.is_empty(), "a refusal says why");
            Some(why)
        }
        _ => None,
    })
}

#[test]
fn nothing_that_is_sent_disturbs_anybody_else() {
    let house = House::start(|_| one_table("ledger", "clerk"));
    let client = house.client();
    let owner = Candidate::start(&house.socket(), "clerk", "ledger", Misbehaviour::None, 0);
    assert_eq!(owner.next_words()[0], "owns");

    let table = || "ledger".to_owned();
    let register = Request::Register { name: "clerk".into(), client: 0 };
    for (requests, expected) in [
        (vec![Request::Hello { version: 999 }], Refusal::Version),
        (vec![Request::Status { request: 1 }], Refusal::Malformed),
        (vec![HELLO, Request::Register { name: "nobody".into(), client: 0 }], Refusal::UnknownWorker),
        (vec![HELLO, register.clone(), Request::Heir { table: "nothing".into() }], Refusal::UnknownTable),
        (vec![HELLO, Request::Open { request: 1, table: "nothing".into() }], Refusal::UnknownTable),
        (vec![HELLO, Request::Children { children: Vec::new() }], Refusal::NotPermitted),
    ] {
        assert_eq!(refusal(&house, &requests), Some(expected), "{requests:?}");
    }
    // What only the owner may say, from somebody who is not.
    for request in [
        Request::Accept { table: table(), epoch: 1 },
        Request::Release { table: table(), epoch: 1, panicked: false },
        Request::Decline { table: table(), epoch: 1, reason: String::new() },
    ] {
        let connection = Connection::connect(&house.socket()).expect("there is a manager");
        say(&connection, &[HELLO, register.clone(), request.clone()]);
        let events = hear(&connection);
        assert!(
            !events.iter().any(|event| matches!(event, Event::Granted { .. })),
            "{request:?}: {events:?}"
        );
        assert_eq!(house.table(&client, "ledger").epoch, 1, "{request:?}: {events:?}");
    }

    garbage(&house);
    let ledger = house.table(&client, "ledger");
    assert_eq!(ledger.owner.map(|owner| owner.pid), Some(owner.pid()), "the owner is still the owner");
    assert_eq!(ledger.state, "owned");
}

/// Random bytes, messages with a byte changed, endless ones, and descriptors that nobody asked for.
fn garbage(house: &House) {
    let mut rng = StdRng::seed_from_u64(5);
    let hello = heirloom_protocol::codec::encode(&HELLO).expect("it fits");
    let null = File::open("/dev/null").expect("there is a /dev/null");
    for round in 0..500 {
        let connection = Connection::connect(&house.socket()).expect("there is a manager");
        if round % 2 == 0 {
            let _ = connection.send(&hello, None);
        }
        let mut bytes = vec![0; rng.random_range(0..300)];
        rng.fill_bytes(&mut bytes);
        if round % 3 == 0 {
            bytes = hello.clone();
            let place = rng.random_range(0..bytes.len());
            bytes[place] ^= 1 << rng.random_range(0..8);
        }
        if round % 50 == 0 {
            bytes.resize(200_000, 0);
        }
        let descriptor = (round % 7 == 0).then(|| null.as_fd());
        let _ = connection.send(&bytes, descriptor);
        if round % 5 == 0 {
            // Every other one just goes away.
            hear(&connection);
        }
    }
}
