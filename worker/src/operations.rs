//! Looking at a key and writing it in one step, in Rust types: once for writers and transactions.

use std::time::Duration;

use heirloom_protocol::table::{Change, Current, Modify, TableSchema};

use crate::client::Ownership;
use crate::codec::Value;
use crate::reader::ReadError;
use crate::schema::decode;
use crate::writer::WriteError;

/// A value that counts: every integer type up to 64 bits, and what else converts to and from `i128`.
pub trait Counter: Value<Owned = Self> + Into<i128> + TryFrom<i128> + Clone {}

impl<T: Value<Owned = T> + Into<i128> + TryFrom<i128> + Clone> Counter for T {}

/// Shows `decide` the value that a key has, and an empty buffer for the bytes of a new one, and carries out what it
/// says.
#[inline]
pub(crate) fn modify<V: Value + ?Sized, T>(
    engine: &mut impl Modify,
    ownership: &Ownership,
    schema: Option<&TableSchema>,
    key: &[u8],
    decide: impl FnOnce(Option<V::Owned>, &mut Vec<u8>) -> Result<(Change, T), WriteError>,
) -> Result<T, WriteError> {
    let decided = engine.modify(key, |current, new| {
        let value = current.map(|current| value_of::<V>(ownership, schema, current)).transpose();
        match value.and_then(|value| decide(value, new)) {
            Ok((change, result)) => (change, Ok(result)),
            Err(error) => (Change::Keep, Err(error)),
        }
    });
    decided.map_err(|error| ownership.refused(error))?
}

#[inline]
pub(crate) fn value_of<V: Value + ?Sized>(
    ownership: &Ownership,
    schema: Option<&TableSchema>,
    current: Current<'_>,
) -> Result<V::Owned, WriteError> {
    let value = decode::<V>(|| Ok(schema), current.attributes, current.value);
    value.map_err(|error| ReadError::undecoded(ownership.table(), error).into())
}

/// When a time to live that begins now ends, in milliseconds of UNIX time.
pub(crate) fn deadline_ms(now_ms: u64, ttl: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

/// Appends the bytes of a new value; the change that they are.
#[inline]
pub(crate) fn put<V: Value + ?Sized>(
    ownership: &Ownership,
    value: &V,
    bytes: &mut Vec<u8>,
) -> Result<Change, WriteError> {
    value.encode_value(bytes).map_err(|error| ownership.codec(error))?;
    Ok(Change::Put)
}

/// The public operations of a handle that has `engine`, `ownership`, `buffers`, and `schema()`; `made` sees what comes of
/// each of them.
macro_rules! typed_operations {
    () => {
        /// Inserts where the key has no value; whether it did.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn insert_new<Q>(&mut self, key: &Q, value: &V) -> Result<bool, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, _) = self.encoded(key)?;
            value.encode_value(&mut buffers.value).map_err(|error| ownership.codec(error))?;
            let inserted = engine.insert_new(&buffers.key, &buffers.value);
            let inserted = inserted.map_err(|error| ownership.refused(error));
            self.made(inserted)
        }

        /// Replaces a value by what `change` makes of it. `None` stands for "not there" both ways. An entry that expires
        /// goes on to.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn update<Q>(
            &mut self,
            key: &Q,
            change: impl FnOnce(Option<V::Owned>) -> Option<V::Owned>,
        ) -> Result<(), WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, schema) = self.encoded(key)?;
            let updated = operations::modify::<V, _>(
                engine,
                ownership,
                schema,
                &buffers.key,
                |value, new| match change(value) {
                    Some(value) => Ok((operations::put::<V>(ownership, value.borrow(), new)?, ())),
                    None => Ok((Change::Remove, ())),
                },
            );
            self.made(updated)
        }

        /// Removes a key and returns the value that it had.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn take<Q>(&mut self, key: &Q) -> Result<Option<V::Owned>, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, schema) = self.encoded(key)?;
            let taken = operations::modify::<V, _>(engine, ownership, schema, &buffers.key, |value, _| {
                Ok((Change::Remove, value))
            });
            self.made(taken)
        }

        /// Replaces the value if it is `expected`: if it has the same bytes. `None` stands for "not there" both ways.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn compare_and_swap<Q>(
            &mut self,
            key: &Q,
            expected: Option<&V>,
            new: Option<&V>,
        ) -> Result<Swap<V::Owned>, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, schema) = self.encoded(key)?;
            if let Some(expected) = expected {
                expected.encode_value(&mut buffers.value).map_err(|error| ownership.codec(error))?;
            }
            let expected = expected.map(|_| buffers.value.as_slice());
            let swapped =
                operations::modify::<V, _>(engine, ownership, schema, &buffers.key, |value, bytes| {
                    // Encoded anew, so that what another version wrote is compared too.
                    if let Some(value) = &value {
                        operations::put::<V>(ownership, value.borrow(), bytes)?;
                    }
                    if value.as_ref().map(|_| bytes.as_slice()) != expected {
                        return Ok((Change::Keep, Swap::Differs(value)));
                    }
                    bytes.clear();
                    match new {
                        Some(new) => Ok((operations::put(ownership, new, bytes)?, Swap::Swapped)),
                        None => Ok((Change::Remove, Swap::Swapped)),
                    }
                });
            self.made(swapped)
        }

        /// The value of a key; where it has none, what `value` makes is inserted first.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn get_or_insert_with<Q>(
            &mut self,
            key: &Q,
            value: impl FnOnce() -> V::Owned,
        ) -> Result<V::Owned, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, schema) = self.encoded(key)?;
            let value =
                operations::modify::<V, _>(engine, ownership, schema, &buffers.key, |current, new| {
                    if let Some(current) = current {
                        return Ok((Change::Keep, current));
                    }
                    let value = value();
                    Ok((operations::put::<V>(ownership, value.borrow(), new)?, value))
                });
            self.made(value)
        }

        /// Adds to a counter, which begins at 0, and returns what it is then.
        ///
        /// # Errors
        /// [`WriteError::CounterOverflow`], and others of [`WriteError`]; then nothing has changed.
        #[inline]
        pub fn add<Q>(&mut self, key: &Q, by: i64) -> Result<V, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
            V: Counter,
        {
            self.add_step(key, Step::by(by))
        }

        /// The same, with a start and a threshold.
        ///
        /// # Errors
        /// As for [`add`](Self::add).
        #[inline]
        pub fn add_step<Q>(&mut self, key: &Q, step: Step) -> Result<V, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
            V: Counter,
        {
            let (engine, buffers, ownership, schema) = self.encoded(key)?;
            let counted =
                operations::modify::<V, _>(engine, ownership, schema, &buffers.key, |counter, new| {
                    let counter = V::try_from(step.after(counter.map(Into::into)))
                        .map_err(|_| WriteError::CounterOverflow { table: ownership.table().to_owned() })?;
                    Ok((operations::put(ownership, &counter, new)?, counter))
                });
            self.made(counted)
        }

        /// Removes the entries of a key that have this value, and says how many there were: several only in a
        /// `duplicate_bag`.
        ///
        /// # Errors
        /// [`WriteError`]; then nothing has changed.
        pub fn remove_value<Q>(&mut self, key: &Q, value: &V) -> Result<u64, WriteError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let (engine, buffers, ownership, _) = self.encoded(key)?;
            value.encode_value(&mut buffers.value).map_err(|error| ownership.codec(error))?;
            let removed = engine.remove_value(&buffers.key, &buffers.value);
            let removed = removed.map_err(|error| ownership.refused(error));
            self.made(removed)
        }
    };
}
pub(crate) use typed_operations;
