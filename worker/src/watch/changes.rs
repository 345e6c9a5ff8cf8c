//! What a watch tells: keys with the values that they have at one version.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::follower::{Batch, Entry};
use crate::client::Source;
use crate::codec::{Key, Value};
use crate::reader::ReadError;
use crate::schema::decode;

/// A key, and the value that it has now; none where it was removed.
pub type Change<K, V> = (<K as Key>::Owned, Option<<V as Value>::Owned>);

/// What some commits changed, as of the last of them: each changed key once.
///
/// In a bag, a key that got or lost a value comes first without one, and then with each value that it has.
///
/// Keys and values are decoded as they are asked for, so that one that does not decode hides no other.
pub struct Changes<K: ?Sized, V: ?Sized> {
    source: Arc<Source>,
    batch: Batch,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Changes<K, V> {
    pub(super) fn new(source: Arc<Source>, batch: Batch) -> Self {
        Self { source, batch, types: PhantomData }
    }

    /// The version of the last of these commits: the table held exactly these values then.
    pub fn version(&self) -> u64 {
        self.batch.version
    }

    /// Whether the table was cleared: every key that is not mentioned is gone.
    pub fn is_cleared(&self) -> bool {
        self.batch.cleared
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.batch.entries.len()
    }

    /// Whether no key is mentioned, as where the table was cleared and nothing else happened.
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The changed keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = Result<Change<K, V>, ReadError>> {
        let segment = self.source.segment();
        let table = self.source.table();
        self.bytes().zip(&self.batch.entries).map(move |((key, value), entry)| {
            let key = K::decode_key(key).map_err(|error| ReadError::codec(table, error))?;
            let decoded = value.map(|value| decode::<V>(|| segment.schema(), entry.attributes, value));
            Ok((key, decoded.transpose().map_err(|error| ReadError::undecoded(table, error))?))
        })
    }

    /// The same as the bytes that are in the table.
    pub fn bytes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = &self.batch.bytes;
        let of = |entry: &Entry| (&bytes[entry.key.clone()], entry.value.clone().map(|value| &bytes[value]));
        self.batch.entries.iter().map(of)
    }
}

impl<'c, K: Key + ?Sized, V: Value + ?Sized> IntoIterator for &'c Changes<K, V> {
    type Item = Result<Change<K, V>, ReadError>;
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'c>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Changes<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("version", &self.batch.version)
            .field("cleared", &self.batch.cleared)
            .field("keys", &self.batch.entries.len())
            .finish_non_exhaustive()
    }
}
