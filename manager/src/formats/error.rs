//! Why a file or stream cannot be read.

use std::io;

/// A source of entries is of no use. Each message begins with the source, and the place where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The source is missing, not permitted, or cannot be read to its end.
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
    /// The source as a whole is corrupt, or is something else than its format says.
    #[error("{source_name}: {wrong}")]
    BadFile {
        /// The source.
        source_name: String,
        /// What is wrong, and what was expected.
        wrong: String,
    },
    /// A dump is damaged or cut off: nothing from there on can be believed.
    #[error("{source_name}: damaged at byte {offset}: {wrong}")]
    Damaged {
        /// The source.
        source_name: String,
        /// Where, in bytes from its start.
        offset: u64,
        /// What was found there.
        wrong: String,
    },
}
