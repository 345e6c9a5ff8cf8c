//! Several writes in one commit.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use super::error::{ReadError, WriteError};
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
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    positions: HashMap<Vec<u8>, usize>,
    bequest: Option<Vec<u8>>,
}

/// Up to this many writes, looking through them is cheaper than hashing.
const FEW: usize = 8;

impl<'w, R: Region> Transaction<'w, R> {
    pub(super) fn new(writer: &'w mut TableWriter<R>) -> Self {
        Self { writer, writes: Vec::new(), positions: HashMap::new(), bequest: None }
    }

    /// The value of a key, as this transaction leaves it.
    ///
    /// # Errors
    /// As for [`super::TableReader::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.position(key) {
            Some(position) => Ok(self.writes[position].1.clone()),
            None => self.writer.reader().get(key),
        }
    }

    /// Inserts or overwrites.
    ///
    /// # Errors
    /// [`WriteError::KeyTooLong`] and [`WriteError::ValueTooLong`]; the transaction goes on without this write.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        check_lengths(key, value)?;
        self.write(key, Some(value.to_vec()));
        Ok(())
    }

    /// Removes a key, which need not be there.
    ///
    /// # Errors
    /// [`WriteError::KeyTooLong`]; the transaction goes on without this write.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), WriteError> {
        check_lengths(key, &[])?;
        self.write(key, None);
        Ok(())
    }

    /// What the heir is told, in the same commit: the position in a stream, say. It replaces the last bequest and
    /// stays until another does; an empty one is a bequest too.
    ///
    /// # Errors
    /// [`WriteError::ValueTooLong`]; the transaction goes on without this bequest.
    pub fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        check_lengths(&[], bequest)?;
        self.bequest = Some(bequest.to_vec());
        Ok(())
    }

    /// Carries everything out, and says with which version. A transaction that changes nothing commits nothing, and
    /// says the version of the last commit.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn commit(self) -> Result<u64, WriteError> {
        let Self { writer, writes, bequest, .. } = self;
        let (_, version) = writer.commit_with(writes.len(), |writer| {
            for (key, value) in &writes {
                match value {
                    Some(value) => writer.prepare_insert(key, value)?,
                    None => writer.prepare_remove(key)?,
                };
            }
            bequest.as_deref().map_or(Ok(()), |bequest| writer.prepare_bequest(bequest))
        })?;
        Ok(version)
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        if self.writes.len() <= FEW {
            self.writes.iter().position(|write| write.0 == key)
        } else {
            self.positions.get(key).copied()
        }
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        if let Some(position) = self.position(key) {
            self.writes[position].1 = value;
            return;
        }
        self.writes.push((key.to_vec(), value));
        if self.writes.len() > FEW {
            let first = self.positions.len();
            for (position, (key, _)) in self.writes.iter().enumerate().skip(first) {
                if let MapEntry::Vacant(vacant) = self.positions.entry(key.clone()) {
                    vacant.insert(position);
                }
            }
        }
    }
}
