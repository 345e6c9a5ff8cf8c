//! A table as of one version.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Arc, OnceLock};

use heirloom_protocol::table::Order;

use crate::client::{Pinned, RequestError, Source};
use crate::codec::{Key, Value};
use crate::engine::{ReadHandle, SnapshotHandle};
use crate::reader::{Entry, ReadError, Reader};
use crate::reads::{Typed, typed_reads};

/// A table as of one version, while its owner writes on. Made by [`Reader::snapshot`].
///
/// Every read is of that version, or says [`ReadError::SnapshotExpired`]: the manager ends a snapshot that grows older
/// than the table's configuration allows, and one whose reader is not back ten seconds after the manager was started
/// again. Dropped, it is given back; until then the table keeps what it shows.
/// An entry that expires does so in the snapshot only if it had when that was taken.
///
/// ```
/// # use heirloom_worker::testing::{self, Table};
/// use heirloom_worker::Order;
/// use std::ops::ControlFlow;
///
/// let (mut sales, reader) = testing::table::<String, u64>(Table::ordered_set("sales"));
/// sales.insert("Huayra", &1)?;
/// sales.insert("Zonda", &2)?;
/// let snapshot = reader.snapshot()?;
/// sales.clear()?;
/// assert_eq!(snapshot.get("Zonda")?, Some(2));
/// assert_eq!((snapshot.len()?, reader.len()), (2, 0));
/// let last = snapshot.range::<String, _>(.., Order::Descending, |car, _| ControlFlow::Break(car))?;
/// assert_eq!(last.as_deref(), Some("Zonda"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot<K: ?Sized, V: ?Sized> {
    source: Arc<Source>,
    /// The segment that the pin is of.
    segment: Arc<ReadHandle>,
    pinned: Pinned,
    /// When it was taken, in milliseconds of UNIX time.
    taken_ms: u64,
    len: OnceLock<u64>,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Reader<K, V> {
    /// Keeps the table as of now for reading. The manager is asked, once; reads of the snapshot ask nobody.
    ///
    /// # Errors
    /// [`RequestError`]: the manager does not answer, or the table has all the snapshots it can have.
    pub fn snapshot(&self) -> Result<Snapshot<K, V>, RequestError> {
        Snapshot::new(Arc::clone(self.source()), self.source().pin()?)
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Snapshot<K, V> {
    pub(crate) fn new(source: Arc<Source>, pinned: Pinned) -> Result<Self, RequestError> {
        let segment = Arc::clone(&source.segment());
        let taken_ms = segment.now_ms();
        let snapshot = Self { source, segment, pinned, taken_ms, len: OnceLock::new(), types: PhantomData };
        // Where nothing was committed since, this costs nothing now.
        if snapshot.segment.version() == snapshot.version() {
            let _ = snapshot.len();
        }
        Ok(snapshot)
    }

    typed_reads!();

    /// The number of entries. Where the table has changed since the snapshot was taken, the first call counts them.
    ///
    /// # Errors
    /// [`ReadError::SnapshotExpired`].
    pub fn len(&self) -> Result<u64, ReadError> {
        if let Some(len) = self.len.get() {
            return Ok(*len);
        }
        let len = self.handle().len().map_err(|error| ReadError::from_engine(self.table(), error))?;
        Ok(*self.len.get_or_init(|| len))
    }

    /// Whether there are no entries.
    ///
    /// # Errors
    /// [`ReadError::SnapshotExpired`].
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        Ok(self.len()? == 0)
    }

    /// The bequest as of that version.
    ///
    /// # Errors
    /// [`ReadError`] where the snapshot has expired or the bequest is no `B`.
    pub fn bequest<B: Value<Owned = B>>(&self) -> Result<Option<B>, ReadError> {
        let bytes = self.handle().bequest().map_err(|error| ReadError::from_engine(self.table(), error))?;
        let bequest = bytes.map(|bytes| B::decode_value(&bytes)).transpose();
        bequest.map_err(|error| ReadError::codec(self.table(), error))
    }

    /// The number of the commit that it shows, with all before it.
    pub fn version(&self) -> u64 {
        self.pinned.pin().version()
    }

    /// The table's id.
    pub fn table(&self) -> &str {
        self.source.table()
    }

    pub(crate) fn handle(&self) -> SnapshotHandle<'_> {
        self.segment.snapshot_taken_at(self.pinned.pin(), self.taken_ms)
    }

    #[inline]
    pub(crate) fn reading<T>(&self, read: impl FnOnce(Typed<'_, SnapshotOf<'_>, K, V>) -> T) -> T {
        let handle = SnapshotOf { segment: &self.segment, snapshot: self.handle() };
        read(Typed::new(self.table(), &handle))
    }
}

/// A snapshot, and the table that knows its schema.
pub(crate) struct SnapshotOf<'s> {
    pub(crate) segment: &'s ReadHandle,
    pub(crate) snapshot: SnapshotHandle<'s>,
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Snapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("table", &self.source.table())
            .field("version", &self.pinned.pin().version())
            .finish_non_exhaustive()
    }
}
