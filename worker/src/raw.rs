//! Tables as the bytes they are, with everything their entries have: for tools that show, copy and check tables without
//! knowing the types of those who write them.

use std::ops::Bound;

use heirloom_protocol::table::{Attributes, OpenError, Order, TableSchema, VerifyReport, Visit};

use crate::reader::{ReadError, Reader};
use crate::reads::Reads;
use crate::snapshot::Snapshot;
use crate::writer::{WriteError, Writer};

impl Reader<[u8], [u8]> {
    /// Calls `each` with every entry and what it has beside key and value, until it says false: in the order of the
    /// keys, where the table has one. As [`scan`](Self::scan), without copying.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn visit(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
        self.reading(|table| table.bytes(|segment| segment.scan(each)))
    }

    /// The same for the entries whose keys lie between two bounds, in either order.
    ///
    /// # Errors
    /// [`ReadError`] where the table is a `set`, which has no order, or corrupt.
    pub fn visit_range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.reading(|table| table.bytes(|segment| segment.range(from, to, order, each)))
    }

    /// Calls `each` with each value of a key until it says false: several only in the bags.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn visit_values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        self.reading(|table| table.bytes(|segment| segment.values(key, &mut |value, _| each(value))))
    }

    /// The bytes of the bequest that the next owner will find, if there is one.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn bequest_bytes(&self) -> Result<Option<Vec<u8>>, ReadError> {
        self.source().segment().bequest().map_err(|error| ReadError::from_engine(self.table(), error))
    }
}

/// The same as of one version.
impl Snapshot<[u8], [u8]> {
    /// Calls `each` with every entry and what it has beside key and value; see [`Reader::visit`].
    ///
    /// # Errors
    /// [`ReadError::SnapshotExpired`], and where the table is corrupt.
    pub fn visit(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
        self.reading(|table| table.bytes(|segment| segment.scan(each)))
    }

    /// The same for the entries whose keys lie between two bounds, in either order.
    ///
    /// # Errors
    /// As for [`Snapshot::visit`], and where the table is a `set`, which has no order.
    pub fn visit_range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.reading(|table| table.bytes(|segment| segment.range(from, to, order, each)))
    }

    /// The bytes of the bequest as of that version, if there was one.
    ///
    /// # Errors
    /// As for [`Snapshot::visit`].
    pub fn bequest_bytes(&self) -> Result<Option<Vec<u8>>, ReadError> {
        self.handle().bequest().map_err(|error| ReadError::from_engine(self.table(), error))
    }

    /// What the values are, where their owner has said it; the same for all versions of a table.
    ///
    /// # Errors
    /// As for [`Snapshot::visit`].
    pub fn schema(&self) -> Result<Option<TableSchema>, ReadError> {
        let mut schema = None;
        self.reading(|table| {
            table.bytes(|segment| {
                schema = segment.schema()?.cloned();
                Ok(())
            })
        })?;
        Ok(schema)
    }
}

impl Writer<[u8], [u8]> {
    /// Inserts or overwrites with everything that an entry has, in one commit; true where there was a value before. In
    /// the bags, adds a value.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn insert_attributed(
        &mut self,
        key: &[u8],
        value: &[u8],
        attributes: Attributes,
    ) -> Result<bool, WriteError> {
        let (engine, ownership) = self.parts();
        engine.insert_attributed(key, value, attributes).map_err(|error| ownership.refused(error))
    }

    /// The same for several entries whose values have one schema version, in one commit: keys, values, and when each entry
    /// expires, in milliseconds of UNIX time.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing has changed.
    pub fn insert_together<'e>(
        &mut self,
        schema_version: Option<u32>,
        entries: impl IntoIterator<Item = (&'e [u8], &'e [u8], Option<u64>)>,
    ) -> Result<(), WriteError> {
        let (engine, ownership) = self.parts();
        engine.insert_together(schema_version, entries).map_err(|error| ownership.refused(error))
    }

    /// What the values are, where an owner has said it.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn schema(&mut self) -> Result<Option<TableSchema>, ReadError> {
        let (engine, ownership) = self.parts();
        let schema = engine.schema().map(|schema| schema.cloned());
        schema.map_err(|error| ReadError::from_engine(ownership.table(), error))
    }

    /// Says what the values are, where nobody has said it before; what the table says then. Its base version may be
    /// another.
    ///
    /// # Errors
    /// [`WriteError`] where the values are said to be something else; then nothing has changed.
    pub fn adopt_schema(&mut self, schema: &TableSchema) -> Result<TableSchema, WriteError> {
        let (engine, ownership) = self.parts();
        let adopted = engine.set_schema(&schema.name, schema.base_version);
        adopted.map_err(|error| ownership.refused(error))
    }

    /// The bytes of the bequest that was left last, if there is one.
    ///
    /// # Errors
    /// [`ReadError`] where the table is corrupt.
    pub fn bequest_bytes(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let (engine, ownership) = self.parts();
        engine.bequest().map_err(|error| ReadError::from_engine(ownership.table(), error))
    }

    /// Checks every byte of the table: each word of its memory must have exactly one use, and every count must fit.
    /// Takes some hundred nanoseconds an entry.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] with the first thing that is wrong.
    pub fn verify(&mut self) -> Result<VerifyReport, OpenError> {
        self.parts().0.verify()
    }
}
