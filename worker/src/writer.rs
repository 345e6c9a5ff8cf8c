//! The one handle that writes a table.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::time::Duration;

use heirloom_protocol::region::OutOfMemory;
use heirloom_protocol::table::{
    self, Change, MAX_KEY_BYTES, MAX_VALUE_BYTES, Modify, Order, Step, Swap, TableInfo, TableSchema,
};

use crate::client::{Disk, Ownership};
use crate::codec::{CodecError, Key, Value};
use crate::engine::WriteHandle;
use crate::operations::{self, Counter, typed_operations};
use crate::reader::{Entry, ReadError};
use crate::reads::{Typed, typed_reads};
use crate::scratch::Scratch;
use crate::transaction::Transaction;

/// Writes a table, as its owner.
///
/// There is one, in one process: it can be sent to another thread and cannot be cloned. Every write that returned
/// survives `kill -9`. Dropping it, or [`release`](Self::release), unmaps the table and gives it back to the manager. In
/// a forked child it is inert: it writes nothing and releases nothing.
///
/// ```
/// # use heirloom_worker::testing::{self, Table};
/// let (mut sales, reader) = testing::table::<String, u64>(Table::set("sales"));
/// sales.insert("Zonda", &1)?;
/// sales.update("Zonda", |sold| sold.map(|sold| sold + 1))?;
/// assert_eq!(reader.get("Zonda")?, Some(2));
/// assert!(sales.remove("Zonda")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0599
/// # use heirloom_worker::Writer;
/// fn two_owners(sales: Writer<String, u64>) -> (Writer<String, u64>, Writer<String, u64>) {
///     (sales.clone(), sales) // one owner: a writer is not Clone
/// }
/// ```
pub struct Writer<K: ?Sized, V: ?Sized> {
    // Dropped in this order: the segment is unmapped before the release is said (rule H7).
    engine: WriteHandle,
    ownership: Ownership,
    buffers: Scratch,
    /// The table's schema: whoever has the writer is the only one who could name it.
    schema: Option<TableSchema>,
    /// Whether somebody else waits for the disk, once this writer's lock is released.
    deferred: bool,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Writer<K, V> {
    pub(crate) fn new(engine: WriteHandle, ownership: Ownership, schema: Option<TableSchema>) -> Self {
        Self { engine, ownership, buffers: Scratch::default(), schema, deferred: false, types: PhantomData }
    }

    /// Inserts or overwrites, in one commit; true where there was a value before. In a bag, inserts one value more. The
    /// entry does not expire.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    #[inline]
    pub fn insert<Q>(&mut self, key: &Q, value: &V) -> Result<bool, WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        value.encode_value(&mut buffers.value).map_err(|error| self.ownership.codec(error))?;
        let replaced =
            self.engine.insert(&buffers.key, &buffers.value).map_err(|error| self.ownership.refused(error));
        self.made(replaced)
    }

