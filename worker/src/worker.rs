//! A connection with a name, which tables can be handed to.

use std::path::Path;
use std::time::Duration;

use heirloom_protocol::message::MAX_NAME_BYTES;

use crate::client::{Client, ConnectError, RequestError, socket_from_env};
use crate::codec::{Key, Value};
use crate::heir::TableHeir;
use crate::owned::Owned;
use crate::reader::Reader;

/// This process, as the manager knows it: a name, and heirs for some tables.
///
/// Whether `heirloom run` started the process or somebody else did makes no difference. Several processes may have one
/// name: one owns a table, the others stand by. The connection has its own thread, reconnects by itself and then says
/// everything again that the manager needs to know; readers and writers work on meanwhile. Clones share it. Keep one for
/// as long as the process is to be a candidate.
///
/// ```no_run
/// # use heirloom_worker::{TableHeir, Transfer, Worker};
/// # struct Tracker; impl TableHeir for Tracker { fn transferred(&mut self, transfer: Transfer) {} }
/// let worker = Worker::connect("/run/heirloom.sock", "sale_tracker")?;
/// worker.heir("sales", Tracker)?;
/// worker.ready()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Worker {
    client: Client,
    name: String,
}

impl Worker {
    /// Registers as `name` with the manager that `HEIRLOOM_SOCKET` names, as `heirloom run` sets it for its children.
    ///
    /// # Errors
    /// [`ConnectError`]; the manager refuses a name that its configuration does not have.
    pub fn from_env(name: &str) -> Result<Self, ConnectError> {
        Self::connect(socket_from_env()?, name)
    }

    /// Registers as `name` at a manager's control socket.
    ///
    /// # Errors
    /// [`ConnectError`], at once where nobody listens; the manager refuses a name that its configuration does not have.
    pub fn connect(socket: impl AsRef<Path>, name: &str) -> Result<Self, ConnectError> {
        Self::connect_within(socket, name, Duration::ZERO)
    }

    /// The same, trying for as long as `patience`: for a worker that is started beside the manager, not by it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_within(
        socket: impl AsRef<Path>,
        name: &str,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let client = Client::connect_as(Some(name.to_owned()), socket.as_ref(), patience)?;
        Ok(Self { client, name: name.to_owned() })
    }

    /// Opens a table for reading; see [`Client::reader`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn reader<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
    ) -> Result<Reader<K, V>, RequestError> {
        self.client.reader(table)
    }

    /// Registers the heir of a table. Once the worker is [`ready`](Self::ready), the table may be transferred to it.
    ///
    /// # Errors
    /// [`HeirError`]; the manager refuses a table that its configuration does not have or does not grant.
    pub fn heir(&self, table: &str, heir: impl TableHeir) -> Result<(), HeirError> {
        self.client.heir(table, Box::new(heir))
    }

    /// Registers the ready-made heir of a table: for services whose request handlers write.
    ///
    /// Returns at once, as a standby; the table comes when find-me says so and the worker is [`ready`](Self::ready).
    ///
    /// # Errors
    /// [`HeirError`]; the table is also opened for reading.
    pub fn own<K, V>(&self, table: &str) -> Result<Owned<K, V>, HeirError>
    where
        K: Key + ?Sized + 'static,
        V: Value + ?Sized + 'static,
    {
        let (owned, heir) = Owned::new(self.reader(table)?);
        self.heir(table, heir)?;
        Ok(owned)
    }

    /// Says that the worker can take the tables it has heirs for, from now on, and after each reconnection.
    ///
    /// # Errors
    /// [`RequestError::ForkedChild`].
    pub fn ready(&self) -> Result<(), RequestError> {
        if self.client.link().is_inert() {
            return Err(RequestError::ForkedChild);
        }
        self.client.link().ready();
        Ok(())
    }

    /// The connection, for reading and asking.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name the worker is registered under.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn from_client(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

/// The worker cannot be an heir.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeirError {
    /// No table has a name like that.
    #[error("a table's id has 1 to {MAX_NAME_BYTES} bytes, not {length}")]
    Name {
        /// The length of what was given, in bytes.
        length: usize,
    },
    /// There is one already.
    #[error("table `{table}` has an heir in this worker already: one heir for each table")]
    Twice {
        /// The table's id.
        table: String,
    },
    /// The manager does not agree, or the table could not be opened for reading.
    #[error(transparent)]
    Request(#[from] RequestError),
}
