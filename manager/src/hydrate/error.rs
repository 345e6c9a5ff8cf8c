//! Why a source is of no use.

use crate::formats::FormatError;
use heirloom_protocol::table::{OpenError, WriteError};
use std::io;

/// A table could not be filled from its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HydrateError {
    /// The source is missing, damaged, or not in its format.
    #[error(transparent)]
    Format(#[from] FormatError),
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
    /// A dump of a table whose keys have several values, for one where a key has one.
    #[error("{source_name}: it was dumped from a {from}, whose entries a {to} would lose some of")]
    OtherKind {
        /// The source.
        source_name: String,
        /// The kind of table that was dumped.
        from: &'static str,
        /// The kind of table that would be filled.
        to: &'static str,
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
