//! The way of a table to a worker and back, with a manager that says what the test wants said.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod support;

use std::sync::{Arc, Mutex};

use heirloom_protocol::message::{Event, Refusal, Request, TransferReason};
use heirloom_protocol::table::Recovery;
use heirloom_worker::{
    AcceptError, BequestError, HeirError, TableHeir, Transfer, Worker, WriteError, Writer,
};
use serde::Deserialize;
use support::{Manager, PATIENCE, TABLE, Told, inbox, transfer};

/// A worker that is ready for the table, and its side of the test.
fn candidate(manager: &Manager) -> (Worker, crossbeam_channel::Receiver<Told>, support::Line) {
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

/// Accepts on another thread, while the manager grants on this one.
fn accepted(manager: &Manager, line: &support::Line, transfer: Transfer) -> Writer<str, u64> {
    let accepting = std::thread::spawn(move || transfer.accept::<str, u64>());
    manager.grant(line);
    accepting.join().unwrap().unwrap()
}

#[test]
fn a_table_is_handed_over_with_gift_and_bequest_and_given_back() {
    #[derive(Deserialize)]
    struct Gift {
        currency: String,
    }
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);

    manager.offer(&line, r#"{"currency":"USD"}"#);
    let first = transfer(&told);
    assert_eq!((first.table(), first.epoch(), first.reason()), (TABLE, 1, &TransferReason::First));
    assert_eq!(first.gift::<Gift>().unwrap().currency, "USD");
    assert_eq!(first.bequest::<u64>().unwrap(), None);
    let mut sales = accepted(&manager, &line, first);
    let mut transaction = sales.transaction();
    transaction.update("Zonda", |sold| Some(sold.unwrap_or(0) + 1)).unwrap();
    transaction.bequeath(&7_u64).unwrap();
    assert_eq!(transaction.commit().unwrap(), 1);
    assert!(manager.is_writable_by_somebody());

    sales.release().unwrap();
    manager.expect_release(&line);
    assert_eq!(manager.take_back(), Recovery::Clean);

    manager.offer(&line, "");
    let second = transfer(&told);
    assert_eq!(second.epoch(), 2);
    assert_eq!(second.gift::<Option<u8>>().unwrap(), None);
    assert_eq!(second.bequest::<u64>().unwrap(), Some(7));
    let sales = accepted(&manager, &line, second);
    assert_eq!((sales.get("Zonda").unwrap(), sales.bequest::<u64>().unwrap()), (Some(1), Some(7)));

    // Dropping is releasing.
    drop(sales);
    manager.expect_release(&line);
    manager.take_back();
}

/// Nothing but the acceptance under way holds the connection, and then nothing but the writer.
#[test]
fn a_transfer_is_accepted_with_the_last_handle() {
    let mut manager = Manager::start();
    let (worker, told, line) = candidate(&manager);
    manager.offer(&line, "");
    let last = transfer(&told);
    drop(worker);
    let accepting = std::thread::spawn(move || last.accept::<str, u64>());
    line.expect(Request::Accept { table: TABLE.into(), epoch: 1 });
    // Time enough to close what nothing holds.
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(line.is_silent(), "the worker closed before it was granted what it accepted");
    manager.grant_accepted(&line);
    let mut sales = accepting.join().unwrap().unwrap();
    sales.insert("Zonda", &1).unwrap();
    drop(sales);
    manager.expect_release(&line);
    assert_eq!(line.hear(), None, "without handles the client ends");

    // Answered with no, the acceptance holds it no longer.
    let (worker, told, line) = candidate(&manager);
    manager.offer(&line, "");
    let last = transfer(&told);
    drop(worker);
    let accepting = std::thread::spawn(move || last.accept::<str, u64>());
    line.expect(Request::Accept { table: TABLE.into(), epoch: 2 });
    line.say(Event::Withdrawn { table: TABLE.into(), epoch: 2, reason: "too slow".into() });
    assert!(matches!(accepting.join().unwrap(), Err(AcceptError::Withdrawn { .. })));
    assert_eq!(line.hear(), None, "without handles the client ends");
}

/// Rule H7: unmapped before the release is said, so the proof succeeds at once, every time.
#[test]
fn nobody_can_write_any_more_when_the_release_is_heard() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    for round in 0..100_u64 {
        manager.offer(&line, "");
        let mut sales = accepted(&manager, &line, transfer(&told));
        sales.insert("Zonda", &round).unwrap();
        assert!(manager.is_writable_by_somebody());
        let releasing = std::thread::spawn(move || sales.release());
        manager.expect_release(&line);
        manager.take_back();
        releasing.join().unwrap().unwrap();
    }
}

