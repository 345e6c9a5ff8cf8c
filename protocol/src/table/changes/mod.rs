//! The change ring: which keys the commits changed, for whoever follows the table.
//!
//! ```text
//!  positions   ··· overwritten │ record │ record │ record │ ··· prepared ··· │
//!                              ▲ RING_LOW                  ▲ RING_TAIL
//!                                RING_LOST: the newest version that was, wholly or in part, before it
//!
//!  record      version: 52 │ kind: 4 │ key bytes: 8
//!              [ key bytes ]                            LONG: a key of 255 bytes or more
//!              key, filled up to a word
//! ```
//!
//! Positions count words and only grow; a position's place in the ring is its remainder, so records wrap around word by
//! word. Only what lies from RING_LOW up to RING_TAIL is valid.
//!
//! | word | who stores it | what it says |
//! | --- | --- | --- |
//! | `FOLLOWED` | the manager | whether anybody follows: while nobody does, a commit pays one load of a line that it has |
//! | `RING_TAIL` | the log | the end of the last commit's records: they become valid together, with the commit |
//! | `RING_SINCE` | the log | every change from this version on is recorded; zero while changes are not recorded |
//! | `RING_LOST` | the owner, directly | records up to this version have been overwritten |
//! | `RING_LOW` | the owner, directly | where the oldest record is |
//!
//! A consumer that has seen version v has missed nothing if `0 < RING_SINCE <= v + 1` and `RING_LOST <= v`; else it was
//! overtaken, and starts again from a snapshot. A commit whose records do not fit the ring at all is not recorded: it moves
//! `RING_SINCE` behind itself, and so overtakes everybody.
//!
//! # A record names a key, not an entry
//!
//! Consumers look the key up, as of a version of their choice. So no entry has to wait for a consumer, the record of an entry
//! that was superseded meanwhile does no harm, several changes of one key are one look-up, and the engine knows nothing of
//! its consumers but that there are some.
//!
//! # The order of the stores
//!
//! Records are prepared at positions that no tail covers (R1). Where an older record has that place, it is given up first:
//! RING_LOST and RING_LOW are stored before the place is (*way*), and a reader loads them after it has copied. It finds
//! them unchanged, or what it copied does not count. A kill between the two has lost old records a little early.
//! Both words move some records at a time, so that their line stays quiet.
//!
//! | file | what it has |
//! | --- | --- |
//! | `ring` | the bytes, and the two ends of *way* |
//! | `recorder` | the owner's side |
//! | `follow` | the reader's side |

mod follow;
mod recorder;
mod ring;

pub use follow::{Changes, Cursor, FollowError};
pub(super) use recorder::Recorder;
pub(super) use ring::RecordKind;

use super::layout::{Layout, RING_LOST, RING_LOW, RING_SINCE, RING_TAIL};
use crate::region::Region;
use ring::{Record, Ring};

/// What `verify` says of the ring: where it is, and that its records parse and are in order.
pub(super) fn check<R: Region>(region: &R, layout: &Layout, applied: u64) -> Result<(), String> {
    let ring = Ring::of(layout);
    let (low, tail) = (region.load(RING_LOW), region.load(RING_TAIL));
    let (lost, since) = (region.load(RING_LOST), region.load(RING_SINCE));
    if !ring.spans(low, tail) {
        return Err(format!("the change ring of {} words goes from {low} to {tail}", ring.words()));
    }
    if lost > applied || since > applied + 1 {
        return Err(format!("the change ring is whole since {since} and lost {lost}, at commit {applied}"));
    }
    let (mut at, mut last) = (low, 0);
    while at < tail {
        let record = Record::read(region, ring, at, tail)
            .ok_or_else(|| format!("there is no record at position {at} of the change ring"))?;
        if record.version < last || record.version > applied {
            return Err(format!(
                "a record of version {} follows one of {last} in the change ring, at commit {applied}",
                record.version
            ));
        }
        last = record.version;
        at += record.words();
    }
    Ok(())
}
