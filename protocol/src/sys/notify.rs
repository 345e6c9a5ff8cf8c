//! `sd_notify`, both ends: what a service says to its supervisor, and the descriptors it gives it to keep
//! (rules H21 and H24).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType};

use super::socket::new_socket;
use super::{Credentials, packet};

/// No notification is longer.
const MAX_BYTES: usize = 64 * 1024;

/// The sender's end. It never waits: a full queue is [`NotifyError::Full`], to be tried again (or, for a ping, not).
#[derive(Debug)]
pub struct Notifier {
    socket: OwnedFd,
}

/// A notification was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The supervisor has not read what it was sent before.
    #[error("the supervisor's notification queue is full")]
    Full,
    /// Nobody is there.
    #[error("the supervisor does not listen at $NOTIFY_SOCKET any more")]
    Gone,
    /// A name or a text that the protocol cannot carry.
    #[error("a notification must be one line, and a descriptor's name must not hold a colon")]
    Malformed,
    /// It did not confirm in time that it has read everything.
    #[error("the supervisor did not confirm within {0:?}")]
    TimedOut(Duration),
    /// The kernel refused for another reason.
    #[error("cannot notify the supervisor: {0}")]
    Failed(#[source] io::Error),
}

impl Notifier {
    /// The supervisor of this process, where `$NOTIFY_SOCKET` names one.
    ///
    /// # Errors
    /// [`NotifyError`] where it names one that cannot be reached.
    pub fn from_env() -> Result<Option<Self>, NotifyError> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(path) if !path.is_empty() => Self::connect(Path::new(&path)).map(Some),
            _ => Ok(None),
        }
    }

    /// The supervisor whose socket is at `path`; one that begins with `@` is in the abstract namespace.
    ///
    /// # Errors
    /// [`NotifyError`] where nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, NotifyError> {
        let attempt = || -> io::Result<OwnedFd> {
            let address = match path.as_os_str().as_bytes() {
                [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
                _ => SocketAddrUnix::new(path)?,
            };
            let socket = new_socket(SocketType::DGRAM)?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            rustix::net::connect(&socket, &address)?;
            Ok(socket)
        };
        Ok(Self { socket: attempt()? })
    }

    /// This process serves now.
    ///
    /// # Errors
    /// [`NotifyError`]; [`NotifyError::Full`] is worth trying again.
    pub fn ready(&self) -> Result<(), NotifyError> {
        self.send("READY=1", &[])
    }

    /// What it is doing, in one line, for people.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn status(&self, text: &str) -> Result<(), NotifyError> {
        one_line(text)?;
        self.send(&format!("STATUS={text}"), &[])
    }

    /// Gives the supervisor a descriptor to keep. Not confirmed: [`Notifier::barrier`] is, and says only that it was
    /// read (rule H21). A pidfd needs `poll = false`, or it is dropped when its process ends.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>, poll: bool) -> Result<(), NotifyError> {
        one_line(name)?;
        let poll = if poll { "" } else { "\nFDPOLL=0" };
        self.send(&format!("FDSTORE=1\nFDNAME={name}{poll}"), &[descriptor])
    }

    /// Has the supervisor forget all descriptors of that name.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn forget(&self, name: &str) -> Result<(), NotifyError> {
        one_line(name)?;
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    /// This process is alive, and does its work: to be said as [`Pings`] says, by whatever must not hang.
    ///
    /// # Errors
    /// As [`Notifier::ready`]. A ping that is not delivered is not worth trying again: the next one is.
    pub fn alive(&self) -> Result<(), NotifyError> {
        self.send("WATCHDOG=1", &[])
    }

    /// Sends anything else, with descriptors.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn send(&self, text: &str, descriptors: &[BorrowedFd<'_>]) -> Result<(), NotifyError> {
        Ok(packet::send(self.socket.as_fd(), text.as_bytes(), descriptors)?)
    }

    /// Waits, where the queue is full, until the supervisor has read some of it; false once `until` is over.
    #[must_use]
    pub fn wait_until_read(&self, until: Instant) -> bool {
        let rest = until.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: i64::from(rest.subsec_nanos()) };
        let mut poll = [PollFd::new(&self.socket, PollFlags::OUT)];
        !rest.is_zero() && rustix::event::poll(&mut poll, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Waits until the supervisor has read everything sent so far.
    ///
    /// # Errors
    /// [`NotifyError::TimedOut`], and as [`Notifier::ready`].
    pub fn barrier(&self, timeout: Duration) -> Result<(), NotifyError> {
        let (ours, theirs) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        self.send("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        // The supervisor closes its end, the last one, when its turn has come.
        let limit = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&ours, PollFlags::empty())], Some(&limit)) {
            Ok(0) => Err(NotifyError::TimedOut(timeout)),
            Ok(_) => Ok(()),
            Err(error) => Err(NotifyError::Failed(error.into())),
        }
    }
}

