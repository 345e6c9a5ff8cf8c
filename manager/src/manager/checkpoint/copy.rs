//! One checkpoint: what has changed since the store's version, as of one other version.
//!
//! ```text
//!  begin the store's transaction      waits for the disk, so it comes first
//!  pin a version                ─┐
//!  read the change ring up to it │    microseconds, and the copying of what changed
//!  copy these keys' values       │
//!  unpin                        ─┘
//!  commit, stamped with the pin's version
//! ```
//!
//! Where the ring does not tell what has changed (the first checkpoint, another incarnation, more changes than it holds),
//! the whole table is copied, without a pin for as long as that takes: it is scanned as it is, while the ring is read from
//! where it was before the scan. What did not change meanwhile the scan has seen, once; what did change is copied again,
//! under a short pin, as of the pin's version. Only where the ring is overtaken during the scan too, a pin is held
//! throughout. (A pin holds back what its owner could reuse.)
//!
//! A scan also shows what a commit that is being applied has stored so far, and that commit's records count from its end on.
//! So the pin must not be below the last commit that stood when the scan was over.

use super::super::pinning::{HeldPin, Pinning};
use crate::store::{Checkpoint, Stamp, Store, StoreError};
use heirloom_protocol::region::Region;
use heirloom_protocol::table::{
    Attributes, Changes, Clock, Cursor, FollowError, OpenError, PinError, ReadError, TableReader,
    TableSnapshot,
};
use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How many entries go by between two looks at the ring during a scan.
const LOOK_EVERY: u64 = 512;

/// Most bytes of keys that may change during a scan without a pin.
const MOST_TOUCHED_BYTES: usize = 64 << 20;

/// How long is waited for a commit that is being applied when a scan is over. A living owner needs microseconds.
const APPLY_TIME: Duration = Duration::from_millis(200);

/// Copies one table into its store, again and again.
#[derive(Debug)]
pub(crate) struct Copier<R> {
    reader: TableReader<R>,
    pinning: Pinning,
    /// Where in the ring the version is that the store has, where that is known.
    cursor: Option<Cursor>,
    /// Whether the store has the schema of the values.
    has_schema: bool,
    changes: Changes,
    values: Values,
}

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    /// The version that is on disk now.
    pub(crate) version: u64,
    /// When the table was that version.
    pub(crate) as_of: Instant,
    /// Whether the whole table was written, not its changes.
    pub(crate) whole: bool,
    /// Number of keys, or of entries where it was whole, that were copied.
    pub(crate) copied: u64,
    /// For how long a version was pinned.
    pub(crate) pinned: Duration,
}

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no version can be pinned: {0}")]
    Pin(#[from] PinError),
    #[error("the table cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Follow(#[from] FollowError),
}

/// The values of one key.
#[derive(Debug, Default)]
struct Values {
    bytes: Vec<u8>,
    each: Vec<(Range<usize>, Attributes)>,
}

/// What changed while a table was scanned.
#[derive(Debug, Default)]
struct Touched {
    cleared: bool,
    keys: HashSet<Vec<u8>>,
    bytes: usize,
}

impl<R: Region + Clone> Copier<R> {
    pub(crate) fn new(region: R, pinning: Pinning) -> Result<Self, OpenError> {
        // By this clock no entry has expired: what is in the table is what is on disk, whatever the time.
        let reader = TableReader::open(region)?.with_clock(Clock::manual(0));
        Ok(Self {
            reader,
            pinning,
            cursor: None,
            has_schema: false,
            changes: Changes::default(),
            values: Values::default(),
        })
    }

    pub(crate) fn reader(&self) -> &TableReader<R> {
        &self.reader
    }

    /// The version of this table that the store has.
    pub(crate) fn durable(&self, store: &Store) -> Option<u64> {
        match self.cursor {
            Some(cursor) => Some(cursor.version()),
            None => store.at().filter(|at| at.incarnation == self.reader.incarnation()).map(|at| at.version),
        }
    }

