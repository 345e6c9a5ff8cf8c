//! One packet with what travels beside it: descriptors, and the kernel's word on the sender.
//!
//! Not rustix's `recvmsg`: it hands out a process id that cannot be zero, and the kernel says zero for a sender whose
//! PID namespace is not ours to see.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::Credentials;

/// No packet brings more descriptors; one that does is refused whole.
pub(crate) const MAX_DESCRIPTORS: usize = 64;

/// Room for the largest set of descriptors, one set of credentials and one pidfd, in words so that it is aligned.
const CONTROL_WORDS: usize = 64;

// SAFETY: `CMSG_SPACE` only computes.
const _: () = assert!(
    unsafe {
        libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<libc::c_int>()) as u32)
            + libc::CMSG_SPACE(size_of::<libc::ucred>() as u32)
            + libc::CMSG_SPACE(size_of::<libc::c_int>() as u32)
    } as usize
        <= CONTROL_WORDS * 8
);

/// What came in.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Length of the packet; it may be more than the buffer holds.
    pub(crate) bytes: usize,
    /// The descriptors, all with CLOEXEC.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Who sent it, where the socket asks for that.
    pub(crate) sender: Option<Credentials>,
    /// The pidfd of whoever sent it, where the socket asks for that, with CLOEXEC.
    pub(crate) process: Option<OwnedFd>,
    /// Whether the packet, or what came beside it, was cut off.
    pub(crate) truncated: bool,
}

/// Receives one packet into `buffer`.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Packet> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_WORDS];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = message_header(&mut slice, control.as_mut_ptr().cast(), size_of_val(&control));
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_TRUNC;
    let bytes = retry(|| {
        // SAFETY: the header points to the buffer and the control words, both alive, with their true lengths.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) }
    })?;
    // SAFETY: `recvmsg` has filled in the header and the control words it says it used.
    let Control { descriptors, sender, process } = unsafe { take_control(&header) };
    let truncated = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Packet { bytes, descriptors, sender, process, truncated })
}

/// The length of the next packet, which stays where it is. Waits for one where the socket is a blocking one.
pub(crate) fn next_length(socket: BorrowedFd<'_>) -> io::Result<usize> {
    retry(|| {
        // SAFETY: a buffer of no length is never written to.
        unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 0, libc::MSG_PEEK | libc::MSG_TRUNC) }
    })
}

/// Sends one packet, whole or not at all.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
    }
    let mut control = [0_u64; CONTROL_WORDS];
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = message_header(&mut slice, control.as_mut_ptr().cast(), 0);
    if !descriptors.is_empty() {
        // SAFETY: the control words hold MAX_DESCRIPTORS descriptors (asserted above), and are zero.
        unsafe { put_descriptors(&mut header, descriptors) };
    }
    let sent = retry(|| {
        // SAFETY: the header points to the bytes and the control words, both alive, with their true lengths.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) }
    })?;
    debug_assert_eq!(sent, bytes.len(), "sockets of packets send whole packets");
    Ok(())
}

/// Asks the kernel for the sender's credentials beside each packet.
pub(crate) fn pass_credentials(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_passcred(socket, true)?)
}

/// Asks the kernel for the sender's pidfd beside each packet (Linux 6.5): it says who sent it also where there is no
/// number for that process here.
pub(crate) fn pass_pidfd(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SO_PASSPIDFD: libc::c_int = 76;
    set_flag(socket, SO_PASSPIDFD, true)
}

/// What the receiver of a socket has not received yet, in bytes of the kernel's memory (`SIOCOUTQ`).
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one int, to a local that lives as long as the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(usize::try_from(bytes).unwrap_or(0)),
    }
}

/// Refuses descriptors altogether (Linux 6.16): closing one that a peer sent can block for seconds (rule H19).
/// Whether this kernel can.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> bool {
    const SO_PASSRIGHTS: libc::c_int = 83;
    set_flag(socket, SO_PASSRIGHTS, false).is_ok()
}

fn set_flag(socket: BorrowedFd<'_>, option: libc::c_int, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: the pointer is to a local of the size given.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn message_header(slice: &mut libc::iovec, control: *mut libc::c_void, length: usize) -> libc::msghdr {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = slice;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = length as _;
    header
}

/// # Safety
/// `header.msg_control` points to zeroed, aligned memory with room for as many descriptors.
unsafe fn put_descriptors(header: &mut libc::msghdr, descriptors: &[BorrowedFd<'_>]) {
    let bytes = size_of_val(descriptors) as u32;
    // SAFETY: the caller has made sure that there is room for one header and that many bytes; a `BorrowedFd` is, by its
    // documentation, the same in memory as the number.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(bytes) as _;
        let first = libc::CMSG_FIRSTHDR(header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(bytes) as _;
        std::ptr::copy_nonoverlapping(
            descriptors.as_ptr().cast::<u8>(),
            libc::CMSG_DATA(first),
            bytes as usize,
        );
    }
}

/// What came beside a packet.
#[derive(Default)]
struct Control {
    descriptors: Vec<OwnedFd>,
    sender: Option<Credentials>,
    process: Option<OwnedFd>,
}

/// Takes what came beside a packet; each descriptor is owned from here on, so none is ever lost.
///
/// # Safety
/// `header` is as `recvmsg` left it, and this is called once for it.
unsafe fn take_control(header: &libc::msghdr) -> Control {
    /// libc knows it for some C libraries only.
    const SCM_PIDFD: libc::c_int = 4;
    let mut control = Control::default();
    // SAFETY: the kernel wrote these headers and their lengths, within the control words.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: not null, so a whole header inside the control words.
        let (level, kind, length) =
            unsafe { ((*next).cmsg_level, (*next).cmsg_type, (*next).cmsg_len as usize) };
        // SAFETY: `CMSG_LEN` only computes; `CMSG_DATA` is inside the control words.
        let (data, length) =
            unsafe { (libc::CMSG_DATA(next), length.saturating_sub(libc::CMSG_LEN(0) as usize)) };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..length / size_of::<libc::c_int>() {
                    // SAFETY: inside the data; the kernel opened this descriptor for us, and we take it once.
                    control.descriptors.push(unsafe {
                        OwnedFd::from_raw_fd(data.cast::<libc::c_int>().add(index).read_unaligned())
                    });
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: inside the data, which is long enough.
                control.sender =
                    Some(Credentials::from(unsafe { data.cast::<libc::ucred>().read_unaligned() }));
            }
            (libc::SOL_SOCKET, SCM_PIDFD) if length >= size_of::<libc::c_int>() => {
                // SAFETY: inside the data, which is long enough.
                let descriptor = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                // An error's number where the sender is gone.
                if descriptor >= 0 {
                    // SAFETY: the kernel opened this descriptor for us, and we take it once.
                    control.process = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
                }
            }
            _ => {}
        }
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    control
}

/// Calls again where a signal came in between.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(length) => return Ok(length),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