/// When this process is to say that it is alive ([`Notifier::alive`]): the time belongs to the loop that says it.
#[derive(Debug)]
pub struct Pings {
    every: Option<Duration>,
    next: Instant,
}

impl Pings {
    /// What the supervisor wants to hear, by `$WATCHDOG_USEC`: it kills a process that is silent for so long, so this
    /// one speaks twice in that time, the first time at once. Nothing where it wants nothing, or means another process
    /// (`$WATCHDOG_PID`).
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|limit| *limit > 0 && for_us);
        Self { every: limit.map(|limit| Duration::from_micros(limit) / 2), next: Instant::now() }
    }

    /// Where nobody wants to hear anything.
    #[must_use]
    pub fn none() -> Self {
        Self { every: None, next: Instant::now() }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }

    /// Whether one is due; then the next one is later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| self.next <= now) else { return false };
        self.next = now + every;
        true
    }
}

fn one_line(text: &str) -> Result<(), NotifyError> {
    if text.contains('\n') { Err(NotifyError::Malformed) } else { Ok(()) }
}

impl From<io::Error> for NotifyError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ETOOMANYREFS) => Self::Full,
            Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::ENOENT | libc::EPIPE) => Self::Gone,
            _ => Self::Failed(error),
        }
    }
}

/// The receiver's end: the supervisor's.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    path: PathBuf,
    made_by: u32,
}

/// One notification.
#[derive(Debug)]
pub struct Notification {
    /// `NAME=value`, one a line.
    pub text: String,
    /// The descriptors that came along, all with CLOEXEC.
    pub descriptors: Vec<OwnedFd>,
    /// Who sent it, by the kernel's word. Notifications from anybody but the child are to be ignored (rule H24).
    pub sender: Option<Credentials>,
}

impl Notification {
    /// The value of a field, where it is there.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

impl NotifySocket {
    /// A new socket at `path`, for this user only; a file that is there is replaced. Set `NOTIFY_SOCKET` of the child
    /// to [`NotifySocket::path`]. Non-blocking.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = new_socket(SocketType::DGRAM)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        packet::pass_credentials(socket.as_fd())?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::fs::chmod(&path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(Self { socket, path, made_by: std::process::id() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next notification; `None` where there is none now. One that is too long or not text is skipped.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn recv(&self) -> io::Result<Option<Notification>> {
        let mut buffer = vec![0; MAX_BYTES];
        loop {
            let packet = match packet::receive(self.socket.as_fd(), &mut buffer) {
                Ok(packet) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            if packet.truncated {
                continue;
            }
            if let Ok(text) = std::str::from_utf8(&buffer[..packet.bytes]) {
                let (descriptors, sender) = (packet.descriptors, packet.sender);
                return Ok(Some(Notification { text: text.to_owned(), descriptors, sender }));
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if self.made_by == std::process::id() {
            // Left behind, it is replaced by the next one.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NotifySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Errno> for NotifyError {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}