#[test]
fn a_transfer_that_is_dropped_or_declined_is_said_to_be() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    let declined =
        |epoch, reason: &str| Request::Decline { table: TABLE.into(), epoch, reason: reason.into() };

    manager.offer(&line, "");
    drop(transfer(&told));
    line.expect(declined(1, "the worker dropped the transfer"));

    manager.offer(&line, "");
    transfer(&told).decline("warming up");
    line.expect(declined(2, "warming up"));
}

#[test]
fn an_offer_that_is_withdrawn_cannot_be_accepted() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    let withdrawn = |epoch| Event::Withdrawn { table: TABLE.into(), epoch, reason: "too slow".into() };

    // While the worker waits for the grant.
    manager.offer(&line, "");
    let slow = transfer(&told);
    let accepting = std::thread::spawn(move || slow.accept::<str, u64>());
    line.expect(Request::Accept { table: TABLE.into(), epoch: 1 });
    line.say(withdrawn(1));
    let error = accepting.join().unwrap().unwrap_err();
    assert!(
        matches!(&error, AcceptError::Withdrawn { epoch: 1, reason, .. } if reason == "too slow"),
        "{error}"
    );

    // Before it has said anything: then it says nothing, and the next offer is a good one.
    manager.offer(&line, "");
    let late = transfer(&told);
    line.say(withdrawn(2));
    manager.offer(&line, "");
    let next = transfer(&told);
    assert!(matches!(late.bequest::<u64>(), Err(BequestError::Withdrawn { epoch: 2, .. })));
    assert_eq!(next.bequest::<u64>().unwrap(), None);
    assert!(matches!(late.accept::<str, u64>(), Err(AcceptError::Withdrawn { epoch: 2, .. })));
    accepted(&manager, &line, next).release().unwrap();
    manager.expect_release(&line);
}

#[test]
fn a_grant_that_nobody_waits_for_is_given_back() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    manager.epoch = 5;
    let descriptor = manager.segment.fresh_writable().unwrap();
    line.say_with(Event::Granted { table: TABLE.into(), epoch: 5 }, &descriptor);
    drop(descriptor);
    manager.expect_release(&line);
    manager.take_back();
    assert!(told.is_empty());
}

#[test]
fn the_owner_hears_that_it_is_recalled_or_fenced() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    manager.offer(&line, "");
    let mut sales = accepted(&manager, &line, transfer(&told));
    assert!(!sales.is_recalled());

    line.say(Event::Recalled { table: TABLE.into(), epoch: 1, deadline_ms: 1000 });
    let recall = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&recall, Told::Recalled(recall) if recall.epoch == 1), "{recall:?}");
    assert!(sales.is_recalled());

    // Not answered in its time: the table stays.
    line.say(Event::Withdrawn {
        table: TABLE.into(),
        epoch: 1,
        reason: "the recall was not answered".into(),
    });
    line.say(Event::Recalled { table: TABLE.into(), epoch: 9, deadline_ms: 1000 }); // none of ours
    // What is answered after those two: then they have been heard.
    let stray = Event::Granted { table: "cars".into(), epoch: 1 };
    line.say(stray);
    line.expect(Request::Release { table: "cars".into(), epoch: 1, panicked: false });
    assert!(!sales.is_recalled());
    sales.insert("Zonda", &1).unwrap();

    line.say(Event::Fenced { table: TABLE.into(), epoch: 1, reason: "an operator said so".into() });
    let fenced = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&fenced, Told::Fenced(fenced) if fenced.epoch == 1), "{fenced:?}");
    assert!(sales.is_recalled());
    assert!(matches!(sales.release(), Err(WriteError::Fenced { epoch: 1, .. })));
}

