//! The reader's side of the change ring.

use std::collections::HashSet;
use std::ops::Range;

use super::ring::{GivenUp, Record, RecordKind, Ring, given_up};
use crate::region::Region;
use crate::table::bag::unescape_from;
use crate::table::layout::{RING_LOW, RING_SINCE, RING_TAIL};
use crate::table::reader::TableReader;

/// How far a consumer has followed a table's changes.
///
/// It is good for one creation of the table: a consumer that keeps its version outside keeps the incarnation with it (R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    seen: u64,
    /// Where the first record after it is, or a place before that. Only a hint: what was overwritten before it is skipped.
    at: u64,
}

impl Cursor {
    /// The last version whose changes the consumer has seen.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.seen
    }
}

/// Which keys some commits changed: each key once, in the order of their last changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    cleared: bool,
    bequest: bool,
    bytes: Vec<u8>,
    keys: Vec<Range<usize>>,
}

impl Changes {
    /// Whether every key was removed before those of [`keys`](Self::keys) changed.
    #[must_use]
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// Whether the bequest was replaced.
    #[must_use]
    pub fn has_bequest(&self) -> bool {
        self.bequest
    }

    /// The keys that were written or removed; in a bag, those that got or lost a value.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.keys.iter().map(|key| &self.bytes[key.clone()])
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.cleared && !self.bequest && self.keys.is_empty()
    }

    fn forget_keys(&mut self) {
        self.bytes.clear();
        self.keys.clear();
    }

    fn forget(&mut self) {
        self.forget_keys();
        (self.cleared, self.bequest) = (false, false);
    }

    /// Keeps the last mention of each key.
    fn mention_once(&mut self) {
        let mut met = HashSet::with_capacity(self.keys.len());
        let bytes = &self.bytes;
        let last = |key: &&Range<usize>| met.insert(&bytes[(*key).clone()]);
        let mut keys: Vec<_> = self.keys.iter().rev().filter(last).cloned().collect();
        keys.reverse();
        self.keys = keys;
    }
}

/// Why the changes could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// Some of them are not in the change ring: overwritten, too many at once, or not recorded as nobody followed.
    #[error("changes after version {seen} are not recorded any more: start again from a snapshot")]
    Overtaken {
        /// The last version that the consumer has seen.
        seen: u64,
    },
    /// The bytes contradict each other, and nobody changed them meanwhile.
    #[error("the table is corrupt: {0}")]
    Corrupt(String),
}

impl<R: Region> TableReader<R> {
    /// Where a consumer begins that wants what is committed from now on.
    pub fn follow(&self) -> Cursor {
        // Whatever is given up before this load is of a version that is applied at the next.
        let at = self.region().load(RING_LOW);
        Cursor { seen: self.version(), at }
    }

    /// Where a consumer begins that has seen everything up to a version.
    pub fn follow_from(&self, version: u64) -> Cursor {
        Cursor { seen: version, at: self.region().load(RING_LOW) }
    }

    /// What the commits after the cursor's version changed, up to a version that is applied; and the cursor after them.
    ///
    /// It takes time and memory in proportion to the records of these commits; the first call with a cursor also passes
    /// over the older records in the ring.
    ///
    /// # Errors
    /// [`FollowError::Overtaken`] where not all of them are recorded.
    pub fn changes(&self, cursor: Cursor, until: u64, changes: &mut Changes) -> Result<Cursor, FollowError> {
        changes.forget();
        let until = until.min(self.version());
        if until <= cursor.seen {
            return Ok(cursor);
        }
        let overtaken = Err(FollowError::Overtaken { seen: cursor.seen });
        // Loaded after `until` was: whoever paused or restarted the recording up to there has stored it.
        let since = self.region().load(RING_SINCE);
        if since == 0 || since > cursor.seen + 1 {
            return overtaken;
        }
        let mut from = cursor.at;
        loop {
            let collected = self.collect(Cursor { at: from, ..cursor }, until, changes);
            let GivenUp { lost, low } = given_up(self.region());
            if lost > cursor.seen {
                return overtaken;
            }
            if low <= from {
                changes.mention_once();
                let at =
                    collected.ok_or_else(|| FollowError::Corrupt("the change ring has no records".into()))?;
                return Ok(Cursor { seen: until, at });
            }
            // Only records that the consumer had seen were overwritten; those it wants are behind them.
            changes.forget();
            from = low;
        }
    }

    /// Copies the records of the versions after the cursor's up to `until`, and says where the next one is. None, or
    /// anything at all, where records were overwritten meanwhile.
    fn collect(&self, cursor: Cursor, until: u64, changes: &mut Changes) -> Option<u64> {
        let (region, ring) = (self.region(), Ring::of(self.layout()));
        // Loaded after `applied` was at `until`: it covers the records of that commit.
        let tail = region.load(RING_TAIL);
        if !ring.spans(cursor.at, tail) {
            return None;
        }
        let mut at = cursor.at;
        while at < tail {
            let record = Record::read(region, ring, at, tail)?;
            if record.version > until {
                break;
            }
            if record.version > cursor.seen {
                match record.kind {
                    RecordKind::Written | RecordKind::Removed => {
                        let start = changes.bytes.len();
                        record.copy_key(region, ring, at, &mut changes.bytes);
                        if self.layout().kind.is_bag() {
                            // What changed are values of this key: the record has the composite key of one.
                            unescape_from(&mut changes.bytes, start)?;
                        }
                        changes.keys.push(start..changes.bytes.len());
                    }
                    RecordKind::Cleared => {
                        changes.forget_keys();
                        changes.cleared = true;
                    }
                    RecordKind::Bequest => changes.bequest = true,
                }
            }
            at += record.words();
        }
        Some(at)
    }
}