    /// What the store has is this table as of that version, where it was filled from there. Has the store say so.
    pub(crate) fn is_as_of(&mut self, store: &mut Store, version: u64) -> Result<(), CheckpointError> {
        let stamp = self.stamp(version);
        if store.at() != Some(stamp) {
            store.checkpoint()?.commit(stamp)?;
        }
        self.cursor = Some(self.reader.follow_from(version));
        Ok(())
    }

    /// Brings the store to a version that is applied now, or later. None where it has that already.
    pub(crate) fn checkpoint(&mut self, store: &mut Store) -> Result<Option<Copied>, CheckpointError> {
        let done = self.try_checkpoint(store);
        if done.is_err() {
            // What the store has then is what it says.
            self.cursor = None;
        }
        done
    }

    fn try_checkpoint(&mut self, store: &mut Store) -> Result<Option<Copied>, CheckpointError> {
        if let Some(version) = self.durable(store) {
            if version == self.reader.version() {
                return Ok(None);
            }
            let cursor = self.cursor.unwrap_or_else(|| self.reader.follow_from(version));
            if let Some(copied) = self.copy_changes(store, cursor)? {
                return Ok(Some(copied));
            }
        }
        match self.copy_unpinned(store)? {
            Some(copied) => Ok(Some(copied)),
            None => self.copy_pinned(store).map(Some),
        }
    }

