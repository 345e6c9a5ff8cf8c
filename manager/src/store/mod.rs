//! Tables on disk: for each durable table one file of redb, which is always exactly one version of it.
//!
//! ```text
//!  FOLDER/ID.redb    heirloom.about     whose it is, which version, the bequest, the schema (`about`)
//!                    heirloom.blocks    the entries (`block`)
//! ```
//!
//! A [`Checkpoint`] is one transaction of redb, synced when it returns: entries, bequest, schema and the version's
//! [`Stamp`] go together, so whatever the host dies of, the file is the version before or the one after. A file comes to
//! be under another name, and is whole when it has its own.
//!
//! What is checked, and when:
//!
//! | when | what | cost |
//! | --- | --- | --- |
//! | [`Store::open`] | that nobody else has it; redb's own header; whose it is, its layout, its records with their checksums; where its writer was killed, all of redb's checksums, to find the last whole commit | does not grow with the file, but for the last |
//! | [`Store::hydrate`] | every block with its checksum, and that they are as many, and the same, as the record says: what redb's checksums cover, in the one pass that reads it anyway | in that pass |
//! | [`Store::checkpoint`] | each block that it changes | in passing |
//! | [`Store::verify`] | all of these, and all of redb's checksums | reads the file twice |
//!
//! A file is written to by checkpoints only. Until the first one what redb wants to write lies over it in memory
//! (`untouched`), so a file that is refused is left as it was, byte for byte.
//!
//! redb gives a database up after an error of the disk. The store opens it again at the next checkpoint: a disk that was
//! full is only to have room again. Where redb panics on damaged bytes, that is an error too.

mod about;
mod batch;
mod block;
mod checkpoint;
#[cfg(test)]
pub(crate) mod crashing;
mod error;
mod file;
mod folder;
mod hydration;
mod merge;
mod operator;
#[cfg(test)]
mod tests;
mod untouched;

pub use checkpoint::Checkpoint;
pub use error::StoreError;
pub(crate) use file::FileBackend;
pub(crate) use folder::prepare_folder;
pub use folder::{default_folder, path};
pub use operator::ExportError;
pub(crate) use untouched::Untouched;

use about::{About, BLOCKS};
use batch::Batch;
use error::{from_redb, unusable};
use file::Shared;
use heirloom_protocol::table::Kind;
use merge::Others;
use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, WriteTransaction};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The newest layout of a store, which this version writes; it reads all before it.
const LAYOUT: u32 = 1;

/// What redb keeps in memory of one file: at most so much.
const CACHE_BYTES: usize = 64 << 20;

/// Whose store a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The table's id.
    pub table: String,
    /// How it keeps its entries.
    pub kind: Kind,
}

/// The name of a version, also outside its segment (rule R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which creation of the table.
    pub incarnation: u64,
    /// Which of its commits.
    pub version: u64,
}

/// The file of one table; nobody else has it while this lives.
///
/// ```
/// use heirloom_manager::store::{Identity, Stamp, Store};
/// use heirloom_protocol::table::{Attributes, Kind};
///
/// let folder = tempfile::tempdir()?;
/// let of = Identity { table: "sales".to_owned(), kind: Kind::Set };
/// let path = heirloom_manager::store::path(folder.path(), &of.table);
///
/// let mut store = Store::open(&path, &of)?;
/// assert_eq!(store.at(), None);
/// let mut checkpoint = store.checkpoint()?;
/// checkpoint.replace(b"cars", [(&b"17"[..], Attributes::default())])?;
/// checkpoint.bequest(Some(b"position 9"))?;
/// checkpoint.commit(Stamp { incarnation: 1, version: 8 })?;
///
/// drop(store);
/// let store = Store::open(&path, &of)?;
/// assert_eq!(store.at(), Some(Stamp { incarnation: 1, version: 8 }));
/// assert_eq!(store.entries(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    path: PathBuf,
    of: Identity,
    /// Outlives the databases that are opened on it, and so does the lock that it has.
    storage: Arc<dyn StorageBackend>,
    database: Opened,
    about: About,
    /// Kept for its memory.
    batch: Batch,
}

