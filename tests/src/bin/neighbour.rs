//! A process that means no good, to be started as another user: `neighbour ROLE SOCKET [TABLE] [PID ...]`.
//!
//! ```text
//! look      tries to get at the table, and at what those processes have, in every way; says how each went
//! crowd     connects as often as it may, and stays; says how often that was
//! churn     connects and leaves, again and again
//! garbage   sends what is no message: cut off, too long, or with something behind it
//! lengths   sends packets that are longer than any message
//! deaf      asks for the table and for statuses on many connections, and reads no answer
//! talk      asks on many connections as fast as it is answered
//! attach    sends descriptors along with what it says
//! ```
//!
//! It says `ready` before it begins. Whoever floods goes on until its standard input ends, and says then how often it did
//! what it does.
#![forbid(unsafe_code)]

use heirloom_protocol::codec;
use heirloom_protocol::message::{ChildStatus, Event, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Refusal, Request};
use heirloom_protocol::sys::{Connection, SocketError, testing};
use heirloom_tests::role::tell;
use rustix::fs::{Mode, OFlags};
use rustix::net::SendFlags;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, thread};

type Outcome = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

/// On so many connections at a time.
const CONNECTIONS: usize = 64;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    let [role, socket, rest @ ..] = words.as_slice() else {
        return Err("usage: neighbour ROLE SOCKET [TABLE] [PID ...]".into());
    };
    let socket = Path::new(socket);
    let table = rest.first().map_or("", String::as_str);
    tell("ready")?;
    match role.as_str() {
        "look" => look(socket, table, rest.get(1..).unwrap_or_default()),
        "crowd" => crowd(socket),
        "churn" => flood(|| churn(socket)),
        "garbage" => flood(|| garbage(socket)),
        "lengths" => flood(|| lengths(socket)),
        "attach" => flood(|| attach(socket)),
        "deaf" => flood_on(socket, |connection| deaf(connection, table)),
        "talk" => flood_on(socket, talk),
        _ => Err(format!("there is no role {role:?}").into()),
    }
}

/// True once standard input has ended.
fn enough() -> Arc<AtomicBool> {
    let enough = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&enough);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        said.store(true, Ordering::Relaxed);
    });
    enough
}

/// Does it again and again.
fn flood(mut once: impl FnMut() -> Result<(), SocketError>) -> Outcome {
    let (enough, mut count) = (enough(), 0_u64);
    while !enough.load(Ordering::Relaxed) {
        // Whoever is refused, or cut off, tries again.
        let _ = once();
        count += 1;
    }
    Ok(tell(&count.to_string())?)
}

/// The same on many connections in turn, each of which is made anew when it is lost.
fn flood_on(socket: &Path, mut once: impl FnMut(&Connection) -> Result<bool, SocketError>) -> Outcome {
    let mut connections: Vec<Option<Connection>> = (0..CONNECTIONS).map(|_| None).collect();
    let (enough, mut count) = (enough(), 0_u64);
    while !enough.load(Ordering::Relaxed) {
        let mut idle = true;
        for place in &mut connections {
            match place.as_ref().map(&mut once) {
                Some(Ok(done)) => {
                    count += u64::from(done);
                    idle &= !done;
                }
                Some(Err(_)) => *place = None,
                None => {
                    *place = greet(socket).ok().filter(|connection| connection.set_nonblocking(true).is_ok());
                }
            }
        }
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(tell(&count.to_string())?)
}

fn greet(socket: &Path) -> Result<Connection, SocketError> {
    let connection = Connection::connect(socket)?;
    connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None)?;
    match hear(&connection)? {
        (Event::Welcome { .. }, _) => Ok(connection),
        _ => Err(SocketError::Closed),
    }
}

