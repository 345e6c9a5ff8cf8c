//! Several writes in one commit.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, Range};

use super::entry::Attributes;
use super::error::{ReadError, WriteError};
use super::operations::{Change, Current, Modify};
use super::reader::TableReader;
use super::scan::Visit;
use super::writer::{TableWriter, check_lengths};
use crate::region::Region;

/// Collects writes, reduced to the last one for each key (R4), and carries them out together.
///
/// Dropped without [`Transaction::commit`], nothing happened.
///
/// ```
/// # use heirloom_protocol::{region::HeapRegion, table::{self, TableOptions, TableWriter}};
/// # let options = TableOptions::set(1 << 20);
/// # let region = HeapRegion::new(options.segment_bytes() / 8);
/// # table::create(&region, &options)?;
/// # let mut writer = TableWriter::open(region, 0)?;
/// let mut transfer = writer.transaction();
/// transfer.insert(b"ann", b"70")?;
/// transfer.insert(b"bob", b"30")?;
/// transfer.bequeath(b"position 17")?;
/// assert_eq!(transfer.get(b"bob")?, Some(b"30".to_vec()));
/// transfer.commit()?;
/// assert_eq!(writer.reader().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is not committed does nothing"]
pub struct Transaction<'w, R> {
    writer: &'w mut TableWriter<R>,
}

/// The writes of a transaction. The writer keeps it, so that a transaction allocates nothing once its buffers are
/// long enough.
#[derive(Debug, Default)]
pub(super) struct Draft {
    writes: Vec<Write>,
    /// The keys, values and the bequest that the writes name.
    bytes: Vec<u8>,
    bequest: Option<Range<usize>>,
    /// Composite keys of the writes, in a bag.
    objects: BTreeSet<Vec<u8>>,
    /// How many objects were inserted into a `duplicate_bag`.
    numbered: u32,
    /// All that was there before the writes is removed.
    clears: bool,
    /// Where the last write of a hash is, once there are too many to look through.
    positions: HashMap<u64, usize>,
}

/// The last write of one key; without a value, its removal.
#[derive(Debug)]
struct Write {
    hash: u64,
    key: Range<usize>,
    value: Option<Range<usize>>,
    deadline_ms: Option<u64>,
    /// The write before this one whose key has the same hash.
    same_hash: Option<usize>,
}

/// Up to this many writes, looking through them is cheaper than hashing.
const FEW: usize = 8;
/// From this many writes on, the index grows before the commit and not after it.
const MANY: usize = 256;
/// Buffers longer than this are given back after the transaction that needed them.
const KEPT_BYTES: usize = 1 << 20;

impl Draft {
    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
        self.writes.clear();
        self.bytes.clear();
        self.bequest = None;
        self.clears = false;
        self.positions.clear();
        self.objects.clear();
        self.numbered = 0;
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(super) fn position(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |position: &usize| {
            let write = &self.writes[*position];
            write.hash == hash && &self.bytes[write.key.clone()] == key
        };
        if self.writes.len() <= FEW {
            (0..self.writes.len()).find(is_it)
        } else {
            let last = self.positions.get(&hash).copied();
            std::iter::successors(last, |position| self.writes[*position].same_hash).find(is_it)
        }
    }

    fn write(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>, deadline_ms: Option<u64>) {
        let position = self.position(hash, key);
        let value = value.map(|value| self.keep(value));
        if let Some(position) = position {
            let write = &mut self.writes[position];
            (write.value, write.deadline_ms) = (value, deadline_ms);
            return;
        }
        let key = self.keep(key);
        self.writes.push(Write { hash, key, value, deadline_ms, same_hash: None });
        match self.writes.len() {
            ..=FEW => {}
            // From here on, all of them are looked up by hash.
            count if count == FEW + 1 => (0..count).for_each(|position| self.index(position)),
            count => self.index(count - 1),
        }
    }

    fn index(&mut self, position: usize) {
        self.writes[position].same_hash = self.positions.insert(self.writes[position].hash, position);
    }
}

impl<'w, R: Region> Transaction<'w, R> {
    pub(super) fn new(writer: &'w mut TableWriter<R>) -> Self {
        writer.draft.clear();
        Self { writer }
    }

