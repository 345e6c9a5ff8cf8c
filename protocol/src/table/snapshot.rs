//! A table as of one version, while its owner goes on. How it is read: [`super::versions`].

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::entry::Attributes;
use super::error::ReadError;
use super::layout::{APPLIED, BEQUEST, COMMITTED, SCHEMA};
use super::pin::Pin;
use super::reader::{TableReader, corrupt};
use super::scan::Visit;
use super::schema::TableSchema;
use super::versions::AsOf;
use crate::region::Region;
use crate::sync::fence;

/// A table as of one version. Every read says [`ReadError::SnapshotExpired`] once the pin is gone, and never
/// anything that is of another version.
///
/// ```
/// # use heirloom_protocol::{region::HeapRegion, table::{self, TableOptions, TableReader, TableWriter}};
/// # use std::sync::Arc;
/// # let options = TableOptions::set(1 << 20);
/// # let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
/// # table::create(&region, &options)?;
/// # let mut writer = TableWriter::open(region.clone(), 0)?;
/// # let reader = TableReader::open(region.clone())?;
/// writer.insert(b"Ferrari", b"488")?;
/// let pin = table::pin(&region)?; // what the manager does for a reader
/// let snapshot = reader.snapshot(pin);
/// writer.insert(b"Ferrari", b"F8")?;
/// writer.insert(b"Honda", b"NSX")?;
///
/// assert_eq!(snapshot.get(b"Ferrari")?, Some(b"488".to_vec()));
/// assert_eq!(snapshot.get(b"Honda")?, None);
/// assert_eq!(snapshot.len()?, 1);
///
/// table::unpin(&region, pin);
/// assert_eq!(snapshot.get(b"Ferrari"), Err(table::ReadError::SnapshotExpired));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableSnapshot<'r, R> {
    /// Its clock stands at the moment the snapshot was taken, so no entry expires in it.
    reader: TableReader<&'r R>,
    pin: Pin,
    /// Number of entries, once it is known.
    len: OnceLock<u64>,
}

impl<R> fmt::Debug for TableSnapshot<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl<R: Region> TableReader<R> {
    /// The table as of a pinned version.
    pub fn snapshot(&self, pin: Pin) -> TableSnapshot<'_, R> {
        self.snapshot_taken_at(pin, self.clock().now_ms())
    }

    /// The same, where the snapshot was taken before, at that moment in milliseconds of UNIX time: what was not expired
    /// then is there.
    pub fn snapshot_taken_at(&self, pin: Pin, now_ms: u64) -> TableSnapshot<'_, R> {
        let len = OnceLock::new();
        if let Some(counted) = self.len_at(pin.version()) {
            let _ = len.set(counted);
        }
        TableSnapshot { reader: self.at_moment(now_ms), pin, len }
    }

    /// The table as of now, without a pin: so nobody has to be asked for it, and it expires by itself when the owner next
    /// lets freed memory be reused. That is some microseconds under full load, and for ever while nobody writes.
    pub fn glimpse(&self) -> TableSnapshot<'_, R> {
        self.snapshot(Pin::none(self.version()))
    }

    /// Number of entries as of a version, where no later commit has begun.
    fn len_at(&self, version: u64) -> Option<u64> {
        let applied = self.region().load(APPLIED);
        let entries = self.len();
        fence(Ordering::Acquire);
        (applied == version && self.region().load(COMMITTED) == version).then_some(entries)
    }
}

impl<'r, R: Region> TableSnapshot<'r, R> {
    /// The version that is read.
    pub fn version(&self) -> u64 {
        self.pin.version()
    }

    /// What keeps the version readable.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(super) fn reader(&self) -> &TableReader<&'r R> {
        &self.reader
    }

    pub(super) fn as_of(&self) -> AsOf {
        AsOf::Version(self.pin)
    }

    /// The value that a key had.
    ///
    /// # Errors
    /// [`ReadError::SnapshotExpired`]; [`ReadError::Corrupt`] where the table's bytes contradict each other.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.then_some(value))
    }

    /// Appends the value that a key had to `value`; false, and `value` as it was, where it had none.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        Ok(self.read_into(key, value)?.is_some())
    }

    /// The same, and says what the entry had beside its value.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
        self.reader.read_as_of(self.as_of(), key, value)
    }

    /// As [`TableReader::prefetch`]: where a key's value has not changed since, it is where the newest one is.
    pub fn prefetch(&self, keys: &[&[u8]]) {
        self.reader.prefetch(keys);
    }

    /// Whether a key had a value.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn contains(&self, key: &[u8]) -> Result<bool, ReadError> {
        if self.reader.layout().kind.is_bag() {
            return self.reader.has_values(self.as_of(), key);
        }
        let hash = self.reader.layout().hash(key);
        self.reader.checked(self.as_of(), || Ok(self.reader.locate(hash, key, self.as_of())?.entry.is_some()))
    }

    /// The bequest as of that version.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn bequest(&self) -> Result<Option<Vec<u8>>, ReadError> {
        self.value_behind(BEQUEST)
    }

    /// The schema of the values, as of that version: none where it was named later.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn schema(&self) -> Result<Option<TableSchema>, ReadError> {
        self.value_behind(SCHEMA)?.map(|bytes| TableSchema::of_entry(&bytes)).transpose()
    }

    fn value_behind(&self, word: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.reader.checked(self.as_of(), || {
            let Some((block, entry)) = self.reader.locate_behind(word, self.as_of())?.entry else {
                return Ok(None);
            };
            let mut value = Vec::new();
            let whole = self.reader.copy_value(block, &entry, &mut value);
            if whole {
                Ok(Some(value))
            } else {
                Err(corrupt("the bequest, or the schema, ends outside the segment"))
            }
        })
    }

    /// Calls back with the key and the value of each entry of that version, once each, until the callback returns
    /// false.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`]. What was called back before is of that version.
    pub fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ReadError> {
        self.scan_attributed(&mut |key, value, _| each(key, value))
    }

    /// The same, and says what each entry had beside its key and value.
    ///
    /// # Errors
    /// As for [`TableSnapshot::scan`].
    pub fn scan_attributed(&self, each: &mut Visit<'_>) -> Result<(), ReadError> {
        self.reader.scan_as_of(self.as_of(), each)
    }

    /// Number of entries of that version. Where the table has changed since, the first call counts them.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn len(&self) -> Result<u64, ReadError> {
        if let Some(len) = self.len.get() {
            return self.reader.checked(self.as_of(), || Ok(*len));
        }
        let mut len = 0;
        self.scan(&mut |_, _| {
            len += 1;
            true
        })?;
        Ok(*self.len.get_or_init(|| len))
    }

    /// Whether that version has no entries.
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        Ok(self.len()? == 0)
    }
}
