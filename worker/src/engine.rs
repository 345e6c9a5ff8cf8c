//! One type over a table in a mapped segment and a table on the heap, so that a program's `Writer<K, V>` is the same
//! type in production and in its own tests. Which of the two it is, is decided once for each operation, never for each
//! word.

use std::ops::Bound;
use std::sync::Arc;

use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{
    self, Attributes, Change, Changes, Clock, Current, Cursor, Durability, FollowError, Modify, OpenError,
    Order, Pin, ReadError, TableInfo, TableReader, TableSchema, TableSnapshot, TableWriter, VerifyReport,
    Visit, WriteError,
};

use crate::host::{MapError, MappedRegion, Memory};
use crate::reads::Reads;
use crate::snapshot::SnapshotOf;
use crate::testing::{FrailRegion, HeapTable};

/// Calls the same method on whichever memory the handle is over.
macro_rules! on_either {
    ($handle:expr, $inner:ident => $call:expr) => {
        match $handle {
            Self::Mapped($inner) => $call,
            Self::Heap($inner) => $call,
        }
    };
}

/// Reads a table, wherever it is.
#[derive(Debug)]
pub(crate) enum ReadHandle {
    Mapped(TableReader<MappedRegion>),
    Heap(TableReader<Arc<HeapRegion>>),
}

impl ReadHandle {
    /// Maps a segment for reading; the outer error is the kernel's, the inner one about what is in it.
    pub(crate) fn map(memory: Memory) -> Result<Result<Self, OpenError>, MapError> {
        Ok(TableReader::open(memory.into_readable()?).map(Self::Mapped))
    }

    /// Reads a table on the heap.
    pub(crate) fn heap(region: Arc<HeapRegion>, clock: Clock) -> Result<Self, OpenError> {
        Ok(Self::Heap(TableReader::open(region)?.with_clock(clock)))
    }

    /// Whether this is a forked child's copy, which has no words (rule H2).
    #[inline]
    pub(crate) fn is_inert(&self) -> bool {
        matches!(self, Self::Mapped(table) if table.region().is_inert())
    }

    pub(crate) fn len(&self) -> u64 {
        on_either!(self, table => table.len())
    }

    pub(crate) fn info(&self) -> TableInfo {
        on_either!(self, table => table.info())
    }

    pub(crate) fn version(&self) -> u64 {
        on_either!(self, table => table.version())
    }

    pub(crate) fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        on_either!(self, table => table.bequest())
    }
}

impl ReadHandle {
    /// The table as of a pinned version.
    pub(crate) fn snapshot(&self, pin: Pin) -> SnapshotHandle<'_> {
        match self {
            Self::Mapped(table) => SnapshotHandle::Mapped(table.snapshot(pin)),
            Self::Heap(table) => SnapshotHandle::Heap(table.snapshot(pin)),
        }
    }

    /// The same for a snapshot that was taken at that moment, in milliseconds of UNIX time.
    pub(crate) fn snapshot_taken_at(&self, pin: Pin, taken_ms: u64) -> SnapshotHandle<'_> {
        match self {
            Self::Mapped(table) => SnapshotHandle::Mapped(table.snapshot_taken_at(pin, taken_ms)),
            Self::Heap(table) => SnapshotHandle::Heap(table.snapshot_taken_at(pin, taken_ms)),
        }
    }

    /// The time by the clock that deadlines are compared with, in milliseconds of UNIX time.
    pub(crate) fn now_ms(&self) -> u64 {
        on_either!(self, table => table.clock().now_ms())
    }

    #[inline]
    pub(crate) fn schema(&self) -> Result<Option<&TableSchema>, ReadError> {
        on_either!(self, table => table.schema())
    }

    /// The table as of now, for as long as that lasts without a pin.
    pub(crate) fn glimpse(&self) -> SnapshotHandle<'_> {
        match self {
            Self::Mapped(table) => SnapshotHandle::Mapped(table.glimpse()),
            Self::Heap(table) => SnapshotHandle::Heap(table.glimpse()),
        }
    }

    pub(crate) fn follow(&self) -> Cursor {
        on_either!(self, table => table.follow())
    }

    pub(crate) fn follow_from(&self, version: u64) -> Cursor {
        on_either!(self, table => table.follow_from(version))
    }

    pub(crate) fn changes(
        &self,
        cursor: Cursor,
        until: u64,
        changes: &mut Changes,
    ) -> Result<Cursor, FollowError> {
        on_either!(self, table => table.changes(cursor, until, changes))
    }

    /// Which creation of the table it is.
    pub(crate) fn incarnation(&self) -> u64 {
        on_either!(self, table => table.incarnation())
    }

    /// The memory of a table on the heap.
    pub(crate) fn heap_region(&self) -> Option<&Arc<HeapRegion>> {
        match self {
            Self::Heap(table) => Some(table.region()),
            Self::Mapped(_) => None,
        }
    }
}

