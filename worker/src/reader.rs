//! Reading a table in place.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use heirloom_protocol::table::{self, Order, TableInfo};

use crate::client::Source;
use crate::codec::{CodecError, Key, Value};
use crate::engine::ReadHandle;
use crate::reads::{Typed, typed_reads};

/// Reads a table in the memory that its owner writes.
///
/// Reads never wait: not for the owner, nor for a transfer, nor for a manager that is dead. Each read sees the newest
/// committed value. Clones are cheap and may be used by any number of threads. Where the manager has had to create the
/// table anew, the reader moves to the new segment by itself.
///
/// ```
/// # use heirloom_worker::testing::{self, Table};
/// let (mut sales, reader) = testing::table::<(u16, String), u64>(Table::set("sales"));
/// sales.insert(&(2022, "Zonda".into()), &4_181_000)?;
/// assert_eq!(reader.get(&(2022, "Zonda".into()))?, Some(4_181_000));
/// assert_eq!(reader.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<K: ?Sized, V: ?Sized> {
    source: Arc<Source>,
    types: PhantomData<fn(&K, &V)>,
}

/// A key and its value, as reading gives them.
pub type Entry<K, V> = (<K as Key>::Owned, <V as Value>::Owned);

impl<K: Key + ?Sized, V: Value + ?Sized> Reader<K, V> {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { source, types: PhantomData }
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    #[inline]
    pub(crate) fn reading<T>(&self, read: impl FnOnce(Typed<'_, ReadHandle, K, V>) -> T) -> T {
        let segment = self.source.segment();
        read(Typed::new(self.source.table(), &**segment))
    }

    typed_reads!();

    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.source.segment().len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last commit.
    pub fn version(&self) -> u64 {
        self.source.segment().version()
    }

    /// The number of the last ownership.
    pub fn epoch(&self) -> u64 {
        self.info().epoch
    }

    /// The bequest that the next owner will find, if there is one.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or the bequest is no `B`.
    pub fn bequest<B: Value<Owned = B>>(&self) -> Result<Option<B>, ReadError> {
        let bytes = self.source.segment().bequest();
        let bytes = bytes.map_err(|error| ReadError::from_engine(self.table(), error))?;
        let bequest = bytes.map(|bytes| B::decode_value(&bytes)).transpose();
        bequest.map_err(|error| ReadError::codec(self.table(), error))
    }

    /// The table's numbers: entries, bytes, limit, version, epoch.
    pub fn info(&self) -> TableInfo {
        self.source.segment().info()
    }

    /// The table's id.
    pub fn table(&self) -> &str {
        self.source.table()
    }
}

impl<K: ?Sized, V: ?Sized> Clone for Reader<K, V> {
    fn clone(&self) -> Self {
        Self { source: Arc::clone(&self.source), types: PhantomData }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Reader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("table", &self.source.table()).finish_non_exhaustive()
    }
}

/// A read could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The key could not be encoded, or what is in the table not decoded.
    #[error("table `{table}`: {source}")]
    Codec {
        /// The table's id.
        table: String,
        /// Which type, and what is wrong.
        source: CodecError,
    },
    /// The segment's bytes are not what a table's are.
    #[error("table `{table}` is corrupt: {reason}; see `heirloom status`")]
    Corrupt {
        /// The table's id.
        table: String,
        /// What was found.
        reason: String,
    },
    /// The value has a schema that this program does not know: a newer version, or another name.
    #[error(
        "table `{table}` has a value of {found}, which this program does not know: it needs a newer build, or the right type"
    )]
    SchemaChanged {
        /// The table's id.
        table: String,
        /// Which schema it is.
        found: String,
    },
    /// A `set` keeps its entries in no order.
    #[error("table `{table}` is a set, which has no order: make it an ordered_set to read ranges of it")]
    NotOrdered {
        /// The table's id.
        table: String,
    },
    /// The snapshot has grown older than the table allows, or the connection to the manager was lost: take another.
    #[error("the snapshot of table `{table}` has expired: take another")]
    SnapshotExpired {
        /// The table's id.
        table: String,
    },
    /// The mapping belongs to the parent process.
    #[error("table `{table}` was mapped by the parent of this forked child: connect again")]
    ForkedChild {
        /// The table's id.
        table: String,
    },
}

impl ReadError {
    #[cold]
    pub(crate) fn codec(table: &str, source: CodecError) -> Self {
        Self::Codec { table: table.to_owned(), source }
    }

    #[cold]
    pub(crate) fn from_engine(table: &str, error: table::ReadError) -> Self {
        let table = table.to_owned();
        match error {
            table::ReadError::Corrupt(reason) => Self::Corrupt { table, reason },
            table::ReadError::NotOrdered => Self::NotOrdered { table },
            table::ReadError::SnapshotExpired => Self::SnapshotExpired { table },
            other => Self::Corrupt { table, reason: other.to_string() },
        }
    }
}
