//! The ready-made heir of a service: owner, standby, and owner again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod support;

use heirloom_protocol::message::{Event, Request};
use heirloom_worker::{Owned, OwnedError, Worker, WriteError};
use support::{Line, Manager, TABLE, segment};

/// A service, ready, and the manager's line to it.
fn service(manager: &Manager) -> (Worker, Owned<str, u64>, Line) {
    let service = manager.beside(|socket| {
        let worker = Worker::connect(socket, "web").unwrap();
        let sessions = worker.own::<str, u64>(TABLE).unwrap();
        worker.ready().unwrap();
        (worker, sessions)
    });
    let line = manager.register("web");
    manager.open(&line);
    line.agree();
    line.expect(Request::Ready);
    let (worker, sessions) = service.join().unwrap();
    (worker, sessions, line)
}

fn make_owner(manager: &mut Manager, line: &Line, sessions: &Owned<str, u64>) {
    manager.hand_over(line);
    support::until("the service owns the table", || sessions.is_owner());
}

fn assert_standby(sessions: &Owned<str, u64>) {
    let error = sessions.write(|table| table.insert("mallory", &1)).unwrap_err();
    assert_eq!(error, OwnedError::NotOwner { table: TABLE.into() });
}

#[test]
fn a_service_writes_while_it_owns_and_answers_recalls_after_the_write_in_hand() {
    let mut manager = Manager::start();
    let (_worker, sessions, line) = service(&manager);
    assert_standby(&sessions);
    for epoch in [1, 2] {
        make_owner(&mut manager, &line, &sessions);
        let logins = sessions.write(|table| {
            line.say(Event::Recalled { table: TABLE.into(), epoch, deadline_ms: 1000 });
            support::until("the recall is heard", || table.is_recalled());
            table.update("alice", |logins| Some(logins.unwrap_or(0) + 1))?;
            Ok(table.get("alice")?)
        });
        assert_eq!(logins.unwrap(), Some(epoch));
        manager.expect_release(&line);
        manager.take_back();
        assert_standby(&sessions);
        assert_eq!(sessions.get("alice").unwrap(), Some(epoch), "a standby reads");
    }
}

#[test]
fn a_write_that_fails_says_how() {
    let mut manager = Manager::start();
    let (_worker, sessions, line) = service(&manager);
    make_owner(&mut manager, &line, &sessions);
    let failed =
        sessions.write(|_| Err::<(), _>(WriteError::TableFull { table: TABLE.into(), max_bytes: 1 }));
    assert!(matches!(failed, Err(OwnedError::Write(WriteError::TableFull { .. }))));

    // A handler that panics neither wedges the service nor loses it the table.
    let clone = sessions.clone();
    let panicked =
        std::thread::spawn(move || clone.write(|_| -> Result<(), _> { panic!("a handler of a test") }));
    assert!(panicked.join().is_err());
    sessions.write(|table| table.insert("alice", &1)).unwrap();
}

#[test]
fn a_service_that_was_fenced_stands_by() {
    let mut manager = Manager::start();
    let (_worker, sessions, line) = service(&manager);
    make_owner(&mut manager, &line, &sessions);
    line.say(Event::Fenced { table: TABLE.into(), epoch: 1, reason: "an operator said so".into() });
    support::until("the service has heard", || !sessions.is_owner());
    assert_standby(&sessions);
    // Unmapped; the manager knows already that it is over.
    support::until("the service has unmapped it", || !manager.is_writable_by_somebody());
    manager.take_back();
    make_owner(&mut manager, &line, &sessions);
}

/// The manager died and had to create the table anew: epochs begin again at 1.
#[test]
fn a_service_leaves_the_table_of_a_manager_that_died() {
    let mut manager = Manager::start();
    let (_worker, sessions, line) = service(&manager);
    make_owner(&mut manager, &line, &sessions);
    let old = std::mem::replace(&mut manager.segment, segment(2));
    manager.epoch = 0;
    drop(line);
    let line = manager.owner_again("web", 1);
    manager.open(&line);
    manager.hand_over(&line);
    support::until("the service owns the new table", || {
        sessions.is_owner() && sessions.reader().info().incarnation == 2
    });
    sessions.write(|table| table.insert("alice", &7)).unwrap();
    assert_eq!(sessions.get("alice").unwrap(), Some(7));
    support::until("the old table is unmapped", || old.prove_unwritable().is_ok());
    // The first thing that is said is the release of the new one, when it is asked for.
    assert!(sessions.is_owner() && line.is_silent());
    line.say(Event::Recalled { table: TABLE.into(), epoch: 1, deadline_ms: 1000 });
    manager.expect_release(&line);
    manager.take_back();
}

#[test]
fn the_last_handle_gives_the_table_back() {
    let mut manager = Manager::start();
    let (_worker, sessions, line) = service(&manager);
    make_owner(&mut manager, &line, &sessions);
    let clone = sessions.clone();
    drop(sessions);
    clone.write(|table| table.insert("alice", &1)).unwrap();
    drop(clone);
    manager.expect_release(&line);
    manager.take_back();

    manager.offer(&line, "");
    let reason = "the service has dropped its handle".into();
    line.expect(Request::Decline { table: TABLE.into(), epoch: 2, reason });
}
