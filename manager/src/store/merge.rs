//! Changes into the blocks that they belong to.

use super::StoreError;
use super::about::{BLOCKS, Counts};
use super::batch::Sorted;
use super::block::{MAX_BYTES, Rows, check, seal};
use super::error::from_redb;
use redb::{ReadableTable, Table, WriteTransaction};
use std::cmp::Ordering;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;

/// What becomes of the entries that no change names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    Stay,
    Go,
}

/// Writes the changes. Blocks that come out as they are are not written.
pub(super) fn merge(
    transaction: &WriteTransaction,
    path: &Path,
    changes: Sorted<'_>,
    others: Others,
    counts: &mut Counts,
) -> Result<(), StoreError> {
    let table = transaction.open_table(BLOCKS).map_err(|error| from_redb(path, error))?;
    let mut merging = Merging { table, path, counts, new: Vec::new() };
    merging.run(changes, others)
}

/// Removes all blocks.
pub(super) fn clear(
    transaction: &WriteTransaction,
    path: &Path,
    counts: &mut Counts,
) -> Result<(), StoreError> {
    transaction.delete_table(BLOCKS).map_err(|error| from_redb(path, error))?;
    *counts = Counts::default();
    Ok(())
}

struct Merging<'t, 'c> {
    table: Table<'t, &'static [u8], &'static [u8]>,
    path: &'c Path,
    counts: &'c mut Counts,
    new: Vec<u8>,
}

/// A block as it stands in the file.
#[derive(Default)]
struct Old {
    name: Vec<u8>,
    /// Empty where there is none yet.
    bytes: Vec<u8>,
}

