//! One version of a table, on its way into the file.

use super::about::About;
use super::batch::{Batch, What};
use super::error::from_redb;
use super::merge::{self, Others};
use super::{Stamp, Store, StoreError, guarded};
use heirloom_protocol::table::{Attributes, TableSchema};
use redb::WriteTransaction;
use std::fmt;

/// So much is collected before it is written: the most memory that a checkpoint takes, beside redb's own.
#[cfg(not(test))]
const BATCH_BYTES: usize = 128 << 20;
/// Little, so that tests meet the end of it.
#[cfg(test)]
const BATCH_BYTES: usize = 64 << 10;

/// The change from the version that the store has to another one; see [`Store::checkpoint`].
///
/// Until it is committed nothing is changed, and where it is dropped or fails nothing ever is: the file says what it
/// said before. Keys may come in any order; of what is said of one key the last counts.
pub struct Checkpoint<'s> {
    store: &'s mut Store,
    /// None once it is committed, or has failed.
    transaction: Option<WriteTransaction>,
    batch: Batch,
    /// What becomes of entries that are not named, by the first batch that is written.
    others: Others,
    about: About,
}

impl fmt::Debug for Checkpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("of", &self.store).finish_non_exhaustive()
    }
}

impl<'s> Checkpoint<'s> {
    pub(super) fn begin(store: &'s mut Store, others: Others) -> Result<Self, StoreError> {
        let transaction = store.begin()?;
        let about = match others {
            Others::Stay => store.about.clone(),
            Others::Go => About { counts: store.about.counts, ..About::default() },
        };
        let batch = std::mem::take(&mut store.batch);
        Ok(Self { store, transaction: Some(transaction), batch, others, about })
    }

    /// The key has these values from here on, in this order, and no others; without any, it is gone.
    ///
    /// # Errors
    /// [`StoreError`]; the checkpoint is of no use then.
    pub fn replace<'v>(
        &mut self,
        key: &[u8],
        values: impl IntoIterator<Item = (&'v [u8], Attributes)>,
    ) -> Result<(), StoreError> {
        let mut what = What::First;
        for (value, attributes) in values {
            self.put(key, value, attributes, what)?;
            what = What::More;
        }
        match what {
            What::First => self.put(key, &[], Attributes::default(), What::None),
            _ => Ok(()),
        }
    }

    /// The key has one more value, after those that it has: for whole tables of the kinds whose keys have several, which
    /// are read value by value.
    ///
    /// # Errors
    /// As for [`Checkpoint::replace`].
    pub fn append(&mut self, key: &[u8], value: &[u8], attributes: Attributes) -> Result<(), StoreError> {
        self.put(key, value, attributes, What::More)
    }

    /// All entries are gone, those too that this checkpoint brought.
    ///
    /// # Errors
    /// As for [`Checkpoint::replace`].
    pub fn clear(&mut self) -> Result<(), StoreError> {
        self.batch.clear();
        self.others = Others::Go;
        Ok(())
    }

    /// What the last owner left for its heir, or that it left nothing.
    ///
    /// # Errors
    /// As for [`Checkpoint::replace`].
    pub fn bequest(&mut self, bequest: Option<&[u8]>) -> Result<(), StoreError> {
        self.about.bequest = bequest.map(<[u8]>::to_vec);
        Ok(())
    }

    /// What the values are, or that nobody has said.
    ///
    /// # Errors
    /// As for [`Checkpoint::replace`].
    pub fn schema(&mut self, schema: Option<&TableSchema>) -> Result<(), StoreError> {
        self.about.schema = schema.cloned();
        Ok(())
    }

    /// Makes it the store's version. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`]: then the file says what it said before, or, where the disk failed at the very end, all of this.
    pub fn commit(mut self, at: Stamp) -> Result<(), StoreError> {
        self.write_batch()?;
        self.about.at = Some(at);
        self.attempt(|this, transaction| {
            let path = &this.store.path;
            this.about.write(transaction, &this.store.of).map_err(|error| from_redb(path, error))
        })?;
        let transaction = self.transaction.take().expect("it is neither committed nor has it failed");
        let committed = guarded(&self.store.path, || {
            transaction.commit().map_err(|error| from_redb(&self.store.path, error))
        });
        match committed {
            Ok(()) => self.store.about = std::mem::take(&mut self.about),
            Err(_) => self.store.close(),
        }
        committed
    }

    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        attributes: Attributes,
        what: What,
    ) -> Result<(), StoreError> {
        self.batch.put(key, value, attributes, what);
        if self.batch.bytes() < BATCH_BYTES {
            return Ok(());
        }
        if self.others == Others::Go {
            // More is to come, so it is not known yet which of the entries that are there will be missing.
            self.attempt(|this, transaction| {
                merge::clear(transaction, &this.store.path, &mut this.about.counts)
            })?;
            self.others = Others::Stay;
        }
        self.write_batch()
    }

    fn write_batch(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() && self.others == Others::Stay {
            return Ok(());
        }
        self.attempt(|this, transaction| {
            let sorted = this.batch.sort();
            merge::merge(transaction, &this.store.path, sorted, this.others, &mut this.about.counts)
        })?;
        self.others = Others::Stay;
        self.batch.clear();
        Ok(())
    }

    /// Does something with the transaction, which ends where that fails.
    fn attempt(
        &mut self,
        todo: impl FnOnce(&mut Self, &WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.store.path.clone();
        let Some(transaction) = self.transaction.take() else {
            return Err(super::failed_before(&path));
        };
        let done = guarded(&path, || todo(self, &transaction));
        match done {
            Ok(()) => self.transaction = Some(transaction),
            Err(_) => self.abandon(transaction),
        }
        done
    }

    /// redb takes back what it has written. A database that failed is of no use after that.
    fn abandon(&mut self, transaction: WriteTransaction) {
        let _ = guarded(&self.store.path, || {
            drop(transaction);
            Ok(())
        });
        self.store.close();
    }
}

impl Drop for Checkpoint<'_> {
    fn drop(&mut self) {
        self.batch.clear();
        self.store.batch = std::mem::take(&mut self.batch);
        let Some(transaction) = self.transaction.take() else { return };
        let aborted = guarded(&self.store.path, || {
            transaction.abort().map_err(|error| from_redb(&self.store.path, error))
        });
        if aborted.is_err() {
            self.store.close();
        }
    }
}
