//! The offer of a table, and the way from it to a writer.

use std::fmt;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Instant;

use heirloom_protocol::message::TransferReason;
use heirloom_protocol::table::OpenError;
use serde::de::DeserializeOwned;

use crate::client::{Grant, Link, Unread, Will};
use crate::codec::{CodecError, Key, Value};
use crate::engine::ReadHandle;
use crate::host::MapError;
use crate::reader::ReadError;
use crate::testing::HeapTable;
use crate::writer::{WriteError, Writer};

/// A table that this worker may have now.
///
/// It can be looked at, sent to another thread, and then either [accepted](Self::accept) or declined; dropped, it is
/// declined. Until it is accepted nothing has moved: a worker that dies with a transfer in hand costs nothing.
///
/// ```
/// # use heirloom_worker::testing::{Rehearsal, Table};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Gift { currency: String }
/// let mut sales = Rehearsal::new(Table::set("sales")).gift(&Gift { currency: "USD".into() });
/// let transfer = sales.transfer();
/// let gift: Gift = transfer.gift()?;
/// let position: u64 = transfer.bequest()?.unwrap_or(0);
/// let mut writer = transfer.accept::<String, u64>()?;
/// writer.bequeath(&(position + 1))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0382
/// # use heirloom_worker::Transfer;
/// fn two_owners(transfer: Transfer) {
///     let one = transfer.accept::<String, u64>();
///     let other = transfer.accept::<String, u64>(); // accepting consumes the transfer
/// }
/// ```
pub struct Transfer {
    table: String,
    epoch: u64,
    gift: String,
    reason: TransferReason,
    expires: Instant,
    origin: Origin,
}

/// Where a transfer comes from.
enum Origin {
    /// The manager; what the last owner left is the session's, and gone with the offer.
    Manager { will: Weak<Will>, link: Arc<Link> },
    /// A test, with the table on the heap.
    Rehearsal { memory: HeapTable },
    /// It has been accepted or declined.
    Settled,
}

/// What an offer says, whoever makes it.
pub(crate) struct Offer {
    pub(crate) table: String,
    pub(crate) epoch: u64,
    pub(crate) gift: String,
    pub(crate) reason: TransferReason,
    pub(crate) expires: Instant,
}

impl Transfer {
    pub(crate) fn from_manager(offer: Offer, will: Weak<Will>, link: Arc<Link>) -> Self {
        Self::new(offer, Origin::Manager { will, link })
    }

    pub(crate) fn rehearsed(offer: Offer, memory: HeapTable) -> Self {
        Self::new(offer, Origin::Rehearsal { memory })
    }

    fn new(offer: Offer, origin: Origin) -> Self {
        let Offer { table, epoch, gift, reason, expires } = offer;
        Self { table, epoch, gift, reason, expires, origin }
    }

    /// The table's id.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The number of the ownership on offer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why the table changes hands.
    pub fn reason(&self) -> &TransferReason {
        &self.reason
    }

    /// When the manager offers the table to somebody else.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The gift data that the configuration has for every new owner of this table.
    ///
    /// A table without gift data reads as JSON's `null`, which is an `Option`'s `None`.
    ///
    /// # Errors
    /// [`GiftError`] where the gift data is not what `T` expects.
    pub fn gift<T: DeserializeOwned>(&self) -> Result<T, GiftError> {
        let json = if self.gift.is_empty() { "null" } else { &self.gift };
        serde_json::from_str(json).map_err(|source| GiftError { table: self.table.clone(), source })
    }

    /// What the last owner left for its heir with its last commit; `None` where no owner ever left anything.
    ///
    /// # Errors
    /// [`BequestError`] where the segment cannot be read or the bequest is no `T`.
    pub fn bequest<T: Value<Owned = T>>(&self) -> Result<Option<T>, BequestError> {
        let bequest = self.bequest_bytes()?.map(|bytes| T::decode_value(&bytes)).transpose();
        bequest.map_err(|source| BequestError::Codec { table: self.table.clone(), source })
    }

    /// The bytes of the bequest, as they are.
    ///
    /// # Errors
    /// [`BequestError`] where the segment cannot be read.
    pub fn bequest_bytes(&self) -> Result<Option<Vec<u8>>, BequestError> {
        let read = match &self.origin {
            Origin::Manager { will, .. } => {
                let withdrawn = || BequestError::Withdrawn { table: self.table.clone(), epoch: self.epoch };
                will.upgrade().ok_or_else(withdrawn)?.bequest()
            }
            Origin::Rehearsal { memory } => {
                ReadHandle::heap(Arc::clone(&memory.region), memory.clock.clone())
                    .map_err(Unread::Open)
                    .and_then(|segment| segment.bequest().map_err(Unread::Read))
            }
            Origin::Settled => unreachable!("settling a transfer consumes it"),
        };
        let table = || self.table.clone();
        read.map_err(|unread| match unread {
            Unread::Map(source) => BequestError::Map { table: table(), source },
            Unread::Open(source) => BequestError::Open { table: table(), source },
            Unread::Read(error) => BequestError::Read(ReadError::from_engine(&self.table, error)),
            Unread::TooLong(bytes) => BequestError::TooLong { table: table(), bytes },
        })
    }