/// Reads a table as of one version, wherever it is.
#[derive(Debug)]
pub(crate) enum SnapshotHandle<'r> {
    Mapped(TableSnapshot<'r, MappedRegion>),
    Heap(TableSnapshot<'r, Arc<HeapRegion>>),
}

impl SnapshotHandle<'_> {
    pub(crate) fn len(&self) -> Result<u64, ReadError> {
        on_either!(self, snapshot => snapshot.len())
    }

    pub(crate) fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        on_either!(self, snapshot => snapshot.bequest())
    }

    pub(crate) fn version(&self) -> u64 {
        on_either!(self, snapshot => snapshot.version())
    }

    pub(crate) fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
        on_either!(self, snapshot => snapshot.read_into(key, value))
    }

    pub(crate) fn values(
        &self,
        key: &[u8],
        each: &mut dyn FnMut(&[u8], Attributes) -> bool,
    ) -> Result<(), ReadError> {
        on_either!(self, snapshot => snapshot.values_attributed(key, each))
    }

    pub(crate) fn scan(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
        on_either!(self, snapshot => snapshot.scan_attributed(each))
    }
}

/// Writes a table, wherever it is. Dropping it unmaps the segment.
#[derive(Debug)]
pub(crate) enum WriteHandle {
    Mapped(TableWriter<MappedRegion>),
    Heap(TableWriter<FrailRegion>),
}

impl WriteHandle {
    /// Maps a segment and takes up writing; the outer error is the kernel's, the inner one about what is in it.
    pub(crate) fn map(memory: Memory, epoch: u64) -> Result<Result<Self, OpenError>, MapError> {
        Ok(TableWriter::open(memory.into_writable()?, epoch).map(Self::Mapped))
    }

    /// Takes up writing a table on the heap.
    pub(crate) fn heap(memory: &HeapTable, epoch: u64) -> Result<Self, OpenError> {
        Ok(Self::Heap(TableWriter::open(memory.for_writer(), epoch)?.with_clock(memory.clock.clone())))
    }

    pub(crate) fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        on_either!(self, table => table.reader().bequest())
    }

    pub(crate) fn info(&self) -> TableInfo {
        on_either!(self, table => table.reader().info())
    }

    pub(crate) fn version(&self) -> u64 {
        on_either!(self, table => table.version())
    }

    /// Whether a commit is to wait until it is on disk. One load of a line that each commit has anyway.
    #[inline]
    pub(crate) fn waits_for_disk(&self) -> bool {
        on_either!(self, table => table::durability(table.reader().region())) == Durability::Commit
    }

    /// Whether that version is on disk.
    pub(crate) fn is_durable(&self, version: u64) -> bool {
        let durable = on_either!(self, table => table::durable_version(table.reader().region()));
        durable.is_some_and(|durable| durable >= version)
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<bool, WriteError> {
        on_either!(self, table => table.insert(key, value))
    }

    pub(crate) fn insert_attributed(
        &mut self,
        key: &[u8],
        value: &[u8],
        attributes: Attributes,
    ) -> Result<bool, WriteError> {
        on_either!(self, table => {
            table.write_schema_version(attributes.schema_version);
            match attributes.deadline_ms {
                None => table.insert(key, value),
                Some(deadline_ms) => table.insert_expiring(key, value, deadline_ms),
            }
        })
    }

    pub(crate) fn insert_together<'e>(
        &mut self,
        schema_version: Option<u32>,
        entries: impl IntoIterator<Item = (&'e [u8], &'e [u8], Option<u64>)>,
    ) -> Result<(), WriteError> {
        on_either!(self, table => {
            table.write_schema_version(schema_version);
            let mut transaction = table.transaction();
            for (key, value, deadline_ms) in entries {
                match deadline_ms {
                    None => transaction.insert(key, value)?,
                    Some(deadline_ms) => transaction.insert_expiring(key, value, deadline_ms)?,
                }
            }
            transaction.commit().map(drop)
        })
    }

    pub(crate) fn verify(&self) -> Result<VerifyReport, OpenError> {
        on_either!(self, table => table::verify(table.reader().region()))
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        on_either!(self, table => table.remove(key))
    }

    pub(crate) fn insert_expiring(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: u64,
    ) -> Result<bool, WriteError> {
        on_either!(self, table => table.insert_expiring(key, value, deadline_ms))
    }

    pub(crate) fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        on_either!(self, table => table.remove_value(key, value))
    }

    pub(crate) fn clear(&mut self) -> Result<u64, WriteError> {
        on_either!(self, table => table.clear())
    }

    pub(crate) fn remove_expired(&mut self, limit: usize) -> Result<usize, WriteError> {
        on_either!(self, table => table.remove_expired(limit))
    }

    #[inline]
    pub(crate) fn schema(&self) -> Result<Option<&TableSchema>, ReadError> {
        on_either!(self, table => table.reader().schema())
    }

    pub(crate) fn set_schema(&mut self, name: &str, version: u32) -> Result<TableSchema, WriteError> {
        on_either!(self, table => table.set_schema(name, version))
    }

    /// The time by the clock that deadlines are compared with, in milliseconds of UNIX time.
    pub(crate) fn now_ms(&self) -> u64 {
        on_either!(self, table => table.reader().clock().now_ms())
    }

    pub(crate) fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        on_either!(self, table => table.bequeath(bequest))
    }

    pub(crate) fn renew(&self) -> Result<(), WriteError> {
        on_either!(self, table => table.renew())
    }

    /// Whether this is a forked child's copy, which has no words (rule H2).
    #[inline]
    pub(crate) fn is_inert(&self) -> bool {
        matches!(self, Self::Mapped(table) if table.reader().region().is_inert())
    }

    #[inline]
    pub(crate) fn transaction(&mut self) -> TransactionHandle<'_> {
        match self {
            Self::Mapped(table) => TransactionHandle::Mapped(table.transaction()),
            Self::Heap(table) => TransactionHandle::Heap(table.transaction()),
        }
    }
}

