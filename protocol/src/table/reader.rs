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
use std::sync::atomic::{Ordering, fence};

use super::TableInfo;
use super::class::Unit;
use super::entry::Entry;
use super::error::{OpenError, ReadError};
use super::index::{Found, Nonsense};
use super::layout::{APPLIED, BEQUEST, COUNTS, Counts, EPOCH, HORIZON, Layout, MAX_BYTES, ROOT};
use super::root::Root;
use crate::region::Region;

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
}

impl<R> fmt::Debug for TableReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A value that was copied while the horizon moved: it stands if a second look finds the same entry (R10).
struct Copied {
    unit: Unit,
    begin: u64,
}

impl<R: Region> TableReader<R> {
    /// Opens a table for reading. A commit in flight does not matter.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] and [`OpenError::Corrupt`] where the region does not hold a table.
    pub fn open(region: R) -> Result<Self, OpenError> {
        let layout = Layout::read(&region)?;
        Ok(Self { region, layout })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The region that the table is in.
    pub fn region(&self) -> &R {
        &self.region
    }

    /// The value of a key.
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
        let start = value.len();
        let hash = self.layout.hash(key);
        let horizon = self.region.load(HORIZON);
        let root = Root::from_word(self.region.load(ROOT));
        // The straight path: found and intact. All else is out of line.
        if let Ok(Some(found)) = self.layout.find(&self.region, &self.region, root, hash, key)
            && !found.entry.is_removed()
            && self.copy_value(&found, value)
            && self.stands(horizon)
        {
            return Ok(true);
        }
        value.truncate(start);
        self.get_again(key, hash, value)
    }

    /// For a get that was disturbed, and for all that is not the straight path.
    #[cold]
    #[inline(never)]
    pub(super) fn get_again(&self, key: &[u8], hash: u64, value: &mut Vec<u8>) -> Result<bool, ReadError> {
        let start = value.len();
        let mut copied: Option<Copied> = None;
        loop {
            let horizon = self.region.load(HORIZON);
            let root = Root::from_word(self.region.load(ROOT));
            let found = self.layout.find(&self.region, &self.region, root, hash, key);
            let located = self.stands(horizon);
            match found {
                Ok(Some(found)) if !found.entry.is_removed() => {
                    if located && copied.as_ref().is_some_and(|copied| copied.is_of(&found)) {
                        return Ok(true);
                    }
                    value.truncate(start);
                    let whole = self.copy_value(&found, value);
                    if self.stands(horizon) {
                        return if whole {
                            Ok(true)
                        } else {
                            Err(corrupt("a value ends outside the segment"))
                        };
                    }
                    copied = whole.then_some(Copied { unit: found.unit, begin: found.entry.begin });
                }
                Ok(Some(_)) if located => {
                    value.truncate(start);
                    return Ok(false);
                }
                Ok(None) if located && self.still_finds(root, hash) => {
                    value.truncate(start);
                    return Ok(false);
                }
                Err(Nonsense(what)) if located && self.still_finds(root, hash) => return Err(corrupt(what)),
                _ => copied = None,
            }
        }
    }

    #[inline]
    fn copy_value(&self, found: &Found, value: &mut Vec<u8>) -> bool {
        self.region.copy_out(found.entry.value_at(found.block), found.entry.value_bytes, value)
    }

    /// The second half of the check: nothing that was read since `horizon` was loaded has been reused.
    ///
    /// The fence keeps the loads before it from moving behind the load after it.
    #[inline]
    fn stands(&self, horizon: u64) -> bool {
        fence(Ordering::Acquire);
        self.region.load(HORIZON) == horizon
    }

    fn still_finds(&self, root: Root, hash: u64) -> bool {
        root.still_finds(Root::from_word(self.region.load(ROOT)), hash)
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn contains(&self, key: &[u8]) -> Result<bool, ReadError> {
        let hash = self.layout.hash(key);
        loop {
            let horizon = self.region.load(HORIZON);
            let root = Root::from_word(self.region.load(ROOT));
            let found = self.layout.find(&self.region, &self.region, root, hash, key);
            if !self.stands(horizon) {
                continue;
            }
            match found {
                Ok(Some(found)) => return Ok(!found.entry.is_removed()),
                Ok(None) if self.still_finds(root, hash) => return Ok(false),
                Err(Nonsense(what)) if self.still_finds(root, hash) => return Err(corrupt(what)),
                _ => {}
            }
        }
    }

    /// What the last owner left for its heir, in the last commit that carried a bequest.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            let horizon = self.region.load(HORIZON);
            let unit = Unit(self.region.load(BEQUEST) as u32);
            if unit.is_none() {
                return Ok(None);
            }
            let block = self.layout.block(unit);
            let mut bequest = Vec::new();
            let whole = Entry::read(&self.region, block).is_some_and(|entry| {
                self.region.copy_out(entry.value_at(block), entry.value_bytes, &mut bequest)
            });
            if self.stands(horizon) {
                return if whole { Ok(Some(bequest)) } else { Err(corrupt("the bequest is no entry")) };
            }
        }
    }

    /// Number of entries, as of some moment during the call.
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

    /// The last ownership.
    pub fn epoch(&self) -> u64 {
        self.region.load(EPOCH)
    }

    /// What the header says about the table.
    pub fn info(&self) -> TableInfo {
        TableInfo {
            kind: self.layout.kind,
            entries: self.len(),
            used_bytes: super::space::used_bytes(&self.region),
            max_bytes: self.region.load(MAX_BYTES),
            version: self.version(),
            epoch: self.epoch(),
            incarnation: self.layout.incarnation,
        }
    }
}

impl Copied {
    fn is_of(&self, found: &Found) -> bool {
        self.unit == found.unit && self.begin == found.entry.begin
    }
}

pub(super) fn corrupt(what: &str) -> ReadError {
    ReadError::Corrupt(what.to_owned())
}
