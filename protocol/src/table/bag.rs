//! Bags: several values under one key, on the ordered index.
//!
//! An *object* is a key with one of its values. A `bag` has each object once, a `duplicate_bag` as often as it was
//! inserted, in that order. The same calls work on the other kinds, where a key has one value at most.

use super::error::{ReadError, WriteError};
use super::reader::TableReader;
use super::transaction::Transaction;
use super::writer::TableWriter;
use crate::region::Region;

impl<R: Region> TableReader<R> {
    /// Calls back with each value of a key until the callback returns false: in a `duplicate_bag` in the order in which they were
    /// inserted, in a `bag` in no order that means anything.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        if let Some(value) = self.get(key)? {
            each(&value);
        }
        Ok(())
    }

    /// The number of values that a key has.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn count(&self, key: &[u8]) -> Result<u64, ReadError> {
        let mut count = 0;
        self.values(key, &mut |_| {
            count += 1;
            true
        })?;
        Ok(count)
    }
}

impl<R: Region> TableWriter<R> {
    /// Removes the objects of a key that have this value, as one commit, and says how many there were: several equal
    /// ones only in a `duplicate_bag`. Where a key has one value at most, it goes if it is this one.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        let mut transaction = self.transaction();
        let removed = transaction.remove_value(key, value)?;
        transaction.commit()?;
        Ok(removed)
    }
}

impl<R: Region> Transaction<'_, R> {
    /// Calls back with each value of a key, as this transaction leaves it; see [`TableReader::values`].
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        if let Some(value) = self.get(key)? {
            each(&value);
        }
        Ok(())
    }

    /// Removes the objects of a key that have this value, and says how many there were; see
    /// [`TableWriter::remove_value`].
    ///
    /// # Errors
    /// What reading says; the transaction goes on without this write.
    pub fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        if self.get(key)?.as_deref() != Some(value) {
            return Ok(0);
        }
        self.remove(key)?;
        Ok(1)
    }
}
