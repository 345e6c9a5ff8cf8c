//! Bags: several values under one key, on the ordered index.
//!
//! An *object* is a key with one of its values. A `bag` has each object once, a `duplicate_bag` as often as it was
//! inserted, in that order. Each object is an entry of its own, and the index has it under a composite key:
//!
//! ```text
//!  bag             key, escaped │ hash of the value: 8 │ tie: 2
//!  duplicate_bag   key, escaped │ version: 8           │ number: 4
//! ```
//!
//! - *Escaped*: a zero byte becomes `00 ff`, and `00 00` is the end. So composite keys are in the order of their keys, no
//!   key's objects are among another's, and where the key ends is seen.
//! - *Tie*: values with the same hash are told apart by it. An object is looked for among all with its hash, and
//!   compared in full.
//! - *Version*: one that no commit had yet when the object was inserted (R6), and *number*, which object of its
//!   transaction it is: that is the order of insertion.
//!
//! A write of a bag is a transaction, on the composite keys: it looks at what the table and the draft have, and
//! drafts the entries that come and go. The same calls work on the other kinds, where a key has one value at most.

use std::ops::Bound;

use super::Kind;
use super::entry::{Attributes, MAX_KEY_BYTES};
use super::error::{ReadError, WriteError};
use super::ordered::{Order, Span, after_prefix, below};
use super::reader::{TableReader, corrupt};
use super::scan::Visit;
use super::snapshot::TableSnapshot;
use super::transaction::Transaction;
use super::versions::AsOf;
use super::writer::{TableWriter, check_lengths};
use crate::region::Region;

const END: [u8; 2] = [0, 0];
const HASH_BYTES: usize = 8;
const TIE_BYTES: usize = 2;
/// The most that a composite key has behind the escaped key.
const MOST_SUFFIX_BYTES: usize = 12;

/// What the composite keys of a key's objects begin with.
fn escaped(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + END.len() + MOST_SUFFIX_BYTES);
    for byte in key {
        escaped.push(*byte);
        if *byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped.extend_from_slice(&END);
    escaped
}

/// The key of a composite key.
fn unescape(composite: &[u8], key: &mut Vec<u8>) -> Option<()> {
    key.clear();
    let mut rest = composite.iter();
    loop {
        match *rest.next()? {
            0 => match *rest.next()? {
                0 => return Some(()),
                0xff => key.push(0),
                _ => return None,
            },
            byte => key.push(byte),
        }
    }
}

/// Makes the key of the composite key from `start` on.
pub(super) fn unescape_from(bytes: &mut Vec<u8>, start: usize) -> Option<()> {
    let mut key = Vec::new();
    unescape(&bytes[start..], &mut key)?;
    bytes.truncate(start);
    bytes.extend_from_slice(&key);
    Some(())
}

/// A bound of keys as one of composite keys.
fn composite_bound(bound: Bound<&[u8]>, is_lower: bool) -> Bound<Vec<u8>> {
    let (Bound::Included(key) | Bound::Excluded(key)) = bound else { return Bound::Unbounded };
    let mut composite = escaped(key);
    let is_above_the_key = matches!(bound, Bound::Included(_)) != is_lower;
    if is_above_the_key {
        // No composite key goes on with `00 01`: all objects of the key are below it, those of the next key above.
        *composite.last_mut().expect("it ends in two zeroes") = 1;
    }
    if is_lower { Bound::Included(composite) } else { Bound::Excluded(composite) }
}

