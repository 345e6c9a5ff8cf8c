//! The tokio form: the same way of a table, awaited; and the ready-made heir of a service.
#![cfg(all(feature = "tokio", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod support;

use std::time::Duration;

use heirloom_protocol::message::{Event, Request};
use heirloom_worker::tokio::{Client, Heir, Told, Transfer, Worker, release};
use heirloom_worker::{AcceptError, Owned, OwnedError};
use support::{Line, Manager, PATIENCE, TABLE};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Runs the manager's side, which blocks, beside the runtime.
fn beside<T: Send + 'static>(manager: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(manager)
}

async fn candidate() -> (Manager, Worker, Heir, Line) {
    let manager = Manager::start();
    let socket = manager.socket.clone();
    let manager = beside(move || {
        let line = manager.candidate("tracker");
        (manager, line)
    });
    let worker = Worker::connect(socket, "tracker").await.unwrap();
    let heir = worker.heir(TABLE).await.unwrap();
    worker.ready().unwrap();
    let (manager, line) = manager.await.unwrap();
    (manager, worker, heir, line)
}

async fn transfer(heir: &mut Heir) -> Transfer {
    match timeout(PATIENCE, heir.next()).await {
        Ok(Some(Told::Transferred(transfer))) => transfer,
        other => panic!("expected a transfer, got {other:?}"),
    }
}

#[tokio::test]
async fn a_table_is_awaited_accepted_recalled_and_released() {
    let (mut manager, _worker, mut heir, line) = candidate().await;
    manager.offer(&line, "7");
    let transfer = transfer(&mut heir).await;
    assert_eq!(transfer.gift::<u8>().unwrap(), 7);
    let granted = beside(move || {
        manager.grant(&line);
        (manager, line)
    });
    // The future is Send: a service spawns it.
    let mut writer = tokio::spawn(transfer.accept::<str, u64>()).await.unwrap().unwrap();
    let (manager, line) = granted.await.unwrap();
    writer.insert("Zonda", &1).unwrap();

    assert!(timeout(Duration::ZERO, writer.recalled()).await.is_err());
    line.say(Event::Recalled { table: TABLE.into(), epoch: 1, deadline_ms: 1000 });
    timeout(PATIENCE, writer.recalled()).await.unwrap();
    assert!(matches!(heir.next().await, Some(Told::Recalled(recall)) if recall.epoch == 1));
    release(writer).await.unwrap();
    manager.expect_release(&line);
    manager.take_back();
}

#[tokio::test]
async fn an_acceptance_that_is_cancelled_gives_the_table_back() {
    let (mut manager, _worker, mut heir, line) = candidate().await;
    manager.offer(&line, "");
    let accepting = tokio::spawn(transfer(&mut heir).await.accept::<str, u64>());
    let accepted = beside(move || {
        line.expect(Request::Accept { table: TABLE.into(), epoch: 1 });
        (manager, line)
    });
    let (mut manager, line) = accepted.await.unwrap();
    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    let descriptor = manager.segment.fresh_writable().unwrap();
    line.say_with(Event::Granted { table: TABLE.into(), epoch: 1 }, &descriptor);
    drop(descriptor);
    manager.expect_release(&line);
    manager.take_back();

    // And nothing is stuck.
    manager.offer(&line, "");
    let withdrawn = transfer(&mut heir).await;
    line.say(Event::Withdrawn { table: TABLE.into(), epoch: 2, reason: "changed my mind".into() });
    let error = withdrawn.accept::<str, u64>().await.unwrap_err();
    assert!(matches!(error, AcceptError::Withdrawn { epoch: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_question_that_nobody_awaits_is_not_asked_again() {
    let (manager, worker, _heir, line) = candidate().await;
    let client = worker.client();
    let asking = tokio::spawn(async move { client.status().await });
    let heard = beside(move || line.hear().map(|heard| (heard, line))).await.unwrap();
    let Some((Request::Status { .. }, line)) = heard else { panic!("expected to be asked") };
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    drop(line);
    let again = beside(move || {
        let line = manager.candidate_again("tracker");
        std::thread::sleep(Duration::from_millis(20));
        line.is_silent()
    });
    assert!(again.await.unwrap());
}

#[tokio::test]
async fn a_dropped_heir_declines() {
    let (mut manager, _worker, heir, line) = candidate().await;
    drop(heir);
    manager.offer(&line, "");
    let heard = beside(move || line.hear()).await.unwrap();
    assert!(matches!(heard, Some(Request::Decline { epoch: 1, .. })), "{heard:?}");
}

#[tokio::test]
async fn a_service_owns_a_table() {
    let manager = Manager::start();
    let socket = manager.socket.clone();
    let registered = beside(move || {
        let line = manager.register("web");
        manager.open(&line);
        line.agree();
        line.expect(Request::Ready);
        (manager, line)
    });
    let worker = Worker::connect(socket, "web").await.unwrap();
    let sessions: Owned<str, u64> = worker.own(TABLE).await.unwrap();
    worker.ready().unwrap();
    let (mut manager, line) = registered.await.unwrap();
    let standby = sessions.write(|table| table.insert("alice", &1)).unwrap_err();
    assert_eq!(standby, OwnedError::NotOwner { table: TABLE.into() });

    let owner = sessions.clone();
    let granted = beside(move || {
        manager.hand_over(&line);
        support::until("owner", || owner.is_owner());
        line
    });
    let _line = granted.await.unwrap();
    sessions.write(|table| table.insert("alice", &1)).unwrap();
    assert_eq!(sessions.get("alice").unwrap(), Some(1));
}

#[tokio::test]
async fn a_client_reads_and_asks() {
    let manager = Manager::start();
    support::written(&manager.segment, "Zonda", 1);
    let socket = manager.socket.clone();
    let manager = beside(move || {
        let line = manager.accept();
        line.welcome();
        manager.open(&line);
        let Some(Request::Status { request }) = line.hear() else {
            panic!("expected to be asked for the status")
        };
        let json =
            r#"{"manager_pid":7,"uptime_ms":1,"tables":[],"workers":[],"children":[],"warnings":["é"]}"#;
        let (one, two) = json.split_at(20);
        line.say(Event::Status { request, piece: one.to_owned(), more: true });
        line.say(Event::Status { request, piece: two.to_owned(), more: false });
        line
    });
    let client = Client::connect(socket).await.unwrap();
    let reader = client.reader::<str, u64>(TABLE).await.unwrap();
    assert_eq!(reader.get("Zonda").unwrap(), Some(1));
    let status = client.status().await.unwrap();
    assert_eq!((status.manager_pid, status.warnings), (7, vec!["é".to_owned()]));
    drop(manager.await.unwrap());
}
