//! What can go wrong with a table.

use super::entry::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::region::OutOfMemory;

/// Why a region cannot be used as a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// These bytes were not written by this version of Heirloom.
    #[error("this is not a table of this version of Heirloom: {0}")]
    Foreign(String),
    /// The bytes contradict each other.
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
    /// A commit is in flight: whoever takes the table back recovers it before it is handed out.
    #[error("commit {committed} is in flight (applied: {applied}); the table must be recovered first")]
    NotRecovered {
        /// The last commit that stands.
        committed: u64,
        /// The last commit that is applied.
        applied: u64,
    },
    /// The options of a new table contradict each other.
    #[error("no such table can be created: {0}")]
    Options(String),
    /// The host has no memory for it.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// Why a read gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes contradict each other, and nobody changed them meanwhile.
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
    /// A `set` keeps its entries in no order: it has no ranges, and no first or next entry.
    #[error("a set has no order; make the table an ordered_set to read ranges of it")]
    NotOrdered,
    /// The snapshot is gone: it was released, or it became too old. Only snapshots say this.
    #[error("the snapshot has expired; take another one")]
    SnapshotExpired,
}

/// Why a write was not carried out. The table is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The write does not fit into the table's limit. Removing always works.
    #[error("the table is full: its limit is {max_bytes} bytes; remove entries or raise max_bytes")]
    TableFull {
        /// The limit.
        max_bytes: u64,
    },
    /// The key is longer than [`MAX_KEY_BYTES`].
    #[error("a key of {0} bytes is too long; the limit is {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    /// The key is too long for a bag, which keeps more with it.
    #[error(
        "a key of {key_bytes} bytes is too long for a bag: with its zero bytes doubled and what tells its values apart \
         it has {index_bytes}; the limit is {MAX_KEY_BYTES}"
    )]
    BagKeyTooLong {
        /// Bytes of the key.
        key_bytes: usize,
        /// Bytes of what the index would have for it.
        index_bytes: usize,
    },
    /// The write changes the one value of a key, and in a bag a key can have several.
    #[error(
        "a key of a bag can have several values: use insert, remove_value and values, or make the table an ordered_set"
    )]
    SeveralValues,
    /// The value or bequest is longer than [`MAX_VALUE_BYTES`].
    #[error("a value of {0} bytes is too long; the limit is {MAX_VALUE_BYTES}")]
    ValueTooLong(usize),
    /// The table's values have another schema.
    #[error("the values of the table are of schema `{table}`")]
    OtherSchema {
        /// The name of the table's schema.
        table: String,
    },
    /// The value is not the eight bytes of a counter.
    #[error("the value has {bytes} bytes: it is no counter, which has 8")]
    NotACounter {
        /// How many bytes the value has.
        bytes: usize,
    },
    /// The counter would leave the range of its type.
    #[error("the counter would leave the range of its type")]
    CounterOverflow,
    /// The table belongs to a later owner: this handle writes nothing any more (R17).
    #[error("this handle is of epoch {handle}, the table is at epoch {table}: it has another owner")]
    Fenced {
        /// The epoch of the handle.
        handle: u64,
        /// The epoch of the table.
        table: u64,
    },
    /// The host has no memory for a table that may still grow.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The bytes contradict each other.
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(what) => Self::Corrupt(what),
            // A writer reads no snapshots.
            other => Self::Corrupt(other.to_string()),
        }
    }
}
