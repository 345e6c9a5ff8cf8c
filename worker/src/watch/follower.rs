//! What a watch does, on bytes: looks at the change ring, and looks the changed keys up as of one version.

use std::ops::Range;
use std::sync::Arc;

use heirloom_protocol::table::{self, Attributes, Cursor, FollowError, Visit};

use crate::client::{Followed, Pinned, Source};
use crate::engine::{ReadHandle, SnapshotHandle};
use crate::reader::ReadError;

/// Follows one table.
pub(super) struct Follower {
    pub(super) source: Arc<Source>,
    cursor: Cursor,
    /// The table that the cursor is good for (rule R6).
    incarnation: u64,
    /// Whether changes were lost, and nobody has said yet where to go on.
    overtaken: bool,
    changes: table::Changes,
    _followed: Followed,
}

/// What a look found.
pub(super) enum Look {
    /// Nothing has changed.
    Nothing,
    /// These keys have.
    Changed(Batch),
    /// Something has, and the owner goes on so fast that its values have to be pinned to be read.
    NeedsPin,
    /// Some changes cannot be told any more.
    Overtaken,
}

/// Changed keys with the values that they have at one version.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) version: u64,
    pub(super) cleared: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

/// Where a key and its value are in the bytes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    /// None where the key was removed.
    pub(super) value: Option<Range<usize>>,
    pub(super) attributes: Attributes,
}

impl Follower {
    /// Follows a table from a version on; from now on, where there is none.
    pub(super) fn begin(source: Arc<Source>, from: Option<u64>, followed: Followed) -> Self {
        let segment = source.segment();
        let cursor = from.map_or_else(|| segment.follow(), |version| segment.follow_from(version));
        let incarnation = segment.info().incarnation;
        drop(segment);
        let changes = table::Changes::default();
        Self { source, cursor, incarnation, overtaken: false, changes, _followed: followed }
    }

    /// The last version whose changes were told.
    pub(super) fn version(&self) -> u64 {
        self.cursor.version()
    }

    /// Looks for changes, as of what is pinned, or as of now without a pin, while that goes well. Touches memory only.
    ///
    /// An error leaves everything as it was.
    pub(super) fn look(&mut self, pinned: Option<&Pinned>) -> Result<Look, ReadError> {
        let source = Arc::clone(&self.source);
        let segment = source.segment();
        if segment.is_inert() {
            return Err(ReadError::ForkedChild { table: source.table().to_owned() });
        }
        self.overtaken |= segment.incarnation() != self.incarnation;
        if self.overtaken {
            return Ok(Look::Overtaken);
        }
        if segment.version() == self.cursor.version() {
            return Ok(Look::Nothing);
        }
        let snapshot = pinned.map_or_else(|| segment.glimpse(), |pinned| segment.snapshot(pinned.pin()));
        match segment.changes(self.cursor, snapshot.version(), &mut self.changes) {
            Ok(after) => match self.read(&snapshot, segment.info().kind.is_bag()) {
                Ok(batch) => {
                    self.cursor = after;
                    let nothing = batch.entries.is_empty() && !batch.cleared;
                    Ok(if nothing { Look::Nothing } else { Look::Changed(batch) })
                }
                Err(table::ReadError::SnapshotExpired) => Ok(Look::NeedsPin),
                Err(error) => Err(ReadError::from_engine(source.table(), error)),
            },
            Err(FollowError::Overtaken { .. }) => {
                self.overtaken = true;
                Ok(Look::Overtaken)
            }
            Err(error) => {
                Err(ReadError::Corrupt { table: source.table().to_owned(), reason: error.to_string() })
            }
        }
    }

    /// Looks the changed keys up.
    fn read(&self, snapshot: &SnapshotHandle<'_>, is_bag: bool) -> Result<Batch, table::ReadError> {
        let mut batch =
            Batch { version: snapshot.version(), cleared: self.changes.is_cleared(), ..Batch::default() };
        for key in self.changes.keys() {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(key);
            let end = batch.bytes.len();
            let gone = Entry { key: start..end, value: None, attributes: Attributes::default() };
            if is_bag {
                batch.entries.push(gone.clone());
                snapshot.values(key, &mut |value, attributes| {
                    let start = batch.bytes.len();
                    batch.bytes.extend_from_slice(value);
                    let value = Some(start..batch.bytes.len());
                    batch.entries.push(Entry { value, attributes, ..gone.clone() });
                    true
                })?;
                continue;
            }
            let entry = match snapshot.read_into(key, &mut batch.bytes)? {
                Some(attributes) => Entry { value: Some(end..batch.bytes.len()), attributes, ..gone },
                None => gone,
            };
            batch.entries.push(entry);
        }
        Ok(batch)
    }

    /// Reads the whole table as of what is pinned, and goes on from there, unless `each` refuses an entry.
    pub(super) fn start_over(&mut self, pinned: &Pinned, each: &mut Visit<'_>) -> Result<(), ReadError> {
        let source = Arc::clone(&self.source);
        let segment = source.segment();
        let mut whole = true;
        let scanned = segment.snapshot(pinned.pin()).scan(&mut |key, value, attributes| {
            whole = each(key, value, attributes);
            whole
        });
        scanned.map_err(|error| ReadError::from_engine(source.table(), error))?;
        if whole {
            self.go_on(&segment, pinned.pin().version());
        }
        Ok(())
    }

    /// Leaves out what is lost, and everything up to now.
    pub(super) fn skip(&mut self) {
        let source = Arc::clone(&self.source);
        let segment = source.segment();
        self.go_on(&segment, segment.version());
    }

    fn go_on(&mut self, segment: &ReadHandle, version: u64) {
        self.cursor = segment.follow_from(version);
        self.incarnation = segment.incarnation();
        self.overtaken = false;
    }
}
