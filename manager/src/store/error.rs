//! Why a store is of no use, or not now.

use heirloom_protocol::table::{Kind, OpenError, WriteError};
use std::io;
use std::path::{Path, PathBuf};

/// Something with a table's store went wrong. A file that is refused stays as it is, byte for byte.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room on the disk, or the user's quota is used up. What the file said before still stands.
    #[error("{}: there is no room for it: {error}; free some, and the next checkpoint goes on", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The file cannot be opened, read or written.
    #[error("{}: cannot be used: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The folder of the stores cannot be made, or not be written to.
    #[error(
        "{}: the folder of durable tables cannot be used: {error}; let this user write there, or name another one \
         (`store` in [manager])",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// Another process has it open: a manager, or a command.
    #[error(
        "{}: another process has this store open (a manager, or a `heirloom store` command); stop that first",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is no store of Heirloom.
    #[error(
        "{}: this is no store of Heirloom: {what}; it is left as it is. Move it elsewhere, or name another folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It was a store, and its bytes contradict each other.
    #[error(
        "{}: this store is damaged: {what}; it is left as it is. Put a copy of it in its place, or move it away: then \
         its table begins with its source, or empty",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer version of Heirloom wrote it.
    #[error(
        "{}: this store has layout {layout}, and this version of heirloom knows layouts up to {known}; it is left as it \
         is. Run the newer version, or move the file away",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        layout: u32,
        /// The newest layout that this version knows.
        known: u32,
    },
    /// It is the store of another table.
    #[error(
        "{}: this is the store of the {} `{table}`, and that of the {} `{wanted_table}` is wanted; it is left as it is. \
         Move it elsewhere, or name another folder",
        path.display(), kind.name(), wanted_kind.name()
    )]
    OfAnother {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        table: String,
        /// Of which kind.
        kind: Kind,
        /// Whose it should be.
        wanted_table: String,
        /// Of which kind.
        wanted_kind: Kind,
    },
    /// The table that was to be filled is none, or is not empty.
    #[error("{}: its table cannot be filled: {error}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// An entry does not fit into the table that was to be filled.
    #[error("{}: {place}: {error}", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Which entry.
        place: String,
        /// Why.
        error: WriteError,
    },
    /// A value is longer than any table takes.
    #[error("{}: all that one key has is {bytes} bytes, which no store takes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How long.
        bytes: u64,
    },
}

impl StoreError {
    /// Whether it is only that the disk is full: then it goes on as soon as there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// What the system says of a file.
pub(super) fn unusable(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path, error },
        _ => StoreError::Io { path, error },
    }
}

/// What redb says of one that it had open.
pub(super) fn from_redb(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    let damaged = |what: String| StoreError::Damaged { path: path.to_owned(), what };
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => damaged(error.to_string()),
        redb::Error::Io(error) => unusable(path, error),
        redb::Error::Corrupted(what) => damaged(what),
        redb::Error::ValueTooLarge(bytes) => {
            StoreError::TooLarge { path: path.to_owned(), bytes: bytes as u64 }
        }
        error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_)) => {
            unusable(path, io::Error::other(error.to_string()))
        }
        // The tables in it are not those of a store, though it says that it is one.
        error => damaged(error.to_string()),
    }
}
