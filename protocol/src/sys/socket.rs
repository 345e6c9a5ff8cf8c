//! A connection of whole messages (SEQPACKET), with descriptors, and with the kernel's word on who sent each
//! (rules H10, H12, H18, H19).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Credentials, Features, Identity, Peer, Process, packet};
use crate::codec::{self, MessageError};
use crate::message::MAX_MESSAGE_BYTES;

/// One end of a connection. All methods take `&self`; one thread at a time receives.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// What came beside a packet.
#[derive(Debug)]
pub struct Received {
    /// The descriptors, all with CLOEXEC.
    pub descriptors: Vec<OwnedFd>,
    /// Who sent this very packet. A forked child of the peer can send on the same connection (rule H12), so whatever
    /// speaks for ownership is compared with [`Peer::credentials`].
    pub sender: Option<Credentials>,
    /// Which process that was, after [`Connection::name_senders`]; none where it is gone.
    pub process: Option<Identity>,
}

/// A connection could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Nobody listens there.
    #[error("cannot reach the manager at {}: {source} (is `heirloom run` running?)", path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Nothing to receive now, or no room to send (on a non-blocking connection).
    #[error("the connection is not ready")]
    WouldBlock,
    /// The other end is closed.
    #[error("the other side has closed the connection")]
    Closed,
    /// A packet was longer, or brought more descriptors, than the protocol or `RLIMIT_NOFILE` allows. It is gone;
    /// nothing of it was kept.
    #[error(
        "a packet of {bytes} bytes was too long, or brought more descriptors than may be open (RLIMIT_NOFILE)"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many descriptors of this user are in messages that nobody has received yet (rule H19).
    #[error("too many descriptors of this user are under way in unread messages: raise RLIMIT_NOFILE")]
    TooManyInFlight,
    /// The packet is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The kernel refused for another reason.
    #[error("the control connection failed: {0}")]
    Failed(#[source] io::Error),
}

