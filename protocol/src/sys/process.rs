//! A process, held by its pidfd: never by its number, which the kernel gives to others later (rule H10).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::pidfd;

/// A process that may be alive, a zombie, or long gone: the handle goes on meaning the same one.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: u32,
    identity: Identity,
}

/// Which process this is, for comparing: no two processes share one while the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The pidfd's inode; before Linux 6.9 the pid.
    number: u64,
    /// 0; before Linux 6.9 the time at which the process started, in clock ticks.
    started: u64,
}

/// A signal could not be sent (rule H15).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KillError {
    /// It has ended already.
    #[error("the process has ended")]
    Gone,
    /// It belongs to another user.
    #[error("process {pid} belongs to another user: the manager lacks the right to signal it (CAP_KILL)")]
    NotPermitted {
        /// The process.
        pid: u32,
    },
    /// It is in a PID namespace that is not below ours.
    #[error("process {pid} is in a PID namespace that cannot be signalled from here")]
    OtherNamespace {
        /// The process.
        pid: u32,
    },
    /// It leads no process group, so there is none to signal.
    #[error("process {pid} does not lead a process group")]
    NoGroup {
        /// The process.
        pid: u32,
    },
    /// The kernel refused for another reason.
    #[error("cannot signal process {pid}: {source}")]
    Failed {
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// `ESRCH` where there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        Self::from_pidfd_of(pidfd, pid)
    }

    /// This process.
    ///
    /// # Errors
    /// Where the kernel has no pidfd for it.
    pub fn current() -> io::Result<Self> {
        Self::open(std::process::id())
    }

    /// The process behind a pidfd that was received or stored. Where it has ended and been reaped, the kernel does not
    /// tell its number any more: [`Process::pid`] is 0 then.
    ///
    /// # Errors
    /// `InvalidInput` where the descriptor is no pidfd.
    pub fn from_pidfd(pidfd: OwnedFd) -> io::Result<Self> {
        let information = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
        let pid = information
            .lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a pidfd"))?;
        // -1 where it has been reaped, 0 where it is in another namespace.
        let pid = pid.trim().parse::<i64>().ok().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        Self::from_pidfd_of(pidfd, pid)
    }

    /// The process behind what is known to be a pidfd, whose number was noted when it was known.
    ///
    /// # Errors
    /// Where the kernel does not say which process it is.
    pub fn from_pidfd_of(pidfd: OwnedFd, pid: u32) -> io::Result<Self> {
        let identity = Identity::of(pidfd.as_fd(), pid)?;
        Ok(Self { pidfd, pid, identity })
    }

    /// Its number, for messages to people; 0 where the kernel did not say.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Which process this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it has ended. The kernel says so after its memory is torn down (rule H11), reaped or not.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.wait_exit(Duration::ZERO)
    }

    /// Waits until it has ended, at most that long; whether it has.
    #[must_use]
    pub fn wait_exit(&self, timeout: Duration) -> bool {
        // None: so far away that it never comes.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let rest = deadline.map(|deadline| {
                let rest = deadline.saturating_duration_since(Instant::now());
                Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: i64::from(rest.subsec_nanos()) }
            });
            match rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], rest.as_ref()) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`KillError`].
    pub fn kill(&self, signal: Signal) -> Result<(), KillError> {
        self.send(signal.as_raw(), 0)
    }

    /// Sends a signal to it and to all of its process group, which it must lead.
    ///
    /// # Errors
    /// [`KillError::NoGroup`] where it does not lead one, and those of [`Process::kill`].
    pub fn kill_group(&self, signal: Signal) -> Result<(), KillError> {
        match self.send(signal.as_raw(), pidfd::SIGNAL_PROCESS_GROUP) {
            Err(KillError::Failed { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                self.kill_group_by_number(signal)
            }
            Err(KillError::Gone) if !self.has_exited() => Err(KillError::NoGroup { pid: self.pid }),
            answer => answer,
        }
    }

    /// Whether this process has the right to kill it (rule H15), found out with signal 0.
    ///
    /// # Errors
    /// [`KillError`] says why not.
    pub fn may_kill(&self) -> Result<(), KillError> {
        self.send(0, 0)
    }

    /// How it ended, in words, where the kernel tells somebody who is not its parent (Linux 6.15, once it was reaped;
    /// rule H14). Never worth waiting for.
    #[must_use]
    pub fn how_it_ended(&self) -> Option<String> {
        pidfd::exit_status(self.as_fd()).map(describe_wait_status)
    }

    /// A second handle on the same process.
    ///
    /// # Errors
    /// Where no further descriptor is to be had.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { pidfd: self.pidfd.try_clone()?, pid: self.pid, identity: self.identity })
    }

    fn send(&self, signal: i32, flags: u32) -> Result<(), KillError> {
        let pid = self.pid;
        let Err(error) = pidfd::send_signal(self.as_fd(), signal, flags) else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::ESRCH) => Err(KillError::Gone),
            Some(libc::EPERM) => Err(KillError::NotPermitted { pid }),
            Some(libc::EINVAL) if flags == 0 => Err(KillError::OtherNamespace { pid }),
            _ => Err(KillError::Failed { pid, source: error }),
        }
    }

    /// Before Linux 6.9. The process has not been reaped when its group is asked for, so the number is still its own.
    fn kill_group_by_number(&self, signal: Signal) -> Result<(), KillError> {
        let pid = self.pid;
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(KillError::Gone)?;
        self.may_kill()?;
        if rustix::process::getpgid(Some(number)).ok() != Some(number) {
            return Err(KillError::NoGroup { pid });
        }
        rustix::process::kill_process_group(number, signal)
            .map_err(|error| KillError::Failed { pid, source: error.into() })
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.pidfd
    }
}

impl Identity {
    fn of(pidfd: BorrowedFd<'_>, pid: u32) -> io::Result<Self> {
        if pidfd::has_own_inode(pidfd)? {
            return Ok(Self { number: rustix::fs::fstat(pidfd)?.st_ino, started: 0 });
        }
        Ok(Self { number: u64::from(pid), started: start_time(pid).unwrap_or(0) })
    }
}

/// When the process started, in clock ticks since boot: field 22 of its `stat`, counted behind the name, which may
/// itself hold spaces and parentheses.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A wait status in words: `exit status 1`, `killed by signal 9`.
#[must_use]
pub fn describe_wait_status(status: i32) -> String {
    use std::os::unix::process::ExitStatusExt;
    let status = std::process::ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
