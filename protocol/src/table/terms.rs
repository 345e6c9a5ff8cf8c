//! What the manager says about a table while it lives: its limit, whether it is followed, what of it is on disk.

use super::MIN_BYTES;
use super::class::SPAN_BYTES;
use super::error::OpenError;
use super::layout::{DURABILITY, DURABLE, FOLLOWED, Layout, MAX_BYTES};
use super::space::used_bytes;
use crate::region::Region;

/// A table's limit stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// More than was reserved when the table was created.
    #[error(
        "{max_bytes} bytes are more than the {reserve_bytes} that were reserved when the table was created"
    )]
    TooHigh {
        /// The limit that was wanted, in bytes.
        max_bytes: u64,
        /// The highest that there can be, in bytes.
        reserve_bytes: u64,
    },
    /// Less than the table uses now, or than any table can have.
    #[error("{max_bytes} bytes are fewer than the table's {least_bytes}")]
    TooLow {
        /// The limit that was wanted, in bytes.
        max_bytes: u64,
        /// The lowest that there can be now, in bytes.
        least_bytes: u64,
    },
    /// What is there is no table.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Changes a table's limit, in bytes; its owner sees it at its next write that needs memory. For the manager (R6a).
///
/// The owner may take memory at the same moment, up to the limit that stood before: then the table has more than a
/// lower limit allows, and takes no more.
///
/// # Errors
/// [`LimitError`]; then the limit is as it was.
pub fn set_limit<R: Region>(region: &R, max_bytes: u64) -> Result<(), LimitError> {
    // Span 0 is nobody's: an offset of zero stands for nothing.
    let reserve_bytes = (Layout::read(region)?.arena_spans() - 1) * SPAN_BYTES;
    if max_bytes > reserve_bytes {
        return Err(LimitError::TooHigh { max_bytes, reserve_bytes });
    }
    let least_bytes = used_bytes(region).max(MIN_BYTES);
    if max_bytes < least_bytes {
        return Err(LimitError::TooLow { max_bytes, least_bytes });
    }
    region.store(MAX_BYTES, max_bytes);
    Ok(())
}

/// Says whether somebody follows the table's changes: the owner keeps the change ring from its next commit on. For the
/// manager (R6a).
pub fn set_followed<R: Region>(region: &R, followed: bool) {
    region.store(FOLLOWED, u64::from(followed));
}

/// Whether somebody follows the table's changes.
pub fn is_followed<R: Region>(region: &R) -> bool {
    region.load(FOLLOWED) != 0
}

/// What of a table survives a crash of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it outlives every process, not the host.
    #[default]
    Memory,
    /// All but what was committed since the last checkpoint.
    Interval,
    /// Every commit that returned: it waits until it is on disk.
    Commit,
}

impl Durability {
    /// Its name in configurations and in `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Interval => "interval",
            Self::Commit => "commit",
        }
    }
}

/// Says what of the table survives a crash of the host. For the manager (R6a), before anybody is granted the table.
pub fn set_durability<R: Region>(region: &R, durability: Durability) {
    let word = match durability {
        Durability::Memory => 0,
        Durability::Interval => 1,
        Durability::Commit => 2,
    };
    region.store(DURABILITY, word);
}

/// What of the table survives a crash of the host; nothing, where its manager said nothing that is known here.
#[inline]
pub fn durability<R: Region>(region: &R) -> Durability {
    match region.load(DURABILITY) {
        1 => Durability::Interval,
        2 => Durability::Commit,
        _ => Durability::Memory,
    }
}

/// Says which version is on disk, and stays there. For the manager (R6a).
pub fn set_durable_version<R: Region>(region: &R, version: Option<u64>) {
    region.store(DURABLE, version.map_or(0, |version| version.saturating_add(1)));
}

/// The last version that is on disk.
pub fn durable_version<R: Region>(region: &R) -> Option<u64> {
    region.load(DURABLE).checked_sub(1)
}
