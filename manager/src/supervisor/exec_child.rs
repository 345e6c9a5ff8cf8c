//! The entry point between the supervisor and a child that needs more than a command line: descriptors at fixed
//! numbers, or another user with all its groups (rule H23).
//!
//! It is this same program, started as `exec-child`. By then it is a process of its own with one thread, so it may do
//! what must not be done between fork and exec; then it becomes the child, which keeps the process id.

use crate::config::users::{self, UnknownName};
use heirloom_protocol::sys::inherit;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The child could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecChildError {
    /// There is nothing to start.
    #[error("exec-child needs a program to start")]
    NoProgram,
    /// There is no such user.
    #[error(transparent)]
    UnknownUser(#[from] UnknownName),
    /// The user cannot be switched to.
    #[error("cannot become the user `{user}`: {source}")]
    Switch {
        /// Its name or number.
        user: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The descriptors did not arrive, or the program cannot be started.
    #[error("cannot start {program:?}: {source}")]
    Exec {
        /// The program.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Becomes the program in `words`, which come with its arguments. With a user: as that user, with its groups and
/// nothing on standard input. Without: with the descriptors that the parent sends over standard input, placed from 3
/// on and described in `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`.
///
/// Call it before any thread is started. Returns only where it fails, with the reason.
pub fn exec_child(user: Option<&str>, words: &[OsString]) -> ExecChildError {
    let Some((program, arguments)) = words.split_first() else { return ExecChildError::NoProgram };
    let mut command = Command::new(program);
    command.args(arguments);
    let source = match user {
        None => inherit::receive_and_exec(command),
        Some(user) => match become_user(user) {
            Ok(()) => command.exec(),
            Err(error) => return error,
        },
    };
    ExecChildError::Exec { program: program.clone(), source }
}

/// Groups first: the right to change them goes with the user.
fn become_user(name: &str) -> Result<(), ExecChildError> {
    let user = users::user(name)?;
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let switch = || -> rustix::io::Result<()> {
        let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&nothing)?;
        // For the one thread there is, these are for the process.
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    switch().map_err(|error| ExecChildError::Switch { user: name.to_owned(), source: error.into() })
}
