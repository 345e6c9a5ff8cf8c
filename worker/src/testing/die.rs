//! Killing a worker at each of its commits.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use heirloom_protocol::table::{self, Attributes, TableReader};

use super::frail::{Death, Moment};
use super::{Rehearsal, Table};
use crate::transfer::Transfer;

/// Runs `work` on a table, then again and again on new ones, dying at each of its commits in turn, once right before the
/// commit stands and once right after; each time an heir runs `work` on what is left. Whatever the first owner died at,
/// the table must be in the end as after the undisturbed run: entries, deadlines and bequest. Returns how often it died.
///
/// `work` is what a worker does with a transfer: reads the bequest, accepts, and carries on from there until it is
/// done. It must do the same each time, as a stream of events from a position on does.
///
/// ```
/// use heirloom_worker::Transfer;
/// use heirloom_worker::testing::{Table, die_at_each_commit};
///
/// fn count(transfer: Transfer, events: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
///     let position: usize = transfer.bequest()?.unwrap_or(0);
///     let mut counts = transfer.accept::<str, u64>()?;
///     for (number, car) in events.iter().enumerate().skip(position) {
///         let mut transaction = counts.transaction();
///         transaction.add(*car, 1)?;
///         transaction.bequeath(&(number + 1))?;
///         transaction.commit()?;
///     }
///     Ok(())
/// }
///
/// let events = ["Zonda", "Huayra", "Zonda"];
/// let deaths = die_at_each_commit(Table::set("counts"), |transfer| count(transfer, &events));
/// assert!(deaths >= 6);
/// ```
///
/// Had it left the bequest in a commit of its own, this would have failed:
///
/// ```should_panic
/// # use heirloom_worker::testing::{Table, die_at_each_commit};
/// # let events = ["Zonda", "Huayra", "Zonda"];
/// die_at_each_commit(Table::set("counts"), |transfer| {
///     let position: usize = transfer.bequest()?.unwrap_or(0);
///     let mut counts = transfer.accept::<str, u64>()?;
///     for (number, car) in events.iter().enumerate().skip(position) {
///         counts.add(*car, 1)?;
///         counts.bequeath(&(number + 1))?;
///     }
///     Ok::<(), Box<dyn std::error::Error>>(())
/// });
/// ```
///
/// # Panics
/// Where the table is another in the end, with what differs; where `work` fails, or panics by itself.
pub fn die_at_each_commit<E: Debug>(table: Table, mut work: impl FnMut(Transfer) -> Result<(), E>) -> u64 {
    let mut undisturbed = Rehearsal::new(table.clone());
    work(undisturbed.transfer()).expect("the work is done where nobody dies");
    let expected = Content::of(&undisturbed);
    let mut deaths = 0;
    for commit in 0.. {
        for moment in [Moment::Before, Moment::After] {
            let mut rehearsal = Rehearsal::new(table.clone());
            let death = Death::new(commit, moment);
            rehearsal.memory.death = Some(Arc::clone(&death));
            let transfer = rehearsal.transfer();
            let first = catch_unwind(AssertUnwindSafe(|| work(transfer)));
            rehearsal.memory.death = None;
            match first {
                Err(panic) if !death.has_come() => resume_unwind(panic),
                Ok(done) if !death.has_come() => {
                    done.expect("the work is done where nobody dies");
                    return deaths;
                }
                _ => deaths += 1,
            }
            work(rehearsal.transfer()).unwrap_or_else(|error| {
                panic!("the heir of an owner that died {moment:?} commit {commit} fails: {error:?}")
            });
            let found = Content::of(&rehearsal);
            assert!(
                found == expected,
                "after a death {moment:?} commit {commit} the table is another: {}",
                expected.difference(&found)
            );
        }
    }
    unreachable!("the work ends")
}

/// What a table holds.
#[derive(PartialEq)]
struct Content {
    entries: Vec<(Vec<u8>, Vec<u8>, Attributes)>,
    bequest: Option<Vec<u8>>,
}

impl Content {
    fn of(rehearsal: &Rehearsal) -> Self {
        let region = Arc::clone(&rehearsal.memory.region);
        table::recover(&region).expect("a table of our own");
        let reader = TableReader::open(region).expect("a table of our own");
        let reader = reader.with_clock(rehearsal.memory.clock.clone());
        let mut entries = Vec::new();
        let scanned = reader.scan_attributed(&mut |key, value, attributes| {
            entries.push((key.to_vec(), value.to_vec(), attributes));
            true
        });
        scanned.expect("a table of our own");
        // A stable sort: the values of a key of a bag keep their order.
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Self { entries, bequest: reader.bequest().expect("a table of our own") }
    }

    /// The first thing that differs, as bytes.
    fn difference(&self, found: &Self) -> String {
        if self.bequest != found.bequest {
            return format!("its bequest is {:?}, not {:?}", found.bequest, self.bequest);
        }
        let mut pairs = self.entries.iter().zip(&found.entries);
        match pairs.find(|(expected, found)| expected != found) {
            Some((expected, found)) => format!("it has {found:?} instead of {expected:?}"),
            None => format!("it has {} entries, not {}", found.entries.len(), self.entries.len()),
        }
    }
}
