//! What says that this process owns a table, and ends it by being dropped.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heirloom_protocol::table::{self, TableSchema};

use super::{Disk, Link};
use crate::codec::{CodecError, Key, Value};
use crate::engine::WriteHandle;
use crate::host;
use crate::schema::ValueSchema;
use crate::testing::HeapTable;
use crate::transfer::AcceptError;
use crate::writer::{WriteError, Writer};

/// Shared between the owner's handle and the session: which ownership this is, and whether it should end.
pub(crate) struct Tenure {
    table: String,
    epoch: u64,
    recalled: AtomicBool,
    over: AtomicBool,
    #[cfg(feature = "tokio")]
    changed: ::tokio::sync::Notify,
}

impl Tenure {
    pub(crate) fn new(table: String, epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            table,
            epoch,
            recalled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            #[cfg(feature = "tokio")]
            changed: ::tokio::sync::Notify::new(),
        })
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Relaxed: it is a hint to stop soon. What makes a late write harmless is the kernel's proof (rule H7).
    #[inline]
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_recalled(&self, recalled: bool) {
        self.recalled.store(recalled, Ordering::Relaxed);
        #[cfg(feature = "tokio")]
        self.changed.notify_waiters();
    }

    /// The manager says that the ownership is over.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.set_recalled(true);
    }

    /// Returns once the ownership should end.
    #[cfg(feature = "tokio")]
    pub(crate) async fn recalled(&self) {
        loop {
            // Created before the check, so that a change in between is not missed.
            let changed = self.changed.notified();
            if self.is_recalled() {
                return;
            }
            changed.await;
        }
    }
}

/// The owner's side of an ownership. Dropped, it says to the manager that the ownership is over, unless the manager said
/// so first; whoever holds it drops the mapping first (rule H7).
pub(crate) struct Ownership {
    tenure: Arc<Tenure>,
    /// None in a test without a manager.
    link: Option<Arc<Link>>,
    /// In any other process this is a copy that a fork made, and inert (rules H2 and H12).
    process: u32,
}

impl Ownership {
    pub(crate) fn new(tenure: Arc<Tenure>, link: Option<Arc<Link>>) -> Self {
        Self { tenure, link, process: process::id() }
    }

    pub(crate) fn table(&self) -> &str {
        &self.tenure.table
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.tenure.epoch
    }

    #[inline]
    pub(crate) fn is_recalled(&self) -> bool {
        self.tenure.is_recalled()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tenure.is_over()
    }

    pub(crate) fn fenced(&self) -> WriteError {
        WriteError::Fenced { table: self.table().to_owned(), epoch: self.epoch() }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// What waits for the table's commits to be on disk.
    pub(crate) fn disk(&self) -> Disk {
        Disk::new(Arc::clone(&self.tenure), self.link.clone())
    }

    #[cold]
    pub(crate) fn codec(&self, source: CodecError) -> WriteError {
        WriteError::Codec { table: self.table().to_owned(), source }
    }

    #[cold]
    pub(crate) fn refused(&self, error: table::WriteError) -> WriteError {
        // A forked child's copy has no words, whatever the engine made of that (rule H2).
        if self.process != process::id() {
            return self.fenced();
        }
        WriteError::from_engine(self.table(), error)
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && self.process == process::id()
            && !self.is_over()
        {
            link.release(&self.tenure);
        }
    }
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership").field("table", &self.table()).field("epoch", &self.epoch()).finish()
    }
}

/// A table that has been granted and that nobody has taken up yet. Dropped, it is given back.
pub(crate) struct Grant {
    // Dropped in this order: the descriptor is closed before the release is said (rule H7).
    memory: Memory,
    ownership: Ownership,
}

enum Memory {
    Segment(host::Memory),
    Heap(HeapTable),
}

impl Grant {
    pub(super) fn from_manager(memory: host::Memory, ownership: Ownership) -> Self {
        Self { memory: Memory::Segment(memory), ownership }
    }

    pub(crate) fn rehearsed(table: String, epoch: u64, memory: HeapTable) -> Self {
        Self { memory: Memory::Heap(memory), ownership: Ownership::new(Tenure::new(table, epoch), None) }
    }

    /// Maps the segment where it is not, which closes the descriptor (rule H3).
    pub(crate) fn into_writer<K, V>(self) -> Result<Writer<K, V>, AcceptError>
    where
        K: Key + ?Sized,
        V: Value + ?Sized,
    {
        let Self { memory, ownership } = self;
        let table = || ownership.table().to_owned();
        let opened = match memory {
            Memory::Segment(memory) => WriteHandle::map(memory, ownership.epoch())
                .map_err(|source| AcceptError::Map { table: table(), source })?,
            Memory::Heap(memory) => WriteHandle::heap(&memory, ownership.epoch()),
        };
        let mut engine = opened.map_err(|source| AcceptError::Open { table: table(), source })?;
        let schema = settle_schema::<V>(&mut engine, &ownership)?;
        Ok(Writer::new(engine, ownership, schema))
    }
}

/// Gives the table's values their name, where they have none yet and the type has one; refuses what does not fit.
fn settle_schema<V: Value + ?Sized>(
    engine: &mut WriteHandle,
    ownership: &Ownership,
) -> Result<Option<TableSchema>, AcceptError> {
    let table = || ownership.table().to_owned();
    let unread = |error: table::ReadError| AcceptError::Naming {
        table: table(),
        source: WriteError::from_engine(ownership.table(), error.into()),
    };
    let found = engine.schema().map_err(unread)?.cloned();
    match (V::SCHEMA, found) {
        (schema, Some(found)) if !schema.fits(Some(&found)) => {
            Err(AcceptError::OtherSchema { table: table(), found: found.name })
        }
        (ValueSchema::Named { name, version }, _) => engine
            .set_schema(name, version)
            .map(Some)
            .map_err(|error| AcceptError::Naming { table: table(), source: ownership.refused(error) }),
        (_, found) => Ok(found),
    }
}
