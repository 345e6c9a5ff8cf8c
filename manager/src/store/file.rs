//! A file as redb reads and writes it, and how a store's file comes to be.

use super::StoreError;
use super::error::unusable;
use redb::StorageBackend;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Error};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, and nothing else: whoever opened it has locked it, since it is kept open over several databases of redb.
#[derive(Debug)]
pub(crate) struct FileBackend(File);

impl FileBackend {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, bytes: u64) -> Result<(), Error> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.write_all_at(data, offset)
    }
}

/// Several databases, one after the other, over the same storage.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<dyn StorageBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> Result<u64, Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, bytes: u64) -> Result<(), Error> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.write(offset, data)
    }
}

/// Opens the file and locks it for as long as it is open; `None` where there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => lock(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, error)),
    }
}

fn lock(file: File, path: &Path) -> Result<File, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unusable(path, error)),
    }
}

/// Makes a new file, whole or not at all: `fill` writes to it under another name.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(File) -> Result<(), StoreError>,
) -> Result<File, StoreError> {
    let failed = |error| unusable(path, error);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new: PathBuf = path.with_file_name(name);
    // One that a crash has left: it is nobody's.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).clone();
    let file = lock(options.open(&new).map_err(failed)?, path)?;
    let filled = file.try_clone().map_err(failed).and_then(fill);
    let named = filled.and_then(|()| {
        file.sync_all().map_err(failed)?;
        // Unlike a rename, it never takes the place of one that somebody else has made meanwhile.
        std::fs::hard_link(&new, path).map_err(failed)
    });
    let removed = std::fs::remove_file(&new).map_err(failed);
    named.and(removed)?;
    // Without it, a crash may leave the folder without the name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(file)
}
