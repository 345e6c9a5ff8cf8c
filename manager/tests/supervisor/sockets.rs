//! One supervisor for one socket.

use crate::stage::{Stage, worker};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_second_supervisor_is_refused_and_told_who_is_there() {
    let stage = Stage::waiting(&worker("a", ""));
    let (status, said) = stage.rival();
    assert_eq!(status.code(), Some(1));
    let words = format!("a supervisor (process {}) already serves", stage.supervisor_pid());
    assert!(said.contains(&words), "{said}");
    assert!(stage.socket().exists(), "the first one's socket is left alone");
}

#[test]
fn what_a_killed_supervisor_left_behind_is_named() {
    let mut stage = Stage::unchecked(&worker("a", ""), |_| {});
    let start = stage.expect("manager start");
    let manager = start.split(' ').nth(2).expect("a process id");
    stage.signal_supervisor(Signal::KILL);
    stage.ended();
    let (status, said) = stage.rival();
    assert_eq!(status.code(), Some(1));
    let words = format!("was killed, and its manager (process {manager}) still serves its tables");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn the_socket_of_a_dead_supervisor_and_manager_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("heirloom.sock");
    // A listener that nobody holds leaves its file behind where it is not removed.
    let left_behind = heirloom_protocol::sys::Listener::bind(&path, 0o600).expect("bound");
    let copy = std::fs::hard_link(&path, folder.path().join("copy"));
    drop(left_behind);
    copy.and_then(|()| std::fs::rename(folder.path().join("copy"), &path)).expect("put back");
    let config = format!("[supervisor]\nsocket = {path:?}\n");
    let _stage = Stage::waiting(&config);
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
}

#[test]
fn others_may_connect_only_where_the_configuration_concerns_them() {
    let mode = |config: &str| {
        let stage = Stage::waiting(config);
        std::fs::metadata(stage.socket()).expect("a socket").permissions().mode() & 0o777
    };
    assert_eq!(mode(&worker("a", "")), 0o600);
    assert_eq!(mode("[[worker]]\nname = \"w\"\nexternal = true\nuser = \"nobody\"\n"), 0o666);
}
