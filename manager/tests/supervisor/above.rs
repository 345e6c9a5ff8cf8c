//! A supervisor with a service manager above it: this test, with the socket that `$NOTIFY_SOCKET` names.

use crate::stage::Stage;
use heirloom_protocol::sys::notify::{Notification, NotifySocket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Seek};
use tempfile::TempDir;

/// What the supervisor says upward.
struct Above {
    socket: NotifySocket,
    _folder: TempDir,
}

impl Above {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = NotifySocket::bind(&folder.path().join("above")).expect("bound");
        Self { socket, _folder: folder }
    }

    fn stage(&self, config: &str, watchdog_us: Option<u64>) -> Stage {
        Stage::unchecked(config, |command| {
            command.env("NOTIFY_SOCKET", self.socket.path());
            command.envs(watchdog_us.map(|limit| ("WATCHDOG_USEC", limit.to_string())));
        })
    }

    /// Waits for the next notification in which the field is there; others on the way are done with.
    #[track_caller]
    fn expect(&self, field: &str) -> Notification {
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        loop {
            let mut poll = [PollFd::new(&self.socket, PollFlags::IN)];
            let ready = rustix::event::poll(&mut poll, Some(&patience)).expect("polled");
            assert!(ready > 0, "nobody says {field}");
            while let Some(notification) = self.socket.recv().expect("received") {
                if notification.field(field).is_some() {
                    return notification;
                }
            }
        }
    }
}

#[test]
fn what_the_manager_stores_is_kept_above_before_its_barrier_is_answered() {
    let above = Above::new();
    let mut stage = above.stage("", None);
    stage.expect("manager start");
    for (name, text) in [("table.a", "apples"), ("table.b", "pears")] {
        stage.order(&format!("store {name} {text}"));
        let stored = above.expect("FDSTORE");
        assert_eq!((stored.field("FDNAME"), stored.field("FDPOLL")), (Some(name), Some("0")));
        let mut file = File::from(stored.descriptors.into_iter().next().expect("a descriptor"));
        let mut kept = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut kept)).expect("read");
        assert_eq!(kept, text);
        let barrier = above.expect("BARRIER");
        assert!(stage.others().is_empty(), "the manager waits for what is above");
        drop(barrier);
        stage.expect(&format!("manager stored {name}"));
    }
    stage.order("forget table.a");
    assert_eq!(above.expect("FDSTOREREMOVE").field("FDNAME"), Some("table.a"));
    drop(above.expect("BARRIER"));
    stage.expect("manager forgot");
    stage.order("ready");
    assert_eq!(above.expect("READY").field("READY"), Some("1"));
    stage.signal_supervisor(Signal::TERM);
    above.expect("STOPPING");
}

#[test]
fn a_service_manager_above_that_does_not_read_keeps_nobody_waiting() {
    let above = Above::new();
    let mut stage = above.stage("", None);
    stage.expect("manager start");
    // Many more than fit into the queue of a socket that nobody reads; then this supervisor still does its work.
    for number in 0..100 {
        stage.order(&format!("store_unconfirmed table.{number} {number}"));
        stage.expect(&format!("manager said table.{number}"));
    }
    stage.make_ready();
    let mut names = Vec::new();
    while names.len() < 100 {
        let stored = above.expect("FDSTORE");
        names.push(stored.field("FDNAME").expect("a name").to_owned());
    }
    assert_eq!(names, (0..100).map(|number| format!("table.{number}")).collect::<Vec<_>>(), "none is lost");
    above.expect("READY");
}

#[test]
fn only_the_managers_own_word_goes_up() {
    let above = Above::new();
    let mut stage = above.stage("", None);
    stage.expect("manager start");
    let mut name = stage.socket().into_os_string();
    name.push(".notify");
    let notifier = heirloom_protocol::sys::notify::Notifier::connect(name.as_ref()).expect("reachable");
    notifier
        .store("table.forged", std::os::fd::AsFd::as_fd(&tempfile::tempfile().expect("a file")), false)
        .expect("sent");
    stage.expect_log("somebody who is not the manager sent a notification");
    stage.order("store table.a apples");
    assert_eq!(above.expect("FDSTORE").field("FDNAME"), Some("table.a"));
}

#[test]
fn the_supervisor_says_that_it_is_alive_twice_in_the_time_it_has() {
    let above = Above::new();
    let mut stage = above.stage("", Some(200_000));
    stage.expect("manager start");
    for _ in 0..3 {
        above.expect("WATCHDOG");
    }
    // One that does nothing any more says nothing either.
    stage.signal_supervisor(Signal::STOP);
    while above.socket.recv().expect("received").is_some() {}
    let three_times_as_long = Timespec { tv_sec: 0, tv_nsec: 600_000_000 };
    let mut poll = [PollFd::new(&above.socket, PollFlags::IN)];
    let said = rustix::event::poll(&mut poll, Some(&three_times_as_long)).expect("polled");
    stage.signal_supervisor(Signal::CONT);
    assert_eq!(said, 0, "a stopped supervisor says that it is alive");
    above.expect("WATCHDOG");
}