fn hear(connection: &Connection) -> Result<(Event, Option<OwnedFd>), SocketError> {
    if !connection.wait_readable(Some(PATIENCE)).map_err(SocketError::Failed)? {
        return Err(SocketError::WouldBlock);
    }
    let (event, mut beside) = connection.recv_message()?.ok_or(SocketError::Closed)?;
    Ok((event, beside.descriptors.pop()))
}

/// Stays connected as often as it may, until standard input ends.
fn crowd(socket: &Path) -> Outcome {
    let (enough, mut connections) = (enough(), Vec::new());
    while let Ok(connection) = greet(socket) {
        connections.push(connection);
    }
    tell(&connections.len().to_string())?;
    while !enough.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn churn(socket: &Path) -> Result<(), SocketError> {
    Connection::connect(socket).map(drop)
}

fn garbage(socket: &Path) -> Result<(), SocketError> {
    let hello = codec::encode(&Request::Hello { version: PROTOCOL_VERSION })?;
    let longer = [&hello[..], b"and more"].concat();
    for bytes in [&hello[..1], &longer, b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096]] {
        let connection = Connection::connect(socket)?;
        connection.send(bytes, None)?;
        // What it is told, and the end.
        while connection.recv(&mut Vec::new()).is_ok_and(|heard| heard.is_some()) {}
    }
    Ok(())
}

fn lengths(socket: &Path) -> Result<(), SocketError> {
    let connection = greet(socket)?;
    for bytes in [MAX_MESSAGE_BYTES + 1, 200_000] {
        // Past the library, which sends no such thing.
        let sent = rustix::net::send(&connection, &vec![0; bytes], SendFlags::NOSIGNAL);
        sent.map_err(|error| SocketError::Failed(error.into()))?;
    }
    while connection.recv(&mut Vec::new()).is_ok_and(|heard| heard.is_some()) {}
    Ok(())
}

fn attach(socket: &Path) -> Result<(), SocketError> {
    let connection = greet(socket)?;
    let file = File::open("/dev/null").map_err(SocketError::Failed)?;
    connection.send_message(&Request::Status { request: 1 }, Some(file.as_fd()))?;
    while connection.recv(&mut Vec::new()).is_ok_and(|heard| heard.is_some()) {}
    Ok(())
}

fn deaf(connection: &Connection, table: &str) -> Result<bool, SocketError> {
    let asked = [Request::Open { request: 1, table: table.to_owned() }, Request::Status { request: 2 }];
    for request in asked {
        match connection.send_message(&request, None) {
            Err(SocketError::WouldBlock) => return Ok(false),
            said => said?,
        }
    }
    Ok(true)
}

/// Reads what is there, and asks again.
fn talk(connection: &Connection) -> Result<bool, SocketError> {
    let mut bytes = Vec::new();
    loop {
        match connection.recv(&mut bytes) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(SocketError::Closed),
            Err(SocketError::WouldBlock) => break,
            Err(error) => return Err(error),
        }
    }
    match connection.send_message(&Request::Status { request: 1 }, None) {
        Err(SocketError::WouldBlock) => Ok(false),
        said => said.map(|()| true),
    }
}

/// Tries everything, and says how it went: `granted`, or who refused.
fn look(socket: &Path, table: &str, processes: &[String]) -> Outcome {
    for process in processes {
        tell(&format!("files of {process}: {}", reach_into(process)))?;
    }
    let connection = match greet(socket) {
        Ok(connection) => connection,
        Err(error) => return Ok(tell(&format!("connect: {error}"))?),
    };
    let own = || table.to_owned();
    let (opened, memory) = ask(&connection, &Request::Open { request: 1, table: own() })?;
    tell(&format!("open: {opened}"))?;
    if let Some(memory) = memory {
        tell(&format!("write what was opened: {}", try_to_write(&memory)))?;
    }
    let recall =
        Request::Recall { request: 1, table: own(), to: None, force: true, deadline_ms: Some(60_000) };
    let limit = Request::SetLimit { request: 1, table: own(), max_bytes: 1 };
    let children = Request::Children { children: vec![ChildStatus::default()] };
    for (what, request) in [("limit", limit), ("children", children)] {
        tell(&format!("{what}: {}", ask(&connection, &request)?.0))?;
    }
    connection.send_message(&Request::Register { name: "clerk".to_owned(), client: 0 }, None)?;
    tell(&format!("register: {}", outcome(&hear(&connection)?.0)))?;
    // What is not its own to take, it takes all the same.
    for (what, request) in [
        ("own", Request::Heir { table: own() }),
        ("accept", Request::Accept { table: own(), epoch: 1 }),
        ("release", Request::Release { table: own(), epoch: 1, panicked: false }),
    ] {
        tell(&format!("{what}: {}", say(&connection, &request)?))?;
    }
    let recalled = ask(&connection, &recall)?.0;
    Ok(tell(&format!("recall: {recalled}"))?)
}