impl Merging<'_, '_> {
    fn run(&mut self, mut changes: Sorted<'_>, others: Others) -> Result<(), StoreError> {
        match others {
            Others::Stay => {
                while let Some(key) = changes.peek() {
                    let old = self.block_of(key)?;
                    let next = self.name_after(&old.name)?;
                    self.rewrite(&old, next.as_deref(), &mut changes, others)?;
                }
            }
            Others::Go => {
                let mut old = self.first_block()?;
                loop {
                    let next = self.name_after(&old.name)?;
                    self.rewrite(&old, next.as_deref(), &mut changes, others)?;
                    match next {
                        Some(next) => old = self.block_of(&next)?,
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }

    /// The block that the key belongs to; one without content where there is none.
    fn block_of(&self, key: &[u8]) -> Result<Old, StoreError> {
        let failed = |error| from_redb(self.path, error);
        let found = self.table.range::<&[u8]>(..=key).map_err(failed)?.next_back();
        let Some((name, bytes)) = found.transpose().map_err(failed)? else { return Ok(Old::default()) };
        Ok(Old { name: name.value().to_vec(), bytes: bytes.value().to_vec() })
    }

    fn first_block(&self) -> Result<Old, StoreError> {
        let found = self.table.first().map_err(|error| from_redb(self.path, error))?;
        let Some((name, bytes)) = found else { return Ok(Old::default()) };
        let name = name.value();
        // What is less than all that is there belongs before it.
        if !name.is_empty() {
            return Ok(Old::default());
        }
        Ok(Old { name: name.to_vec(), bytes: bytes.value().to_vec() })
    }

    fn name_after(&self, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = |error| from_redb(self.path, error);
        let next = self.table.range::<&[u8]>((Excluded(name), Unbounded)).map_err(failed)?.next();
        Ok(next.transpose().map_err(failed)?.map(|(name, _)| name.value().to_vec()))
    }

    /// Makes one block anew, with the changes below `end`.
    fn rewrite(
        &mut self,
        old: &Old,
        end: Option<&[u8]>,
        changes: &mut Sorted<'_>,
        others: Others,
    ) -> Result<(), StoreError> {
        let damaged = |what: &str| StoreError::Damaged { path: self.path.to_owned(), what: what.to_owned() };
        let (rows, old_sum) = match old.bytes.is_empty() {
            true => (&[][..], 0),
            false => check(&old.name, &old.bytes)
                .ok_or_else(|| damaged("the checksum of a block of entries does not fit"))?,
        };
        let mut merged = Merged::default();
        let mut rows = Rows::of(rows);
        let mut row = rows.next();
        let mut entries = 0;
        let in_block = |key: &[u8]| end.is_none_or(|end| key < end);
        while changes.peek().is_some_and(in_block) {
            let group = changes.next().expect("it was peeked at");
            let key = group.key;
            // Those before it, and of its own key those that stay.
            while let Some((entry, bytes)) = row {
                let keeps = match entry.key.cmp(key) {
                    Ordering::Less => true,
                    Ordering::Equal => group.keeps,
                    Ordering::Greater => break,
                };
                if keeps && others == Others::Stay {
                    merged.push(bytes, entry.key);
                }
                entries += 1;
                row = rows.next();
            }
            group.rows().for_each(|row| merged.push(row, key));
        }
        while let Some((entry, bytes)) = row {
            if others == Others::Stay {
                merged.push(bytes, entry.key);
            }
            entries += 1;
            row = rows.next();
        }
        if !rows.is_at_end() {
            return Err(damaged("a block holds what is no entry"));
        }
        self.write(old, old_sum, entries, &merged)
    }

    /// Writes what comes of a block: nothing, one block, or several.
    fn write(
        &mut self,
        old: &Old,
        old_sum: u64,
        entries: u64,
        merged: &Merged<'_>,
    ) -> Result<(), StoreError> {
        let failed = |error| from_redb(self.path, error);
        let pieces = merged.bytes.div_ceil(MAX_BYTES).max(1);
        let piece_bytes = merged.bytes.div_ceil(pieces);
        if !old.bytes.is_empty() {
            self.counts.blocks -= 1;
            self.counts.entries -= entries;
            self.counts.sum = self.counts.sum.wrapping_sub(old_sum);
        }
        if merged.rows.is_empty() && !old.bytes.is_empty() {
            self.table.remove(old.name.as_slice()).map_err(failed)?;
        }
        let mut rest = merged.rows.as_slice();
        let mut name = old.name.as_slice();
        while let Some((_, first_key)) = rest.first() {
            let is_first = rest.len() == merged.rows.len();
            if !is_first {
                name = first_key;
            }
            let (piece, after) = rest.split_at(piece_of(rest, piece_bytes));
            let sum = seal(name, piece.iter().map(|(row, _)| *row), &mut self.new);
            // Only the first one can be what was there.
            if !is_first || self.new != old.bytes {
                self.table.insert(name, self.new.as_slice()).map_err(failed)?;
            }
            self.counts.blocks += 1;
            self.counts.sum = self.counts.sum.wrapping_add(sum);
            rest = after;
        }
        self.counts.entries += merged.rows.len() as u64;
        Ok(())
    }
}

/// How many of these rows make a block: so many that it has that many bytes, if it may have as many. All rows of one key
/// stay together.
fn piece_of(rows: &[(&[u8], &[u8])], bytes: usize) -> usize {
    let (mut length, mut last_key) = (0, None);
    for (at, (row, key)) in rows.iter().enumerate() {
        let is_full = length >= bytes || length + row.len() > MAX_BYTES;
        if is_full && last_key.is_some_and(|last| last != *key) {
            return at;
        }
        length += row.len();
        last_key = Some(*key);
    }
    rows.len()
}

/// The rows of a block to be, each with its key.
#[derive(Default)]
struct Merged<'r> {
    rows: Vec<(&'r [u8], &'r [u8])>,
    bytes: usize,
}

impl<'r> Merged<'r> {
    fn push(&mut self, row: &'r [u8], key: &'r [u8]) {
        self.rows.push((row, key));
        self.bytes += row.len();
    }
}