enum Opened {
    /// What redb writes lies over the file.
    ToRead(Database),
    ToWrite(Database),
    /// It failed, and is opened again when it is needed.
    Not,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).field("at", &self.about.at).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a table; makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: a file that is refused is not touched.
    pub fn open(path: &Path, of: &Identity) -> Result<Self, StoreError> {
        let file = match file::open(path)? {
            Some(file) => file,
            None => file::create(path, |file| Self::format(Arc::new(FileBackend::new(file)), path, of))?,
        };
        Self::open_on(Arc::new(FileBackend::new(file)), path, Some(of))
    }

    /// Writes an empty store to empty storage.
    pub(crate) fn format(
        storage: Arc<dyn StorageBackend>,
        path: &Path,
        of: &Identity,
    ) -> Result<(), StoreError> {
        guarded(path, || {
            let formatted = || {
                let database = builder().create_with_backend(Shared(storage))?;
                let transaction = database.begin_write()?;
                About::write_layout(&transaction)?;
                About::default().write(&transaction, of)?;
                transaction.open_table(BLOCKS)?;
                transaction.commit()?;
                Ok::<_, redb::Error>(())
            };
            formatted().map_err(|error| from_redb(path, error))
        })
    }

    /// Opens the store on storage of any sort, which messages call `path`, and which nobody else uses; that of any table
    /// where no table is named.
    pub(crate) fn open_on(
        storage: Arc<dyn StorageBackend>,
        path: &Path,
        of: Option<&Identity>,
    ) -> Result<Self, StoreError> {
        let over = Untouched::new(Arc::clone(&storage)).map_err(|error| unusable(path, error))?;
        let (database, of, about) = look(Arc::new(over), path, of)?;
        let database = Opened::ToRead(database);
        Ok(Self { path: path.to_owned(), of, storage, database, about, batch: Batch::default() })
    }

    /// The version that the file is; none before the first checkpoint.
    #[must_use]
    pub fn at(&self) -> Option<Stamp> {
        self.about.at
    }

    /// How many entries that version has.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.about.counts.entries
    }

    /// Begins to write another version: the changes from this one.
    ///
    /// # Errors
    /// [`StoreError`]; after one that is over (a full disk that has room again) it can be asked for again.
    pub fn checkpoint(&mut self) -> Result<Checkpoint<'_>, StoreError> {
        Checkpoint::begin(self, Others::Stay)
    }

    /// Begins to write another version, of which everything is given: entries, schema and bequest that are not are gone
    /// when it is committed. What the file has already is not written again, where all of the entries fit into the
    /// memory that a checkpoint takes.
    ///
    /// # Errors
    /// As for [`Store::checkpoint`].
    pub fn whole(&mut self) -> Result<Checkpoint<'_>, StoreError> {
        Checkpoint::begin(self, Others::Go)
    }

    /// A transaction on the file itself.
    fn begin(&mut self) -> Result<WriteTransaction, StoreError> {
        self.open_for_writing()?;
        let path = &self.path;
        let begun = match &self.database {
            Opened::ToWrite(database) => {
                guarded(path, || database.begin_write().map_err(|error| from_redb(path, error)))
            }
            _ => Err(failed_before(path)),
        };
        if begun.is_err() {
            self.close();
        }
        begun
    }

    /// Opens the file itself, where it was only looked at, or has failed.
    fn open_for_writing(&mut self) -> Result<(), StoreError> {
        if !matches!(self.database, Opened::ToWrite(_)) {
            self.close();
            let storage = Arc::new(Shared(Arc::clone(&self.storage)));
            let (database, _, about) = look(storage, &self.path, Some(&self.of))?;
            (self.database, self.about) = (Opened::ToWrite(database), about);
        }
        Ok(())
    }

    /// Gives the database up.
    fn close(&mut self) {
        let database = std::mem::replace(&mut self.database, Opened::Not);
        // What it still writes is of no meaning for what the file says.
        let _ = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the database on that storage, and reads what it says of itself.
fn look(
    storage: Arc<dyn StorageBackend>,
    path: &Path,
    of: Option<&Identity>,
) -> Result<(Database, Identity, About), StoreError> {
    guarded(path, || {
        if storage.len().map_err(|error| unusable(path, error))? == 0 {
            // redb takes an empty file for a new database.
            return Err(StoreError::Foreign { path: path.to_owned(), what: "it is empty".to_owned() });
        }
        let opened = builder().create_with_backend(Shared(storage));
        let database = opened.map_err(|error| not_opened(path, error))?;
        let reading = database.begin_read().map_err(|error| from_redb(path, error))?;
        let (of, about) = About::read(&reading, path, of)?;
        Ok((database, of, about))
    })
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn not_opened(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::Foreign { path: path.to_owned(), what: error.to_string() }
        }
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        error => from_redb(path, error),
    }
}

fn failed_before(path: &Path) -> StoreError {
    unusable(path, io::Error::other("it has failed before"))
}

/// redb checks much, and panics on some of what it does not check.
fn guarded<T>(path: &Path, todo: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(todo)).unwrap_or_else(|_| {
        Err(StoreError::Damaged { path: path.to_owned(), what: "redb panicked on it".to_owned() })
    })
}