impl<R: Region> TableReader<R> {
    /// Calls back with each value of a key until the callback returns false: in a `duplicate_bag` in the order in which they were
    /// inserted, in a `bag` in no order that means anything.
    ///
    /// ```
    /// # use heirloom_protocol::{region::HeapRegion, table::{self, Kind, TableOptions, TableWriter}};
    /// # let options = TableOptions::new(Kind::DuplicateBag, 1 << 20);
    /// # let region = HeapRegion::new(options.segment_bytes() / 8);
    /// # table::create(&region, &options)?;
    /// # let mut writer = TableWriter::open(region, 0)?;
    /// for bid in ["310", "295", "310"] {
    ///     writer.insert(b"Zonda", bid.as_bytes())?;
    /// }
    /// let mut bids = Vec::new();
    /// writer.reader().values(b"Zonda", &mut |bid| {
    ///     bids.push(bid.to_vec());
    ///     true
    /// })?;
    /// assert_eq!(bids, [b"310", b"295", b"310"]);
    /// assert_eq!(writer.remove_value(b"Zonda", b"310")?, 2);
    /// assert_eq!(writer.reader().count(b"Zonda")?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        self.values_attributed(key, &mut |value, _| each(value))
    }

    /// The same, and says what each entry has beside its key and value.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn values_attributed(
        &self,
        key: &[u8],
        each: &mut dyn FnMut(&[u8], Attributes) -> bool,
    ) -> Result<(), ReadError> {
        self.visit_values(AsOf::Newest, key, usize::MAX, each)
    }

    /// The number of values that a key has.
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn count(&self, key: &[u8]) -> Result<u64, ReadError> {
        self.count_values(AsOf::Newest, key)
    }

    fn visit_values(
        &self,
        as_of: AsOf,
        key: &[u8],
        at_once: usize,
        each: &mut dyn FnMut(&[u8], Attributes) -> bool,
    ) -> Result<(), ReadError> {
        if self.layout().kind.is_bag() {
            let each = &mut |_: &[u8], value: &[u8], attributes: Attributes| each(value, attributes);
            return self.visit_composites(as_of, &escaped(key), at_once, each);
        }
        let mut value = Vec::new();
        if let Some(attributes) = self.read_as_of(as_of, key, &mut value)? {
            each(&value, attributes);
        }
        Ok(())
    }

    fn count_values(&self, as_of: AsOf, key: &[u8]) -> Result<u64, ReadError> {
        let mut count = 0;
        self.visit_values(as_of, key, usize::MAX, &mut |_, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// Whether a key of a bag has a value.
    pub(super) fn has_values(&self, as_of: AsOf, key: &[u8]) -> Result<bool, ReadError> {
        let mut found = false;
        self.visit_values(as_of, key, 1, &mut |_, _| {
            found = true;
            false
        })?;
        Ok(found)
    }

    /// Appends the first value of a key of a bag.
    pub(super) fn read_first_value(
        &self,
        as_of: AsOf,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        let mut found = None;
        self.visit_values(as_of, key, 1, &mut |first, attributes| {
            value.extend_from_slice(first);
            found = Some(attributes);
            false
        })?;
        Ok(found)
    }

    /// Visits the objects of a bag whose keys lie between two bounds, with their keys as they were inserted.
    pub(super) fn visit_objects(
        &self,
        as_of: AsOf,
        span: Span<'_>,
        order: Order,
        at_once: usize,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let (from, to) = (composite_bound(span.from, true), composite_bound(span.to, false));
        let span = Span { from: from.as_ref().map(Vec::as_slice), to: to.as_ref().map(Vec::as_slice) };
        let mut key = Vec::new();
        let mut whole = true;
        self.walk(as_of, span, order, at_once, &mut |composite, value, attributes| {
            whole = unescape(composite, &mut key).is_some();
            whole && each(&key, value, attributes)
        })?;
        if whole { Ok(()) } else { Err(corrupt("an object of a bag has no key")) }
    }

    /// Visits the objects whose composite keys begin with a prefix.
    fn visit_composites(
        &self,
        as_of: AsOf,
        prefix: &[u8],
        at_once: usize,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let after = after_prefix(prefix);
        let span = Span { from: Bound::Included(prefix), to: below(after.as_deref()) };
        self.walk(as_of, span, Order::Ascending, at_once, each)
    }
}

/// The same as of a version.
impl<R: Region> TableSnapshot<'_, R> {
    /// See [`TableReader::values`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        self.values_attributed(key, &mut |value, _| each(value))
    }

    /// See [`TableReader::values_attributed`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn values_attributed(
        &self,
        key: &[u8],
        each: &mut dyn FnMut(&[u8], Attributes) -> bool,
    ) -> Result<(), ReadError> {
        self.reader().visit_values(self.as_of(), key, usize::MAX, each)
    }

    /// See [`TableReader::count`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::get`].
    pub fn count(&self, key: &[u8]) -> Result<u64, ReadError> {
        self.reader().count_values(self.as_of(), key)
    }
}

impl<R: Region> TableWriter<R> {
    /// Removes the objects of a key that have this value, as one commit, and says how many there were: several equal
    /// ones only in a `duplicate_bag`. Where a key has one value at most, it goes if it is this one.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        let mut transaction = self.transaction();
        let removed = transaction.remove_value(key, value)?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Inserts an object into a bag, as one commit; whether it was there.
    #[cold]
    pub(super) fn insert_object(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, WriteError> {
        let mut transaction = self.transaction();
        let there = transaction.insert_object(key, value, deadline_ms)?;
        transaction.commit()?;
        Ok(there)
    }

    /// Removes all objects of a key of a bag, as one commit; whether there was one.
    #[cold]
    pub(super) fn remove_objects(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        let mut transaction = self.transaction();
        let removed = transaction.remove_objects(&escaped(key), &mut |_| true)?;
        transaction.commit()?;
        Ok(removed > 0)
    }
}

impl<R: Region> Transaction<'_, R> {
    /// Calls back with each value of a key, as this transaction leaves it; see [`TableReader::values`].
    ///
    /// # Errors
    /// As for [`TableReader::get`].
    pub fn values(&self, key: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        if self.is_of_bag() {
            return self.visit_composites(&escaped(key), &mut |_, value, _| each(value));
        }
        if let Some(value) = self.get(key)? {
            each(&value);
        }
        Ok(())
    }