impl Connection {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`SocketError::Connect`].
    pub fn connect(path: &Path) -> Result<Self, SocketError> {
        let attempt = || -> io::Result<Self> {
            let socket = new_socket(SocketType::SEQPACKET)?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            Self::from_fd(socket)
        };
        attempt().map_err(|source| SocketError::Connect { path: path.to_owned(), source })
    }

    /// Two ends of one connection inside this process, for a child or for a test.
    ///
    /// # Errors
    /// Where no further descriptor is to be had.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::from_fd(one)?, Self::from_fd(other)?))
    }

    /// Takes up a connected socket.
    ///
    /// # Errors
    /// Where it is no Unix socket.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        packet::pass_credentials(socket.as_fd())?;
        Ok(Self { socket })
    }

    /// Sends one packet, with a descriptor where one is given.
    ///
    /// # Errors
    /// [`SocketError`]; the packet is sent whole or not at all.
    pub fn send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<(), SocketError> {
        if bytes.is_empty() || bytes.len() > MAX_MESSAGE_BYTES {
            return Err(SocketError::TooLong { bytes: bytes.len() });
        }
        packet::send(self.as_fd(), bytes, descriptor.as_slice()).map_err(SocketError::from)
    }

    /// Receives one packet into `bytes`, which is cleared first; `None` where the other side has closed.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`], [`SocketError::TooLong`] (the next packet can still be received), and others.
    pub fn recv(&self, bytes: &mut Vec<u8>) -> Result<Option<Received>, SocketError> {
        bytes.clear();
        let expected = packet::next_length(self.as_fd())?;
        // One that is too long is received into nothing, so that it is out of the way.
        bytes.resize(if expected > MAX_MESSAGE_BYTES { 0 } else { expected }, 0);
        let packet = packet::receive(self.as_fd(), bytes)?;
        if packet.truncated || packet.bytes > bytes.len() {
            bytes.clear();
            return Err(SocketError::TooLong { bytes: packet.bytes });
        }
        bytes.truncate(packet.bytes);
        // A packet of no length cannot be told from the end (rule H18), and no message has none.
        if packet.bytes == 0 {
            return Ok(None);
        }
        let number = packet.sender.map_or(0, |sender| sender.pid);
        let process = packet.process.and_then(|pidfd| Process::from_pidfd_of(pidfd, number).ok());
        let process = process.map(|process| process.identity());
        Ok(Some(Received { descriptors: packet.descriptors, sender: packet.sender, process }))
    }

    /// Sends one message, with a descriptor where one is given.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn send_message<T: Serialize>(
        &self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), SocketError> {
        self.send(&codec::encode(message)?, descriptor)
    }

    /// Receives one message and what came beside it; `None` where the other side has closed.
    ///
    /// # Errors
    /// [`SocketError::Message`] where the packet is none: end the connection then. Others as [`Connection::recv`].
    pub fn recv_message<T: DeserializeOwned>(&self) -> Result<Option<(T, Received)>, SocketError> {
        let mut bytes = Vec::new();
        match self.recv(&mut bytes)? {
            Some(received) => Ok(Some((codec::decode(&bytes)?, received))),
            None => Ok(None),
        }
    }

    /// Waits until something can be received (or the other side has closed), at most that long; whether it can.
    ///
    /// # Errors
    /// Where the kernel refuses to wait.
    pub fn wait_readable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout
            .map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
        match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether sending and receiving return [`SocketError::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.socket, nonblocking)?)
    }

    /// How many bytes of memory are taken by messages that the other side has not received; 0 where it has received all.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn unread(&self) -> io::Result<usize> {
        packet::unread(self.as_fd())
    }

    /// Refuses all descriptors from the other side, where this kernel can (Linux 6.16; rule H19); whether it can.
    pub fn refuse_descriptors(&self) -> bool {
        packet::refuse_descriptors(self.as_fd())
    }

    /// From now on the kernel says beside each packet which process sent it ([`Received::process`]): the only way where
    /// that has no number here, since it is in a PID namespace that is not below ours (rule H12). Costs a descriptor for
    /// a moment with each packet.
    ///
    /// # Errors
    /// `Unsupported` where the kernel cannot (Linux 6.5), or where processes without a number cannot be told apart
    /// (Linux 6.9).
    pub fn name_senders(&self) -> io::Result<()> {
        if !Features::get().pidfd_inode {
            return Err(io::ErrorKind::Unsupported.into());
        }
        packet::pass_pidfd(self.as_fd()).map_err(|_| io::ErrorKind::Unsupported.into())
    }

    /// Who connected. On the connecting side this is the process that listened first: the supervisor, where it owns the
    /// socket (rule H20).
    ///
    /// # Errors
    /// Where the kernel has no pidfd for it.
    pub fn peer(&self) -> io::Result<Peer> {
        Peer::of(self.as_fd())
    }

    /// Who connected, by number only: what [`Self::peer`] says first, and cheaply.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        super::peer::credentials(self.as_fd())
    }

    /// A second handle on the same end.
    ///
    /// # Errors
    /// Where no further descriptor is to be had.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()? })
    }

    /// Ends the connection for all handles on it, forked ones too: the other side reads what was sent, then the end.
    pub fn shutdown(&self) {
        // It fails only where the other side has done the same already.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> Self {
        connection.socket
    }
}

impl SocketError {
    /// Whether trying again later is all there is to do.
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::WouldBlock)
    }
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::WouldBlock,
            Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => Self::Closed,
            Some(libc::ETOOMANYREFS) => Self::TooManyInFlight,
            _ => Self::Failed(error),
        }
    }
}

/// For tokio's `AsyncFd::try_io`, which knows `WouldBlock` by its kind.
impl From<SocketError> for io::Error {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            SocketError::Closed => io::Error::new(io::ErrorKind::BrokenPipe, error),
            SocketError::Failed(source) => source,
            other => io::Error::other(other),
        }
    }
}

/// A Unix socket that no child inherits by accident.
pub(crate) fn new_socket(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}
