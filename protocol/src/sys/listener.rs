//! Where connections come from: a socket in the file system (rule H20).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType};

use super::socket::new_socket;
use super::{Connection, packet};

/// Connections that wait to be accepted, while a manager restarts for instance.
const BACKLOG: i32 = 1024;

/// Two processes that begin to listen in the same moment take turns; each turn is over in far less.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// The socket's file, where this process made it.
    file: Option<SocketFile>,
}

/// Where the socket stands, so that it is removed by whoever made it, and only that one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    made_by: u32,
}

/// A socket could not be made at its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A living process listens there.
    #[error("another process listens at {}: stop it, or choose another path (--socket)", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something stands there that is no socket; it is left alone.
    #[error("{} is there already, and is no socket: remove it, or choose another path (--socket)", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot listen at {}: {source}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Listener {
    /// Listens at `path`, for those whom `mode` (0600, 0666, ...) lets in. The file of a process that has died is
    /// replaced; a living one's never is.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let failed = |source: io::Error| ListenError::Failed { path: path.to_owned(), source };
        let address = SocketAddrUnix::new(path).map_err(|error| match error {
            Errno::NAMETOOLONG => failed(io::Error::other("the path of a Unix socket has at most 107 bytes")),
            other => failed(other.into()),
        })?;
        // Between the look at an old file and the new one's place, nobody else may do the same.
        let _turn = lock_folder_of(path).map_err(failed)?;
        remove_stale(path, &address)?;
        let attempt = || -> io::Result<Self> {
            let socket = new_socket(SocketType::SEQPACKET)?;
            rustix::net::bind(&socket, &address)?;
            // Before `listen`, nobody can connect, whatever the mode still is.
            rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
            rustix::net::listen(&socket, BACKLOG)?;
            let file = SocketFile::at(path)?;
            Ok(Self { file: Some(file), ..Self::from_fd(socket)? })
        };
        attempt().map_err(failed)
    }

    /// Takes up a socket that listens already, from the supervisor or systemd. Its file stays theirs.
    ///
    /// # Errors
    /// `InvalidInput` where it is not a listening socket of packets.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        let fits = rustix::net::sockopt::socket_acceptconn(&socket)?
            && rustix::net::sockopt::socket_type(&socket)? == SocketType::SEQPACKET;
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a listening socket of type SEQPACKET",
            ));
        }
        packet::pass_credentials(socket.as_fd())?;
        Ok(Self { socket, file: None })
    }

    /// The next connection.
    ///
    /// # Errors
    /// `WouldBlock` where the listener is non-blocking and there is none.
    pub fn accept(&self) -> io::Result<Connection> {
        loop {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                // It was gone again before we looked.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                answer => return Connection::from_fd(answer?),
            }
        }
    }

    /// Refuses all descriptors on what is accepted from here on, where this kernel can (Linux 6.16; rule H19); whether it
    /// can. A connection has that before anything can be sent on it.
    pub fn refuse_descriptors(&self) -> bool {
        packet::refuse_descriptors(self.as_fd())
    }

    /// Where it listens, where this process made the socket's file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Whether [`Listener::accept`] returns `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.socket, nonblocking)?)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let status = std::fs::symlink_metadata(path)?;
        // Absolute, so that it is found again after a change of directory.
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: status.dev(), inode: status.ino(), made_by: std::process::id() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|status| (status.dev(), status.ino()) == (self.device, self.inode));
        if still_ours && self.made_by == std::process::id() {
            // Left behind, it would be replaced by the next one that listens there.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn lock_folder_of(path: &Path) -> io::Result<OwnedFd> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder =
        rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PATIENCE / 100),
            // Whoever holds it for so long has another reason than to listen here.
            Ok(()) | Err(Errno::WOULDBLOCK) => return Ok(folder),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes a socket's file that nobody listens at any more.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    let failed = |source: io::Error| ListenError::Failed { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(status) if !status.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let probe = new_socket(SocketType::SEQPACKET).map_err(failed)?;
    // A listener whose queue is full is alive too, and must not be waited for.
    rustix::io::ioctl_fionbio(&probe, true).map_err(|error| failed(error.into()))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        // Connected, queue full, another type of socket, not allowed: somebody is there, or may be.
        _ => Err(ListenError::InUse { path: path.to_owned() }),
    }
}
