//! Reading a key and writing it, as one step: what a plain insert or remove does not do.
//!
//! All of it is one function, [`Modify::modify`]: it shows the value that a key has, and carries out what is decided
//! about it. On a writer that is one commit, found once; in a transaction it sees the transaction's own writes.
//!
//! What changes a value in place (everything here) keeps the entry's deadline; an insert sets all anew.
//!
//! In a bag there is no such thing as the value of a key: all of it is refused there ([`WriteError::SeveralValues`]).

use super::entry::Attributes;
use super::error::WriteError;
use super::writer::{TableWriter, check_lengths};
use crate::region::Region;

/// The value that a key has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current<'a> {
    /// The value.
    pub value: &'a [u8],
    /// What the entry has beside it.
    pub attributes: Attributes,
}

/// What is to become of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// All stays as it is, and nothing is committed.
    Keep,
    /// The key is removed, if it is there.
    Remove,
    /// The key gets the new value, and keeps the deadline that it has.
    Put,
    /// The key gets the new value, and expires at that time, in milliseconds of UNIX time.
    PutUntil(u64),
}

/// What a compare-and-swap came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Swap<V = Vec<u8>> {
    /// The key had the expected value, and has the new one.
    Swapped,
    /// The key has another value (`None`: none), and keeps it.
    Differs(Option<V>),
}

/// How a counter is changed.
///
/// ```
/// use heirloom_protocol::table::Step;
///
/// let ticket = Step::by(1).starting_at(100).wrapping_beyond(999, 0);
/// assert_eq!(ticket.after(None), 101);
/// assert_eq!(ticket.after(Some(999)), 0);
/// assert_eq!(Step::by(-1).wrapping_beyond(0, 9).after(Some(0)), 9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    by: i64,
    start: i64,
    wrap: Option<(i64, i64)>,
}

impl Step {
    /// Adds so much, to 0 where there is no counter yet.
    #[must_use]
    pub fn by(by: i64) -> Self {
        Self { by, start: 0, wrap: None }
    }

    /// What there is to add to where there is no counter yet.
    #[must_use]
    pub fn starting_at(self, start: i64) -> Self {
        Self { start, ..self }
    }

    /// A counter that would go beyond `threshold`, in the direction of the step, becomes `value` instead.
    #[must_use]
    pub fn wrapping_beyond(self, threshold: i64, value: i64) -> Self {
        Self { wrap: Some((threshold, value)), ..self }
    }

    /// The counter after this step.
    #[must_use]
    pub fn after(&self, counter: Option<i128>) -> i128 {
        let sum = counter.unwrap_or(self.start.into()).saturating_add(self.by.into());
        match self.wrap {
            Some((threshold, value)) if self.by >= 0 && sum > threshold.into() => value.into(),
            Some((threshold, value)) if self.by < 0 && sum < threshold.into() => value.into(),
            _ => sum,
        }
    }
}

