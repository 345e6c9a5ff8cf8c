//! A worker that behaves, or dies at a chosen step: `candidate NAME TABLE MISBEHAVIOUR HEAP_BYTES`.
//!
//! It says on standard output what happens to it, a line at a time:
//!
//! ```text
//! ready                              registered; an offer may come
//! owns EPOCH VERSION COUNT RIVAL     has the table, as its predecessor left it; RIVAL is the pid of that predecessor
//!                                    if it is still running (two owners!), else 0
//! commits                            its first commit returned
//! ```
//!
//! While it owns the table it counts up the value of key "count" and bequeaths the same number; its predecessors'
//! number is what it begins with, so a commit that went missing shows. In the same commits, "double" is kept at twice
//! the count, so half a commit shows, and items come and go.
#![forbid(unsafe_code)]

use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request};
use heirloom_protocol::sys::{Connection, testing};
use heirloom_tests::Misbehaviour;
use heirloom_tests::role::{tell, transfers};
use heirloom_worker::Worker;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, kill_process};
use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::{env, fs, process, thread};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    let [name, table, misbehaviour, heap_bytes] = words.as_slice() else {
        return Err("usage: candidate NAME TABLE MISBEHAVIOUR HEAP_BYTES".into());
    };
    match misbehaviour.parse()? {
        behaviour @ (Misbehaviour::None
        | Misbehaviour::DiesBeforeItsFirstCommit
        | Misbehaviour::LeavesAChildWithItsMemory
        | Misbehaviour::LeavesAForkedChild
        | Misbehaviour::Hangs) => own(name, table, heap_bytes.parse()?, behaviour),
        Misbehaviour::DiesAtTheOffer => {
            Handshake::until_offered(name, table)?;
            die()
        }
        Misbehaviour::DiesAfterAccepting => {
            let (handshake, epoch) = Handshake::until_offered(name, table)?;
            handshake.say(&Request::Accept { table: table.clone(), epoch })?;
            die()
        }
        Misbehaviour::LeavesAChildWithTheDescriptor => leave_a_child(name, table),
    }
}

/// Takes the table and counts, with that much heap allocated after the gift: it makes the process slow to die.
fn own(name: &str, table: &str, heap_bytes: usize, behaviour: Misbehaviour) -> Outcome {
    let worker = Worker::from_env(name)?;
    let inbox = transfers(&worker, table)?;
    tell("ready")?;
    for transfer in inbox {
        let bequest = transfer.bequest::<u64>()?.unwrap_or(0);
        let mut writer = transfer.accept::<str, u64>()?;
        if behaviour == Misbehaviour::DiesBeforeItsFirstCommit {
            die();
        }
        let count = writer.get("count")?.unwrap_or(0);
        assert_eq!(count, bequest, "the value and the bequest were committed together");
        let predecessor = writer.get("owner")?.unwrap_or(0);
        let rival = if is_running(predecessor) { predecessor } else { 0 };
        tell(&format!("owns {} {} {count} {rival}", writer.epoch(), writer.version()))?;
        let heap = vec![1_u8; heap_bytes];
        writer.insert("owner", &u64::from(process::id()))?;
        tell("commits")?;
        match behaviour {
            Misbehaviour::LeavesAChildWithItsMemory => {
                tell(&format!("child {}", testing::child_with_our_memory()?.pid()))?
            }
            Misbehaviour::LeavesAForkedChild => {
                let child = testing::fork(|| {
                    loop {
                        thread::park();
                    }
                })?;
                tell(&format!("child {}", child.pid()))?;
            }
            Misbehaviour::Hangs => loop {
                thread::park();
            },
            _ => {}
        }
        for count in count + 1.. {
            let mut transaction = writer.transaction();
            transaction.insert("count", &count)?;
            transaction.insert("double", &(2 * count))?;
            let item = format!("item {}", count % 50);
            if count % 3 == 0 {
                transaction.remove(&item)?
            } else {
                transaction.insert(&item, &count)?
            }
            transaction.bequeath(&count)?;
            transaction.commit()?;
            if count % 256 == 0 {
                thread::yield_now();
            }
        }
        drop(heap);
    }
    Ok(())
}

/// Takes the table without mapping it; a child inherits its descriptor and stays.
fn leave_a_child(name: &str, table: &str) -> Outcome {
    let (handshake, epoch) = Handshake::until_offered(name, table)?;
    handshake.say(&Request::Accept { table: table.into(), epoch })?;
    let segment = loop {
        if let (Event::Granted { .. }, Some(segment)) = handshake.hear()? {
            break segment;
        }
    };
    fcntl_setfd(&segment, FdFlags::empty())?;
    let child = Command::new("sleep").arg("600").spawn()?;
    tell(&format!("child {}", child.id()))?;
    loop {
        thread::park();
    }
}

/// The handshake spoken by hand, to stop in the middle of it.
struct Handshake {
    connection: Connection,
}

impl Handshake {
    /// The connection, and the epoch that was offered.
    fn until_offered(name: &str, table: &str) -> Result<(Self, u64), Box<dyn Error>> {
        let socket = env::var_os("HEIRLOOM_SOCKET").ok_or("HEIRLOOM_SOCKET is not set")?;
        let handshake = Self { connection: Connection::connect(Path::new(&socket))? };
        handshake.say(&Request::Hello { version: PROTOCOL_VERSION })?;
        handshake.say(&Request::Register { name: name.into(), client: 0 })?;
        handshake.say(&Request::Heir { table: table.into() })?;
        handshake.say(&Request::Ready)?;
        loop {
            match handshake.hear()?.0 {
                Event::Registered => tell("ready")?,
                Event::Offered { epoch, .. } => return Ok((handshake, epoch)),
                _ => {}
            }
        }
    }

    fn say(&self, request: &Request) -> Outcome {
        Ok(self.connection.send_message(request, None)?)
    }

    fn hear(&self) -> Result<(Event, Option<OwnedFd>), Box<dyn Error>> {
        let (event, mut received) = self.connection.recv_message()?.ok_or("the manager hung up")?;
        Ok((event, received.descriptors.pop()))
    }
}

/// Dies on the spot, as if killed from outside.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        thread::park();
    }
}

/// Whether a process can still execute anything: a zombie cannot.
fn is_running(pid: u64) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X") | None)
}
