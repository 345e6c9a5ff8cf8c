//! Starting processes: the manager with its descriptors, and the workers.
//!
//! Each child leads a process group of its own (rule H27): Ctrl-C at a terminal reaches the supervisor only, and
//! whatever a child has started is killed with it. Nothing ties a child's life to the supervisor's: when the supervisor
//! dies, tables and owners live on.

use super::{Options, SuperviseError};
use crate::config::{ChildConfig, WorkerConfig, users};
use heirloom_protocol::sys::{Connection, inherit};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What our own service manager tells us is not meant for our children.
const NOT_FOR_CHILDREN: [&str; 8] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "MAINPID",
];

/// Starts the manager and hands it its descriptors; its process id.
pub(super) fn manager(
    options: &Options,
    socket: &Path,
    notify_socket: &Path,
    store_limit: usize,
    watchdog: Option<Duration>,
    descriptors: &[(&str, BorrowedFd<'_>)],
) -> io::Result<u32> {
    let (ours, theirs) = Connection::pair()?;
    let mut words = options.exec_child.iter().chain(&options.manager);
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = child_command(program, socket);
    command.args(words);
    command.env("NOTIFY_SOCKET", notify_socket).env("FDSTORE", store_limit.to_string());
    if let Some(limit) = watchdog {
        command.env("WATCHDOG_USEC", limit.as_micros().to_string());
    }
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let pid = command.spawn()?.id();
    // The end that went to the child closes here, so that a child that dies is noticed instead of waited for.
    drop(command);
    match inherit::send_descriptors(&ours, descriptors) {
        // It has died already (or with what was sent unread), which is told when it is reaped.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(pid)
        }
        sent => sent.map(|()| pid),
    }
}

/// Starts one process of a worker; its process id.
pub(super) fn worker(
    options: &Options,
    socket: &Path,
    worker: &WorkerConfig,
    child: &ChildConfig,
    instance: u32,
) -> io::Result<u32> {
    let mut command = match switch_of(worker) {
        None => command_of(child.command.iter().map(OsStr::new), socket)?,
        Some(user) => {
            let entry = options.exec_child.iter().map(|word| word.as_os_str());
            let user = [OsStr::new("--user"), OsStr::new(user), OsStr::new("--")];
            command_of(entry.chain(user).chain(child.command.iter().map(OsStr::new)), socket)?
        }
    };
    if let Some(account) = switch_of(worker).and_then(|user| users::user(user).ok()?.account) {
        command.env("USER", &account.name).env("LOGNAME", &account.name).env("HOME", &account.home);
    }
    command.envs(&child.env);
    command.env("HEIRLOOM_WORKER", &worker.name).env("HEIRLOOM_INSTANCE", instance.to_string());
    command.current_dir(&child.folder).stdin(Stdio::null());
    Ok(command.spawn()?.id())
}

/// The user that a worker must be switched to; `None` where it is ours already.
fn switch_of(worker: &WorkerConfig) -> Option<&str> {
    let name = worker.user.as_deref()?;
    let ours = rustix::process::geteuid().as_raw();
    let same = users::user(name).is_ok_and(|user| user.uid == ours);
    (!same).then_some(name)
}

/// Says before anything is started that a worker's user cannot be switched to.
pub(super) fn check_user(worker: &WorkerConfig) -> Result<(), SuperviseError> {
    let Some(name) = switch_of(worker) else { return Ok(()) };
    users::user(name)?;
    if !rustix::process::geteuid().is_root() {
        return Err(SuperviseError::NotRoot { worker: worker.name.clone(), user: name.to_owned() });
    }
    Ok(())
}

fn command_of<'w>(mut words: impl Iterator<Item = &'w OsStr>, socket: &Path) -> io::Result<Command> {
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = child_command(program, socket);
    command.args(words);
    Ok(command)
}

fn child_command(program: &OsStr, socket: &Path) -> Command {
    let mut command = Command::new(program);
    for name in NOT_FOR_CHILDREN {
        command.env_remove(name);
    }
    command.env("HEIRLOOM_SOCKET", socket).process_group(0);
    command
}
