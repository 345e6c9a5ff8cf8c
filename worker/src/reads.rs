//! The typed reads, once for all that can be read: a table's newest state, its owner's view of it, and snapshots.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};

use heirloom_protocol::table::{self, Attributes, Order, TableSchema, Visit};

use crate::codec::{Key, Value};
use crate::reader::{Entry, ReadError};
use crate::schema::{Undecoded, decode};
use crate::scratch::with_scratch;

/// So many keys are looked up side by side: about as many lines of memory as a processor fetches at a time.
const READ_TOGETHER: usize = 16;

/// What can be read, in bytes.
pub(crate) trait Reads {
    fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, table::ReadError>;
    /// Hints that these keys are read next.
    fn prefetch(&self, keys: &[&[u8]]);
    fn contains(&self, key: &[u8]) -> Result<bool, table::ReadError>;
    fn scan(&self, each: &mut Visit<'_>) -> Result<(), table::ReadError>;
    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), table::ReadError>;
    fn values(
        &self,
        key: &[u8],
        each: &mut dyn FnMut(&[u8], Attributes) -> bool,
    ) -> Result<(), table::ReadError>;
    fn schema(&self) -> Result<Option<&TableSchema>, table::ReadError>;
    /// Whether it is a forked child's copy, which has no words (rule H2).
    fn is_inert(&self) -> bool;
}

/// The same, in Rust types.
pub(crate) struct Typed<'h, H, K: ?Sized, V: ?Sized> {
    table: &'h str,
    handle: &'h H,
    types: PhantomData<fn(&K, &V)>,
}

impl<'h, H: Reads, K: Key + ?Sized, V: Value + ?Sized> Typed<'h, H, K, V> {
    #[inline]
    pub(crate) fn new(table: &'h str, handle: &'h H) -> Self {
        Self { table, handle, types: PhantomData }
    }

    #[inline]
    pub(crate) fn get<Q: Key + ?Sized>(&self, key: &Q) -> Result<Option<V::Owned>, ReadError> {
        with_scratch(|scratch| {
            self.encode(key, &mut scratch.key)?;
            let found = self.checked(self.handle.read_into(&scratch.key, &mut scratch.value))?;
            found.map(|attributes| self.decode(attributes, &scratch.value)).transpose()
        })
    }

    #[inline]
    pub(crate) fn get_bytes<Q: Key + ?Sized>(&self, key: &Q, bytes: &mut Vec<u8>) -> Result<bool, ReadError> {
        with_scratch(|scratch| {
            self.encode(key, &mut scratch.key)?;
            Ok(self.checked(self.handle.read_into(&scratch.key, bytes))?.is_some())
        })
    }

    /// Shows the bytes of each key's value, and how they are to be decoded; the keys' memory is fetched together.
    fn visit_many<'q, Q: Key + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
        mut each: impl FnMut(Option<(&[u8], Attributes)>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut keys = keys.into_iter().fuse();
        with_scratch(|scratch| {
            loop {
                // All of them in one buffer, one after the other.
                let (mut ends, mut number) = ([0; READ_TOGETHER], 0);
                scratch.key.clear();
                for key in keys.by_ref().take(READ_TOGETHER) {
                    self.encode(key, &mut scratch.key)?;
                    ends[number] = scratch.key.len();
                    number += 1;
                }
                if number == 0 {
                    return Ok(());
                }
                let mut encoded = [&[][..]; READ_TOGETHER];
                let mut start = 0;
                for (key, end) in encoded.iter_mut().zip(&ends[..number]) {
                    *key = &scratch.key[start..*end];
                    start = *end;
                }
                self.handle.prefetch(&encoded[..number]);
                for key in &encoded[..number] {
                    scratch.value.clear();
                    let found = self.checked(self.handle.read_into(key, &mut scratch.value))?;
                    each(found.map(|attributes| (&scratch.value[..], attributes)))?;
                }
            }
        })
    }

