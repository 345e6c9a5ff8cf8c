//! Which of a key's entries a reader takes.
//!
//! ```text
//!  slot ──► entry of 90 ──previous──► entry of 70 ──previous──► entry of 40
//!              newest                    as of 70 to 89            as of 40 to 69
//! ```

use std::sync::atomic::Ordering;

use super::class::Unit;
use super::entry::{Attributes, Entry};
use super::error::ReadError;
use super::index::Nonsense;
use super::pin::Pin;
use super::reader::{TableReader, corrupt};
use crate::region::Region;
use crate::sync::fence;

/// The moment that a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// Now: what the slot points to, whatever its version (R8).
    Newest,
    /// A pinned version: the newest entry not above it (R12).
    Version(Pin),
}

/// No key has so many entries at once: the owner unlinks those that no pin wants while it makes new ones. Whoever
/// follows more is reading garbage.
const MOST_VERSIONS: usize = 1 << 20;

impl<R: Region> TableReader<R> {
    /// The entry that a reader sees where a slot points to `unit`, and the first word of its block; none where the key
    /// is not there as of then. What it reads may be garbage until the horizon has been looked at again (R9).
    #[inline(always)]
    pub(super) fn resolve(&self, unit: Unit, as_of: AsOf) -> Result<Option<(u64, Entry)>, Nonsense> {
        let block = self.layout().block(unit);
        let entry = Entry::read(self.region(), block).ok_or(Nonsense("a slot points to what is no entry"))?;
        let is_in_time = match as_of {
            AsOf::Newest => true,
            AsOf::Version(pin) => entry.begin <= pin.version(),
        };
        // Nearly always.
        if is_in_time && !entry.is_removed() && entry.attributes.deadline_ms.is_none() {
            return Ok(Some((block, entry)));
        }
        self.resolve_in_time(block, entry, as_of)
    }

    #[inline(never)]
    fn resolve_in_time(
        &self,
        block: u64,
        entry: Entry,
        as_of: AsOf,
    ) -> Result<Option<(u64, Entry)>, Nonsense> {
        let found = match as_of {
            AsOf::Newest => (!entry.is_removed()).then_some((block, entry)),
            AsOf::Version(pin) => self.resolve_version(block, entry, pin.version())?,
        };
        Ok(found.filter(|(_, entry)| !entry.is_expired(self.clock())))
    }

    /// What was read as of a version stands if its pin does after it (R13). Once that is gone, anything may have been
    /// read, nonsense too. (What was read as of now, the horizon has said already.)
    ///
    /// The fence keeps the loads before it from moving behind the load of the pin. If something that was read had been
    /// overwritten, the owner had seen the pin gone before that, and so does this.
    pub(super) fn checked<T>(
        &self,
        as_of: AsOf,
        read: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let answer = read();
        fence(Ordering::Acquire);
        match as_of {
            AsOf::Version(pin) if !pin.stands(self.region()) => Err(ReadError::SnapshotExpired),
            _ => answer,
        }
    }

    /// Appends the value that a key has as of then to `value`, and says what the entry has beside it; none, and `value` as it
    /// was, where it has none.
    ///
    /// As of a version, the entry is located under the horizon check like any other. From there on the pin keeps it, so its
    /// value is copied under the pin alone, however often the horizon moves.
    pub(super) fn read_as_of(
        &self,
        as_of: AsOf,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        if as_of == AsOf::Newest {
            return self.read_into(key, value);
        }
        if self.layout().kind.is_bag() {
            return self.read_first_value(as_of, key, value);
        }
        self.read_version(as_of, self.layout().hash(key), key, value)
    }

    /// The same as of a version, of a key that the index has.
    pub(super) fn read_version(
        &self,
        as_of: AsOf,
        hash: u64,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        let start = value.len();
        let found = self.checked(as_of, || {
            let located = self.locate(hash, key, as_of)?;
            let Some((block, entry)) = located.entry else { return Ok(None) };
            if !self.copy_value(block, &entry, value) {
                return Err(corrupt("a value ends outside the segment"));
            }
            Ok(Some(entry.attributes))
        });
        if !matches!(found, Ok(Some(_))) {
            value.truncate(start);
        }
        found
    }

    fn resolve_version(
        &self,
        mut block: u64,
        mut entry: Entry,
        version: u64,
    ) -> Result<Option<(u64, Entry)>, Nonsense> {
        for _ in 0..MOST_VERSIONS {
            if entry.begin <= version {
                let there = !entry.is_removed() || entry.removed_at > version;
                return Ok(there.then_some((block, entry)));
            }
            if entry.previous.is_none() {
                return Ok(None);
            }
            block = self.layout().block(entry.previous);
            let older = Entry::read(self.region(), block).ok_or(Nonsense("a previous entry is no entry"))?;
            if older.begin >= entry.begin {
                return Err(Nonsense("a previous entry is not older"));
            }
            entry = older;
        }
        Err(Nonsense("a key has more versions than there can be"))
    }
}