/// What can be done with a key by whoever looks at it first: with a [`TableWriter`] in one commit, with a
/// [`super::Transaction`] as a part of it.
///
/// ```
/// # use heirloom_protocol::{region::HeapRegion, table::{self, TableOptions, TableWriter}};
/// use heirloom_protocol::table::{Modify, Step, Swap};
/// # let options = TableOptions::set(1 << 20);
/// # let region = HeapRegion::new(options.segment_bytes() / 8);
/// # table::create(&region, &options)?;
/// # let mut writer = TableWriter::open(region, 0)?;
///
/// assert!(writer.insert_new(b"car", b"Zonda")?);
/// assert!(!writer.insert_new(b"car", b"Huayra")?);
/// assert_eq!(writer.compare_and_swap(b"car", Some(b"Zonda"), Some(b"Huayra"))?, Swap::Swapped);
/// writer.update(b"car", |car| car.map(<[u8]>::to_ascii_uppercase))?;
/// assert_eq!(writer.take(b"car")?, Some(b"HUAYRA".to_vec()));
/// assert_eq!(writer.add(b"sold", 2)?, 2);
/// assert_eq!(writer.add_step(b"sold", Step::by(1).wrapping_beyond(2, 0))?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Modify {
    /// Shows `decide` the value that the key has, and an empty buffer for a new one, and carries out what it says.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn modify<T>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<Current<'_>>, &mut Vec<u8>) -> (Change, T),
    ) -> Result<T, WriteError>;

    /// Inserts where the key has no value; whether it did.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn insert_new(&mut self, key: &[u8], value: &[u8]) -> Result<bool, WriteError> {
        self.modify(key, |current, new| match current {
            Some(_) => (Change::Keep, false),
            None => {
                new.extend_from_slice(value);
                (Change::Put, true)
            }
        })
    }

    /// Replaces the value by what `change` makes of it; `None` stands for "not there" both ways.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn update(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<(), WriteError> {
        self.modify(key, |current, new| match change(current.map(|current| current.value)) {
            Some(value) => {
                *new = value;
                (Change::Put, ())
            }
            None => (Change::Remove, ()),
        })
    }

    /// Removes the key and returns the value that it had.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn take(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, WriteError> {
        self.modify(key, |current, _| (Change::Remove, current.map(|current| current.value.to_vec())))
    }

    /// Replaces the value if it is `expected`; `None` stands for "not there" both ways.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn compare_and_swap(
        &mut self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Swap, WriteError> {
        self.modify(key, |current, buffer| {
            let current = current.map(|current| current.value);
            if current != expected {
                return (Change::Keep, Swap::Differs(current.map(<[u8]>::to_vec)));
            }
            match new {
                Some(new) => {
                    buffer.extend_from_slice(new);
                    (Change::Put, Swap::Swapped)
                }
                None => (Change::Remove, Swap::Swapped),
            }
        })
    }

    /// The value of the key; where it has none, what `value` makes is inserted first.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    fn get_or_insert_with(
        &mut self,
        key: &[u8],
        value: impl FnOnce() -> Vec<u8>,
    ) -> Result<Vec<u8>, WriteError> {
        self.modify(key, |current, new| match current {
            Some(current) => (Change::Keep, current.value.to_vec()),
            None => {
                *new = value();
                (Change::Put, new.clone())
            }
        })
    }

    /// Adds to a counter, which begins at 0, and returns what it is then. Its value is eight bytes: an `i64`, little
    /// endian.
    ///
    /// # Errors
    /// [`WriteError::NotACounter`], [`WriteError::CounterOverflow`], and others of [`WriteError`]; then nothing has
    /// changed.
    fn add(&mut self, key: &[u8], by: i64) -> Result<i64, WriteError> {
        self.add_step(key, Step::by(by))
    }

    /// The same, with a start and a threshold.
    ///
    /// # Errors
    /// As for [`Modify::add`].
    fn add_step(&mut self, key: &[u8], step: Step) -> Result<i64, WriteError> {
        self.modify(key, |current, new| match count(current, step) {
            Ok(counter) => {
                new.extend_from_slice(&counter.to_le_bytes());
                (Change::Put, Ok(counter))
            }
            Err(error) => (Change::Keep, Err(error)),
        })?
    }
}

#[inline]
fn count(current: Option<Current<'_>>, step: Step) -> Result<i64, WriteError> {
    let counter = match current {
        None => None,
        Some(Current { value, .. }) => {
            let bytes = value.try_into().map_err(|_| WriteError::NotACounter { bytes: value.len() })?;
            Some(i64::from_le_bytes(bytes).into())
        }
    };
    step.after(counter).try_into().map_err(|_| WriteError::CounterOverflow)
}

/// The value that a key has, and the one that it gets. Kept, so that a change allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) current: Vec<u8>,
    pub(super) new: Vec<u8>,
}

/// Buffers longer than this are given back after the change that needed them.
const KEPT_BYTES: usize = 64 * 1024;

impl Buffers {
    pub(super) fn cleared(mut self) -> Self {
        for buffer in [&mut self.current, &mut self.new] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
        self
    }
}

impl<R: Region> Modify for TableWriter<R> {
    #[inline]
    fn modify<T>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<Current<'_>>, &mut Vec<u8>) -> (Change, T),
    ) -> Result<T, WriteError> {
        if self.reader.layout().kind.is_bag() {
            return Err(WriteError::SeveralValues);
        }
        check_lengths(key, &[])?;
        self.begin()?;
        let hash = self.reader.layout().hash(key);
        let found = self.find(hash, key)?;
        let mut buffers = std::mem::take(&mut self.buffers).cleared();
        let there = found.filter(|found| found.entry.is_there(self.reader.clock()));
        if let Some(found) = &there
            && !self.reader.copy_value(found.block, &found.entry, &mut buffers.current)
        {
            return Err(WriteError::Corrupt("a value ends outside the segment".into()));
        }
        let attributes = there.map(|found| found.entry.attributes);
        let current = attributes.map(|attributes| Current { value: &buffers.current, attributes });
        let (change, result) = decide(current, &mut buffers.new);
        let deadline_ms = match change {
            Change::Keep => {
                self.buffers = buffers;
                return Ok(result);
            }
            Change::PutUntil(deadline_ms) => Some(deadline_ms),
            Change::Put | Change::Remove => attributes.and_then(|attributes| attributes.deadline_ms),
        };
        check_lengths(key, &buffers.new)?;
        // Where memory was short, entries were swept before the next try: then the slot is looked for again.
        let mut first = Some(found);
        let new = self.new_entry(hash, key, &buffers.new, deadline_ms);
        let done = self.commit_with(1, |writer| {
            if change == Change::Remove {
                return writer.prepare_remove(hash, key).map(drop);
            }
            let found = first.take().map_or_else(|| writer.find(hash, key), Ok)?;
            writer.prepare_put(found, &new)
        });
        self.buffers = buffers;
        done.map(|_| result)
    }
}
