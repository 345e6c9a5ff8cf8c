//! What a worker does while the manager is away, and when it is back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod support;

use heirloom_protocol::message::{Event, OfferedBequest, Refusal, Request};
use heirloom_protocol::sys::Listener;
use heirloom_worker::{AcceptError, Client, ConnectError, HandOn, Reader, Worker, WriteError, Writer};
use support::{Line, Manager, PATIENCE, TABLE, Told, inbox, segment, transfer, written};

type Inbox = crossbeam_channel::Receiver<Told>;

fn candidate(manager: &Manager) -> (Worker, Inbox, Line) {
    let (heir, told) = inbox();
    let worker = manager.beside(move |socket| {
        let worker = Worker::connect(socket, "tracker").unwrap();
        worker.heir(TABLE, heir).unwrap();
        worker.ready().unwrap();
        worker
    });
    let line = manager.candidate("tracker");
    (worker.join().unwrap(), told, line)
}

fn owner(manager: &mut Manager) -> (Worker, Inbox, Line, Writer<str, u64>) {
    let (worker, told, line) = candidate(manager);
    manager.offer(&line, "");
    let offered = transfer(&told);
    let accepting = std::thread::spawn(move || offered.accept());
    manager.grant(&line);
    (worker, told, line, accepting.join().unwrap().unwrap())
}

fn client(manager: &Manager) -> (Client, Line) {
    let client = manager.beside(|socket| Client::connect(socket).unwrap());
    let line = manager.accept();
    line.welcome();
    (client.join().unwrap(), line)
}

#[test]
fn owners_write_and_readers_read_while_the_manager_is_away() {
    let mut manager = Manager::start();
    let (worker, _told, line, mut sales) = owner(&mut manager);
    let reading = std::thread::spawn(move || worker.reader::<str, u64>(TABLE).map(|reader| (worker, reader)));
    manager.open(&line);
    let (_worker, reader) = reading.join().unwrap().unwrap();

    drop(line);
    for sold in 1..=100 {
        sales.insert("Zonda", &sold).unwrap();
        assert_eq!(reader.get("Zonda").unwrap(), Some(sold));
    }

    // Back, and everything the manager must know is said again: also the release that nobody heard.
    drop(sales);
    let line = manager.register("tracker");
    line.expect(Request::Heir { table: TABLE.into() });
    manager.expect_release(&line);
    line.expect(Request::Ready);
    assert_eq!(reader.get("Zonda").unwrap(), Some(100));
}

#[test]
fn an_acceptance_under_way_fails_and_the_next_offer_is_a_good_one() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    manager.offer(&line, "");
    let offered = transfer(&told);
    let accepting = std::thread::spawn(move || offered.accept::<str, u64>());
    line.expect(Request::Accept { table: TABLE.into(), epoch: 1 });
    drop(line);
    assert!(matches!(accepting.join().unwrap(), Err(AcceptError::Withdrawn { epoch: 1, .. })));

    let line = manager.candidate_again("tracker");
    manager.offer(&line, "");
    let offered = transfer(&told);
    let accepting = std::thread::spawn(move || offered.accept::<str, u64>());
    manager.grant(&line);
    accepting.join().unwrap().unwrap();
}

/// A manager that died, and whose successor has its tables, hears who owns them, and as which client.
#[test]
fn an_owner_that_comes_back_says_what_it_holds_and_goes_on() {
    let mut manager = Manager::start();
    let (_worker, told, line, mut sales) = owner(&mut manager);
    let mut clients = Vec::new();
    let mut line = Some(line);
    for sold in 1..=3 {
        drop(line.take());
        sales.insert("Zonda", &sold).unwrap();
        let back = manager.accept();
        back.welcome();
        clients.push(back.expect_registration("tracker"));
        back.say(Event::Registered);
        back.expect(Request::Holds { table: TABLE.into(), epoch: 1 });
        back.expect(Request::Heir { table: TABLE.into() });
        back.expect(Request::Ready);
        line = Some(back);
    }
    assert!(clients.iter().all(|client| *client == clients[0]), "{clients:?}");
    assert!(told.is_empty() && !sales.is_recalled());
    let line = line.unwrap();
    line.say(Event::Fenced { table: TABLE.into(), epoch: 1, reason: "it was given to another".into() });
    assert!(matches!(told.recv_timeout(PATIENCE).unwrap(), Told::Fenced(fenced) if fenced.epoch == 1));
    assert!(sales.is_recalled());
}

/// A manager that died and had to create the table anew counts epochs from the beginning.
#[test]
fn an_older_ownership_is_not_taken_for_the_new_one_of_its_number() {
    let mut manager = Manager::start();
    let (_worker, told, line, mut old) = owner(&mut manager);
    manager.segment = segment(2);
    manager.epoch = 0;
    drop(line);
    let line = manager.owner_again("tracker", 1);
    old.insert("Zonda", &1).unwrap();
    manager.offer(&line, "");
    let fenced = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&fenced, Told::Fenced(fenced) if fenced.epoch == 1), "{fenced:?}");
    assert!(old.is_recalled());
    let offered = transfer(&told);
    let accepting = std::thread::spawn(move || offered.accept::<str, u64>());
    manager.grant(&line);
    let mut new = accepting.join().unwrap().unwrap();
    assert_eq!((old.epoch(), new.epoch()), (1, 1));

    // The old one ends without a word, and the new one goes on.
    assert!(matches!(old.release(), Err(WriteError::Fenced { epoch: 1, .. })));
    assert!(line.is_silent() && !new.is_recalled());
    new.insert("Zonda", &2).unwrap();
    new.release().unwrap();
    manager.expect_release(&line);
    manager.take_back();
}

