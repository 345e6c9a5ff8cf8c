//! The way from a command line to the manager and its tables.

use crate::supervisor::default_socket;
use heirloom_protocol::message::{PROTOCOL_VERSION, Request};
use heirloom_protocol::sys::Connection;
use heirloom_worker::{Client, Reader};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// How long a manager may take to greet: one that hydrates greets at once, and one that is started again soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// A table as the bytes it has.
pub(super) type Bytes = Reader<[u8], [u8]>;

/// The socket that was named, or the usual one; an error at once where nobody listens there.
pub(super) fn socket(socket: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    let socket = socket.unwrap_or_else(default_socket);
    // A client waits for a manager that is just starting; a person wants to know at once that there is none.
    let connection = Connection::connect(&socket)?;
    connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None)?;
    if !connection.wait_readable(Some(PATIENCE))? {
        let (at, pid) = (socket.display(), connection.peer()?.credentials.pid);
        return Err(format!(
            "no manager answers at {at} within {PATIENCE:?}. The socket is process {pid}'s, whose log says why: a manager that \
             fails is started again and again until it works, and its tables are kept for it"
        )
        .into());
    }
    Ok(socket)
}

/// A connection to the manager.
pub(super) fn client(named: Option<PathBuf>) -> Result<Client, Box<dyn Error>> {
    Ok(Client::connect(socket(named)?)?)
}

/// A table, opened for reading.
pub(super) fn reader(named: Option<PathBuf>, table: &str) -> Result<Bytes, Box<dyn Error>> {
    Ok(client(named)?.reader(table)?)
}
