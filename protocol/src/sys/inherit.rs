//! Descriptors from a parent, by systemd's convention: `LISTEN_FDS` (rules H22 and H23).
//!
//! ```text
//!  supervisor                        entry point of our own binary               manager
//!    │ spawn, standard input = socket   │                                          │
//!    │─────────────────────────────────►│                                          │
//!    │ names + descriptors, the end     │ places them at 3, 4, ..., N              │
//!    │─────────────────────────────────►│ sets LISTEN_PID, LISTEN_FDS, ..., exec ─►│ received_descriptors()
//! ```
//!
//! Placing them between fork and exec would be simpler, and wrong: the standard library has a pipe of its own among
//! these numbers then, and writes into whatever took its place.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;

use super::{Connection, packet};

/// The number of the first descriptor, by the convention.
const FIRST: RawFd = 3;

/// A descriptor and the name it was given.
#[derive(Debug)]
pub struct NamedDescriptor {
    /// Its name; `unknown` where none was given.
    pub name: String,
    /// The descriptor, with CLOEXEC.
    pub descriptor: OwnedFd,
}

/// Takes the descriptors that the parent passed, in its order; none where it passed none, or where they were taken
/// already. Call it first in `main`: until then they have no CLOEXEC, and every command started would inherit writable
/// tables (rule H22).
///
/// # Errors
/// Where the environment names a descriptor that is not open.
pub fn received_descriptors() -> io::Result<Vec<NamedDescriptor>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let count =
        number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id())).unwrap_or(0);
    if count == 0 || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let last = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count));
    let last = last.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "LISTEN_FDS is too large"))?;
    (FIRST..last)
        .map(|descriptor| {
            // SAFETY: only borrowed for this call, which fails where it is not open.
            rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(descriptor) }, FdFlags::CLOEXEC)?;
            // SAFETY: open, as was just seen; by the convention it was opened for this process, and `TAKEN` sees to it
            // that it is taken once.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            Ok(NamedDescriptor { name: names.next().unwrap_or("unknown").to_owned(), descriptor })
        })
        .collect()
}

/// Most names and descriptors of one packet; more go in further packets.
const PER_PACKET: usize = packet::MAX_DESCRIPTORS;

/// Sends descriptors to a child whose standard input is the other end of `to`; it calls [`receive_and_exec`].
///
/// # Errors
/// Where the child is gone, or a name holds a colon or a line break.
pub fn send_descriptors(to: &Connection, descriptors: &[(&str, BorrowedFd<'_>)]) -> io::Result<()> {
    if descriptors.iter().any(|(name, _)| name.is_empty() || name.contains([':', '\n'])) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a descriptor's name is empty or holds a colon",
        ));
    }
    for part in descriptors.chunks(PER_PACKET) {
        let names: Vec<&str> = part.iter().map(|(name, _)| *name).collect();
        let numbers: Vec<BorrowedFd<'_>> = part.iter().map(|(_, descriptor)| *descriptor).collect();
        packet::send(to.as_fd(), names.join(":").as_bytes(), &numbers)?;
    }
    // Says that this was all.
    packet::send(to.as_fd(), b"\n", &[])
}

/// In the child, before anything else: receives what [`send_descriptors`] sends on standard input, places it at 3, 4,
/// ..., and becomes `command`. Returns only where that fails.
///
/// Whatever stood at these numbers is closed; so no other thread may run, and nothing else may be open that is needed.
pub fn receive_and_exec(mut command: Command) -> io::Error {
    let mut attempt = || -> io::Result<()> {
        let received = receive_descriptors(io::stdin().as_fd())?;
        let names: Vec<&str> = received.iter().map(|(name, _)| name.as_str()).collect();
        command.env("LISTEN_PID", std::process::id().to_string());
        command.env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&nothing)?;
        place(received.into_iter().map(|(_, descriptor)| descriptor).collect())
    };
    match attempt() {
        Ok(()) => command.exec(),
        Err(error) => error,
    }
}

fn receive_descriptors(from: BorrowedFd<'_>) -> io::Result<Vec<(String, OwnedFd)>> {
    let mut received = Vec::new();
    loop {
        let mut buffer = vec![0; packet::next_length(from)?];
        let packet = packet::receive(from, &mut buffer)?;
        match buffer.as_slice() {
            b"" => return Err(io::ErrorKind::UnexpectedEof.into()),
            b"\n" => return Ok(received),
            names if !packet.truncated => {
                let names = String::from_utf8_lossy(names);
                received.extend(names.split(':').map(str::to_owned).zip(packet.descriptors));
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost on the way")),
        }
    }
}

/// Puts the descriptors at 3, 4, ... without CLOEXEC.
fn place(descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let free = FIRST + RawFd::try_from(descriptors.len()).expect("few descriptors");
    // First out of the way of each other: none of them may stand where another one goes.
    let high = descriptors
        .iter()
        .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, free))
        .collect::<Result<Vec<_>, _>>()?;
    drop(descriptors);
    for (target, descriptor) in (FIRST..).zip(&high) {
        // SAFETY: the caller's contract: nothing that is still needed stands at the target.
        if unsafe { libc::dup2(descriptor.as_raw_fd(), target) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