    /// None where the ring does not tell what has changed.
    fn copy_changes(&mut self, store: &mut Store, cursor: Cursor) -> Result<Option<Copied>, CheckpointError> {
        let Self { reader, pinning, changes, values, .. } = self;
        let mut checkpoint = store.checkpoint()?;
        let as_of = Instant::now();
        let pin = pinning.hold(reader.region())?;
        let version = pin.pin().version();
        let next = match reader.changes(cursor, version, changes) {
            Ok(next) => next,
            Err(FollowError::Overtaken { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // As of a moment before all deadlines.
        let snapshot = reader.snapshot_taken_at(pin.pin(), 0);
        let schema = snapshot.schema()?;
        let mut copied = Copied { version, as_of, whole: false, copied: 0, pinned: Duration::ZERO };
        if changes.is_empty() && schema.is_some() == self.has_schema {
            // Housekeeping only: what is on disk is this version.
            self.cursor = Some(next);
            return Ok(Some(copied));
        }
        if changes.is_cleared() {
            checkpoint.clear()?;
        }
        for key in changes.keys() {
            values.replace(key, &snapshot, &mut checkpoint)?;
            copied.copied += 1;
        }
        if changes.has_bequest() {
            checkpoint.bequest(snapshot.bequest()?.as_deref())?;
        }
        self.has_schema = schema.is_some();
        checkpoint.schema(schema.as_ref())?;
        drop(pin);
        copied.pinned = as_of.elapsed();
        checkpoint.commit(self.stamp(version))?;
        self.cursor = Some(next);
        Ok(Some(copied))
    }

    /// None where the ring is overtaken during the scan.
    fn copy_unpinned(&mut self, store: &mut Store) -> Result<Option<Copied>, CheckpointError> {
        let Self { reader, pinning, changes, values, .. } = self;
        let mut checkpoint = store.whole()?;
        let (mut cursor, mut touched) = (reader.follow(), Touched::default());
        let (mut scanned, mut failed) = (0_u64, None);
        let is_bag = reader.info().kind.is_bag();
        reader.scan_attributed(&mut |key, value, attributes| {
            scanned += 1;
            if scanned.is_multiple_of(LOOK_EVERY) {
                match reader.changes(cursor, u64::MAX, changes) {
                    Ok(next) => cursor = next,
                    Err(error) => failed = Some(error.into()),
                }
                touched.note(changes);
            }
            if let Err(error) = copy_entry(is_bag, &mut checkpoint, key, value, attributes) {
                failed = Some(error.into());
            }
            failed.is_none() && touched.bytes <= MOST_TOUCHED_BYTES
        })?;
        match failed {
            Some(CheckpointError::Follow(FollowError::Overtaken { .. })) => return Ok(None),
            Some(error) => return Err(error),
            None if touched.bytes > MOST_TOUCHED_BYTES => return Ok(None),
            None => {}
        }
        let Some((as_of, pin)) = pin_from(reader, pinning, reader.committed_version())? else {
            return Ok(None);
        };
        let version = pin.pin().version();
        match reader.changes(cursor, version, changes) {
            Ok(next) => cursor = next,
            Err(FollowError::Overtaken { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        touched.note(changes);
        let snapshot = reader.snapshot_taken_at(pin.pin(), 0);
        if touched.cleared {
            checkpoint.clear()?;
        }
        for key in &touched.keys {
            values.replace(key, &snapshot, &mut checkpoint)?;
        }
        self.has_schema = copy_the_rest(&snapshot, &mut checkpoint)?;
        drop(pin);
        let pinned = as_of.elapsed();
        checkpoint.commit(self.stamp(version))?;
        self.cursor = Some(cursor);
        Ok(Some(Copied { version, as_of, whole: true, copied: scanned, pinned }))
    }

    fn copy_pinned(&mut self, store: &mut Store) -> Result<Copied, CheckpointError> {
        let Self { reader, pinning, .. } = self;
        let is_bag = reader.info().kind.is_bag();
        let mut checkpoint = store.whole()?;
        let as_of = Instant::now();
        let pin = pinning.hold(reader.region())?;
        let version = pin.pin().version();
        let snapshot = reader.snapshot_taken_at(pin.pin(), 0);
        let (mut scanned, mut failed) = (0, None);
        snapshot.scan_attributed(&mut |key, value, attributes| {
            scanned += 1;
            failed = copy_entry(is_bag, &mut checkpoint, key, value, attributes).err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        self.has_schema = copy_the_rest(&snapshot, &mut checkpoint)?;
        drop(pin);
        let pinned = as_of.elapsed();
        checkpoint.commit(self.stamp(version))?;
        self.cursor = Some(self.reader.follow_from(version));
        Ok(Copied { version, as_of, whole: true, copied: scanned, pinned })
    }

    fn stamp(&self, version: u64) -> Stamp {
        Stamp { incarnation: self.reader.incarnation(), version }
    }
}

/// Pins a version that is not below `least`. None where that is not applied in time: its owner has died.
fn pin_from<'r, R: Region>(
    reader: &'r TableReader<R>,
    pinning: &Pinning,
    least: u64,
) -> Result<Option<(Instant, HeldPin<'r, R>)>, PinError> {
    let until = Instant::now() + APPLY_TIME;
    while reader.version() < least {
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::yield_now();
    }
    Ok(Some((Instant::now(), pinning.hold(reader.region())?)))
}

/// One entry of a scan.
fn copy_entry(
    is_bag: bool,
    checkpoint: &mut Checkpoint<'_>,
    key: &[u8],
    value: &[u8],
    attributes: Attributes,
) -> Result<(), StoreError> {
    match is_bag {
        true => checkpoint.append(key, value, attributes),
        // A key that changes during the scan may come twice.
        false => checkpoint.replace(key, [(value, attributes)]),
    }
}

/// What a table has besides its entries; whether there is a schema.
fn copy_the_rest<R: Region>(
    snapshot: &TableSnapshot<'_, R>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<bool, CheckpointError> {
    checkpoint.bequest(snapshot.bequest()?.as_deref())?;
    let schema = snapshot.schema()?;
    checkpoint.schema(schema.as_ref())?;
    Ok(schema.is_some())
}

impl Values {
    /// Has the checkpoint say of a key what the snapshot says.
    fn replace<R: Region>(
        &mut self,
        key: &[u8],
        snapshot: &TableSnapshot<'_, R>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<(), CheckpointError> {
        self.bytes.clear();
        self.each.clear();
        snapshot.values_attributed(key, &mut |value, attributes| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(value);
            self.each.push((start..self.bytes.len(), attributes));
            true
        })?;
        let values = self.each.iter().map(|(range, attributes)| (&self.bytes[range.clone()], *attributes));
        Ok(checkpoint.replace(key, values)?)
    }
}

impl Touched {
    fn note(&mut self, changes: &Changes) {
        if changes.is_cleared() {
            self.cleared = true;
        }
        for key in changes.keys() {
            if !self.keys.contains(key) {
                self.bytes += key.len();
                self.keys.insert(key.to_vec());
            }
        }
    }
}