#[test]
fn a_later_epoch_in_the_header_stops_a_writer() {
    let mut manager = Manager::start();
    let (_worker, told, line) = candidate(&manager);
    manager.offer(&line, "");
    let mut sales = accepted(&manager, &line, transfer(&told));
    sales.insert("Zonda", &1).unwrap();
    heirloom_protocol::table::begin_epoch(&manager.segment.map().unwrap(), 2).unwrap();
    assert!(matches!(sales.insert("Zonda", &2), Err(WriteError::Fenced { epoch: 1, .. })));
    assert_eq!(sales.get("Zonda").unwrap(), Some(1));
}

/// Waits for itself, then panics, then does well.
struct Clumsy {
    calls: u32,
    failed: Arc<Mutex<Option<AcceptError>>>,
    well: crossbeam_channel::Sender<Transfer>,
}

impl TableHeir for Clumsy {
    fn transferred(&mut self, transfer: Transfer) {
        self.calls += 1;
        match self.calls {
            1 => *self.failed.lock().unwrap() = transfer.accept::<str, u64>().err(),
            2 => panic!("an heir of a test"),
            _ => self.well.send(transfer).unwrap(),
        }
    }
}

#[test]
fn a_clumsy_heir_costs_its_worker_that_transfer_only() {
    let mut manager = Manager::start();
    let failed = Arc::new(Mutex::new(None));
    let (well, transfers) = crossbeam_channel::unbounded();
    let clumsy = Clumsy { calls: 0, failed: Arc::clone(&failed), well };
    let worker = manager.beside(move |socket| {
        let worker = Worker::connect(socket, "tracker").unwrap();
        worker.heir(TABLE, clumsy).unwrap();
        worker.ready().unwrap();
        worker
    });
    let line = manager.candidate("tracker");
    let _worker = worker.join().unwrap();
    for epoch in [1, 2] {
        manager.offer(&line, "");
        let reason = "the worker dropped the transfer".into();
        line.expect(Request::Decline { table: TABLE.into(), epoch, reason });
    }
    assert!(matches!(failed.lock().unwrap().take(), Some(AcceptError::OnClientThread { .. })));
    manager.offer(&line, "");
    accepted(&manager, &line, transfers.recv_timeout(PATIENCE).unwrap()).release().unwrap();
}

#[test]
fn an_heir_that_the_manager_does_not_agree_to_is_none() {
    let manager = Manager::start();
    let connecting = manager.beside(|socket| Worker::connect(socket, "tracker").unwrap());
    let line = manager.register("tracker");
    let worker = connecting.join().unwrap();
    let registering = std::thread::spawn(move || {
        let misspelt = worker.heir("salse", inbox().0);
        let fine = worker.heir(TABLE, inbox().0);
        let twice = worker.heir(TABLE, inbox().0);
        (worker, misspelt, fine, twice)
    });
    line.expect(Request::Heir { table: "salse".into() });
    let Some(Request::Sync { request }) = line.hear() else { panic!("expected to be asked") };
    let message = "there is no [[table]] `salse` in the configuration".to_owned();
    line.say(Event::Refused { request: None, why: Refusal::UnknownTable, message });
    line.say(Event::Done { request });
    line.agree();
    let (_worker, misspelt, fine, twice) = registering.join().unwrap();
    let said = "the manager refuses: there is no [[table]] `salse` in the configuration";
    assert_eq!(misspelt.unwrap_err().to_string(), said);
    fine.unwrap();
    assert!(matches!(twice, Err(HeirError::Twice { .. })));
}