/// Collects writes, wherever the table is.
#[derive(Debug)]
pub(crate) enum TransactionHandle<'w> {
    Mapped(table::Transaction<'w, MappedRegion>),
    Heap(table::Transaction<'w, FrailRegion>),
}

impl TransactionHandle<'_> {
    pub(crate) fn renew(&self) -> Result<(), WriteError> {
        on_either!(self, transaction => transaction.renew())
    }

    #[inline]
    pub(crate) fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
        on_either!(self, transaction => transaction.read_into(key, value))
    }

    pub(crate) fn insert_expiring(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: u64,
    ) -> Result<(), WriteError> {
        on_either!(self, transaction => transaction.insert_expiring(key, value, deadline_ms))
    }

    pub(crate) fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        on_either!(self, transaction => transaction.remove_value(key, value))
    }

    pub(crate) fn clear(&mut self) {
        on_either!(self, transaction => transaction.clear());
    }

    /// The time by the clock that deadlines are compared with, in milliseconds of UNIX time.
    pub(crate) fn now_ms(&self) -> u64 {
        on_either!(self, transaction => transaction.now_ms())
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        on_either!(self, transaction => transaction.insert(key, value))
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), WriteError> {
        on_either!(self, transaction => transaction.remove(key))
    }

    pub(crate) fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        on_either!(self, transaction => transaction.bequeath(bequest))
    }

    #[inline]
    pub(crate) fn commit(self) -> Result<u64, WriteError> {
        on_either!(self, transaction => transaction.commit())
    }
}

/// Both of these look and write as what they are over does.
macro_rules! modifies {
    ($($handle:ty),*) => {$(
        impl Modify for $handle {
            #[inline]
            fn modify<T>(
                &mut self,
                key: &[u8],
                decide: impl FnOnce(Option<Current<'_>>, &mut Vec<u8>) -> (Change, T),
            ) -> Result<T, WriteError> {
                on_either!(self, inner => inner.modify(key, decide))
            }
        }
    )*};
}

modifies!(WriteHandle, TransactionHandle<'_>);

/// [`Reads`] for a handle over either memory: `$of` is what reads, `$table` the table itself.
macro_rules! reads {
    ($type:ty, $handle:ident: $variants:ident, $memory:expr, $inner:ident => $of:expr, $schema:expr, $inert:expr) => {
        impl Reads for $type {
            #[inline]
            fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.read_into(key, value),
                    $variants::Heap($inner) => $of.read_into(key, value),
                }
            }

            #[inline]
            fn prefetch(&self, keys: &[&[u8]]) {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.prefetch(keys),
                    $variants::Heap($inner) => $of.prefetch(keys),
                }
            }

            #[inline]
            fn contains(&self, key: &[u8]) -> Result<bool, ReadError> {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.contains(key),
                    $variants::Heap($inner) => $of.contains(key),
                }
            }

            fn scan(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.scan_attributed(each),
                    $variants::Heap($inner) => $of.scan_attributed(each),
                }
            }

            fn range(
                &self,
                from: Bound<&[u8]>,
                to: Bound<&[u8]>,
                order: Order,
                each: &mut Visit<'_>,
            ) -> Result<(), ReadError> {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.range_attributed(from, to, order, each),
                    $variants::Heap($inner) => $of.range_attributed(from, to, order, each),
                }
            }

            fn values(
                &self,
                key: &[u8],
                each: &mut dyn FnMut(&[u8], Attributes) -> bool,
            ) -> Result<(), ReadError> {
                let $handle = self;
                match $memory {
                    $variants::Mapped($inner) => $of.values_attributed(key, each),
                    $variants::Heap($inner) => $of.values_attributed(key, each),
                }
            }

            #[inline]
            fn schema(&self) -> Result<Option<&TableSchema>, ReadError> {
                let $handle = self;
                $schema
            }

            #[inline]
            fn is_inert(&self) -> bool {
                let $handle = self;
                $inert
            }
        }
    };
}

reads!(ReadHandle, handle: ReadHandle, handle, table => table, handle.schema(), ReadHandle::is_inert(handle));
reads!(
    WriteHandle,
    handle: WriteHandle,
    handle,
    table => table.reader(),
    handle.schema(),
    WriteHandle::is_inert(handle)
);
reads!(
    SnapshotOf<'_>,
    handle: SnapshotHandle,
    &handle.snapshot,
    snapshot => snapshot,
    handle.segment.schema(),
    handle.segment.is_inert()
);
