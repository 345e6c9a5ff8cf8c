//! What tests need of the kernel and no program should use.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::Process;

/// Forks; the child runs `child`, and exits with what it returned (101 where it panicked), running nothing else: no
/// destructors, no exit handlers, nothing of the test harness.
///
/// The child has only the thread that called. It may allocate (the C library sees to that), but must not wait for
/// another thread or take a lock that one may hold: no output through the test harness, for instance.
///
/// # Errors
/// Where the kernel refuses. The caller reaps the child with [`reap`].
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Process> {
    // SAFETY: the child runs only what the caller gave it, under the conditions above, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: ends this process.
            unsafe { libc::_exit(code) }
        }
        pid => Process::open(u32::try_from(pid).expect("a child's number is positive")),
    }
}

/// Starts a process that has this one's memory as its own, and waits until it is killed (rule H17).
///
/// # Errors
/// Where the kernel refuses.
pub fn child_with_our_memory() -> io::Result<Process> {
    extern "C" fn wait(_: *mut c_void) -> libc::c_int {
        loop {
            // SAFETY: touches no memory, unless a signal handler returns, and there is none.
            unsafe { libc::pause() };
        }
    }
    // For as long as there is anybody: it outlives this process. In words of 16 bytes, as a stack is aligned.
    let stack: &'static mut [u128] = vec![0; 4096].leak();
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the child has a stack that is never freed, runs only `wait`, and leaves everything else alone.
    match unsafe { libc::clone(wait, top.cast(), libc::CLONE_VM | libc::SIGCHLD, std::ptr::null_mut()) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Process::open(u32::try_from(pid).expect("a child's number is positive")),
    }
}

/// Waits for a child that [`fork`] made, and says how it ended: its exit code, or minus the signal.
///
/// # Errors
/// Where it is not a child of this process.
pub fn reap(child: &Process) -> io::Result<i32> {
    let mut status = 0;
    let pid = i32::try_from(child.pid()).expect("a child's number fits");
    loop {
        // SAFETY: the pointer is to a local.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } != -1 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) })
}

/// Gives up root for good.
///
/// # Errors
/// Where this process is not root.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: none of these touches memory; the C library changes all threads.
    let refused = unsafe {
        libc::setgroups(0, std::ptr::null()) != 0 || libc::setgid(gid) != 0 || libc::setuid(uid) != 0
    };
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tries to map the first page to write it, as somebody would who has only this descriptor.
///
/// # Errors
/// As the kernel refuses.
pub fn try_map_for_writing(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    map_a_page(descriptor, ProtFlags::READ | ProtFlags::WRITE).and_then(unmap)
}

/// Tries to map the first page to read it, and to make the mapping writable then.
///
/// # Errors
/// As the kernel refuses.
pub fn try_protect_for_writing(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let page = map_a_page(descriptor, ProtFlags::READ)?;
    // SAFETY: our own page, which nobody else knows.
    let answer =
        unsafe { rustix::mm::mprotect(page, page_bytes(), MprotectFlags::READ | MprotectFlags::WRITE) };
    unmap(page)?;
    Ok(answer?)
}

fn map_a_page(descriptor: BorrowedFd<'_>, protection: ProtFlags) -> io::Result<*mut c_void> {
    // SAFETY: a new range that nobody uses, wherever the kernel puts it.
    Ok(unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), page_bytes(), protection, MapFlags::SHARED, descriptor, 0)?
    })
}

fn unmap(page: *mut c_void) -> io::Result<()> {
    // SAFETY: our own page, which nobody uses any more.
    unsafe { rustix::mm::munmap(page, page_bytes()) }.map_err(io::Error::from)
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}
