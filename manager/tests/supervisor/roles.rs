//! What this program does in processes of its own: the supervisor, and a manager that does as it is told.

use heirloom_manager::config::Config;
use heirloom_manager::supervisor::{self, Options};
use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request};
use heirloom_protocol::sys::inherit::{NamedDescriptor, received_descriptors};
use heirloom_protocol::sys::notify::{Notifier, NotifyError};
use heirloom_protocol::sys::{Connection, Listener};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const BARRIER: Duration = Duration::from_secs(20);

/// `heirloom run`, with another manager.
#[test]
#[ignore = "a role, played by a process of its own"]
fn supervisor() {
    let folder = PathBuf::from(std::env::var_os("HEIRLOOM_TEST_FOLDER").expect("started by a test"));
    if std::env::var_os("HEIRLOOM_TEST_SUBREAPER").is_some() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("a subreaper");
    }
    if rustix::process::geteuid().is_root() {
        // So that there is something that a worker with a user of its own must not inherit.
        let groups = [0, 4242].map(rustix::process::Gid::from_raw);
        rustix::thread::set_thread_groups(&groups).expect("groups");
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let config = Config::load(&folder.join("heirloom.toml")).expect("no mistakes");
    let mut options = Options::new(&config).expect("this program");
    if config.supervisor.socket.is_none() {
        options.socket = Some(folder.join("heirloom.sock"));
    }
    let this = std::env::current_exe().expect("this program").into_os_string();
    let manager = std::env::var_os("HEIRLOOM_TEST_MANAGER").unwrap_or(this);
    let role = ["--ignored", "--exact", "roles::manager", "--nocapture"].map(OsString::from);
    options.manager = std::iter::once(manager).chain(role).collect();
    options.exec_child = vec![env!("CARGO_BIN_EXE_heirloom").into(), "exec-child".into()];
    match supervisor::run(&config, &options) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("FAILED: {error}");
            std::process::exit(1);
        }
    }
}

/// A manager without tables, which says what it was handed, and what the supervisor tells it.
#[test]
#[ignore = "a role, played by a process of its own"]
fn manager() {
    let mut handed = received_descriptors().expect("described by the environment");
    let names: Vec<_> = handed.iter().map(|handed| handed.name.as_str()).collect();
    say(&format!("manager start {} {}", std::process::id(), names.join(",")));
    assert_eq!(handed.first().map(|handed| handed.name.as_str()), Some("control"));
    let listener = Listener::from_fd(handed.remove(0).descriptor).expect("the control socket");
    std::thread::spawn(move || {
        while let Ok(connection) = listener.accept() {
            std::thread::spawn(move || listen_to(&connection));
        }
    });
    let notifier = Notifier::from_env().expect("reachable").expect("named by the environment");
    let orders = File::open(std::env::var_os("ORDERS").expect("a pipe")).expect("opened");
    for order in BufReader::new(orders).lines() {
        obey(&order.expect("a line"), &notifier, &handed);
    }
}

fn obey(order: &str, notifier: &Notifier, handed: &[NamedDescriptor]) {
    let words: Vec<&str> = order.split(' ').collect();
    match words[..] {
        ["ready"] => patiently(notifier, || notifier.ready()),
        ["store", name, text] => {
            store(notifier, name, text);
            notifier.barrier(BARRIER).expect("answered");
            say(&format!("manager stored {name}"));
        }
        ["store_unconfirmed", name, text] => {
            store(notifier, name, text);
            say(&format!("manager said {name}"));
        }
        ["alive"] => {
            notifier.alive().expect("sent");
            say("manager alive");
        }
        ["store_and_die", name, text] => {
            store(notifier, name, text);
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .expect("dead");
        }
        ["store_ended", name, poll] => {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
            notifier.store(name, ours.as_fd(), poll == "polled").expect("sent");
            notifier.barrier(BARRIER).expect("answered");
            drop(theirs);
            say(&format!("manager stored {name}"));
        }
        ["forget", name] => {
            notifier.forget(name).expect("sent");
            notifier.barrier(BARRIER).expect("answered");
            say(&format!("manager forgot {name}"));
        }
        ["read", name] => {
            let found = handed.iter().find(|handed| handed.name == name).expect("handed over");
            let mut file = File::from(found.descriptor.try_clone().expect("a copy"));
            let mut text = String::new();
            file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("read");
            say(&format!("manager read {name} {text}"));
        }
        ["exit", status] => std::process::exit(status.parse().expect("a number")),
        _ => panic!("{order}"),
    }
}

fn store(notifier: &Notifier, name: &str, text: &str) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    patiently(notifier, || notifier.store(name, file.as_fd(), false));
}

/// Says it again while the supervisor's queue is full.
fn patiently(notifier: &Notifier, mut say: impl FnMut() -> Result<(), NotifyError>) {
    while let Err(error) = say() {
        assert!(matches!(error, NotifyError::Full), "{error}");
        assert!(notifier.wait_until_read(Instant::now() + BARRIER), "the supervisor does not read");
    }
}

/// One client: only the supervisor's news are of interest.
fn listen_to(connection: &Connection) {
    while let Ok(Some((request, received))) = connection.recv_message::<Request>() {
        match request {
            Request::Hello { .. } => {
                let welcome = Event::Welcome { version: PROTOCOL_VERSION, manager_pid: std::process::id() };
                connection.send_message(&welcome, None).expect("sent");
            }
            Request::Children { children } => {
                let from_parent =
                    received.sender.is_some_and(|s| s.pid == std::os::unix::process::parent_id());
                assert!(from_parent, "{:?}", received.sender);
                let children: Vec<_> = children
                    .iter()
                    .map(|c| format!("{}.{}={}/{}", c.name, c.instance, c.state, c.restarts))
                    .collect();
                say(&format!("children {}", children.join(" ")));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A line in the pipe of events, in one piece.
fn say(line: &str) {
    let mut events =
        OpenOptions::new().append(true).open(std::env::var_os("EVENTS").expect("a pipe")).expect("opened");
    events.write_all(format!("{line}\n").as_bytes()).expect("written");
}
