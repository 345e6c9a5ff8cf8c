//! Reading in place: no message, no lock, no store to shared memory.
//!
//! ```text
//!  load horizon (acquire)           ◄─ pairs with REUSE (super::reclaim): the owner moves the horizon before it
//!  load root                           overwrites anything that this reader could still reach (R7)
//!  find the slot, read the entry, copy the value out
//!  acquire fence
//!  load horizon: the same?          ─► whatever was read was intact, so the answer stands;
//!  missed: does the root still         a miss also needs that no slot moved meanwhile (super::index)
//!          find it there?
//! ```

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::TableInfo;
use super::bucket::Candidates;
use super::class::Unit;
use super::clock::Clock;
use super::entry::{Attributes, Entry};
use super::error::{OpenError, ReadError};
use super::index::Nonsense;
use super::layout::{APPLIED, BEQUEST, COMMITTED, COUNTS, Counts, EPOCH, HORIZON, Layout, MAX_BYTES};
use super::pin::{Held, held};
use super::schema::TableSchema;
use super::versions::AsOf;
use crate::region::Region;
use crate::sync::fence;

/// Reads a table in place, while its owner writes, dies, or is replaced.
///
/// ```
/// use heirloom_protocol::region::HeapRegion;
/// use heirloom_protocol::table::{self, TableOptions, TableReader, TableWriter};
/// use std::sync::Arc;
///
/// let options = TableOptions::set(1 << 20);
/// let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
/// table::create(&region, &options)?;
/// let mut writer = TableWriter::open(region.clone(), 0)?;
/// let reader = TableReader::open(region)?;
///
/// writer.insert(b"Ferrari", b"488")?;
/// assert_eq!(reader.get(b"Ferrari")?, Some(b"488".to_vec()));
/// assert_eq!(reader.get(b"Honda")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TableReader<R> {
    region: R,
    layout: Layout,
    clock: Clock,
    /// Once it is known: it never changes then.
    pub(super) schema: OnceLock<TableSchema>,
}

impl<R> fmt::Debug for TableReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A value that was copied while the horizon moved. Its header was read undisturbed; it stands if a second undisturbed
/// look finds the same entry with the same begin version (R10): then the block had no other life in between.
///
/// A header that was read while the horizon moved would not do: it may be of a life that is being prepared, whose
/// value is still that of the life before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copied {
    block: u64,
    begin: u64,
}

/// An undisturbed look at a key.
pub(super) struct Located {
    pub(super) horizon: u64,
    /// The first word of its entry's block, and the entry.
    pub(super) entry: Option<(u64, Entry)>,
}

impl<R: Region> TableReader<R> {
    /// Opens a table for reading. A commit in flight does not matter.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] and [`OpenError::Corrupt`] where the region does not hold a table.
    pub fn open(region: R) -> Result<Self, OpenError> {
        let layout = Layout::read(&region)?;
        Ok(Self { region, layout, clock: Clock::default(), schema: OnceLock::new() })
    }

    /// The same handle with another clock for the deadlines of entries.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same table for a reader that stands at a moment, in milliseconds of UNIX time: nothing expires for it.
    pub(super) fn at_moment(&self, now_ms: u64) -> TableReader<&R> {
        TableReader {
            region: &self.region,
            layout: self.layout,
            clock: Clock::standing(now_ms),
            schema: self.schema.clone(),
        }
    }

    /// The clock that deadlines are compared with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The region that the table is in.
    pub fn region(&self) -> &R {
        &self.region
    }