    /// Removes a key (in a bag, with all its values), in one commit; true where it was there. Succeeds also in a full
    /// table.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    #[inline]
    pub fn remove<Q>(&mut self, key: &Q) -> Result<bool, WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        let removed = match self.engine.remove(&buffers.key) {
            Ok(false) if self.engine.is_inert() => Err(self.ownership.fenced()),
            removed => removed.map_err(|error| self.ownership.refused(error)),
        };
        self.made(removed)
    }

    /// The same, with a time to live: afterwards no reader sees the entry. Its memory is given back by
    /// [`remove_expired`](Self::remove_expired), or when the key is written or removed.
    ///
    /// ```
    /// # use heirloom_worker::testing::{Rehearsal, Table};
    /// # use heirloom_worker::Clock;
    /// # use std::time::Duration;
    /// let clock = Clock::manual(0); // in a test; otherwise it is the host's
    /// let mut rehearsal = Rehearsal::new(Table::set("sessions")).clock(clock.clone());
    /// let mut sessions = rehearsal.transfer().accept::<u64, String>()?;
    /// sessions.insert_with_ttl(&7, &"alice".into(), Duration::from_secs(60))?;
    /// clock.set(59_999);
    /// assert!(sessions.contains(&7)?);
    /// clock.set(60_000);
    /// assert!(!sessions.contains(&7)?);
    /// assert_eq!(sessions.remove_expired(100)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn insert_with_ttl<Q>(&mut self, key: &Q, value: &V, ttl: Duration) -> Result<bool, WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let deadline_ms = operations::deadline_ms(self.engine.now_ms(), ttl);
        let (engine, buffers, ownership, _) = self.encoded(key)?;
        value.encode_value(&mut buffers.value).map_err(|error| ownership.codec(error))?;
        let replaced = engine.insert_expiring(&buffers.key, &buffers.value, deadline_ms);
        let replaced = replaced.map_err(|error| ownership.refused(error));
        self.made(replaced)
    }

    typed_operations!();

    /// Removes all entries, in one commit, and says how many there were. Succeeds also in a full table. Their memory serves
    /// new entries at once; it goes back to the host a second later, while this writes on, in a tenth of its time.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn clear(&mut self) -> Result<u64, WriteError> {
        let cleared = self.engine.clear().map_err(|error| self.ownership.refused(error));
        self.made(cleared)
    }

    /// Removes up to `limit` expired entries, in one commit, and says how many. It begins where the last call stopped, and
    /// looks at each entry once at most: fewer than `limit` means that none is left. Until then they count in
    /// [`Reader::len`](crate::Reader::len).
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn remove_expired(&mut self, limit: usize) -> Result<usize, WriteError> {
        let removed = self.engine.remove_expired(limit).map_err(|error| self.ownership.refused(error));
        self.made(removed)
    }

    /// Inserts or overwrites many entries, some hundreds in each commit, and says how many. What shall be there whole or not
    /// at all belongs into a [`Transaction`].
    ///
    /// # Errors
    /// [`WriteError`]; then the entries before, in whole commits, are in the table.
    pub fn extend<Q, W>(&mut self, entries: impl IntoIterator<Item = (Q, W)>) -> Result<u64, WriteError>
    where
        K: Borrow<Q>,
        Q: Key,
        W: Borrow<V>,
    {
        const ENTRIES_AT_ONCE: usize = 512;
        let mut entries = entries.into_iter().peekable();
        let mut inserted = 0;
        while entries.peek().is_some() {
            let mut chunk = self.transaction();
            for (key, value) in entries.by_ref().take(ENTRIES_AT_ONCE) {
                chunk.insert(&key, value.borrow())?;
                inserted += 1;
            }
            chunk.commit()?;
        }
        Ok(inserted)
    }

    /// The key's bytes in cleared buffers, beside what an operation needs.
    #[inline]
    fn encoded<Q: Key + ?Sized>(
        &mut self,
        key: &Q,
    ) -> Result<(&mut WriteHandle, &mut Scratch, &Ownership, Option<&TableSchema>), WriteError> {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        Ok((&mut self.engine, buffers, &self.ownership, self.schema.as_ref()))
    }

    #[inline]
    fn reading<T>(&self, read: impl FnOnce(Typed<'_, WriteHandle, K, V>) -> T) -> T {
        read(Typed::new(self.ownership.table(), &self.engine))
    }

    typed_reads!();

    /// Several writes, and the bequest, that become visible and survive together.
    /// Dropped without [`commit`](Transaction::commit), nothing happened.
    #[inline]
    pub fn transaction(&mut self) -> Transaction<'_, K, V> {
        let inert = self.engine.is_inert();
        let waits = !self.deferred && self.engine.waits_for_disk();
        Transaction::new(
            self.engine.transaction(),
            self.buffers.cleared(),
            &self.ownership,
            self.schema.as_ref(),
            inert,
            waits,
        )
    }

    /// Leaves `bequest` for the heir, in a commit of its own. It replaces the one before.
    ///
    /// # Errors
    /// [`WriteError`]; then the one before stands.
    pub fn bequeath<B: Value + ?Sized>(&mut self, bequest: &B) -> Result<(), WriteError> {
        let buffers = self.buffers.cleared();
        bequest.encode_value(&mut buffers.value).map_err(|error| self.ownership.codec(error))?;
        let left = self.engine.bequeath(&buffers.value).map_err(|error| self.ownership.refused(error));
        self.made(left)
    }

    /// What was left last, by this owner or by one before it.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or the bequest is no `B`.
    pub fn bequest<B: Value<Owned = B>>(&self) -> Result<Option<B>, ReadError> {
        let bytes = self.engine.bequest().map_err(|error| ReadError::from_engine(self.table(), error))?;
        let bequest = bytes.map(|bytes| B::decode_value(&bytes)).transpose();
        bequest.map_err(|error| ReadError::codec(self.table(), error))
    }

    /// Returns when everything that was committed so far is on disk, and says up to which version that is. In the modes
    /// `interval` and `commit`: a table that lives in memory only has no disk to be on.
    ///
    /// # Errors
    /// [`WriteError::NotDurable`]: the commits stand, in memory.
    pub fn flush(&mut self) -> Result<u64, WriteError> {
        self.ownership.disk().wait(self.version())
    }

    /// What comes of a write: in the mode `commit`, once it is on disk.
    #[inline]
    fn made<T>(&mut self, made: Result<T, WriteError>) -> Result<T, WriteError> {
        if !self.engine.waits_for_disk() || self.deferred { made } else { self.once_on_disk(made) }
    }

    #[cold]
    fn once_on_disk<T>(&mut self, made: Result<T, WriteError>) -> Result<T, WriteError> {
        let made = made?;
        match self.awaits_disk() {
            Some((disk, version)) => disk.wait(version).map(|_| made),
            None => Ok(made),
        }
    }

    /// From now on nothing waits for the disk here: whoever has the writer does, with [`Self::awaits_disk`].
    pub(crate) fn defer(&mut self, deferred: bool) {
        self.deferred = deferred;
    }

    /// What is to be waited for, where the mode is `commit` and the last commit is not on disk yet.
    pub(crate) fn awaits_disk(&self) -> Option<(Disk, u64)> {
        let version = self.version();
        let waits = self.engine.waits_for_disk() && !self.engine.is_durable(version);
        waits.then(|| (self.ownership.disk(), version))
    }

    pub(crate) fn disk(&self) -> Disk {
        self.ownership.disk()
    }

    /// Shows that this owner lives, where its table has a `lease` and there is nothing to commit: an owner that neither
    /// commits nor renews for as long as its lease is killed, and replaced. For the loop that does the work, not for a
    /// thread beside it, which would go on where the work hangs. One store to memory.
    ///
    /// A commit shows life when it is made, not while it waits for the disk (in the mode `commit`): a lease has to be longer
    /// than the disk may take.
    ///
    /// ```
    /// # use heirloom_worker::testing::{self, Table};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, sales) = mpsc::channel::<String>();
    /// # sender.send("Zonda".into())?;
    /// # drop(sender);
    /// let (mut sold, reader) = testing::table::<String, u64>(Table::set("sold"));
    /// loop {
    ///     match sales.recv_timeout(Duration::from_secs(1)) {
    ///         Ok(car) => drop(sold.update(&car, |sold| Some(sold.unwrap_or(0) + 1))?),
    ///         Err(mpsc::RecvTimeoutError::Timeout) => sold.renew()?, // nothing to do is no reason to be killed
    ///         Err(mpsc::RecvTimeoutError::Disconnected) => break,
    ///     }
    /// }
    /// # assert_eq!(reader.get("Zonda")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::Fenced`] where the ownership is over.
    pub fn renew(&self) -> Result<(), WriteError> {
        self.engine.renew().map_err(|error| self.ownership.refused(error))
    }

    /// Whether the manager wants the table back, or has taken it: then stop and release. One relaxed load.
    #[inline]
    pub fn is_recalled(&self) -> bool {
        self.ownership.is_recalled()
    }

    /// Gives the table back: unmaps it, then says so to the manager. Dropping the writer does the same.
    ///
    /// # Errors
    /// [`WriteError::Fenced`] where it was not this writer's any more.
    pub fn release(self) -> Result<(), WriteError> {
        if self.ownership.is_over() || self.engine.is_inert() {
            return Err(self.ownership.fenced());
        }
        Ok(())
    }

    pub(crate) fn parts(&mut self) -> (&mut WriteHandle, &Ownership) {
        (&mut self.engine, &self.ownership)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn tenure(&self) -> &crate::client::Tenure {
        self.ownership.tenure()
    }

    /// The table's id.
    pub fn table(&self) -> &str {
        self.ownership.table()
    }

    /// The number of this ownership.
    pub fn epoch(&self) -> u64 {
        self.ownership.epoch()
    }

    /// The number of the last commit.
    pub fn version(&self) -> u64 {
        self.engine.version()
    }

    /// The table's numbers: entries, bytes, limit, version.
    pub fn info(&self) -> TableInfo {
        self.engine.info()
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Writer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("ownership", &self.ownership).finish_non_exhaustive()
    }
}

