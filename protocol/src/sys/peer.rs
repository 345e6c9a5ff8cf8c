//! Who is at the other end of a connection, by the kernel's word (rules H10 and H12).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Process, pidfd};

/// Who a process is, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Process id; 0 where it is in a PID namespace that is not ours to see.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The process at the other end, as it was when the connection was made.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub credentials: Credentials,
    /// The process.
    pub process: Process,
    /// Whether the kernel named the process itself (Linux 6.5). Otherwise it was looked up by its number, and may be
    /// another one until it has answered something with [`super::Received::sender`] (rule H10).
    pub certain: bool,
}

impl Peer {
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let credentials = credentials(socket)?;
        match pidfd::of_peer(socket) {
            Ok(pidfd) => {
                let process = Process::from_pidfd_of(pidfd, credentials.pid)?;
                Ok(Self { credentials, process, certain: true })
            }
            // Only where the kernel does not know the question: any other refusal says that the peer is gone, and its
            // number may be another's by now.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                Ok(Self { credentials, process: Process::open(credentials.pid)?, certain: false })
            }
            Err(error) => Err(error),
        }
    }
}

impl From<libc::ucred> for Credentials {
    fn from(credentials: libc::ucred) -> Self {
        Self { pid: u32::try_from(credentials.pid).unwrap_or(0), uid: credentials.uid, gid: credentials.gid }
    }
}

pub(super) fn credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: both pointers are to locals of the size given.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(credentials.into())
}