    /// The value of a key, as this transaction leaves it; in a bag, its first.
    ///
    /// # Errors
    /// As for [`super::TableReader::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.then_some(value))
    }

    /// Appends the value of a key, as this transaction leaves it, to `value`; false, and `value` as it was, where
    /// the key has none.
    ///
    /// # Errors
    /// As for [`super::TableReader::get`].
    pub fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        Ok(self.read_into(key, value)?.is_some())
    }

    /// The same, and says what the entry has beside its value.
    ///
    /// # Errors
    /// As for [`super::TableReader::get`].
    pub fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Attributes>, ReadError> {
        if self.is_of_bag() {
            return self.read_first_value(key, value);
        }
        let draft = &self.writer.draft;
        if !draft.writes.is_empty()
            && let Some(position) = draft.position(self.hash(key), key)
        {
            let Write { value: written, deadline_ms, .. } = &draft.writes[position];
            let is_over = deadline_ms.is_some_and(|at| self.writer.reader().clock().has_reached(at));
            let Some(range) = written.clone().filter(|_| !is_over) else { return Ok(None) };
            value.extend_from_slice(&draft.bytes[range]);
            return Ok(Some(self.writer.attributes(*deadline_ms)));
        }
        if draft.clears { Ok(None) } else { self.writer.reader().read_into(key, value) }
    }

    /// Inserts or overwrites; in a bag, inserts an object. The entry does not expire.
    ///
    /// # Errors
    /// [`WriteError::KeyTooLong`] and [`WriteError::ValueTooLong`]; the transaction goes on without this write.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.write(key, Some(value), None)
    }

    /// The same, with a time to live: from `deadline_ms` on, in milliseconds of UNIX time, no reader sees it.
    ///
    /// # Errors
    /// As for [`Transaction::insert`].
    pub fn insert_expiring(&mut self, key: &[u8], value: &[u8], deadline_ms: u64) -> Result<(), WriteError> {
        self.write(key, Some(value), Some(deadline_ms))
    }

    /// Removes a key, which need not be there; in a bag, with all its values.
    ///
    /// # Errors
    /// [`WriteError::KeyTooLong`]; the transaction goes on without this write.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), WriteError> {
        self.write(key, None, None)
    }

    fn write(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        deadline_ms: Option<u64>,
    ) -> Result<(), WriteError> {
        if self.is_of_bag() {
            return match value {
                Some(value) => self.insert_object(key, value, deadline_ms).map(drop),
                None => self.remove_all_values(key),
            };
        }
        check_lengths(key, value.unwrap_or_default())?;
        self.writer.draft.write(self.hash(key), key, value, deadline_ms);
        Ok(())
    }

    /// Removes all entries, those of this transaction too.
    pub fn clear(&mut self) {
        let draft = &mut self.writer.draft;
        draft.writes.clear();
        draft.positions.clear();
        draft.objects.clear();
        draft.clears = true;
    }

    /// What the heir is told, in the same commit: the position in a stream, say. It replaces the last bequest and
    /// stays until another does; an empty one is a bequest too.
    ///
    /// # Errors
    /// [`WriteError::ValueTooLong`]; the transaction goes on without this bequest.
    pub fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        check_lengths(&[], bequest)?;
        self.writer.draft.bequest = Some(self.writer.draft.keep(bequest));
        Ok(())
    }

    /// See [`TableWriter::renew`]: for a transaction that takes its time.
    ///
    /// # Errors
    /// [`WriteError::Fenced`] where the ownership is over.
    pub fn renew(&self) -> Result<(), WriteError> {
        self.writer.renew()
    }

    /// The time by the clock that deadlines are compared with, in milliseconds of UNIX time.
    pub fn now_ms(&self) -> u64 {
        self.reader().clock().now_ms()
    }

    /// Carries everything out, and says with which version. A transaction that changes nothing commits nothing, and
    /// says the version of the last commit.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn commit(self) -> Result<u64, WriteError> {
        let mut draft = std::mem::take(&mut self.writer.draft);
        if draft.writes.len() > MANY && !self.writer.is_ordered() {
            self.writer.begin()?;
            let is_new = |write: &&Write| {
                let key = &draft.bytes[write.key.clone()];
                write.value.is_some() && self.writer.find(write.hash, key).is_ok_and(|found| found.is_none())
            };
            let new_keys = draft.writes.iter().filter(is_new).count();
            self.writer.grow_index_for(new_keys);
        }
        let result = self.writer.commit_with(draft.writes.len(), |writer| {
            if draft.clears {
                writer.prepare_clear(Some(&draft))?;
            }
            for write in &draft.writes {
                let key = &draft.bytes[write.key.clone()];
                match &write.value {
                    Some(value) => {
                        let new =
                            writer.new_entry(write.hash, key, &draft.bytes[value.clone()], write.deadline_ms);
                        writer.prepare_insert(&new)?
                    }
                    None => writer.prepare_remove(write.hash, key)?,
                };
            }
            draft.bequest.clone().map_or(Ok(()), |bequest| writer.prepare_bequest(&draft.bytes[bequest]))
        });
        draft.clear();
        self.writer.draft = draft;
        result.map(|(_, version)| version)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.reader().layout().hash(key)
    }
}

