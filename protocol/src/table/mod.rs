//! The table engine (placeholder: signatures only, the real one is being written).
#![allow(missing_docs, unused_variables, clippy::todo)]

use crate::region::{OutOfMemory, Region};

pub const MAX_KEY_BYTES: usize = 64 * 1024;
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    Set,
}

/// What a new table is.
#[derive(Debug, Clone)]
pub struct TableOptions {
    pub kind: Kind,
    /// At least [`MIN_BYTES`].
    pub max_bytes: u64,
    /// Seed of the hash; random per table.
    pub seed: u64,
    /// Random per creation (R6).
    pub incarnation: u64,
}
pub const MIN_BYTES: u64 = 256 * 1024;

impl TableOptions {
    /// Sparse size of the segment that this table needs, in bytes (a multiple of 2 MiB).
    pub fn segment_bytes(&self) -> u64 {
        todo!()
    }
}

/// Bytes that are not a table, or not one of ours: what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("not a Heirloom segment: {0}")]
    Foreign(String),
    #[error("{0}")]
    Corrupt(String),
    #[error("a commit is in flight; recover first")]
    NotRecovered,
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    #[error("the table is full")]
    TableFull,
    #[error("key too long")]
    KeyTooLong,
    #[error("value too long")]
    ValueTooLong,
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The header's epoch is not the handle's (R17).
    #[error("fenced")]
    Fenced,
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
}

/// What the manager found and did when it took a table back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// Nothing was in flight.
    Clean,
    /// A log was being written, and was not committed: as if it never was.
    LogDiscarded,
    /// A commit was in flight, and was applied again.
    Reapplied { version: u64 },
}

/// Numbers that any reader can take from the header at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableInfo {
    pub kind: Kind,
    pub entries: u64,
    pub used_bytes: u64,
    pub max_bytes: u64,
    pub version: u64,
    pub epoch: u64,
    pub incarnation: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub entries: u64,
    pub version: u64,
}

/// Writes the header of an empty table into a region of zeroes.
pub fn create<R: Region>(region: &R, options: &TableOptions) -> Result<(), OpenError> {
    todo!()
}
/// Redo recovery. Only while nobody else can write.
pub fn recover<R: Region>(region: &R) -> Result<Recovery, OpenError> {
    todo!()
}
/// Stores the epoch in the manager's words; never lowers it. Manager only.
pub fn set_epoch<R: Region>(region: &R, epoch: u64) -> Result<(), OpenError> {
    todo!()
}
/// Walks everything. Only while nobody else writes.
pub fn verify<R: Region>(region: &R) -> Result<VerifyReport, OpenError> {
    todo!()
}

/// Reads a table in place.
#[derive(Debug, Clone)]
pub struct TableReader<R> {
    region: R,
}

impl<R: Region> TableReader<R> {
    pub fn open(region: R) -> Result<Self, OpenError> {
        todo!()
    }
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        todo!()
    }
    /// Appends the value to `value`; false where there is none (then `value` is as it was).
    pub fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        todo!()
    }
    pub fn contains(&self, key: &[u8]) -> Result<bool, ReadError> {
        todo!()
    }
    pub fn len(&self) -> u64 {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    pub fn info(&self) -> TableInfo {
        todo!()
    }
    /// Version of the last commit.
    pub fn version(&self) -> u64 {
        todo!()
    }
    pub fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        todo!()
    }
    /// Calls back with every (key, value): each entry that stands throughout is visited exactly once.
    /// Stops when the callback returns false.
    pub fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ReadError> {
        todo!()
    }
}

/// The one handle that may write.
#[derive(Debug)]
pub struct TableWriter<R> {
    region: R,
}

impl<R: Region> TableWriter<R> {
    /// Takes up writing where the last owner stopped, as the owner of `epoch`.
    pub fn open(region: R, epoch: u64) -> Result<Self, OpenError> {
        todo!()
    }
    pub fn reader(&self) -> &TableReader<R> {
        todo!()
    }
    pub fn epoch(&self) -> u64 {
        todo!()
    }
    /// Inserts or overwrites; true where an older value was replaced. One commit.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<bool, WriteError> {
        todo!()
    }
    /// True where the key was there. One commit.
    pub fn remove(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        todo!()
    }
    /// Several writes (and the bequest) that become visible, and survive, together.
    pub fn transaction(&mut self) -> Transaction<'_, R> {
        todo!()
    }
    /// Version of the last commit.
    pub fn version(&self) -> u64 {
        todo!()
    }
}

/// Collects writes; dropped without commit, nothing happened.
#[derive(Debug)]
pub struct Transaction<'w, R> {
    writer: &'w mut TableWriter<R>,
}

impl<R: Region> Transaction<'_, R> {
    /// Sees this transaction's own writes.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        todo!()
    }
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        todo!()
    }
    pub fn remove(&mut self, key: &[u8]) -> Result<(), WriteError> {
        todo!()
    }
    /// What the heir is told, committed with the writes. An empty bequest is one too.
    pub fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        todo!()
    }
    /// The version of the commit.
    pub fn commit(self) -> Result<u64, WriteError> {
        todo!()
    }
}
