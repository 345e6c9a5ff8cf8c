//! A table in shared memory: its one writer may be killed between any two instructions, its readers never wait and
//! never write.
//!
//! The region is an array of 8-byte words, and every change to live memory is a list of word stores in a redo log.
//! A commit of version v *prepares* (new blocks in reusable memory, the log), stores `committed = v`, *applies* the
//! log, and stores `applied = v`. Recovery applies the log again. That is the whole mechanism; nothing in this folder
//! changes live memory in another way.
//!
//! | file | what it has |
//! | --- | --- |
//! | `layout` | the header, its words and areas; the one place where an untrusted header becomes a typed one |
//! | `entry`, `bucket`, `root`, `class` | the other structures in shared memory, with their bytes |
//! | `stage` | the write set of a commit, the redo log, the commit itself |
//! | `recovery` | what is done when the owner is gone |
//! | `index` | finding a key's slot, and why a reader finds it whatever moves meanwhile |
//! | `reader`, `scan`, `batch` | reading in place |
//! | `pin`, `versions`, `snapshot` | reading as of one version |
//! | `schema` | what the values are |
//! | `ordered` | the ordered index, and ranges of it |
//! | `writer`, `operations`, `bulk`, `transaction`, `bag` | the writes |
//! | `space`, `spans` | blocks: queues, runs, the limit; what each span is used for |
//! | `horizon` | what may be reused |
//! | `waiting`, `rows` | what overwrites leave behind while there are pins |
//! | `growth`, `reclaim`, `compact` | housekeeping in commits of its own |
//! | `pace` | how much of the owner's time it takes to give memory back |
//! | `changes` | the change ring: which keys the commits changed |
//! | `terms` | what the manager may change while the table lives |
//! | `verify` | the check of everything below |
//!
//! # Invariants
//!
//! At every store (for readers, for recovery):
//!
//! 1. `applied <= committed <= applied + 1`, and both only rise. `horizon <= applied`, and it only rises.
//! 2. While `committed > applied`, the log of `committed` is complete and untouched.
//! 3. A word outside the log area and outside reusable memory changes only by the apply of a log, and no word is twice in
//!    a log. Reusable are: blocks at the front of a class's queue up to the last one freed at or before the horizon, memory beyond
//!    a class's run pointer, spans from `next span` on, buckets from the root's number on (once the horizon has passed the last
//!    merge); link words of blocks that no queue covers; places of the change ring that no record has, from the low
//!    position to the tail; and the prefixes of lanes that are in no permutation, once the horizon has passed their leaf's
//!    last loss. The words that the owner stores directly are named in `layout`.
//! 4. A key is in the table when the chain of its bucket has a slot with its tag, or the permutation of its leaf a lane, whose
//!    entry has the key and is not removed. No reader misses such a key throughout an apply (see `index`, `ordered`).
//!
//! Where `committed == applied` (what [`verify`] checks, number by number, as its errors say):
//!
//! 5. Each used slot points to an entry whose key hashes to that bucket and tag, or lies between the separators beside that
//!    leaf, in its order; no key has two slots; the versions of the entry are not above `applied`.
//! 6. The counts are the numbers of slots in use, and of those whose entries are not removed.
//! 7. Every block of every run is exactly one of: a slot's entry (removed or not), an overflow bucket of one chain, a node or
//!    a long separator of the tree, the bequest, the schema, in the queue of its class, waiting, retired, held for one pin,
//!    recalled, fresh, or drained.
//! 8. A removed entry that a slot points to is retired or held. What is held for each pin, and what waits, is counted
//!    exactly.
//! 9. Runs and free spans follow each other without a gap from span 1 to `next span`; each class's fresh memory lies in one of
//!    its runs.
//! 10. The change ring has whole records from its low position to its tail, in the order of their versions, none of them above
//!     `applied`, nor is what was lost.
//! 11. The counts of free spans, of draining runs and their drained blocks, of blocks of entries, and of units that entries
//!     which stand and parts of the index have are exact.
//! 12. From a key's newest entry, `previous` leads to older and older ones of that key as far as a reader with a pin
//!     goes: to the first that is not above the oldest pin.

mod bag;
mod batch;
mod bucket;
mod bulk;
mod changes;
mod class;
mod clock;
mod compact;
mod entry;
mod error;
mod growth;
mod horizon;
mod index;
mod layout;
mod life;
mod operations;
mod ordered;
mod pace;
mod pin;
mod reader;
mod reclaim;
mod recovery;
mod root;
mod rows;
mod scan;
mod schema;
mod snapshot;
mod space;
mod spans;
mod stage;
mod terms;
mod transaction;
mod verify;
mod versions;
mod waiting;
mod writer;

pub use changes::{Changes, Cursor, FollowError};
pub use clock::Clock;
pub use entry::{Attributes, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use error::{OpenError, ReadError, WriteError};
pub use life::{Life, life};
pub use operations::{Change, Current, Modify, Step, Swap};
pub use ordered::{Order, after_prefix};
pub use pin::{
    Held, Pin, PinError, adopt_pins, held, pin, pins, set_unclaimed_since, unclaimed_since, unpin,
};
pub use reader::TableReader;
pub use recovery::{Recovery, is_commit, is_mid_commit, recover};
pub use scan::Visit;
pub use schema::TableSchema;
pub use snapshot::TableSnapshot;
pub use terms::{
    Durability, LimitError, durability, durable_version, is_followed, set_durability, set_durable_version,
    set_followed, set_limit,
};
pub use transaction::Transaction;
pub use verify::{VerifyReport, verify};
pub use writer::TableWriter;

use crate::region::Region;
use layout::Layout;

/// How a table keeps its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// One value for each key, in no order.
    Set,
    /// One value for each key, in the order of the keys' bytes.
    OrderedSet,
    /// Several different values for each key.
    Bag,
    /// Several values for each key, equal ones too, in the order in which they were inserted.
    DuplicateBag,
}