/// What bags need.
impl<R: Region> Transaction<'_, R> {
    pub(super) fn reader(&self) -> &TableReader<R> {
        self.writer.reader()
    }

    /// Whether what the table has is gone for this transaction.
    pub(super) fn clears(&self) -> bool {
        self.writer.draft.clears
    }

    pub(super) fn is_of_bag(&self) -> bool {
        self.reader().layout().kind.is_bag()
    }

    /// What an entry of this transaction has beside key and value.
    pub(super) fn attributes(&self, deadline_ms: Option<u64>) -> Attributes {
        self.writer.attributes(deadline_ms)
    }

    pub(super) fn full(&self) -> WriteError {
        self.writer.full()
    }

    /// Sees to it that what is looked at for a write is what the write will change: after a panic in the middle of a
    /// commit, that one is finished first.
    pub(super) fn settle(&mut self) -> Result<(), WriteError> {
        self.writer.begin()
    }

    /// A version that no commit had yet, and which object of this transaction the next one is.
    pub(super) fn next_object(&mut self) -> (u64, u32) {
        let number = self.writer.draft.numbered;
        self.writer.draft.numbered += 1;
        (self.writer.version() + 1, number)
    }

    /// Drafts a write of a composite key.
    pub(super) fn draft_write(&mut self, composite: &[u8], value: Option<&[u8]>, deadline_ms: Option<u64>) {
        let hash = self.hash(composite);
        self.writer.draft.write(hash, composite, value, deadline_ms);
        self.writer.draft.objects.insert(composite.to_vec());
    }

    /// What is drafted for the composite keys that begin with a prefix, in their order.
    pub(super) fn drafted<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Drafted<'a>> {
        let draft = &self.writer.draft;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let composites = draft.objects.range::<[u8], _>(from).take_while(move |key| key.starts_with(prefix));
        composites.filter_map(move |key| {
            let write = &draft.writes[draft.position(self.hash(key), key)?];
            let is_over = write.deadline_ms.is_some_and(|at| self.reader().clock().has_reached(at));
            let value = write.value.clone().filter(|_| !is_over).map(|range| &draft.bytes[range]);
            Some(Drafted { key, value, attributes: self.attributes(write.deadline_ms) })
        })
    }
}

/// A write of a transaction; without a value, a removal.
pub(super) struct Drafted<'a> {
    pub(super) key: &'a [u8],
    value: Option<&'a [u8]>,
    attributes: Attributes,
}

impl Drafted<'_> {
    /// Shows what it inserts; whether to go on.
    pub(super) fn visit(&self, each: &mut Visit<'_>) -> bool {
        self.value.is_none_or(|value| each(self.key, value, self.attributes))
    }
}

impl<R: Region> Modify for Transaction<'_, R> {
    fn modify<T>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<Current<'_>>, &mut Vec<u8>) -> (Change, T),
    ) -> Result<T, WriteError> {
        if self.is_of_bag() {
            return Err(WriteError::SeveralValues);
        }
        let mut buffers = std::mem::take(&mut self.writer.buffers).cleared();
        let attributes = self.read_into(key, &mut buffers.current)?;
        let current = attributes.map(|attributes| Current { value: &buffers.current, attributes });
        let (change, result) = decide(current, &mut buffers.new);
        let deadline_ms = attributes.and_then(|attributes| attributes.deadline_ms);
        match change {
            Change::Keep => {}
            Change::Remove => self.remove(key)?,
            Change::Put => self.write(key, Some(&buffers.new), deadline_ms)?,
            Change::PutUntil(deadline_ms) => self.write(key, Some(&buffers.new), Some(deadline_ms))?,
        }
        self.writer.buffers = buffers;
        Ok(result)
    }
}
