//! `sd_notify` and `LISTEN_FDS`, both ends (rules H21 to H24).
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use heirloom_protocol::sys::inherit::{receive_and_exec, received_descriptors, send_descriptors};
use heirloom_protocol::sys::notify::{Notification, Notifier, NotifyError, NotifySocket};
use heirloom_protocol::sys::{Connection, Process};
use rustix::io::FdFlags;
use support::{PATIENCE, alone};

fn next(socket: &NotifySocket) -> Notification {
    let mut found = None;
    support::until("a notification", || {
        found = socket.recv().expect("received");
        found.is_some()
    });
    found.expect("just seen")
}

#[test]
fn a_supervisor_hears_its_service_and_keeps_its_descriptors() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = NotifySocket::bind(&folder.path().join("notify")).expect("bound");
    assert!(socket.recv().expect("received").is_none());
    let service = Notifier::connect(socket.path()).expect("connected");

    service.ready().expect("sent");
    service.status("2 tables, all = well").expect("sent");
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    service.store("table:sales", writing.as_fd(), false).expect("sent");
    drop(writing);
    service.forget("table:old").expect("sent");

    let ready = next(&socket);
    assert_eq!(ready.field("READY"), Some("1"));
    assert_eq!(ready.sender.expect("the kernel's word").pid, std::process::id());
    assert_eq!(next(&socket).field("STATUS"), Some("2 tables, all = well"));
    let stored = next(&socket);
    assert_eq!(
        (stored.field("FDSTORE"), stored.field("FDNAME"), stored.field("FDPOLL"), stored.field("FD")),
        (Some("1"), Some("table:sales"), Some("0"), None)
    );
    let [kept] = <[OwnedFd; 1]>::try_from(stored.descriptors).expect("one descriptor");
    std::fs::File::from(kept).write_all(b"kept").expect("it is the pipe");
    let mut text = String::new();
    reading.read_to_string(&mut text).expect("read");
    assert_eq!(text, "kept");
    assert_eq!(next(&socket).field("FDSTOREREMOVE"), Some("1"));

    assert!(matches!(service.status("two\nlines"), Err(NotifyError::Malformed)));
    let path = socket.path().to_owned();
    drop(socket);
    assert!(!path.exists());
    assert!(matches!(service.ready(), Err(NotifyError::Gone)));
    assert!(matches!(Notifier::connect(&path), Err(NotifyError::Gone)));
}

#[test]
fn a_supervisor_that_does_not_read_never_stops_its_service() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = NotifySocket::bind(&folder.path().join("notify")).expect("bound");
    let service = Notifier::connect(socket.path()).expect("connected");
    let refused =
        (0..100_000).find_map(|_| service.send("WATCHDOG=1", &[]).err()).expect("the queue is bounded");
    assert!(matches!(refused, NotifyError::Full), "{refused:?}");
    while socket.recv().expect("received").is_some() {}
    assert!(matches!(service.barrier(Duration::from_millis(1)), Err(NotifyError::TimedOut(_))));

    // Reading all, and dropping what came along, confirms.
    let reader = std::thread::spawn(move || {
        let _ = next(&socket);
        let barrier = next(&socket);
        assert_eq!(barrier.field("BARRIER"), Some("1"));
        drop(barrier);
        socket
    });
    service.barrier(PATIENCE).expect("confirmed");
    drop(reader.join().expect("no panic"));
}

/// The descriptors' way from the supervisor through the entry point into the program, which here is this test again.
#[test]
fn descriptors_are_placed_named_and_closed_on_exec() {
    match std::env::var("HEIRLOOM_TEST_STAGE").as_deref() {
        Ok("place") => {
            let mut program = Command::new(std::env::current_exe().expect("our own path"));
            program.args(["descriptors_are_placed_named_and_closed_on_exec", "--exact", "--nocapture"]);
            program.env("HEIRLOOM_TEST_STAGE", "use");
            panic!("{}", receive_and_exec(program));
        }
        Ok("use") => {
            let received = received_descriptors().expect("descriptors");
            assert_eq!(received_descriptors().expect("none are left").len(), 0);
            for named in received {
                let flags = rustix::io::fcntl_getfd(&named.descriptor).expect("open");
                assert!(flags.contains(FdFlags::CLOEXEC), "{} would be inherited by a command", named.name);
                std::fs::File::from(named.descriptor)
                    .write_all(format!("{};", named.name).as_bytes())
                    .expect("written");
            }
            return;
        }
        _ => {}
    }
    let _turn = alone();
    let (ours, theirs) = Connection::pair().expect("a pair");
    let mut child = Command::new(std::env::current_exe().expect("our own path"))
        .args(["descriptors_are_placed_named_and_closed_on_exec", "--exact", "--nocapture"])
        .env("HEIRLOOM_TEST_STAGE", "place")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    // More than one packet can carry.
    let pipes: Vec<_> = (0..100).map(|_| std::io::pipe().expect("a pipe")).collect();
    let names: Vec<String> = (0..100).map(|number| format!("table-{number}")).collect();
    let named: Vec<_> =
        names.iter().map(String::as_str).zip(pipes.iter().map(|(_, writing)| writing.as_fd())).collect();
    send_descriptors(&ours, &named).expect("sent");
    assert!(send_descriptors(&ours, &[("a:b", named[0].1)]).is_err(), "names are separated by colons");
    drop(named);
    let pid = child.id();
    let status = child.wait().expect("ended");
    assert!(status.success(), "{status}");
    assert!(Process::open(pid).is_err());
    for (name, (mut reading, writing)) in names.iter().zip(pipes) {
        drop(writing);
        let mut text = String::new();
        reading.read_to_string(&mut text).expect("read");
        assert_eq!(text, format!("{name};"));
    }
}

/// Without the right LISTEN_PID, the variables are meant for somebody else.
#[test]
fn descriptors_of_another_process_are_not_taken() {
    match std::env::var("HEIRLOOM_TEST_STAGE").as_deref() {
        Ok("use") => assert_eq!(received_descriptors().expect("none").len(), 0),
        _ => {
            let _turn = alone();
            let status = Command::new(std::env::current_exe().expect("our own path"))
                .args(["descriptors_of_another_process_are_not_taken", "--exact"])
                .envs([("HEIRLOOM_TEST_STAGE", "use"), ("LISTEN_FDS", "1"), ("LISTEN_PID", "1")])
                .stdout(Stdio::null())
                .status();
            assert!(status.expect("ended").success());
        }
    }
}

#[test]
fn a_sender_is_who_it_is() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = NotifySocket::bind(&folder.path().join("notify")).expect("bound");
    let service = Notifier::connect(socket.path()).expect("connected");
    let child = support::fork(|| i32::from(service.ready().is_err()));
    assert_eq!(next(&socket).sender.expect("the kernel's word").pid, child.pid());
    assert_eq!(child.end(), 0);
}
