//! Several writes that survive together.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use crate::client::Ownership;
use crate::codec::{Key, Value};
use crate::engine::TransactionHandle;
use crate::reader::ReadError;
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
    /// Begun in a forked child (rule H2).
    inert: bool,
    types: PhantomData<fn(&K, &V)>,
}

impl<'w, K: Key + ?Sized, V: Value + ?Sized> Transaction<'w, K, V> {
    pub(crate) fn new(
        engine: TransactionHandle<'w>,
        buffers: &'w mut Scratch,
        ownership: &'w Ownership,
        inert: bool,
    ) -> Self {
        Self { engine, buffers, ownership, inert, types: PhantomData }
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
            self.engine.get_into(encoded, value).map_err(|error| ReadError::from_engine(table, error))?;
        found.then(|| V::decode_value(value)).transpose().map_err(|error| ReadError::codec(table, error))
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

    /// Replaces a value by what `change` makes of it. `None` stands for "not there" both ways.
    ///
    /// # Errors
    /// [`WriteError`]; the transaction is then as it was before this call.
    pub fn update<Q>(
        &mut self,
        key: &Q,
        change: impl FnOnce(Option<V::Owned>) -> Option<V::Owned>,
    ) -> Result<(), WriteError>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let changed = change(self.get(key)?);
        // The key is still there, encoded.
        let Scratch { key, value: encoded } = &mut *self.buffers;
        encoded.clear();
        let done = match changed {
            Some(value) => {
                V::encode_value(value.borrow(), encoded).map_err(|error| self.ownership.codec(error))?;
                self.engine.insert(key, encoded)
            }
            None => self.engine.remove(key),
        };
        done.map_err(|error| self.ownership.refused(error))
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

    /// Makes all of it visible and durable against `kill -9`, at once. The number of the commit.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn commit(self) -> Result<u64, WriteError> {
        if self.inert {
            return Err(self.ownership.fenced());
        }
        self.engine.commit().map_err(|error| self.ownership.refused(error))
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Transaction<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("ownership", &self.ownership).finish_non_exhaustive()
    }
}