    /// Removes the objects of a key that have this value, and says how many there were; see
    /// [`TableWriter::remove_value`].
    ///
    /// # Errors
    /// What reading says; the transaction goes on without this write.
    pub fn remove_value(&mut self, key: &[u8], value: &[u8]) -> Result<u64, WriteError> {
        if self.is_of_bag() {
            let mut composites = escaped(key);
            if self.reader().layout().kind == Kind::Bag {
                composites.extend_from_slice(&self.value_hash(value));
            }
            return self.remove_objects(&composites, &mut |other| other == value);
        }
        if self.get(key)?.as_deref() != Some(value) {
            return Ok(0);
        }
        self.remove(key)?;
        Ok(1)
    }

    /// Removes all objects of a key of a bag.
    pub(super) fn remove_all_values(&mut self, key: &[u8]) -> Result<(), WriteError> {
        self.remove_objects(&escaped(key), &mut |_| true).map(drop)
    }

    /// Inserts an object into a bag; whether it was there.
    pub(super) fn insert_object(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, WriteError> {
        check_lengths(&[], value)?;
        let mut composite = escaped(key);
        if composite.len() + MOST_SUFFIX_BYTES > MAX_KEY_BYTES {
            let index_bytes = composite.len() + MOST_SUFFIX_BYTES;
            return Err(WriteError::BagKeyTooLong { key_bytes: key.len(), index_bytes });
        }
        self.settle()?;
        if self.reader().layout().kind == Kind::DuplicateBag {
            let (version, number) = self.next_object();
            composite.extend_from_slice(&version.to_be_bytes());
            composite.extend_from_slice(&number.to_be_bytes());
            self.draft_write(&composite, Some(value), deadline_ms);
            return Ok(false);
        }
        composite.extend_from_slice(&self.value_hash(value));
        let mut tie = 0;
        let mut same = None;
        self.visit_composites(&composite, &mut |other, other_value, attributes| {
            if other_value == value {
                same = Some((other.to_vec(), attributes));
            } else if tie_of(other) == Some(tie) {
                tie += 1;
            }
            same.is_none()
        })?;
        let new = self.attributes(deadline_ms);
        match same {
            // An insert sets all anew, but where nothing is new there is nothing to commit.
            Some((_, attributes)) if attributes == new => return Ok(true),
            Some((same, _)) => {
                self.draft_write(&same, Some(value), deadline_ms);
                return Ok(true);
            }
            None => {}
        }
        let tie = u16::try_from(tie).map_err(|_| self.full())?;
        composite.extend_from_slice(&tie.to_be_bytes());
        self.draft_write(&composite, Some(value), deadline_ms);
        Ok(false)
    }

    /// Removes the objects whose composite keys begin with a prefix, and whose values are chosen; says how many.
    fn remove_objects(
        &mut self,
        prefix: &[u8],
        chosen: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<u64, WriteError> {
        self.settle()?;
        let mut composites = Vec::new();
        self.visit_composites(prefix, &mut |composite, value, _| {
            if chosen(value) {
                composites.push(composite.to_vec());
            }
            true
        })?;
        for composite in &composites {
            self.draft_write(composite, None, None);
        }
        Ok(composites.len() as u64)
    }

    /// Appends the first value of a key of a bag, as this transaction leaves it.
    pub(super) fn read_first_value(
        &self,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        let mut found = None;
        self.visit_composites(&escaped(key), &mut |_, first, attributes| {
            value.extend_from_slice(first);
            found = Some(attributes);
            false
        })?;
        Ok(found)
    }

    /// Visits the objects whose composite keys begin with a prefix, as this transaction leaves them: the table's, and
    /// those of the draft among them.
    fn visit_composites(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), ReadError> {
        let mut drafted = self.drafted(prefix).peekable();
        let mut go_on = true;
        let in_table = &mut |composite: &[u8], value: &[u8], attributes: Attributes| {
            while let Some(write) = drafted.next_if(|write| write.key < composite) {
                go_on = go_on && write.visit(each);
            }
            go_on = go_on
                && match drafted.next_if(|write| write.key == composite) {
                    Some(write) => write.visit(each),
                    None => each(composite, value, attributes),
                };
            go_on
        };
        if !self.clears() {
            self.reader().visit_composites(AsOf::Newest, prefix, usize::MAX, in_table)?;
        }
        while go_on && let Some(write) = drafted.next() {
            go_on = write.visit(each);
        }
        Ok(())
    }

    /// The hash of a value, as it stands in a composite key.
    fn value_hash(&self, value: &[u8]) -> [u8; HASH_BYTES] {
        // Tests have values whose hashes are the same.
        if cfg!(test) && value.starts_with(b"same hash") {
            return [7; HASH_BYTES];
        }
        self.reader().layout().hash(value).to_be_bytes()
    }
}

/// The tie of an object of a `bag`.
fn tie_of(composite: &[u8]) -> Option<u32> {
    let tie = composite.last_chunk::<TIE_BYTES>()?;
    Some(u16::from_be_bytes(*tie).into())
}
