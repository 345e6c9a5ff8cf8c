//! Where readers read: one mapping for each table of a client, replaced when the manager created the table anew.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::claims::{Followed, Pinned};
use super::{Client, RequestError};
use crate::engine::ReadHandle;
use crate::host::Memory;

/// The segment that all readers of one table read, at this moment.
pub(crate) struct Source {
    table: String,
    segment: ArcSwap<ReadHandle>,
    /// Readers keep the client's thread going, which moves them to a new segment. None in a test without a manager.
    client: Option<Client>,
}

impl Source {
    pub(crate) fn new(table: String, segment: ReadHandle, client: Option<Client>) -> Arc<Self> {
        Arc::new(Self { table, segment: ArcSwap::from_pointee(segment), client })
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The segment, for the length of one read. It stays mapped that long, whatever happens meanwhile.
    #[inline]
    pub(crate) fn segment(&self) -> Guard<Arc<ReadHandle>> {
        self.segment.load()
    }

    /// Whom to ask for pins; nobody in a test without a manager.
    #[cfg(feature = "tokio")]
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Pins the table's newest version. In a test without a manager, the reader is the manager.
    pub(crate) fn pin(&self) -> Result<Pinned, RequestError> {
        match (&self.client, self.segment().heap_region()) {
            (Some(client), _) => client.pin(&self.table),
            (None, Some(region)) => Pinned::on_heap(region),
            (None, None) => Err(RequestError::Unexpected),
        }
    }

    /// Follows the table's changes: every commit that begins after this has returned is in the change ring.
    pub(crate) fn follow(&self) -> Result<Followed, RequestError> {
        match (&self.client, self.segment().heap_region()) {
            (Some(client), _) => client.follow(&self.table),
            (None, Some(region)) => Ok(Followed::on_heap(region)),
            (None, None) => Err(RequestError::Unexpected),
        }
    }

    /// Moves all readers to this segment, if it is not the one they read already: every creation has
    /// its own incarnation (rule R6).
    pub(super) fn move_to(&self, memory: Memory) -> Result<bool, RequestError> {
        let offered = open(&self.table, memory)?;
        let moved = offered.info().incarnation != self.segment().info().incarnation;
        if moved {
            self.segment.store(Arc::new(offered));
        }
        Ok(moved)
    }
}

/// Maps a table to read it.
pub(super) fn open(table: &str, memory: Memory) -> Result<ReadHandle, RequestError> {
    ReadHandle::map(memory)
        .map_err(|source| RequestError::Map { table: table.to_owned(), source })?
        .map_err(|source| RequestError::Open { table: table.to_owned(), source })
}
