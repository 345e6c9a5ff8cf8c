//! Signals to the supervisor: an orderly stop, and the ends of patience.

use crate::stage::{Stage, deaf_worker, polite_worker, signal_process, wait_gone, worker};
use rustix::process::Signal;

#[test]
fn sigterm_stops_in_reverse_order_and_the_manager_last() {
    let mut stage = Stage::ready(&(polite_worker("a", "") + &polite_worker("b", "instances = 2")));
    let pids = [stage.started("a"), stage.started("b"), stage.started("b")];
    stage.expect("children a.1=running/0 b.1=running/0 b.2=running/0");
    stage.signal_supervisor(Signal::TERM);
    assert_eq!(stage.ended().code(), Some(0));
    let asked: Vec<_> = stage.others().into_iter().filter(|event| event.ends_with("asked")).collect();
    assert_eq!(asked, ["b asked", "b asked", "a asked"]);
    for pid in pids {
        wait_gone(pid);
    }
    stage.expect_log("worker b#2 has stopped");
    stage.expect_log("worker b#1 has stopped");
    stage.expect_log("worker a has stopped");
    stage.expect_log("the manager has stopped: killed by signal 15");
    assert!(!stage.socket().exists(), "the socket is removed");
}

#[test]
fn a_stop_while_the_manager_hydrates_is_no_failure() {
    let mut stage = Stage::waiting(&worker("a", ""));
    stage.signal_supervisor(Signal::INT);
    assert_eq!(stage.ended().code(), Some(0));
    assert_eq!(stage.others(), [""; 0]);
}

#[test]
fn who_does_not_stop_in_time_is_killed() {
    let mut stage = Stage::ready(&deaf_worker("deaf", "shutdown = \"50ms\""));
    let deaf = stage.started("deaf");
    stage.signal_supervisor(Signal::TERM);
    assert_eq!(stage.ended().code(), Some(0));
    stage.expect_log("worker deaf did not stop in its time: killed");
    stage.expect_log("worker deaf has stopped: killed by signal 9");
    wait_gone(deaf);
}

#[test]
fn a_brutal_kill_asks_nobody() {
    let mut stage = Stage::ready(&polite_worker("a", "shutdown = \"brutal_kill\""));
    stage.started("a");
    stage.expect("children a.1=running/0");
    stage.signal_supervisor(Signal::TERM);
    assert_eq!(stage.ended().code(), Some(0));
    stage.expect_log("worker a has stopped: killed by signal 9");
    assert!(!stage.others().iter().any(|event| event.ends_with("asked")));
}

#[test]
fn a_second_sigint_kills_everything_at_once() {
    let mut stage = Stage::ready(&deaf_worker("deaf", "instances = 2\nshutdown = \"1h\""));
    let pids = [stage.started("deaf"), stage.started("deaf")];
    stage.signal_supervisor(Signal::INT);
    stage.expect_log("SIGINT: stopping");
    stage.signal_supervisor(Signal::INT);
    assert_eq!(stage.ended().code(), Some(0));
    for pid in pids {
        wait_gone(pid);
    }
    assert!(!stage.socket().exists(), "the socket is removed");
}

#[test]
fn children_lead_process_groups_of_their_own() {
    let mut stage = Stage::ready(&worker("a", ""));
    let worker = stage.started("a");
    let number = rustix::process::Pid::from_raw(worker.cast_signed());
    let group = rustix::process::getpgid(number).expect("it lives");
    assert_eq!(Some(group), number);
    signal_process(worker, Signal::KILL);
    stage.started("a");
}