    /// The value of a key; in a bag, its first.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] where the table's bytes contradict each other.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.then_some(value))
    }

    /// Appends the value of a key to `value`; false, and `value` as it was, where the key has none.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    #[inline]
    pub fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        Ok(self.read_into(key, value)?.is_some())
    }

    /// The same, and says what the entry has beside its value.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    #[inline]
    pub fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
        if self.layout.kind.is_ordered() {
            return self.read_in_order(key, value);
        }
        let start = value.len();
        let hash = self.layout.hash(key);
        let horizon = self.region.load(HORIZON);
        // The straight path: found at first, a small entry that is there, and undisturbed. All else is out of line.
        if let Some((at, bytes)) = self.layout.value_at_first(&self.region, hash, key)
            && self.region.copy_out(at, bytes, value)
            && self.stands(horizon)
        {
            return Ok(Some(Attributes::default()));
        }
        value.truncate(start);
        self.get_again(key, hash, value)
    }

    /// Has the memory fetched in which these keys' values should be, so that the reads that come right after wait for it once
    /// and not each for itself. It is a hint: what they find is found out then. A dozen or two keys are as many as a
    /// processor fetches at a time. In a table with an order it does nothing: that is a walk, whose steps wait for each other.
    pub fn prefetch(&self, keys: &[&[u8]]) {
        let Ok(root) = self.layout.root(&self.region) else { return };
        if self.layout.kind.is_ordered() {
            return;
        }
        let buckets = keys.iter().map(|key| {
            let hash = self.layout.hash(key);
            (hash, self.layout.bucket(root.bucket(hash)))
        });
        for (_, bucket) in buckets.clone() {
            self.region.prefetch(bucket);
        }
        for (hash, bucket) in buckets {
            if let Some(slot) = Candidates::first(&self.region, bucket, hash) {
                self.layout.prefetch(&self.region, slot.entry(&self.region));
            }
        }
    }

    /// For a get that was disturbed, and for all that is not the straight path.
    #[inline(never)]
    pub(super) fn get_again(
        &self,
        key: &[u8],
        hash: u64,
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        let start = value.len();
        let mut copied: Option<Copied> = None;
        loop {
            let Located { horizon, entry } =
                self.locate(hash, key, AsOf::Newest).inspect_err(|_| value.truncate(start))?;
            let Some((block, entry)) = entry else {
                value.truncate(start);
                return Ok(None);
            };
            if copied == Some(Copied { block, begin: entry.begin }) {
                return Ok(Some(entry.attributes));
            }
            value.truncate(start);
            let whole = self.copy_value(block, &entry, value);
            if self.stands(horizon) {
                return if whole {
                    Ok(Some(entry.attributes))
                } else {
                    Err(corrupt("a value ends outside the segment"))
                };
            }
            copied = whole.then_some(Copied { block, begin: entry.begin });
        }
    }

    /// Finds the entry of a key, undisturbed: where it returns one, that was the key's entry as of then, with that
    /// header, at `horizon`. Its value is still to be copied, and to be checked.
    pub(super) fn locate(&self, hash: u64, key: &[u8], as_of: AsOf) -> Result<Located, ReadError> {
        if self.layout.kind.is_ordered() {
            return self.locate_in_order(key, as_of);
        }
        loop {
            let horizon = self.region.load(HORIZON);
            let root = self.layout.root(&self.region);
            let found = root.and_then(|root| self.layout.find(&self.region, &self.region, root, hash, key));
            let entry = found.and_then(|found| match found {
                Some(found) => self.resolve(found.unit, as_of),
                None => Ok(None),
            });
            let hit = found.is_ok_and(|found| found.is_some());
            if !self.stands(horizon) || !self.layout.still_finds(&self.region, root, hash, hit) {
                continue;
            }
            return Ok(Located { horizon, entry: entry.map_err(|Nonsense(what)| corrupt(what))? });
        }
    }

    /// The same for the entry that a word of the header points to.
    pub(super) fn locate_behind(&self, word: u64, as_of: AsOf) -> Result<Located, ReadError> {
        loop {
            let horizon = self.region.load(HORIZON);
            let unit = Unit(self.region.load(word) as u32);
            let entry = if unit.is_none() { Ok(None) } else { self.resolve(unit, as_of) };
            if self.stands(horizon) {
                return Ok(Located { horizon, entry: entry.map_err(|Nonsense(what)| corrupt(what))? });
            }
        }
    }

    #[inline]
    pub(super) fn copy_value(&self, block: u64, entry: &Entry, value: &mut Vec<u8>) -> bool {
        self.region.copy_out(entry.value_at(block), entry.value_bytes, value)
    }

    /// The second half of the check: nothing that was read since `horizon` was loaded has been reused.
    ///
    /// The fence keeps the loads before it from moving behind the load after it.
    #[inline]
    pub(super) fn stands(&self, horizon: u64) -> bool {
        fence(Ordering::Acquire);
        self.region.load(HORIZON) == horizon
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn contains(&self, key: &[u8]) -> Result<bool, ReadError> {
        if self.layout.kind.is_bag() {
            return self.has_values(AsOf::Newest, key);
        }
        Ok(self.locate(self.layout.hash(key), key, AsOf::Newest)?.entry.is_some())
    }

    /// What the last owner left for its heir, in the last commit that carried a bequest.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        self.read_behind(BEQUEST)
    }

    /// The value of the entry that a word of the header points to.
    pub(super) fn read_behind(&self, word: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let mut value = Vec::new();
        let mut copied: Option<Copied> = None;
        loop {
            let Located { horizon, entry } = self.locate_behind(word, AsOf::Newest)?;
            let Some((block, entry)) = entry else {
                return Ok(None);
            };
            if copied == Some(Copied { block, begin: entry.begin }) {
                return Ok(Some(value));
            }
            value.clear();
            let whole = self.copy_value(block, &entry, &mut value);
            if self.stands(horizon) {
                return if whole {
                    Ok(Some(value))
                } else {
                    Err(corrupt("the bequest, or the schema, ends outside the segment"))
                };
            }
            copied = whole.then_some(Copied { block, begin: entry.begin });
        }
    }

    /// Number of entries (in a bag, of values), as of some moment during the call.
    pub fn len(&self) -> u64 {
        u64::from(Counts::from_word(self.region.load(COUNTS)).entries)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Version of the last commit that is applied.
    pub fn version(&self) -> u64 {
        self.region.load(APPLIED)
    }

    /// Version of the last commit that stands, which may be being applied: whatever a read has shown is of this version at
    /// most.
    pub fn committed_version(&self) -> u64 {
        fence(Ordering::Acquire);
        self.region.load(COMMITTED)
    }

    /// The last ownership.
    pub fn epoch(&self) -> u64 {
        self.region.load(EPOCH)
    }

    /// Which creation of the table it is (R6).
    pub fn incarnation(&self) -> u64 {
        self.layout.incarnation
    }

    /// What pins hold back of the table's memory.
    pub fn held(&self) -> Held {
        held(&self.region)
    }

    /// What the header says about the table.
    pub fn info(&self) -> TableInfo {
        let (allocated_bytes, free_bytes) = super::space::allocated_and_free_bytes(&self.region);
        TableInfo {
            kind: self.layout.kind,
            entries: self.len(),
            used_bytes: super::space::used_bytes(&self.region),
            allocated_bytes,
            free_bytes,
            max_bytes: self.region.load(MAX_BYTES),
            version: self.version(),
            epoch: self.epoch(),
            incarnation: self.layout.incarnation,
            durability: super::terms::durability(&self.region),
            durable_version: super::terms::durable_version(&self.region),
        }
    }
}

pub(super) fn corrupt(what: &str) -> ReadError {
    ReadError::Corrupt(what.to_owned())
}
