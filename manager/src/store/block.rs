//! Entries on disk: blocks of some KiB, so that redb has a fiftieth of the keys, and a change of many entries moves each
//! block once.
//!
//! ```text
//!  key in redb      the least key that belongs here; the block before holds all that are less; the first block: empty
//!  value in redb    checksum: u64 │ rows, in the order of their keys (`formats/row.rs`)
//! ```
//!
//! All values of one key are in one block, one after the other. A checksum is the XXH3 of the rows, seeded with that of the
//! block's key, so that each block vouches for itself and for its place; the sum of all of them stands in the record of
//! the checkpoint (`about`), which so vouches for their number.

use crate::formats::{Entry, row};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A block is split where it would be longer, unless it has one key only. With redb's own words around it, it fills one
/// page.
pub(super) const MAX_BYTES: usize = 4096 - 128;

const CHECKSUM_BYTES: usize = 8;

/// The checksum of bytes that stand under a name.
pub(super) fn checksum(name: &[u8], bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, xxh3_64(name))
}

/// The rows of a block and its checksum; `None` where the two do not fit.
#[inline]
pub(super) fn check<'b>(name: &[u8], block: &'b [u8]) -> Option<(&'b [u8], u64)> {
    let (sum, rows) = block.split_first_chunk::<CHECKSUM_BYTES>()?;
    let sum = u64::from_le_bytes(*sum);
    (sum == checksum(name, rows)).then_some((rows, sum))
}

/// The block of these rows, and its checksum.
pub(super) fn seal<'r>(name: &[u8], rows: impl IntoIterator<Item = &'r [u8]>, block: &mut Vec<u8>) -> u64 {
    block.clear();
    block.extend_from_slice(&[0; CHECKSUM_BYTES]);
    rows.into_iter().for_each(|row| block.extend_from_slice(row));
    let sum = checksum(name, &block[CHECKSUM_BYTES..]);
    block[..CHECKSUM_BYTES].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// The entries of a block, one after the other, each with its row.
pub(super) struct Rows<'b> {
    rest: &'b [u8],
}

impl<'b> Rows<'b> {
    pub(super) fn of(rows: &'b [u8]) -> Self {
        Self { rest: rows }
    }

    /// Whether all of it was read as entries.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'b> Iterator for Rows<'b> {
    type Item = (Entry<'b>, &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (before, mut rest) = (self.rest, self.rest);
        let entry = row::take(&mut rest)?;
        self.rest = rest;
        Some((entry, &before[..before.len() - rest.len()]))
    }
}
