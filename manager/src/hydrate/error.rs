//! Why a source is of no use.

use heirloom_protocol::table::{OpenError, WriteError};
use std::io;

/// A table could not be filled from its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HydrateError {
    /// The file is missing, not permitted, or cannot be read to its end.
    #[error("{source_name}: cannot be read: {error}")]
    Unreadable {
        /// The source.
        source_name: String,
        /// The system's answer.
        error: io::Error,
    },
    /// One entry is not as the format wants it.
    #[error("{source_name}:{line}: {wrong}")]
    BadEntry {
        /// The source.
        source_name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what was expected.
        wrong: String,
    },
    /// The file as a whole is corrupt, or is something else than its format says.
    #[error("{source_name}: {wrong}")]
    BadFile {
        /// The source.
        source_name: String,
        /// What is wrong, and what was expected.
        wrong: String,
    },
    /// A redb file is read in place: it cannot come from a command.
    #[error("{source_name}: a redb file cannot be printed by a command; name it with `file`")]
    NotAStream {
        /// The source.
        source_name: String,
    },
    /// The command could not be started.
    #[error("{source_name}: cannot be started: {error}")]
    NotStarted {
        /// The source.
        source_name: String,
        /// The system's answer.
        error: io::Error,
    },
    /// The command failed, so what it printed may be half of what it meant to.
    #[error("{source_name}: ended with {status}; what it printed may be incomplete")]
    Failed {
        /// The source.
        source_name: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// An entry does not fit into the table.
    #[error("{place}: {error}")]
    NotWritten {
        /// The source, and the line where it has lines.
        place: String,
        /// Why.
        error: WriteError,
    },
    /// The table itself cannot be used.
    #[error("table `{table}`: {error}")]
    Table {
        /// Its id.
        table: String,
        /// Why.
        error: OpenError,
    },
}
