//! The way from a client to its manager: a socket, or a call.

use std::sync::Arc;

use heirloom_protocol::message::Request;

use crate::embedding::House;
use crate::host::{Connection, SocketError};

/// The way to the manager, while there is one.
#[derive(Clone)]
pub(super) enum Wire {
    /// To another process.
    Socket(Arc<Connection>),
    /// To a manager in this one, which knows us by a number.
    House(Arc<dyn House>, u64),
}

impl Wire {
    pub(super) fn send(&self, request: Request) -> Result<(), SocketError> {
        match self {
            Self::Socket(connection) => connection.send_message(&request, None),
            Self::House(house, client) => {
                house.say(*client, request);
                Ok(())
            }
        }
    }

    /// Ends it. Not under the client's lock: a house goes on with what that means.
    pub(super) fn end(&self) {
        match self {
            Self::Socket(connection) => connection.shutdown(),
            Self::House(house, client) => {
                house.leave(*client);
                house.carry_on();
            }
        }
    }
}