/// A write, or a transaction, changed nothing; but for [`NotDurable`](Self::NotDurable), which says that it was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The table has reached its `max_bytes`.
    #[error(
        "table `{table}` is full at {max_bytes} bytes: remove entries (that always works) or raise its max_bytes"
    )]
    TableFull {
        /// The table's id.
        table: String,
        /// Its limit, in bytes.
        max_bytes: u64,
    },
    /// The encoded key is longer than a table takes.
    #[error("a key of {bytes} bytes is too long for table `{table}`: at most {MAX_KEY_BYTES}, encoded")]
    KeyTooLong {
        /// The table's id.
        table: String,
        /// The length of the encoded key, in bytes.
        bytes: usize,
    },
    /// The encoded value is longer than a table takes.
    #[error("a value of {bytes} bytes is too long for table `{table}`: at most {MAX_VALUE_BYTES}, encoded")]
    ValueTooLong {
        /// The table's id.
        table: String,
        /// The length of the encoded value or bequest, in bytes.
        bytes: usize,
    },
    /// The host has no memory for a table that may still grow by its own limit.
    #[error("table `{table}` cannot grow: {source}")]
    OutOfMemory {
        /// The table's id.
        table: String,
        /// Which limit of the host was met.
        source: OutOfMemory,
    },
    /// The ownership is over (or this is a forked child of the owner): drop the writer, the heir has the table.
    #[error("epoch {epoch} of table `{table}` is over here: drop the writer and wait for the next transfer")]
    Fenced {
        /// The table's id.
        table: String,
        /// The epoch of the writer.
        epoch: u64,
    },
    /// The key or value could not be encoded, or the value to update not decoded.
    #[error("table `{table}`: {source}")]
    Codec {
        /// The table's id.
        table: String,
        /// Which type, and what is wrong.
        source: CodecError,
    },
    /// The value that is to be changed has a schema that this program does not know.
    #[error(
        "table `{table}` has a value of {found}, which this program does not know: overwrite it, or use a newer build"
    )]
    SchemaChanged {
        /// The table's id.
        table: String,
        /// Which schema it is.
        found: String,
    },
    /// The counter would leave the range of its type.
    #[error("a counter of table `{table}` would leave the range of its type")]
    CounterOverflow {
        /// The table's id.
        table: String,
    },
    /// The write changes the one value of a key, and in a bag a key can have several.
    #[error(
        "table `{table}` is a bag, where a key can have several values: use insert, remove_value and values"
    )]
    SeveralValues {
        /// The table's id.
        table: String,
    },
    /// The commit was made, and is not on disk: it is visible, it survives every death of a process, its heir has it, and a
    /// crash of the host now would lose it. What is committed, or flushed, next covers it as well.
    #[error(
        "version {version} of table `{table}` is committed, in memory, and NOT on disk: {reason}. The next commit or flush \
         that succeeds covers it"
    )]
    NotDurable {
        /// The table's id.
        table: String,
        /// The commit that was waited for.
        version: u64,
        /// What the manager says, or how long it was waited for.
        reason: String,
    },
    /// The segment's bytes are not what a table's are.
    #[error("table `{table}` is corrupt: {reason}; release it and see `heirloom status`")]
    Corrupt {
        /// The table's id.
        table: String,
        /// What was found.
        reason: String,
    },
}