    /// Takes the table: tells the manager, waits until it grants, and maps the segment.
    ///
    /// # Errors
    /// [`AcceptError`]; the table is then offered to the next candidate.
    pub fn accept<K: Key + ?Sized, V: Value + ?Sized>(self) -> Result<Writer<K, V>, AcceptError> {
        if self.is_on_client_thread() {
            return Err(AcceptError::OnClientThread { table: self.table.clone() });
        }
        let (sender, granted) = crossbeam_channel::bounded(1);
        self.accept_then(move |grant| {
            let _ = sender.send(grant);
        })?;
        // Every acceptance is answered: by the grant, by the withdrawal, or by the loss of the connection.
        granted.recv().expect("the session answers every acceptance")?.into_writer()
    }

    /// Does not take the table; `reason` is for the manager's log.
    pub fn decline(mut self, reason: impl Into<String>) {
        self.decline_once(reason.into());
    }

    /// Takes the table without waiting: `then` hears the grant on the client's thread (or, in a test, at once).
    pub(crate) fn accept_then(
        mut self,
        then: impl FnOnce(Result<Grant, AcceptError>) + Send + 'static,
    ) -> Result<(), AcceptError> {
        let (table, epoch) = (mem::take(&mut self.table), self.epoch);
        match mem::replace(&mut self.origin, Origin::Settled) {
            Origin::Manager { link, .. } if link.is_inert() => {
                return Err(AcceptError::ForkedChild { table });
            }
            Origin::Manager { will, link } => {
                let offered = table.clone();
                let reply = move |grant: Result<Grant, String>| {
                    then(grant.map_err(|reason| AcceptError::Withdrawn { table: offered, epoch, reason }));
                };
                link.accept(&table, epoch, &will, Box::new(reply));
            }
            Origin::Rehearsal { memory } => then(Ok(Grant::rehearsed(table, epoch, memory))),
            Origin::Settled => unreachable!("settling a transfer consumes it"),
        }
        Ok(())
    }

    fn is_on_client_thread(&self) -> bool {
        matches!(&self.origin, Origin::Manager { link, .. } if link.is_client_thread())
    }

    fn decline_once(&mut self, reason: String) {
        if let Origin::Manager { will, link } = mem::replace(&mut self.origin, Origin::Settled) {
            link.decline(&self.table, self.epoch, &will, reason);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.decline_once("the worker dropped the transfer".to_owned());
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("table", &self.table)
            .field("epoch", &self.epoch)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// The gift data is not what the worker expects.
#[derive(Debug, thiserror::Error)]
#[error(
    "the gift data of table `{table}` is not what this worker expects: {source}; see `gift_data` in the configuration"
)]
#[non_exhaustive]
pub struct GiftError {
    /// The table's id.
    pub table: String,
    /// What does not fit.
    pub source: serde_json::Error,
}

/// The bequest could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BequestError {
    /// The offer does not stand any more.
    #[error(
        "the offer of table `{table}`, epoch {epoch}, does not stand any more; wait for the next transfer"
    )]
    Withdrawn {
        /// The table's id.
        table: String,
        /// The epoch of the offer.
        epoch: u64,
    },
    /// The table is private, and its bequest too long to come along with the offer.
    #[error(
        "the bequest of the private table `{table}` has {bytes} bytes, too many for an offer: accept, and read it there"
    )]
    TooLong {
        /// The table's id.
        table: String,
        /// The length of the bequest, in bytes.
        bytes: u64,
    },
    /// The segment could not be mapped.
    #[error("cannot map table `{table}` to read its bequest: {source}")]
    Map {
        /// The table's id.
        table: String,
        /// What the kernel says.
        source: MapError,
    },
    /// The segment is not a table that this library can read.
    #[error("cannot read the bequest of table `{table}`: {source}")]
    Open {
        /// The table's id.
        table: String,
        /// What is wrong with it.
        source: OpenError,
    },
    /// The table is corrupt.
    #[error(transparent)]
    Read(ReadError),
    /// The last owner left something else than this worker expects.
    #[error("the bequest of table `{table}` was left by a worker that meant something else: {source}")]
    Codec {
        /// The table's id.
        table: String,
        /// Which type, and what is wrong.
        source: CodecError,
    },
}

/// The table is not this worker's after all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The offer does not stand any more; the next transfer comes by itself.
    #[error(
        "the offer of table `{table}`, epoch {epoch}, does not stand any more: {reason}; wait for the next transfer"
    )]
    Withdrawn {
        /// The table's id.
        table: String,
        /// The epoch of the offer.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// Called by an heir, on the thread that would have to hear the grant.
    #[error(
        "table `{table}` was accepted inside its heir, which would wait for itself: send the transfer to another thread"
    )]
    OnClientThread {
        /// The table's id.
        table: String,
    },
    /// The offer was made to the parent process.
    #[error("table `{table}` was offered to the parent of this forked child")]
    ForkedChild {
        /// The table's id.
        table: String,
    },
    /// The segment could not be mapped; the table was given back.
    #[error("cannot map table `{table}`: {source}")]
    Map {
        /// The table's id.
        table: String,
        /// What the kernel says.
        source: MapError,
    },
    /// The table's values are of another type; it was given back.
    #[error(
        "the values of table `{table}` are of schema `{found}`, which is not this worker's: see `Schema`"
    )]
    OtherSchema {
        /// The table's id.
        table: String,
        /// The name of the table's schema.
        found: String,
    },
    /// The table's values could not be given their schema; it was given back.
    #[error("cannot name the values of table `{table}`: {source}")]
    Naming {
        /// The table's id.
        table: String,
        /// Why.
        source: WriteError,
    },
    /// The segment is not a table that this library can write; it was given back.
    #[error("cannot write table `{table}`: {source}")]
    Open {
        /// The table's id.
        table: String,
        /// What is wrong with it.
        source: OpenError,
    },
}
