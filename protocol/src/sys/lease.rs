//! The kernel's proof that nobody can write a segment (rules H7 and H8).
//!
//! A read lease is granted only while no description is open for writing, whoever holds it: by descriptor, by
//! mapping, in a message not yet received. Taking one and dropping it at once asks that question, in a microsecond.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `fcntl` command: which signal tells the holder that a lease breaks.
const F_SETSIG: libc::c_int = 10;

/// What the kernel said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Nobody can write.
    Proven,
    /// This kernel does not answer the question, for the reason given: only the pidfd speaks.
    Unsupported(String),
}

/// There is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Some process still holds the segment writable.
    #[error("some process can still write the table, by a descriptor or by a mapping")]
    StillWritable,
    /// The question could not be asked.
    #[error("cannot ask the kernel who can write the table: {0}")]
    Failed(#[source] io::Error),
}

/// Asks whether anybody holds the file of this read-only description open for writing.
///
/// # Errors
/// [`ProofError::StillWritable`] where somebody does. Somebody who reads `/proc/PID/smaps` of a process that just died
/// can delay the end of its mappings by some 20 ms, and a child that was just forked has its parent's descriptors until
/// it executes its program: so ask again until the grace is over.
pub fn prove_unwritable(read_only: BorrowedFd<'_>) -> Result<Proof, ProofError> {
    // A process that opens the file for writing while the lease is held is made to wait, and the holder is sent a
    // signal: SIGIO unless told otherwise, which would end it. SIGURG is ignored by default.
    fcntl(read_only, F_SETSIG, libc::SIGURG).map_err(ProofError::Failed)?;
    match fcntl(read_only, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => {
            fcntl(read_only, libc::F_SETLEASE, libc::F_UNLCK).map_err(ProofError::Failed)?;
            Ok(Proof::Proven)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Err(ProofError::StillWritable),
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS) => {
                Ok(Proof::Unsupported("leases are switched off (sysctl fs.leases-enable)".to_owned()))
            }
            Some(libc::EACCES | libc::EPERM) => Ok(Proof::Unsupported(
                "the segment belongs to another user, and CAP_LEASE is missing".to_owned(),
            )),
            _ => Err(ProofError::Failed(error)),
        },
    }
}

fn fcntl(descriptor: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: these commands take an integer and touch no memory of ours; the descriptor is borrowed, so it is open.
    match unsafe { libc::fcntl(descriptor.as_raw_fd(), command, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
