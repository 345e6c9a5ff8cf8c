//! Recovery: what is done when a table's owner is gone.
//!
//! | found | it means | done |
//! | --- | --- | --- |
//! | `committed == applied`, the log of no later version | the owner was between commits | nothing |
//! | `committed == applied`, the log of `committed + 1` | it was writing a log | nothing: the commit never was |
//! | `committed == applied + 1`, the log of `committed` | it was applying | the log is applied again |
//! | anything else | these bytes were not written by an owner | an error, and nothing changed |
//!
//! No structure is known here, nothing is searched, and the cost is that of the one commit. Cut at any store and
//! repeated, it ends in the same words. Readers go on meanwhile.

use super::error::OpenError;
use super::layout::{APPLIED, COMMITTED, HORIZON, Layout};
use super::stage::{apply_log, forget_log, logged_version};
use super::writer::check_versions;
use crate::region::Region;

/// What recovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// No commit was in flight.
    Clean,
    /// A log was being written: that commit never was.
    LogDiscarded,
    /// A commit stood and was not, or not wholly, applied: it is now.
    Reapplied {
        /// The commit.
        version: u64,
        /// Words of its log.
        stores: u64,
    },
}

/// Whether a commit is in flight: whether [`recover`] would find one if the owner died where it is now. For looking at
/// an owner that stands still; one that runs is somewhere else by the time the answer is there.
///
/// # Errors
/// [`OpenError`] where the region does not hold a table.
pub fn is_mid_commit<R: Region>(region: &R) -> Result<bool, OpenError> {
    let layout = Layout::read(region)?;
    let (committed, applied) = (region.load(COMMITTED), region.load(APPLIED));
    Ok(committed != applied || logged_version(region, &layout) == committed.wrapping_add(1))
}

/// Whether a store to this word is a commit: what is before it never was, what is after it stands. For tests that kill
/// an owner there.
#[must_use]
pub fn is_commit(word: u64) -> bool {
    word == COMMITTED
}

/// Finishes the commit in flight, if there is one. Only while nobody else can write the table (R14).
///
/// # Errors
/// [`OpenError`] where the region does not hold a table, or holds a log that no owner wrote; then nothing is changed.
pub fn recover<R: Region>(region: &R) -> Result<Recovery, OpenError> {
    let layout = Layout::read(region)?;
    let (committed, applied) = (region.load(COMMITTED), region.load(APPLIED));
    check_versions(region.load(HORIZON), applied)?;
    if committed == applied {
        if logged_version(region, &layout) != committed.wrapping_add(1) {
            return Ok(Recovery::Clean);
        }
        forget_log(region, &layout);
        return Ok(Recovery::LogDiscarded);
    }
    if Some(committed) != applied.checked_add(1) {
        return Err(OpenError::Corrupt(format!("commit {committed} stands, and {applied} is applied")));
    }
    let stores = apply_log(region, &layout, committed)?;
    Ok(Recovery::Reapplied { version: committed, stores })
}