impl Kind {
    /// Its name in configurations and in `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::OrderedSet => "ordered_set",
            Self::Bag => "bag",
            Self::DuplicateBag => "duplicate_bag",
        }
    }

    /// Whether the entries are kept in the order of their keys: everything but a `set`.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        self != Self::Set
    }

    /// Whether a key may have several values.
    #[must_use]
    pub fn is_bag(self) -> bool {
        matches!(self, Self::Bag | Self::DuplicateBag)
    }
}

/// The least limit a table can have, in bytes: 16 spans.
pub const MIN_BYTES: u64 = 16 * class::SPAN_BYTES;

/// The highest limit a table can have, in bytes: 64 GiB, what a slot's offset reaches.
pub const MAX_BYTES: u64 = 1 << 36;

/// What a new table is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// How it keeps its entries.
    pub kind: Kind,
    /// Its limit, in bytes, from [`MIN_BYTES`] to [`MAX_BYTES`].
    pub max_bytes: u64,
    /// How far the limit could ever be raised, in bytes. The segment is sparse: this costs addresses, not memory.
    pub reserve_bytes: u64,
    /// Seed of the hash: random for each table, so that nobody can choose keys that collide.
    pub seed: u64,
    /// Random for each creation: outside the segment, a version is named by incarnation and version (R6).
    pub incarnation: u64,
}

impl TableOptions {
    /// A `set` with that limit, a reserve of eight times as much, and a seed and an incarnation of zero.
    #[must_use]
    pub fn set(max_bytes: u64) -> Self {
        Self::new(Kind::Set, max_bytes)
    }

    /// The same of any kind.
    #[must_use]
    pub fn new(kind: Kind, max_bytes: u64) -> Self {
        let reserve_bytes = max_bytes.saturating_mul(8).clamp(MIN_BYTES, MAX_BYTES.max(max_bytes));
        Self { kind, max_bytes, reserve_bytes, seed: 0, incarnation: 0 }
    }

    /// How long the (sparse) segment must be, in bytes: a multiple of 2 MiB.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        Layout::plan(self).segment_bytes()
    }
}

/// Numbers that any reader can take from a table's header at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// How it keeps its entries.
    pub kind: Kind,
    /// Number of entries.
    pub entries: u64,
    /// Memory in use, in bytes: what counts against the limit.
    pub used_bytes: u64,
    /// How much of it entries, also those that only snapshots can read, and parts of the index have, in blocks of their
    /// sizes; the rest is the header, the hash index, the log, the change ring, and what is free for the next entries.
    pub allocated_bytes: u64,
    /// How much of it is free for the next entries, of certain sizes at first, of any once it has been gathered.
    pub free_bytes: u64,
    /// The limit, in bytes.
    pub max_bytes: u64,
    /// Version of the last commit.
    pub version: u64,
    /// The last ownership.
    pub epoch: u64,
    /// Which creation of the table this is.
    pub incarnation: u64,
    /// What of it survives a crash of the host.
    pub durability: Durability,
    /// The last version that is on disk; none where nothing is.
    pub durable_version: Option<u64>,
}

/// Makes an empty table in a region of zeroes.
///
/// # Errors
/// [`OpenError::Options`] where the limit is out of range or the region too short; [`OpenError::OutOfMemory`].
pub fn create<R: Region>(region: &R, options: &TableOptions) -> Result<(), OpenError> {
    if !(MIN_BYTES..=MAX_BYTES).contains(&options.max_bytes) {
        return Err(OpenError::Options(format!(
            "max_bytes is {}, it must be from {MIN_BYTES} to {MAX_BYTES}",
            options.max_bytes
        )));
    }
    create_with(region, options, &Layout::plan(options))
}

/// The same, with the areas where the layout says.
fn create_with<R: Region>(region: &R, options: &TableOptions, layout: &Layout) -> Result<(), OpenError> {
    if region.words() < layout.words() {
        return Err(OpenError::Options(format!(
            "the region has {} bytes, the table needs {}",
            region.words() * 8,
            layout.words() * 8
        )));
    }
    region.make_present(0..layout::HEADER_WORDS)?;
    region.make_present(layout.bucket(0)..layout.bucket(root::MIN_BUCKETS))?;
    region.make_present(layout.log.start..layout.log.start + layout::LOG_STEP_WORDS)?;
    layout.write(region, options);
    Ok(())
}

/// Begins an ownership: from here on, handles of other epochs commit nothing (R17). For the manager, before it grants
/// the table.
///
/// # Errors
/// [`OpenError`] where the region does not hold a table, and where the epoch would not rise.
pub fn begin_epoch<R: Region>(region: &R, epoch: u64) -> Result<(), OpenError> {
    Layout::read(region)?;
    let last = region.load(layout::EPOCH);
    if epoch <= last {
        return Err(OpenError::Options(format!("epoch {epoch} does not follow epoch {last}")));
    }
    region.store(layout::EPOCH, epoch);
    Ok(())
}

#[cfg(test)]
mod tests;
