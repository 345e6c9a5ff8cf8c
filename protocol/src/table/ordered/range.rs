//! Ranges of keys, in both directions, while the owner writes.

use std::ops::Bound;

use super::Order;
use crate::region::Region;
use crate::table::error::ReadError;
use crate::table::reader::TableReader;

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

impl<R: Region> TableReader<R> {
    /// Calls back with the key and the value of each entry whose key lies between two bounds, in the order of the keys' bytes,
    /// until the callback returns false. Entries that are there throughout come exactly once; the whole is not as of
    /// one moment. In a bag, all values of a key come, in their order.
    ///
    /// # Errors
    /// [`ReadError::NotOrdered`] for a `set`, and as for [`TableReader::get`].
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        if !self.layout().kind.is_ordered() {
            return Err(ReadError::NotOrdered);
        }
        let mut all = Vec::new();
        self.scan(&mut |key, value| {
            all.push((key.to_vec(), value.to_vec()));
            true
        })?;
        all.sort();
        all.retain(|(key, _)| std::ops::RangeBounds::contains(&(from, to), key.as_slice()));
        if order == Order::Descending {
            all.reverse();
        }
        all.iter().all(|(key, value)| each(key, value));
        Ok(())
    }

    /// The same for all keys that begin with `prefix`.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn prefix(
        &self,
        prefix: &[u8],
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        let end = after_prefix(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.range(Bound::Included(prefix), to, order, each)
    }

    /// The entry with the least key; in a bag, its first value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn first(&self) -> Result<Option<Pair>, ReadError> {
        self.nearest(Bound::Unbounded, Bound::Unbounded, Order::Ascending)
    }

    /// The entry with the greatest key; in a bag, its last value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn last(&self) -> Result<Option<Pair>, ReadError> {
        self.nearest(Bound::Unbounded, Bound::Unbounded, Order::Descending)
    }

    /// The entry with the least key above `key`, which need not be there; in a bag, its first value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn next(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.nearest(Bound::Excluded(key), Bound::Unbounded, Order::Ascending)
    }

    /// The entry with the greatest key below `key`, which need not be there; in a bag, its last value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn prev(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.nearest(Bound::Unbounded, Bound::Excluded(key), Order::Descending)
    }

    fn nearest(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, order: Order) -> Result<Option<Pair>, ReadError> {
        let mut found = None;
        self.range(from, to, order, &mut |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            false
        })?;
        Ok(found)
    }
}

/// The least key above all that begin with `prefix`; none where there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}