#[test]
fn readers_move_to_a_table_that_was_created_anew() {
    let mut manager = Manager::start();
    written(&manager.segment, "Zonda", 1);
    let (client, line) = client(&manager);
    let reading = std::thread::spawn(move || client.reader::<str, u64>(TABLE).unwrap());
    manager.open(&line);
    // The reader alone keeps the client's thread going.
    let reader: Reader<str, u64> = reading.join().unwrap();
    let clone = reader.clone();
    assert_eq!(reader.get("Zonda").unwrap(), Some(1));

    manager.segment = segment(2);
    written(&manager.segment, "Zonda", 2);
    drop(line);
    let line = manager.accept();
    line.welcome();
    assert_eq!(reader.get("Zonda").unwrap(), Some(1), "until it can be told, it reads what there was");
    manager.open(&line);
    support::until("the readers have moved", || reader.info().incarnation == 2);
    assert_eq!((reader.get("Zonda").unwrap(), clone.get("Zonda").unwrap()), (Some(2), Some(2)));

    drop((reader, clone));
    assert_eq!(line.hear(), None, "without handles the client ends");
}

/// The manager keeps only so many descriptors waiting for a connection.
#[test]
fn readers_move_one_table_after_the_other() {
    let mut manager = Manager::start();
    let (client, mut line) = client(&manager);
    let opened = |line: &Line, manager: &Manager| match line.hear() {
        Some(Request::Open { request, table }) => {
            let descriptor = manager.segment.fresh_read_only().unwrap();
            line.say_with(Event::Opened { request, table: table.clone() }, &descriptor);
            table
        }
        other => panic!("expected to be asked for a table, heard {other:?}"),
    };
    let mut readers: Vec<Reader<str, u64>> = Vec::new();
    for table in ["sales", "cars", "tyres"] {
        let client = client.clone();
        let reading = std::thread::spawn(move || client.reader(table).unwrap());
        opened(&line, &manager);
        readers.push(reading.join().unwrap());
    }

    manager.segment = segment(2);
    drop(line);
    line = manager.accept();
    line.welcome();
    let asked = |why, message: &str| {
        let Some(Request::Open { request, table }) = line.hear() else { panic!("expected to be asked") };
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(line.is_silent(), "asked for more before it was answered");
        line.say(Event::Refused { request: Some(request), why, message: message.into() });
        table
    };
    // Not now: asked again. Never: the others are asked for all the same.
    let first = asked(Refusal::TooMany, "read the answers before asking for more tables");
    assert_eq!(opened(&line, &manager), first);
    let second = asked(Refusal::NotPermitted, "not any more");
    let third = opened(&line, &manager);
    support::until("the third has moved", || {
        readers.iter().filter(|reader| reader.info().incarnation == 2).count() == 2
    });
    for reader in &readers {
        assert_eq!(reader.info().incarnation == 1, reader.table() == second);
    }
    assert!(first != third && line.is_silent());
}

#[test]
fn what_was_asked_is_asked_again() {
    let manager = Manager::start();
    let (client, line) = client(&manager);
    let recalling = std::thread::spawn(move || client.hand_on(TABLE, HandOn::new()));
    let recall = line.hear().unwrap();
    let Request::Recall { request, .. } = recall else { panic!("{recall:?}") };
    drop(line);

    let line = manager.accept();
    line.welcome();
    line.expect(recall);
    line.say(Event::HandedOn { request, owner: None, handoff: None });
    assert_eq!(recalling.join().unwrap().unwrap().owner, None);
}

#[test]
fn a_manager_that_breaks_the_protocol_is_left_and_tried_again() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    let without_descriptor = Event::Offered {
        table: TABLE.into(),
        epoch: 1,
        gift: String::new(),
        reason: heirloom_protocol::message::TransferReason::First,
        expires_in_ms: 1000,
        bequest: OfferedBequest::InSegment,
    };
    line.say(without_descriptor);
    assert_eq!(line.hear(), None);
    let line = manager.candidate_again("tracker");
    line.say_garbage();
    assert_eq!(line.hear(), None);
    let line = manager.candidate_again("tracker");
    line.say(Event::Registered); // out of turn
    assert_eq!(line.hear(), None);

    let line = manager.candidate_again("tracker");
    manager.offer(&line, "");
    drop(transfer(&told));
}

#[test]
fn a_first_connection_that_fails_says_why() {
    let manager = Manager::start();
    let connecting = manager.beside(|socket| Worker::connect(socket, "trakcer"));
    let line = manager.accept();
    line.welcome();
    line.expect_registration("trakcer");
    let message = "no worker `trakcer` in the configuration; did you mean `tracker`?".to_owned();
    line.say(Event::Refused { request: None, why: Refusal::UnknownWorker, message });
    let error = connecting.join().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manager refuses: no worker `trakcer` in the configuration; did you mean `tracker`?"
    );
    assert_eq!(line.hear(), None, "it does not try again");

    let connecting = manager.beside(Client::connect);
    let line = manager.accept();
    line.hear();
    line.say(Event::Welcome { version: 999, manager_pid: 1 });
    let error = connecting.join().unwrap().unwrap_err();
    assert!(matches!(&error, ConnectError::Refused { why: Refusal::Version, .. }), "{error}");

    let error = Client::connect(manager.socket.with_extension("none")).unwrap_err();
    assert!(matches!(&error, ConnectError::Unreachable { .. }), "{error}");
}

#[test]
fn a_manager_that_is_just_starting_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let path = socket.clone();
    let connecting = std::thread::spawn(move || Client::connect_within(path, PATIENCE));
    // It may try before or after this; either way it connects.
    let listener = Listener::bind(&socket, 0o600).unwrap();
    let line = Line::new(listener.accept().unwrap());
    line.welcome();
    connecting.join().unwrap().unwrap();
}
