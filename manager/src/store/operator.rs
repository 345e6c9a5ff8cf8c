//! What an operator does with a store whose table is not in use: look, check, make it smaller, take what is in it.

use super::about::About;
use super::block::Rows;
use super::error::from_redb;
use super::{FileBackend, Identity, Opened, Store, StoreError, file, guarded, unusable};
use crate::formats::{self, Entry, Format, Head};
use heirloom_protocol::table::TableSchema;
use redb::CompactionError;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// redb moves what it can at each turn, and says whether more could be.
const MOST_TURNS: usize = 16;

/// Why a store was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it is exported to cannot be written.
    #[error(transparent)]
    Out(#[from] io::Error),
}

impl Store {
    /// Opens a store whosever it is; it must be there.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub fn inspect(path: &Path) -> Result<Self, StoreError> {
        let file = file::open(path)?.ok_or_else(|| {
            unusable(path, io::Error::new(io::ErrorKind::NotFound, "there is no such file"))
        })?;
        Self::open_on(Arc::new(FileBackend::new(file)), path, None)
    }

    /// Whose it is.
    #[must_use]
    pub fn of(&self) -> &Identity {
        &self.of
    }

    /// What the values of its version are, where that is known.
    #[must_use]
    pub fn schema(&self) -> Option<&TableSchema> {
        self.about.schema.as_ref()
    }

    /// What its last owner left for its heir.
    #[must_use]
    pub fn bequest(&self) -> Option<&[u8]> {
        self.about.bequest.as_deref()
    }

    /// How long its file is, in bytes. A file is sparse: it may take less of the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        self.storage.len().map_err(|error| unusable(&self.path, error))
    }

    /// Checks every byte that matters: the blocks as hydration does, and all of redb's own checksums. The file is not
    /// touched.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and what the system says.
    pub fn verify(&mut self) -> Result<(), StoreError> {
        let mut entries = 0;
        self.visit(|rows| {
            entries += Rows::of(rows).count() as u64;
            Ok(())
        })?;
        let damaged = |what: String| StoreError::Damaged { path: self.path.clone(), what };
        if entries != self.about.counts.entries {
            return Err(damaged(format!(
                "{entries} entries are there, and {} were",
                self.about.counts.entries
            )));
        }
        let (Opened::ToRead(database) | Opened::ToWrite(database)) = &mut self.database else {
            return Ok(());
        };
        let checked =
            guarded(&self.path, || database.check_integrity().map_err(|error| from_redb(&self.path, error)))?;
        match checked {
            true => Ok(()),
            false => Err(damaged("redb's checksums do not fit what is there".to_owned())),
        }
    }

    /// Makes the file as small as redb can.
    ///
    /// # Errors
    /// [`StoreError`]; what the store says stays the same, whatever happens.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.open_for_writing()?;
        let Opened::ToWrite(database) = &mut self.database else { return Ok(()) };
        let path = &self.path;
        let compacted = guarded(path, || {
            for _ in 0..MOST_TURNS {
                let moved = database.compact().map_err(|error| match error {
                    CompactionError::Storage(error) => from_redb(path, error),
                    error => unusable(path, io::Error::other(error.to_string())),
                })?;
                if !moved {
                    break;
                }
            }
            Ok(())
        });
        // Closed in any case: redb makes the file shorter when it ends.
        self.close();
        compacted
    }

    /// Writes all that the version has, in the order of the keys; the text formats leave out the bequest.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export<W: Write>(&self, out: W, format: Format) -> Result<W, ExportError> {
        let About { at, schema, bequest, .. } = &self.about;
        let head = Head { kind: self.of.kind, version: at.map_or(0, |at| at.version) };
        // The header of CSV says it before the first entry is written.
        let deadlines = format == Format::Csv && self.has_deadlines()?;
        let mut writer = formats::Writer::begin(out, format, head, schema.clone(), deadlines)?;
        let mut failed = None;
        self.visit(|rows| {
            let mut entries = Rows::of(rows).map(|(entry, _)| entry);
            let written = entries.try_for_each(|entry: Entry<'_>| writer.entry(entry));
            written.map_err(|error| {
                failed = Some(error);
                unusable(&self.path, io::Error::other("it is not wanted any more"))
            })
        })
        .map_err(|error| failed.take().map_or_else(|| error.into(), ExportError::from))?;
        if let Some(bequest) = bequest {
            writer.bequest(bequest)?;
        }
        Ok(writer.finish()?)
    }

    fn has_deadlines(&self) -> Result<bool, StoreError> {
        let mut found = false;
        self.visit(|rows| {
            found |= Rows::of(rows).any(|(entry, _)| entry.attributes.deadline_ms.is_some());
            Ok(())
        })?;
        Ok(found)
    }
}
