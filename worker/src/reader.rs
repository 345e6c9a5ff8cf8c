//! Reading a table in place.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use heirloom_protocol::table::{self, TableInfo};

use crate::client::Source;
use crate::codec::{CodecError, Key, Value};
use crate::scratch::with_scratch;

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

    /// The value of a key.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or the bytes are no `V`.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V::Owned>, ReadError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let table = self.table();
        with_scratch(|scratch| {
            key.encode_key(&mut scratch.key).map_err(|error| ReadError::codec(table, error))?;
            let segment = self.source.segment();
            let found = segment.get_into(&scratch.key, &mut scratch.value);
            if !ReadError::checked(table, found, || segment.is_inert())? {
                return Ok(None);
            }
            V::decode_value(&scratch.value).map(Some).map_err(|error| ReadError::codec(table, error))
        })
    }

    /// Appends the value's bytes, as they are in the table, to `bytes`; false where the key is not there.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    #[inline]
    pub fn get_bytes<Q>(&self, key: &Q, bytes: &mut Vec<u8>) -> Result<bool, ReadError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let table = self.table();
        with_scratch(|scratch| {
            key.encode_key(&mut scratch.key).map_err(|error| ReadError::codec(table, error))?;
            let segment = self.source.segment();
            let found = segment.get_into(&scratch.key, bytes);
            ReadError::checked(table, found, || segment.is_inert())
        })
    }

    /// Whether the table has the key.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn contains<Q>(&self, key: &Q) -> Result<bool, ReadError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let table = self.table();
        with_scratch(|scratch| {
            key.encode_key(&mut scratch.key).map_err(|error| ReadError::codec(table, error))?;
            let segment = self.source.segment();
            ReadError::checked(table, segment.contains(&scratch.key), || segment.is_inert())
        })
    }

    /// Calls `each` with every entry, in no order, until it breaks; what it broke with.
    ///
    /// An entry that stands throughout is visited exactly once; one that is written meanwhile is visited as it was
    /// before or as it is after.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or an entry is no `(K, V)`.
    pub fn scan<B>(
        &self,
        mut each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
    ) -> Result<Option<B>, ReadError> {
        let mut undecoded = None;
        let mut broken = None;
        let segment = self.source.segment();
        let scanned = segment.scan(&mut |key, value| {
            match K::decode_key(key).and_then(|key| Ok((key, V::decode_value(value)?))) {
                Ok((key, value)) => match each(key, value) {
                    ControlFlow::Continue(()) => return true,
                    ControlFlow::Break(with) => broken = Some(with),
                },
                Err(error) => undecoded = Some(error),
            }
            false
        });
        ReadError::checked(self.table(), scanned.map(|()| false), || segment.is_inert())?;
        match undecoded {
            Some(error) => Err(ReadError::codec(self.table(), error)),
            None => Ok(broken),
        }
    }

    /// All entries, in no order: [`scan`](Self::scan) into memory of one's own.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or an entry is no `(K, V)`.
    pub fn entries(&self) -> Result<Vec<Entry<K, V>>, ReadError> {
        let mut entries = Vec::new();
        self.scan(|key, value| {
            entries.push((key, value));
            ControlFlow::<()>::Continue(())
        })?;
        Ok(entries)
    }

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
    /// The mapping belongs to the parent process.
    #[error("table `{table}` was mapped by the parent of this forked child: connect again")]
    ForkedChild {
        /// The table's id.
        table: String,
    },
}

impl ReadError {
    /// Before "it is not there", or an error, is answered: a forked child's copy has no words, and the engine makes of
    /// that what it can (rule H2).
    #[inline]
    pub(crate) fn checked(
        table: &str,
        found: Result<bool, table::ReadError>,
        is_inert: impl FnOnce() -> bool,
    ) -> Result<bool, Self> {
        match found {
            Ok(true) => Ok(true),
            _ if is_inert() => Err(Self::ForkedChild { table: table.to_owned() }),
            Ok(false) => Ok(false),
            Err(error) => Err(Self::from_engine(table, error)),
        }
    }

    #[cold]
    pub(crate) fn codec(table: &str, source: CodecError) -> Self {
        Self::Codec { table: table.to_owned(), source }
    }

    #[cold]
    pub(crate) fn from_engine(table: &str, error: table::ReadError) -> Self {
        let reason = match error {
            table::ReadError::Corrupt(reason) => reason,
            other => other.to_string(),
        };
        Self::Corrupt { table: table.to_owned(), reason }
    }
}
