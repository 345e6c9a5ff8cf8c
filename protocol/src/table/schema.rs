//! What a table's values are: the name of their schema, and the version of it that entries have unless they say another.
//!
//! ```text
//!  schema    an entry behind a header word, with an empty key; value:  base version: 4 │ name, in UTF-8
//! ```
//!
//! It is written once, by the first owner that names a schema, in a commit before any of its values; so whoever reads
//! an entry first and the header word then knows what the entry is. From then on each owner of that name says with which
//! version it writes, and only entries of another version than the base carry it. Values that were there before have
//! version 0. The engine decodes none of them.

use super::entry::{self, Attributes, NewEntry};
use super::error::{ReadError, WriteError};
use super::layout::SCHEMA;
use super::reader::{TableReader, corrupt};
use super::writer::{TableWriter, check_lengths};
use crate::region::Region;

/// The schema of a table's values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableSchema {
    /// Its name: what the values are, whatever the build that writes them.
    pub name: String,
    /// The version of the entries that carry none.
    pub base_version: u32,
}

impl TableSchema {
    /// The version that an entry was written with.
    #[must_use]
    pub fn version_of(&self, attributes: Attributes) -> u32 {
        attributes.schema_version.unwrap_or(self.base_version)
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.base_version.to_le_bytes(), self.name.as_bytes()].concat()
    }

    pub(super) fn of_entry(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::from_bytes(bytes).ok_or_else(|| corrupt("the schema has no name"))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, name) = bytes.split_first_chunk()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        Some(Self { name, base_version: u32::from_le_bytes(*version) })
    }
}

impl<R: Region> TableReader<R> {
    /// Whether the values have a schema. One load, for whoever knows that there was none: to be asked after an entry
    /// was read.
    #[inline]
    pub fn has_schema(&self) -> bool {
        self.region().load(SCHEMA) != 0
    }

    /// The schema of the values; none until an owner names one, and the same for ever then.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn schema(&self) -> Result<Option<&TableSchema>, ReadError> {
        if let Some(schema) = self.schema.get() {
            return Ok(Some(schema));
        }
        if !self.has_schema() {
            return Ok(None);
        }
        let Some(bytes) = self.read_behind(SCHEMA)? else { return Ok(None) };
        let schema = TableSchema::of_entry(&bytes)?;
        Ok(Some(self.schema.get_or_init(|| schema)))
    }
}

impl<R: Region> TableWriter<R> {
    /// Says what the values are that are written from here on. The first name that a table is given stays.
    ///
    /// # Errors
    /// [`WriteError::OtherSchema`] where the table has another name, and what a commit says; then nothing has changed.
    pub fn set_schema(&mut self, name: &str, version: u32) -> Result<TableSchema, WriteError> {
        let schema = match self.reader.schema()? {
            Some(schema) if schema.name == name => schema.clone(),
            Some(schema) => return Err(WriteError::OtherSchema { table: schema.name.clone() }),
            None => {
                let base_version = if self.reader.is_empty() { version } else { 0 };
                let schema = TableSchema { name: name.to_owned(), base_version };
                self.write_schema(&schema)?;
                schema
            }
        };
        self.write_schema_version((version != schema.base_version).then_some(version));
        Ok(schema)
    }

    fn write_schema(&mut self, schema: &TableSchema) -> Result<(), WriteError> {
        let bytes = schema.to_bytes();
        check_lengths(&[], &bytes)?;
        let new = NewEntry { hash: 0, key: &[], value: &bytes, attributes: Attributes::default() };
        self.commit_with(1, |writer| {
            let unit = writer.allocate(new.class())?;
            let (region, block) = (writer.reader.region(), writer.reader.layout().block(unit));
            entry::write(region, block, writer.version + 1, super::class::Unit::NONE, &new);
            writer.stage.store(SCHEMA, u64::from(unit.0));
            Ok(())
        })
        .map(|_| ())
    }
}