/// Says something that has no answer of its own: whether it was refused.
fn say(connection: &Connection, request: &Request) -> Result<String, SocketError> {
    connection.send_message(request, None)?;
    connection.send_message(&Request::Sync { request: 9 }, None)?;
    let mut answer = "granted".to_owned();
    loop {
        match hear(connection)?.0 {
            Event::Done { request: 9 } => return Ok(answer),
            refused @ Event::Refused { .. } => answer = outcome(&refused),
            _ => {}
        }
    }
}

/// Says something, and gives the answer.
fn ask(connection: &Connection, request: &Request) -> Result<(String, Option<OwnedFd>), SocketError> {
    connection.send_message(request, None)?;
    let (event, memory) = hear(connection)?;
    Ok((outcome(&event), memory))
}

fn outcome(event: &Event) -> String {
    match event {
        Event::Refused { why: Refusal::NotPermitted, .. } => "not permitted".to_owned(),
        Event::Refused { message, .. } => message.clone(),
        _ => "granted".to_owned(),
    }
}

/// Every way from a reader's descriptor to the memory behind it.
fn try_to_write(memory: &OwnedFd) -> String {
    let itself = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let open = |how| rustix::fs::open(&itself, how | OFlags::CLOEXEC, Mode::empty()).map(drop);
    let ways = [
        ("map", testing::try_map_for_writing(memory.as_fd()).is_ok()),
        ("protect", testing::try_protect_for_writing(memory.as_fd()).is_ok()),
        ("write", rustix::io::pwrite(memory, b"x", 0).is_ok()),
        ("reopen to write", open(OFlags::RDWR).is_ok()),
        ("reopen to read", open(OFlags::RDONLY).is_ok()),
        ("chmod", rustix::fs::fchmod(memory, Mode::from_raw_mode(0o666)).is_ok()),
        ("shrink", rustix::fs::ftruncate(memory, 0).is_ok()),
    ];
    let done: Vec<_> = ways.into_iter().filter(|(_, done)| *done).map(|(way, _)| way).collect();
    if done.is_empty() { "refused".to_owned() } else { format!("done: {}", done.join(", ")) }
}

/// What /proc gives of a process: its descriptors by guess, its memory, its mappings.
fn reach_into(process: &str) -> String {
    let files = (0..64).map(|number| format!("fd/{number}")).chain(["mem".to_owned()]);
    let reached: Vec<String> = files
        .filter(|file| {
            let path = format!("/proc/{process}/{file}");
            [OFlags::RDONLY, OFlags::RDWR].iter().any(|how| {
                rustix::fs::open(&path, *how | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).is_ok()
            })
        })
        .chain(["fd", "map_files"].iter().filter_map(|folder| {
            let listed = std::fs::read_dir(format!("/proc/{process}/{folder}")).ok()?.next()?;
            listed.is_ok().then(|| (*folder).to_owned())
        }))
        .collect();
    if reached.is_empty() { "refused".to_owned() } else { format!("reached: {}", reached.join(", ")) }
}
