//! What can go wrong between a client and the manager.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use heirloom_protocol::message::Refusal;
use heirloom_protocol::table::OpenError;

use super::SOCKET_VARIABLE;
use super::session::Refused;
use crate::host::{MapError, SocketError};

/// The manager could not be reached, or does not want this client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The environment does not say where the control socket is.
    #[error(
        "{SOCKET_VARIABLE} is not set: start this program by `heirloom run`, or set it to the control socket's path"
    )]
    NoSocket,
    /// Nobody listens on the control socket.
    #[error("{source}")]
    Unreachable {
        /// Which socket, and what the kernel says.
        source: SocketError,
    },
    /// The manager refuses the version, the name or the user.
    #[error("the manager refuses: {message}")]
    Refused {
        /// What kind of refusal this is.
        why: Refusal,
        /// What the manager says.
        message: String,
    },
    /// Somebody listens, and does not answer.
    #[error("no answer from the manager at {}: it may still be hydrating; see its log", socket.display())]
    NoAnswer {
        /// The control socket.
        socket: PathBuf,
    },
    /// The client's thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It refuses.
    #[error("the manager refuses: {message}")]
    Refused {
        /// What kind of refusal this is.
        why: Refusal,
        /// What the manager says.
        message: String,
    },
    /// It is away, or busy.
    #[error("the manager did not {question} in {} seconds: see `heirloom status` and its log", time.as_secs())]
    NoAnswer {
        /// What was asked.
        question: String,
        /// How long its answer was waited for.
        time: Duration,
    },
    /// It answered something else: its version and this library's do not fit.
    #[error("the manager's answer makes no sense: its version and this program's do not fit together")]
    Unexpected,
    /// The segment could not be mapped.
    #[error("cannot map table `{table}`: {source}")]
    Map {
        /// The table's id.
        table: String,
        /// What the kernel says.
        source: MapError,
    },
    /// The segment is not a table that this library can read.
    #[error("cannot read table `{table}`: {source}")]
    Open {
        /// The table's id.
        table: String,
        /// What is wrong with it.
        source: OpenError,
    },
    /// Called by an heir, on the thread that hears the manager.
    #[error("an heir must not wait for the manager: do this on another thread")]
    OnClientThread,
    /// The connection belongs to the parent process.
    #[error("this is a forked child: connect again")]
    ForkedChild,
    /// The client has ended.
    #[error("the connection was closed")]
    Closed,
}

impl From<Refused> for RequestError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ByManager { why, message } => Self::Refused { why, message },
            Refused::Closed => Self::Closed,
        }
    }
}
