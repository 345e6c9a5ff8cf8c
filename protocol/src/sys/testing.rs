//! What tests need of the kernel and no program should use.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
