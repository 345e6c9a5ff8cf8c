//! The client's thread: connects, listens, connects again.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use heirloom_protocol::message::Event;

use super::ConnectError;
use super::back_off::BackOff;
use super::link::Hub;
use super::wire::Wire;
use crate::host::{Connection, Memory, SocketError};

/// A connection that has lasted so long was no part of a loop: the next one is tried at once.
const LASTING: Duration = Duration::from_secs(1);

/// Runs until the client's last handle is dropped, or its first connection fails for good.
///
/// The first connection is tried for as long as `patience`. `running` disconnects when the client ends.
pub(super) fn run(hub: &Hub, socket: &Path, patience: Duration, running: &Receiver<Infallible>) {
    hub.starts_here();
    let begun = Instant::now();
    let mut back_off = BackOff::default();
    while !hub.is_closed() {
        match connect(socket) {
            Ok(connection) => {
                let connected = Instant::now();
                listen(hub, &connection);
                let was_online = hub.detach();
                if connected.elapsed() > LASTING {
                    back_off.reset();
                } else if was_online {
                    back_off.reset_to_first();
                }
            }
            Err(source) if hub.first_is_awaited() && begun.elapsed() >= patience => {
                hub.first(Err(ConnectError::Unreachable { source }));
                return;
            }
            Err(error) => tracing::debug!(%error, "trying again"),
        }
        match running.recv_timeout(back_off.next_wait()) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(never) => match never {},
        }
    }
}

fn connect(socket: &Path) -> Result<Arc<Connection>, SocketError> {
    let connection = Connection::connect(socket)?;
    connection.set_nonblocking(true).map_err(SocketError::Failed)?;
    Ok(Arc::new(connection))
}

/// Hears what the manager says until the connection ends, on this side or on that.
fn listen(hub: &Hub, connection: &Arc<Connection>) {
    if !hub.attach(Wire::Socket(Arc::clone(connection))) {
        return;
    }
    loop {
        match connection.recv_message::<Event>() {
            Ok(Some((event, mut beside))) => {
                // More than one descriptor belongs to no message; `beside` closes the others.
                let memory = beside.descriptors.pop().map(Memory::Segment);
                hub.tell(|session| session.heard(event, memory, Instant::now()));
            }
            Ok(None) | Err(SocketError::Closed) => return,
            Err(SocketError::WouldBlock) => {
                if let Err(error) = connection.wait_readable(None) {
                    tracing::error!(%error, "cannot wait for the manager");
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the manager sent what is no message; connecting again");
                return;
            }
        }
    }
}
