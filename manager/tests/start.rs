//! The manager as a process of its own: READY when the last entry is there, and an end that says why before that.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_protocol::sys::notify::NotifySocket;
use house::{Client, PATIENCE};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn manager(folder: &TempDir, config: &str) -> Child {
    let file = folder.path().join("heirloom.toml");
    std::fs::write(&file, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_heirloom"))
        .args(["manager", "--config"])
        .arg(file)
        .env("HEIRLOOM_SOCKET", folder.path().join("control"))
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env_remove("HEIRLOOM_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn table(hydrate: &str) -> String {
    format!("[[table]]\nid = \"cars\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\n{hydrate}\n")
}

/// What was said until the text came, or until the manager ended.
fn heard_until(notify: &NotifySocket, text: &str, manager: &mut Child) -> Vec<String> {
    let (mut heard, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while !heard.iter().any(|said: &String| said == text) {
        let soon = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut ready = [rustix::event::PollFd::new(notify, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ready, Some(&soon)).unwrap();
        let ended = manager.try_wait().unwrap().is_some();
        while let Some(notification) = notify.recv().unwrap() {
            heard.push(notification.text);
        }
        assert!(Instant::now() < deadline, "only: {heard:?}");
        if ended {
            break;
        }
    }
    heard
}

#[test]
fn ready_is_said_after_the_last_entry() {
    let folder = tempfile::tempdir().unwrap();
    let notify = NotifySocket::bind(&folder.path().join("notify")).unwrap();
    let started = Instant::now();
    let slow =
        "hydrate = { command = ['sh', '-c', 'echo k,v; echo a,1; sleep 2; echo b,2'], format = 'csv' }";
    let mut manager = manager(&folder, &table(slow));
    let heard = heard_until(&notify, "READY=1", &mut manager);
    assert!(started.elapsed() >= Duration::from_secs(2), "{heard:?}");
    let status = Client::greeted(&folder.path().join("control")).status();
    assert_eq!((status.manager_pid, status.tables[0].entries), (manager.id(), 2));

    // It ends when it is told to.
    let process = heirloom_protocol::sys::Process::open(manager.id()).unwrap();
    process.kill(rustix::process::Signal::TERM).unwrap();
    assert!(manager.wait().unwrap().success());
    assert!(!folder.path().join("control").exists(), "its socket is left behind");
}

#[test]
fn a_source_that_is_missing_ends_it_without_ready() {
    let folder = tempfile::tempdir().unwrap();
    let notify = NotifySocket::bind(&folder.path().join("notify")).unwrap();
    let mut manager = manager(&folder, &table("hydrate = { file = \"cars.redb\" }"));
    let heard = heard_until(&notify, "READY=1", &mut manager);
    assert!(!heard.iter().any(|said| said.contains("READY")), "{heard:?}");
    let message = ended(manager);
    assert!(message.contains("`cars`") && message.contains("cars.redb: cannot be read"), "{message}");
}

#[test]
fn tables_larger_than_the_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = |id: u32| format!("[[table]]\nid = \"t{id}\"\ntype = \"set\"\nmax_bytes = \"64GiB\"\n");
    // More together than any machine has that runs tests.
    let config: String = (0..4096).map(large).collect();
    let message = ended(manager(&folder, &config));
    assert!(message.contains("281474976710656 bytes together") && message.contains("max_bytes"), "{message}");
}

/// What it said on standard error; it must have failed.
fn ended(manager: Child) -> String {
    let Output { status, stderr, .. } = manager.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}
