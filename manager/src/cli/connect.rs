//! The way from a command line to the manager and its tables.

use crate::supervisor::default_socket;
use heirloom_protocol::sys::Connection;
use heirloom_worker::{Client, Reader};
use std::error::Error;
use std::path::PathBuf;

/// A table as the bytes it has.
pub(super) type Bytes = Reader<[u8], [u8]>;

/// The socket that was named, or the usual one; an error at once where nobody listens there.
pub(super) fn socket(socket: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    let socket = socket.unwrap_or_else(default_socket);
    // A client waits for a manager that is just starting; a person wants to know at once that there is none.
    Connection::connect(&socket)?;
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