    pub(crate) fn get_many<'q, Q: Key + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Result<Vec<Option<V::Owned>>, ReadError> {
        let keys = keys.into_iter();
        let mut values = Vec::with_capacity(keys.size_hint().0);
        self.visit_many(keys, |found| {
            values.push(found.map(|(bytes, attributes)| self.decode(attributes, bytes)).transpose()?);
            Ok(())
        })?;
        Ok(values)
    }

    pub(crate) fn get_many_bytes<'q, Q: Key + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
        mut each: impl FnMut(Option<&[u8]>),
    ) -> Result<(), ReadError> {
        self.visit_many(keys, |found| {
            each(found.map(|(bytes, _)| bytes));
            Ok(())
        })
    }

    pub(crate) fn contains<Q: Key + ?Sized>(&self, key: &Q) -> Result<bool, ReadError> {
        with_scratch(|scratch| {
            self.encode(key, &mut scratch.key)?;
            let found = self.handle.contains(&scratch.key);
            Ok(self.checked(found.map(|found| found.then_some(())))?.is_some())
        })
    }

    pub(crate) fn scan<B>(
        &self,
        each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
    ) -> Result<Option<B>, ReadError> {
        self.visit(each, |visit| self.handle.scan(visit))
    }

    pub(crate) fn range<Q: Key + ?Sized, B>(
        &self,
        range: impl RangeBounds<Q>,
        order: Order,
        each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
    ) -> Result<Option<B>, ReadError>
    where
        K: Borrow<Q>,
    {
        let (from, to) = (self.bound(range.start_bound())?, self.bound(range.end_bound())?);
        let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        self.visit(each, |visit| self.handle.range(from, to, order, visit))
    }

    pub(crate) fn prefix<P: Key + ?Sized, B>(
        &self,
        prefix: &P,
        order: Order,
        each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
    ) -> Result<Option<B>, ReadError> {
        let mut from = Vec::new();
        self.encode(prefix, &mut from)?;
        let to = table::after_prefix(&from);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.visit(each, |visit| self.handle.range(Bound::Included(&from), to, order, visit))
    }

    /// The first entry of a range, in that order.
    pub(crate) fn nearest<Q: Key + ?Sized>(
        &self,
        range: (Bound<&Q>, Bound<&Q>),
        order: Order,
    ) -> Result<Option<Entry<K, V>>, ReadError>
    where
        K: Borrow<Q>,
    {
        self.range(range, order, |key, value| ControlFlow::Break((key, value)))
    }

    pub(crate) fn values<Q: Key + ?Sized>(&self, key: &Q) -> Result<Vec<V::Owned>, ReadError> {
        with_scratch(|scratch| {
            self.encode(key, &mut scratch.key)?;
            let mut values = Ok(Vec::new());
            let read = self.handle.values(&scratch.key, &mut |bytes, attributes| {
                match (self.decode(attributes, bytes), &mut values) {
                    (Ok(value), Ok(values)) => values.push(value),
                    (Err(error), _) => values = Err(error),
                    (Ok(_), Err(_)) => {}
                }
                values.is_ok()
            });
            self.checked(read.map(|()| None::<()>))?;
            values
        })
    }

    /// Reads without decoding.
    pub(crate) fn bytes(
        &self,
        read: impl FnOnce(&H) -> Result<(), table::ReadError>,
    ) -> Result<(), ReadError> {
        self.checked(read(self.handle).map(|()| None::<()>)).map(drop)
    }

    /// Shows each entry to `each`, until it breaks or there is an error.
    fn visit<B>(
        &self,
        mut each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
        visiting: impl FnOnce(&mut Visit<'_>) -> Result<(), table::ReadError>,
    ) -> Result<Option<B>, ReadError> {
        let mut outcome = Ok(None);
        let visited = visiting(&mut |key, value, attributes| {
            let key = K::decode_key(key).map_err(|error| ReadError::codec(self.table, error));
            match key.and_then(|key| Ok((key, self.decode(attributes, value)?))) {
                Ok((key, value)) => match each(key, value) {
                    ControlFlow::Continue(()) => return true,
                    ControlFlow::Break(with) => outcome = Ok(Some(with)),
                },
                Err(error) => outcome = Err(error),
            }
            false
        });
        self.checked(visited.map(|()| None::<()>))?;
        outcome
    }

    #[inline]
    fn encode<Q: Key + ?Sized>(&self, key: &Q, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
        key.encode_key(bytes).map_err(|error| ReadError::codec(self.table, error))
    }

    fn bound<Q: Key + ?Sized>(&self, bound: Bound<&Q>) -> Result<Bound<Vec<u8>>, ReadError> {
        let encoded = |key: &Q| {
            let mut bytes = Vec::new();
            self.encode(key, &mut bytes).map(|()| bytes)
        };
        Ok(match bound {
            Bound::Included(key) => Bound::Included(encoded(key)?),
            Bound::Excluded(key) => Bound::Excluded(encoded(key)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    #[inline]
    fn decode(&self, attributes: Attributes, bytes: &[u8]) -> Result<V::Owned, ReadError> {
        decode::<V>(|| self.handle.schema(), attributes, bytes)
            .map_err(|error| ReadError::undecoded(self.table, error))
    }

    /// Before "it is not there", or an error, is answered: a forked child's copy has no words, and the engine makes of
    /// that what it can (rule H2).
    #[inline]
    fn checked<T>(&self, found: Result<Option<T>, table::ReadError>) -> Result<Option<T>, ReadError> {
        match found {
            Ok(Some(found)) => Ok(Some(found)),
            _ if self.handle.is_inert() => Err(ReadError::ForkedChild { table: self.table.to_owned() }),
            Ok(None) => Ok(None),
            Err(error) => Err(ReadError::from_engine(self.table, error)),
        }
    }
}

impl ReadError {
    #[cold]
    pub(crate) fn undecoded(table: &str, error: Undecoded) -> Self {
        match error {
            Undecoded::Codec(source) => Self::codec(table, source),
            Undecoded::Changed(found) => Self::SchemaChanged { table: table.to_owned(), found },
            Undecoded::Engine(error) => Self::from_engine(table, error),
        }
    }
}

/// The public reads of a handle that has `reading`, which calls back with a [`Typed`].
macro_rules! typed_reads {
    () => {
        /// The value of a key; in a bag, its first.
        ///
        /// # Errors
        /// [`ReadError`] where the table is corrupt or the bytes are no `V`.
        #[inline]
        pub fn get<Q>(&self, key: &Q) -> Result<Option<V::Owned>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            self.reading(|table| table.get(key))
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
            self.reading(|table| table.get_bytes(key, bytes))
        }

        /// The values of several keys, in their order, as [`get`](Self::get) finds each: not as of one moment. In a `set`
        /// that is larger than the processor's caches it is faster than one by one, since the memory of sixteen keys is
        /// fetched together. So it takes sixteen keys from the iterator before it reads the first.
        ///
        /// # Errors
        /// As for [`get`](Self::get).
        pub fn get_many<'q, Q>(
            &self,
            keys: impl IntoIterator<Item = &'q Q>,
        ) -> Result<Vec<Option<V::Owned>>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized + 'q,
        {
            self.reading(|table| table.get_many(keys))
        }

        /// The same without decoding: `each` sees the bytes of each key's value, in the order of the keys.
        ///
        /// # Errors
        /// [`ReadError`] where the table is corrupt, or a key cannot be encoded: the keys before it may not have been read
        /// then.
        pub fn get_many_bytes<'q, Q>(
            &self,
            keys: impl IntoIterator<Item = &'q Q>,
            each: impl FnMut(Option<&[u8]>),
        ) -> Result<(), ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized + 'q,
        {
            self.reading(|table| table.get_many_bytes(keys, each))
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
            self.reading(|table| table.contains(key))
        }

        /// Calls `each` with every entry until it breaks; what it broke with. In the order of the keys, but for a `set`, which
        /// has none.
        ///
        /// An entry that stands throughout is visited exactly once; one that is written meanwhile is visited as it was
        /// before or as it is after. (In a snapshot nothing is written.)
        ///
        /// # Errors
        /// [`ReadError`] where the table is corrupt or an entry is no `(K, V)`.
        pub fn scan<B>(
            &self,
            each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
        ) -> Result<Option<B>, ReadError> {
            self.reading(|table| table.scan(each))
        }

        /// All entries: [`scan`](Self::scan) into memory of one's own.
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

        /// Calls `each` with the entries of a range of keys, in their order or against it, until it breaks; what it broke
        /// with. Any kind but a `set`. As [`BTreeMap::range`](std::collections::BTreeMap::range) it takes `a..b`, `..`, and
        /// a pair of [`Bound`]s of borrowed keys.
        ///
        /// # Errors
        /// [`ReadError::NotOrdered`] for a `set`; otherwise as for [`scan`](Self::scan).
        pub fn range<Q, B>(
            &self,
            range: impl RangeBounds<Q>,
            order: Order,
            each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
        ) -> Result<Option<B>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            self.reading(|table| table.range(range, order, each))
        }

        /// The same for the keys whose bytes begin with those of `prefix`: a part of a string, or the first fields of a
        /// tuple, as a tuple (`(year,)` for keys `(year, car)`).
        ///
        /// # Errors
        /// As for [`range`](Self::range).
        pub fn prefix<P, B>(
            &self,
            prefix: &P,
            order: Order,
            each: impl FnMut(K::Owned, V::Owned) -> ControlFlow<B>,
        ) -> Result<Option<B>, ReadError>
        where
            P: Key + ?Sized,
        {
            self.reading(|table| table.prefix(prefix, order, each))
        }

        /// The entry with the least key. Any kind but a `set`.
        ///
        /// # Errors
        /// As for [`range`](Self::range).
        pub fn first(&self) -> Result<Option<Entry<K, V>>, ReadError> {
            self.reading(|table| table.nearest::<K>((Bound::Unbounded, Bound::Unbounded), Order::Ascending))
        }

        /// The entry with the greatest key.
        ///
        /// # Errors
        /// As for [`range`](Self::range).
        pub fn last(&self) -> Result<Option<Entry<K, V>>, ReadError> {
            self.reading(|table| table.nearest::<K>((Bound::Unbounded, Bound::Unbounded), Order::Descending))
        }

        /// The entry with the least key above `key`, which need not be there.
        ///
        /// # Errors
        /// As for [`range`](Self::range).
        pub fn next<Q>(&self, key: &Q) -> Result<Option<Entry<K, V>>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let above = (Bound::Excluded(key), Bound::Unbounded);
            self.reading(|table| table.nearest(above, Order::Ascending))
        }

        /// The entry with the greatest key below `key`, which need not be there.
        ///
        /// # Errors
        /// As for [`range`](Self::range).
        pub fn prev<Q>(&self, key: &Q) -> Result<Option<Entry<K, V>>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            let below = (Bound::Unbounded, Bound::Excluded(key));
            self.reading(|table| table.nearest(below, Order::Descending))
        }

        /// All values of a key: several in a bag (in a `duplicate_bag` in the order in which they were inserted), one at
        /// most elsewhere.
        ///
        /// # Errors
        /// As for [`get`](Self::get).
        pub fn values<Q>(&self, key: &Q) -> Result<Vec<V::Owned>, ReadError>
        where
            K: Borrow<Q>,
            Q: Key + ?Sized,
        {
            self.reading(|table| table.values(key))
        }
    };
}
pub(crate) use typed_reads;
