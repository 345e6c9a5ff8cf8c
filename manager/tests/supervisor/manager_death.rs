//! The manager dies: it is started again, with its descriptors; nobody else notices.

use crate::stage::{Stage, signal_process, wait_gone, worker};
use rustix::process::Signal;

fn pid_and_names(event: &str) -> (u32, String) {
    let mut words = event.split(' ').skip(2);
    let pid = words.next().and_then(|pid| pid.parse().ok()).expect("a process id");
    (pid, words.next().expect("names").to_owned())
}

/// Starts everything; the manager's process id.
fn running(config: &str) -> (Stage, u32) {
    let mut stage = Stage::unchecked(config, |_| {});
    let (pid, names) = pid_and_names(&stage.expect("manager start"));
    assert_eq!(names, "control", "the store is empty at first");
    stage.make_ready();
    (stage, pid)
}

#[test]
fn a_killed_manager_is_handed_back_what_it_stored() {
    let (mut stage, manager) = running(&worker("a", ""));
    let worker = stage.started("a");
    stage.expect("children a.1=running/0");
    for (name, text) in [("table.a", "apples"), ("table.b", "pears"), ("table.c", "plums")] {
        stage.order(&format!("store {name} {text}"));
        stage.expect(&format!("manager stored {name}"));
    }
    stage.order("forget table.b");
    stage.expect("manager forgot");
    for (name, poll) in [("polled", "polled"), ("kept", "kept")] {
        stage.order(&format!("store_ended {name} {poll}"));
        stage.expect(&format!("manager stored {name}"));
    }
    signal_process(manager, Signal::KILL);
    let (second, names) = pid_and_names(&stage.expect("manager start"));
    assert_ne!(second, manager);
    assert_eq!(names, "control,table.a,table.c,kept");
    for (name, text) in [("table.a", "apples"), ("table.c", "plums")] {
        stage.order(&format!("read {name}"));
        stage.expect(&format!("manager read {name} {text}"));
    }
    stage.make_ready();
    // The new manager is told how the children are; the worker is the old one.
    stage.expect("children a.1=running/0");
    signal_process(worker, Signal::KILL);
    stage.expect("children a.1=running/1");
}

#[test]
fn what_a_manager_stored_in_its_last_moment_counts() {
    let (mut stage, mut manager) = running(&worker("a", ""));
    for round in 1..=10 {
        // Both reach the supervisor at once: what was said, and the death.
        stage.signal_supervisor(Signal::STOP);
        stage.order(&format!("store_and_die table.{round} text{round}"));
        wait_gone(manager);
        stage.signal_supervisor(Signal::CONT);
        let names;
        (manager, names) = pid_and_names(&stage.expect("manager start"));
        assert_eq!(names.split(',').count(), round + 1, "{names}");
        stage.order(&format!("read table.{round}"));
        stage.expect(&format!("manager read table.{round} text{round}"));
    }
}

#[test]
fn workers_are_restarted_while_there_is_no_manager() {
    let (mut stage, manager) = running(&worker("a", ""));
    let first = stage.started("a");
    signal_process(manager, Signal::KILL);
    stage.expect("manager start");
    // This one never becomes ready.
    signal_process(first, Signal::KILL);
    stage.started("a");
}

#[test]
fn clients_queue_while_the_manager_is_away() {
    let (mut stage, manager) = running("");
    signal_process(manager, Signal::KILL);
    stage.expect_log("the manager has ended: killed by signal 9; it is started again");
    let client =
        heirloom_protocol::sys::Connection::connect(&stage.socket()).expect("the socket is still there");
    let hello = heirloom_protocol::message::Request::Hello { version: 1 };
    client.send_message(&hello, None).expect("sent");
    let (second, _) = pid_and_names(&stage.expect("manager start"));
    let answer = client.recv_message::<heirloom_protocol::message::Event>().expect("answered");
    let Some((heirloom_protocol::message::Event::Welcome { manager_pid, .. }, _)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(manager_pid, second);
}

#[test]
fn a_manager_that_was_ready_is_started_again_at_once() {
    let (mut stage, mut manager) = running("");
    for _ in 0..6 {
        signal_process(manager, Signal::KILL);
        stage.expect_log("killed by signal 9; it is started again in 0ns");
        manager = pid_and_names(&stage.expect("manager start")).0;
        stage.make_ready();
    }
}

#[test]
fn a_manager_that_never_becomes_ready_again_is_loud_and_what_it_stored_is_kept() {
    let (mut stage, manager) = running(&worker("a", ""));
    stage.order("store table.a apples");
    stage.expect("manager stored table.a");
    signal_process(manager, Signal::KILL);
    for _ in 0..4 {
        stage.expect("manager start");
        stage.order("exit 1");
    }
    let line = stage.expect_log("the manager is in a CRASH LOOP");
    assert!(line.contains("ERROR") && line.contains("The 1 descriptors of its tables are kept"), "{line}");
    let (_, names) = pid_and_names(&stage.expect("manager start"));
    assert_eq!(names, "control,table.a");
    stage.make_ready();
    stage.expect("children a.1=running/0");
}

#[test]
fn a_manager_that_falls_silent_is_killed_and_started_again() {
    let (mut stage, manager) = running("[manager]\nwatchdog = \"300ms\"\n");
    // It was heard when it was ready, and says nothing more: as one that hangs.
    let line = stage.expect_log("the manager shows no sign of life");
    assert!(line.contains(&format!("pid={manager}")), "{line}");
    stage.expect_log("the manager has ended: killed by signal 9");
    let (_, names) = pid_and_names(&stage.expect("manager start"));
    assert_eq!(names, "control");
    stage.order("alive");
    stage.expect("manager alive");
    stage.expect_log("the manager shows no sign of life");
    stage.expect("manager start");
}

#[test]
fn a_manager_that_dies_again_and_again_is_started_again_and_again() {
    let (mut stage, mut manager) = running(&worker("a", ""));
    let _worker = stage.started("a");
    for _ in 0..6 {
        signal_process(manager, Signal::KILL);
        manager = pid_and_names(&stage.expect("manager start")).0;
    }
    stage.make_ready();
    stage.expect("children a.1=running/0");
}
