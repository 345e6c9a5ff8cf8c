//! What rustix does not know of pidfds.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `pidfd_send_signal` flag: to the whole process group that the process leads (Linux 6.9).
pub(super) const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

/// Where pidfds have inodes of their own (Linux 6.9), their file system says so.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// Sends a signal; 0 is none, and asks whether it may be sent.
pub(super) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: u32) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill in the ordinary one; nothing else is pointed to.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, information, flags) }
    {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the inode of a pidfd names its process.
pub(super) fn has_own_inode(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(pidfd)?.f_type as u64 == PIDFS_MAGIC)
}

/// `struct pidfd_info` of Linux 6.13, as far as it is used here.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pids_and_ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64, "the kernel knows the structure by its size");

/// `_IOWR(0xFF, 11, struct pidfd_info)`
const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// How the process ended, as a wait status, where the kernel tells (Linux 6.15, once it was reaped).
pub(super) fn exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut information = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's number holds the size of the structure, which is ours and that large.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut information) };
    (answer == 0 && information.mask & PIDFD_INFO_EXIT != 0).then_some(information.exit_code)
}

/// The pidfd of a connected socket's peer, as the kernel noted it when the connection was made (Linux 6.5): right also
/// where the peer has died since, or lives in another PID namespace.
pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut descriptor: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to locals of the size given.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor for us (with CLOEXEC), and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
