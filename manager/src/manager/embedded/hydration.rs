//! Filling an embedded manager's table before anybody sees it.

use crate::manager::table::Table;
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::table::{OpenError, TableWriter, WriteError};
use heirloom_worker::{CodecError, Key, Value};
use std::borrow::Borrow;
use std::error::Error;
use std::sync::Arc;

/// Takes a table's first entries. Where it fails, the manager does not start.
#[derive(Debug)]
pub struct Hydration<'t> {
    writer: &'t mut TableWriter<Arc<MappedRegion>>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A table was not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A key or value has no bytes.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An entry does not fit.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The table is none.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Where the entries come from failed.
    #[error(transparent)]
    Source(Box<dyn Error + Send + Sync>),
}

impl LoadError {
    /// What the source of the entries says.
    pub fn source(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Source(error.into())
    }
}

impl Hydration<'_> {
    /// One entry. Of several with one key, the last counts (all of them, in a bag).
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn insert<K: Key + ?Sized, V: Value + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), LoadError> {
        self.key.clear();
        self.value.clear();
        key.encode_key(&mut self.key)?;
        value.encode_value(&mut self.value)?;
        self.writer.insert(&self.key, &self.value)?;
        Ok(())
    }

    /// Many of them.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn extend<K: Key, V: Value>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), LoadError> {
        entries.into_iter().try_for_each(|(key, value)| self.insert(key.borrow(), value.borrow()))
    }

    pub(super) fn run(
        table: &Table,
        hydrate: impl FnOnce(&mut Hydration<'_>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        // The manager writes as the owner of the epoch that the header has: nobody else owns the table yet.
        let mut writer = TableWriter::open(Arc::clone(&table.region), table.reader.epoch())?;
        hydrate(&mut Hydration { writer: &mut writer, key: Vec::new(), value: Vec::new() })
    }
}
