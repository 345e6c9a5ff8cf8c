//! Several writes that survive together.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use heirloom_protocol::table::{Change, Modify, Step, Swap, TableSchema};

use crate::client::Ownership;
use crate::codec::{Key, Value};
use crate::engine::TransactionHandle;
use crate::operations::{self, Counter, typed_operations};
use crate::reader::ReadError;
use crate::schema::decode;
use crate::scratch::Scratch;
use crate::writer::WriteError;

/// Collects writes until [`commit`](Self::commit); dropped before, nothing happened.
///
/// ```
/// # use heirloom_worker::testing::{self, Table};
/// let (mut accounts, reader) = testing::table::<String, i64>(Table::set("accounts"));
/// let mut transfer = accounts.transaction();
/// transfer.update("alice", |balance| Some(balance.unwrap_or(0) - 10))?;
/// transfer.update("bob", |balance| Some(balance.unwrap_or(0) + 10))?;
/// transfer.bequeath(&41u64)?; // the position in the stream these came from
/// assert_eq!(reader.get("bob")?, None);
/// transfer.commit()?;
/// assert_eq!((reader.get("alice")?, reader.get("bob")?), (Some(-10), Some(10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a transaction that is not committed does nothing"]
pub struct Transaction<'w, K: ?Sized, V: ?Sized> {
    engine: TransactionHandle<'w>,
    buffers: &'w mut Scratch,
    ownership: &'w Ownership,
    schema: Option<&'w TableSchema>,
    /// Begun in a forked child (rule H2).
    inert: bool,
    /// Whether its commit is to be on disk when it returns.
    waits: bool,
    types: PhantomData<fn(&K, &V)>,
}

impl<'w, K: Key + ?Sized, V: Value + ?Sized> Transaction<'w, K, V> {
    pub(crate) fn new(
        engine: TransactionHandle<'w>,
        buffers: &'w mut Scratch,
        ownership: &'w Ownership,
        schema: Option<&'w TableSchema>,
        inert: bool,
        waits: bool,
    ) -> Self {
        Self { engine, buffers, ownership, schema, inert, waits, types: PhantomData }
    }

    /// Shows that the owner lives, as [`Writer::renew`](crate::Writer::renew): for a transaction that takes as long as the
    /// table's lease.
    ///
    /// # Errors
    /// [`WriteError::Fenced`] where the ownership is over.
    pub fn renew(&self) -> Result<(), WriteError> {
        self.engine.renew().map_err(|error| self.ownership.refused(error))
    }

    /// The value of a key, with this transaction's own writes.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt or the bytes are no `V`.
    pub fn get<Q>(&mut self, key: &Q) -> Result<Option<V::Owned>, ReadError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let table = self.ownership.table();
        let Scratch { key: encoded, value } = self.buffers.cleared();
        key.encode_key(encoded).map_err(|error| ReadError::codec(table, error))?;
        let found =
            self.engine.read_into(encoded, value).map_err(|error| ReadError::from_engine(table, error))?;
        let decoded = found.map(|attributes| decode::<V>(|| Ok(self.schema), attributes, value)).transpose();
        decoded.map_err(|error| ReadError::undecoded(table, error))
    }

    /// Inserts or overwrites.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction is then as it was before this call.
    pub fn insert<Q>(&mut self, key: &Q, value: &V) -> Result<(), WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        value.encode_value(&mut buffers.value).map_err(|error| self.ownership.codec(error))?;
        self.engine.insert(&buffers.key, &buffers.value).map_err(|error| self.ownership.refused(error))
    }

    /// Removes a key, where it is there.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction is then as it was before this call.
    pub fn remove<Q>(&mut self, key: &Q) -> Result<(), WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        self.engine.remove(&buffers.key).map_err(|error| self.ownership.refused(error))
    }

    /// Inserts or overwrites, with a time to live: afterwards no reader sees the entry.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction is then as it was before this call.
    pub fn insert_with_ttl<Q>(&mut self, key: &Q, value: &V, ttl: Duration) -> Result<(), WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let deadline_ms = operations::deadline_ms(self.engine.now_ms(), ttl);
        let (engine, buffers, ownership, _) = self.encoded(key)?;
        value.encode_value(&mut buffers.value).map_err(|error| ownership.codec(error))?;
        let done = engine.insert_expiring(&buffers.key, &buffers.value, deadline_ms);
        done.map_err(|error| ownership.refused(error))
    }

    typed_operations!();

    /// Removes all entries, those of this transaction too.
    pub fn clear(&mut self) {
        self.engine.clear();
    }

    /// Inserts or overwrites many entries.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction then has the entries before.
    pub fn extend<Q, W>(&mut self, entries: impl IntoIterator<Item = (Q, W)>) -> Result<(), WriteError>
    where
        K: Borrow<Q>,
        Q: Key,
        W: Borrow<V>,
    {
        entries.into_iter().try_for_each(|(key, value)| self.insert(&key, value.borrow()))
    }

    /// The key's bytes in cleared buffers, beside what an operation needs.
    #[inline]
    fn encoded<Q: Key + ?Sized>(
        &mut self,
        key: &Q,
    ) -> Result<(&mut TransactionHandle<'w>, &mut Scratch, &Ownership, Option<&TableSchema>), WriteError>
    {
        let buffers = self.buffers.cleared();
        key.encode_key(&mut buffers.key).map_err(|error| self.ownership.codec(error))?;
        Ok((&mut self.engine, buffers, self.ownership, self.schema))
    }

    /// Leaves `bequest` for the heir, committed with the writes. It replaces the one before.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction is then as it was before this call.
    pub fn bequeath<B: Value + ?Sized>(&mut self, bequest: &B) -> Result<(), WriteError> {
        let buffers = self.buffers.cleared();
        bequest.encode_value(&mut buffers.value).map_err(|error| self.ownership.codec(error))?;
        self.engine.bequeath(&buffers.value).map_err(|error| self.ownership.refused(error))
    }

    /// Makes all of it visible and durable against `kill -9`, at once. The number of the commit. In the mode `commit` it
    /// returns when that is on disk.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed, but for [`WriteError::NotDurable`].
    pub fn commit(self) -> Result<u64, WriteError> {
        if self.inert {
            return Err(self.ownership.fenced());
        }
        let version = self.engine.commit().map_err(|error| self.ownership.refused(error))?;
        if self.waits {
            self.ownership.disk().wait(version)?;
        }
        Ok(version)
    }

    /// A write of a transaction is waited for with its commit.
    #[inline]
    #[allow(clippy::unused_self)]
    fn made<T>(&self, made: Result<T, WriteError>) -> Result<T, WriteError> {
        made
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Transaction<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("ownership", &self.ownership).finish_non_exhaustive()
    }
}
