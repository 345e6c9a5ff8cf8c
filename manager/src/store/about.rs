//! What a store says of itself: whose it is, and which version of that table it is.
//!
//! ```text
//!  name      value: checksum: u64, as of a block, and then
//!  layout    layout of the store: u32, the same in every layout
//!  of        kind: u8 │ id of the table
//!  schema    base version: u32 │ name; where the values have one
//!  bequest   its bytes; where there is one
//!  at        incarnation, version, number of entries, number of blocks, sum of the checksums of the blocks, sum of those
//!            of `of`, `schema` and `bequest`: u64 each; missing before the first checkpoint
//! ```
//!
//! It is written in the same transaction as the entries, and nothing of it by any other.

use super::block::{check, seal};
use super::error::from_redb;
use super::{Identity, LAYOUT, Stamp, StoreError};
use crate::formats::row::{code_of, kind_of};
use heirloom_protocol::table::TableSchema;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use std::path::Path;

/// That a database has a table of this name says that it is a store.
pub(super) const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("heirloom.about");
pub(super) const BLOCKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("heirloom.blocks");

/// The record of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) at: Option<Stamp>,
    pub(super) counts: Counts,
    pub(super) schema: Option<TableSchema>,
    pub(super) bequest: Option<Vec<u8>>,
}

/// What all blocks come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) blocks: u64,
    pub(super) sum: u64,
}

impl About {
    /// Writes it, all but the layout and whose it is, which are there since the store was made.
    pub(super) fn write(&self, transaction: &WriteTransaction, of: &Identity) -> Result<(), redb::Error> {
        let mut about = transaction.open_table(ABOUT)?;
        let schema = self.schema.as_ref().map(schema_bytes);
        let mut sum = put(&mut about, "of", Some(&of.bytes()))?;
        sum = sum.wrapping_add(put(&mut about, "schema", schema.as_deref())?);
        sum = sum.wrapping_add(put(&mut about, "bequest", self.bequest.as_deref())?);
        let Counts { entries, blocks, sum: sum_of_blocks } = self.counts;
        let at = self.at.map(|Stamp { incarnation, version }| {
            [incarnation, version, entries, blocks, sum_of_blocks, sum].map(u64::to_le_bytes).concat()
        });
        put(&mut about, "at", at.as_deref())?;
        Ok(())
    }

    /// Writes what stays: the layout.
    pub(super) fn write_layout(transaction: &WriteTransaction) -> Result<(), redb::Error> {
        put(&mut transaction.open_table(ABOUT)?, "layout", Some(&LAYOUT.to_le_bytes()))?;
        Ok(())
    }

    /// Reads it, and refuses what is no store, one of a newer layout, and that of another table; where no table is named,
    /// it may be that of any.
    pub(super) fn read(
        reading: &ReadTransaction,
        path: &Path,
        of: Option<&Identity>,
    ) -> Result<(Identity, Self), StoreError> {
        let failed = |error: redb::Error| from_redb(path, error);
        let damaged = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
        let about = reading.open_table(ABOUT).map_err(|error| match error {
            TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. } => StoreError::Foreign {
                path: path.to_owned(),
                what: "it is a database of something else".to_owned(),
            },
            error => failed(error.into()),
        })?;
        let row = |name: &str| -> Result<Option<(Vec<u8>, u64)>, StoreError> {
            let Some(value) = about.get(name).map_err(|error| failed(error.into()))? else { return Ok(None) };
            let (bytes, sum) = check(name.as_bytes(), value.value())
                .ok_or_else(|| damaged(&format!("the checksum of its record `{name}` does not fit")))?;
            Ok(Some((bytes.to_vec(), sum)))
        };
        let needed = |name: &str| row(name)?.ok_or_else(|| damaged(&format!("it has no record `{name}`")));

        let (layout, _) = needed("layout")?;
        let layout =
            layout.try_into().map(u32::from_le_bytes).map_err(|_| damaged("its layout is no number"))?;
        if layout > LAYOUT {
            return Err(StoreError::Newer { path: path.to_owned(), layout, known: LAYOUT });
        }
        let (whose, sum_of) = needed("of")?;
        let whose = Identity::from_bytes(&whose).ok_or_else(|| damaged("it does not say whose it is"))?;
        if let Some(of) = of.filter(|of| **of != whose) {
            return Err(StoreError::OfAnother {
                path: path.to_owned(),
                table: whose.table,
                kind: whose.kind,
                wanted_table: of.table.clone(),
                wanted_kind: of.kind,
            });
        }
        let (schema, bequest) = (row("schema")?, row("bequest")?);
        let Some((at, _)) = row("at")? else { return Ok((whose, Self::default())) };
        let numbers: Vec<u64> =
            at.chunks(8).filter_map(|n| Some(u64::from_le_bytes(n.try_into().ok()?))).collect();
        let [incarnation, version, entries, blocks, sum, sum_of_rows] = numbers[..] else {
            return Err(damaged("it does not say which version it is"));
        };
        let rows = [Some(sum_of), schema.as_ref().map(|row| row.1), bequest.as_ref().map(|row| row.1)];
        if rows.into_iter().flatten().fold(0, u64::wrapping_add) != sum_of_rows {
            return Err(damaged("its records are not of one version"));
        }
        let schema = match schema {
            Some((bytes, _)) => Some(schema_of(&bytes).ok_or_else(|| damaged("its schema has no name"))?),
            None => None,
        };
        let about = Self {
            at: Some(Stamp { incarnation, version }),
            counts: Counts { entries, blocks, sum },
            schema,
            bequest: bequest.map(|(bytes, _)| bytes),
        };
        Ok((whose, about))
    }
}

/// Writes a record, or removes it; its checksum, or zero.
fn put(about: &mut Table<'_, &str, &[u8]>, name: &str, bytes: Option<&[u8]>) -> Result<u64, redb::Error> {
    let Some(bytes) = bytes else {
        about.remove(name)?;
        return Ok(0);
    };
    let mut record = Vec::new();
    let sum = seal(name.as_bytes(), [bytes], &mut record);
    // What does not change is not written again: a bequest can be long.
    if about.get(name)?.is_none_or(|there| there.value() != record) {
        about.insert(name, record.as_slice())?;
    }
    Ok(sum)
}

impl Identity {
    fn bytes(&self) -> Vec<u8> {
        [&[code_of(self.kind)], self.table.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, table) = bytes.split_first()?;
        Some(Self { table: std::str::from_utf8(table).ok()?.to_owned(), kind: kind_of(*kind)? })
    }
}

fn schema_bytes(schema: &TableSchema) -> Vec<u8> {
    [&schema.base_version.to_le_bytes(), schema.name.as_bytes()].concat()
}

fn schema_of(bytes: &[u8]) -> Option<TableSchema> {
    let (version, name) = bytes.split_first_chunk()?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some(TableSchema { name, base_version: u32::from_le_bytes(*version) })
}
