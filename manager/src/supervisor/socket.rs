//! Where the control socket is, and that only one supervisor listens there (rule H20).

use super::SuperviseError;
use crate::config::MAX_SOCKET_PATH_BYTES;
use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request, Status, WorkerStatus};
use heirloom_protocol::sys::{Connection, ListenError, Listener};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the manager of a supervisor that was killed has for each answer, for the message.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the control socket is when nobody says otherwise: `heirloom/heirloom.sock` in `$XDG_RUNTIME_DIR`, in `/run`
/// for root, else in a folder of this user's own under the temporary folder.
#[must_use]
pub fn default_socket() -> PathBuf {
    let uid = rustix::process::geteuid();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid.is_root() => PathBuf::from("/run/heirloom"),
        Some(runtime) if !runtime.is_empty() => PathBuf::from(runtime).join("heirloom"),
        _ => std::env::temp_dir().join(format!("heirloom-{}", uid.as_raw())),
    };
    folder.join("heirloom.sock")
}

/// Listens at `path`. The folder is made where it is the default one and not there yet.
pub(super) fn listen(path: &Path, other_users: bool) -> Result<Listener, SuperviseError> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH_BYTES {
        return Err(SuperviseError::SocketPathTooLong { path: path.to_owned(), length });
    }
    if path == default_socket() {
        let folder = path.parent().expect("the default has a folder");
        make_folder(folder, other_users)
            .map_err(|source| SuperviseError::Folder { folder: folder.to_owned(), source })?;
    }
    let mode = if other_users { 0o666 } else { 0o600 };
    match Listener::bind(path, mode) {
        Ok(listener) => Ok(listener),
        Err(ListenError::InUse { path }) => Err(who_listens(path)),
        Err(error) => Err(error.into()),
    }
}

/// Makes the folder, and sees to it that nobody else could have put a socket of their own there.
fn make_folder(folder: &Path, other_users: bool) -> io::Result<()> {
    let mode = if other_users { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    let ours =
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if !ours {
        return Err(io::Error::other("it belongs to another user, or others may write in it"));
    }
    // It may be older than the configuration that lets others in, or keeps them out.
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

/// Who has the socket already. The kernel names the process that listened first: the supervisor, also when it has
/// died and its manager holds the socket open.
fn who_listens(path: PathBuf) -> SuperviseError {
    let peer =
        Connection::connect(&path).ok().and_then(|connection| Some((connection.peer().ok()?, connection)));
    match peer {
        Some((peer, _)) if !peer.process.has_exited() => {
            SuperviseError::AlreadyRunning { path, pid: peer.credentials.pid }
        }
        Some((peer, connection)) => left_behind(path, peer.credentials.pid, &connection),
        None => ListenError::InUse { path }.into(),
    }
}

/// Asks the manager that a supervisor left behind who else is there.
fn left_behind(path: PathBuf, pid: u32, connection: &Connection) -> SuperviseError {
    let unknown = || "unknown".to_owned();
    let manager = manager_of(connection);
    let workers = manager.and_then(|_| status_of(connection)).map(|status| named(&status.workers));
    SuperviseError::LeftBehind {
        path,
        pid,
        manager: manager.map_or_else(unknown, |pid| pid.to_string()),
        workers: workers.unwrap_or_else(unknown),
    }
}

fn manager_of(connection: &Connection) -> Option<u32> {
    connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None).ok()?;
    match answer(connection)? {
        Event::Welcome { manager_pid, .. } => Some(manager_pid),
        _ => None,
    }
}

fn status_of(connection: &Connection) -> Option<Status> {
    connection.send_message(&Request::Status { request: 1 }, None).ok()?;
    let mut said = String::new();
    loop {
        let Event::Status { piece, more, .. } = answer(connection)? else { return None };
        said += &piece;
        if !more {
            return serde_json::from_str(&said).ok();
        }
    }
}

fn answer(connection: &Connection) -> Option<Event> {
    if !connection.wait_readable(Some(PATIENCE)).ok()? {
        return None;
    }
    connection.recv_message::<Event>().ok()?.map(|(event, _)| event)
}

fn named(workers: &[WorkerStatus]) -> String {
    if workers.is_empty() {
        return "(none)".to_owned();
    }
    workers.iter().map(|worker| format!("{} ({})", worker.name, worker.pid)).collect::<Vec<_>>().join(", ")
}