impl WriteError {
    pub(crate) fn from_engine(table: &str, error: table::WriteError) -> Self {
        let table = table.to_owned();
        match error {
            table::WriteError::TableFull { max_bytes } => Self::TableFull { table, max_bytes },
            table::WriteError::SeveralValues => Self::SeveralValues { table },
            table::WriteError::CounterOverflow => Self::CounterOverflow { table },
            table::WriteError::BagKeyTooLong { index_bytes: bytes, .. } => Self::KeyTooLong { table, bytes },
            table::WriteError::KeyTooLong(bytes) => Self::KeyTooLong { table, bytes },
            table::WriteError::ValueTooLong(bytes) => Self::ValueTooLong { table, bytes },
            table::WriteError::OutOfMemory(source) => Self::OutOfMemory { table, source },
            table::WriteError::Fenced { handle, .. } => Self::Fenced { table, epoch: handle },
            table::WriteError::Corrupt(reason) => Self::Corrupt { table, reason },
            other => Self::Corrupt { table, reason: other.to_string() },
        }
    }
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Codec { table, source } => Self::Codec { table, source },
            ReadError::Corrupt { table, reason } => Self::Corrupt { table, reason },
            ReadError::SchemaChanged { table, found } => Self::SchemaChanged { table, found },
            error @ (ReadError::NotOrdered { .. } | ReadError::SnapshotExpired { .. }) => {
                unreachable!("a write reads neither ranges nor snapshots: {error}")
            }
            // No process has an epoch 0: it stands for "none here".
            ReadError::ForkedChild { table } => Self::Fenced { table, epoch: 0 },
        }
    }
}
