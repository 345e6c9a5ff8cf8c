//! How the ends of processes are noticed: the kernel tells the parent only (rule H14).
//!
//! A child's process group is killed between its end and its being reaped: until then the number is its own, so that
//! nobody else can be hit. As the first process of a container, the supervisor also inherits whatever loses its
//! parent there, and reaps it, or the dead would pile up.

use super::machine::Exit;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};

/// How the child ended, if it has. It is reaped, and what was left of its process group is killed.
pub(super) fn ended(pid: u32) -> Option<Exit> {
    let pid = pid_of(pid)?;
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = match rustix::process::waitid(WaitId::Pid(pid), peek) {
        Ok(status) => status?,
        // Somebody else has reaped it: how it ended is lost, that it did is not.
        Err(rustix::io::Errno::CHILD) => return Some(Exit::Status(-1)),
        Err(_) => return None,
    };
    // Fails where the leader was the last of its group, which is the rule.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    let by_signal = status.terminating_signal().map(Exit::Signal);
    Some(by_signal.unwrap_or_else(|| Exit::Status(status.exit_status().unwrap_or(-1))))
}

/// Whether processes that lose their parent become children of this one.
pub(super) fn inherits_orphans() -> bool {
    std::process::id() == 1 || rustix::process::child_subreaper().is_ok_and(|subreaper| subreaper.is_some())
}

/// Reaps every process that has ended. Those that are nobody's child here are done with; a known one, whose end came just
/// now, is given to `known`.
pub(super) fn orphans(mut known: impl FnMut(u32, Exit)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        tracing::debug!(pid, "an orphan has ended");
        known(pid, exit_of(status));
    }
}

/// Sends a signal to a child, or to its whole process group.
pub(super) fn signal(pid: u32, signal: Signal, group: bool) {
    let Some(pid) = pid_of(pid) else { return };
    // It has not been reaped, so the number is still its own; it may have ended already, and then this does nothing.
    let sent = if group {
        rustix::process::kill_process_group(pid, signal)
    } else {
        rustix::process::kill_process(pid, signal)
    };
    if let Err(error) = sent {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "a child could not be signalled");
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    let by_signal = status.terminating_signal().map(Exit::Signal);
    by_signal.unwrap_or_else(|| Exit::Status(status.exit_status().unwrap_or(-1)))
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
