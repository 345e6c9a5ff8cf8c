//! Rows: overwritten entries that no pin wants, freed together, without a look at their keys.
//!
//! ```text
//!  retired   ● ● ● ● │ ■ ...           ■: of another class, wanted, or removed: looked at by itself (super::reclaim)
//!            X₁ … X₄                   freed by one commit
//!            ▲  previous
//!            S₁ … S₄                   each of these is set past the X behind it by the same commit
//! ```
//!
//! Under an old pin, most of what is overwritten is younger than the pin: nobody wants it, but readers with the pin come by
//! on their way to older entries. So its successor's `previous` must be set past it before it is reused (R12a), and to find the
//! successor by the key costs more than all the rest. The owner knows it: it made it. It keeps the pairs in its own memory,
//! in the order in which it retired the older ones, which is the order in which these are looked at. A pair is a hint: it counts where
//! the successor's `previous` still is the older one. An heir has none, and looks keys up.
//!
//! **Why the successor is the only one that leads to X.** Another leads to X only if S itself was set past, which is S's
//! turn among the retired ones, or in the run of an older entry, with X in it. S was retired after X, and is swept after
//! it: an X that went another way (held, waiting for the horizon) has lost its pair.
//!
//! **Why a row can be freed by O(1) words.** It is a part of the list of the retired ones already, so it is moved to its class's free
//! queue as it is. What is freed by a commit must not have its `previous` set by it (see [`super::entry`]), so a row
//! ends before an entry that is the successor of another in it: one that is not older than the first successor.

use std::collections::VecDeque;

use super::class::Unit;
use super::entry::{Entry, LINK_WORD};
use super::error::WriteError;
use super::layout::{Queue, RETIRED, queue_word};
use super::writer::TableWriter;
use crate::region::Region;

/// Entries of one row: what a write pays for at most, some microseconds.
const LONGEST_ROW: usize = 32;
/// More pairs are not kept: what has none is looked up.
const MOST_PAIRS: usize = 1 << 16;

/// Entries that overwrites retired, each with its successor.
#[derive(Debug, Default)]
pub(super) struct Pairs(VecDeque<Pair>);

#[derive(Debug, Clone, Copy)]
struct Pair {
    retired: Unit,
    successor: Unit,
    /// The version of the commit that put the one in the place of the other.
    version: u64,
}

impl Pairs {
    #[inline]
    pub(super) fn note(&mut self, retired: Unit, successor: Unit, version: u64) {
        if self.0.len() < MOST_PAIRS {
            self.0.push_back(Pair { retired, successor, version });
        }
    }

    /// Forgets those of a commit that was abandoned: of versions above the last one.
    pub(super) fn restore(&mut self, last: u64) {
        while self.0.back().is_some_and(|pair| pair.version > last) {
            self.0.pop_back();
        }
    }

    /// The pair of a retired entry, where it is the one at that place.
    fn of(&self, place: usize, retired: Unit) -> Option<Pair> {
        self.0.get(place).filter(|pair| pair.retired == retired).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many pairs were used.
    fn forget_first(&mut self, pairs: usize) {
        self.0.drain(..pairs);
    }

    /// The retired entry at the front was looked at by itself.
    pub(super) fn swept(&mut self, retired: Unit) {
        if self.of(0, retired).is_some() {
            self.forget_first(1);
        }
    }
}

/// The entries at the front of the retired ones that one commit frees.
struct Row {
    last: Unit,
    entries: usize,
    /// The begin version of the first successor that is set past an entry of the row.
    first_successor: u64,
}

impl<R: Region> TableWriter<R> {
    /// Frees the row at the front of the retired entries; false where none begins there.
    pub(super) fn sweep_row(&mut self) -> Result<bool, WriteError> {
        let Some(row) = self.stage_row()? else { return Ok(false) };
        self.commit()?;
        self.space.pairs.forget_first(row.entries);
        Ok(true)
    }

    fn stage_row(&mut self) -> Result<Option<Row>, WriteError> {
        let retired = Queue::from_word(self.reader.region().load(RETIRED));
        let ready = self.space.retired_ready();
        let class_of = |writer: &Self, unit| writer.reader.layout().class_of(writer.reader.region(), unit);
        let Some(class) = class_of(self, retired.first) else { return Ok(None) };
        let mut row = Row { last: Unit::NONE, entries: 0, first_successor: u64::MAX };
        let mut unit = retired.first;
        while row.entries < LONGEST_ROW && class_of(self, unit) == Some(class) {
            self.check_block(unit, class)?;
            let Some(pair) = self.space.pairs.of(row.entries, unit) else { break };
            if !self.stage_past(&mut row, pair, queue_word(class)) {
                break;
            }
            (row.last, row.entries) = (unit, row.entries + 1);
            if unit == ready || unit == retired.last {
                break;
            }
            unit = self.link_of(unit);
        }
        if row.entries == 0 {
            return Ok(None);
        }
        self.requeue_up_to(row.last, RETIRED, queue_word(class));
        self.space.has_grown(class);
        if row.last == ready {
            self.space.take_last_retired();
        }
        self.space.wait();
        Ok(Some(row))
    }

    /// Stages that a retired entry's successor is set past it, where nobody wants it; false where it is not for a row.
    fn stage_past(&mut self, row: &mut Row, pair: Pair, free: u64) -> bool {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let Some(entry) = Entry::read(region, layout.block(pair.retired)) else { return false };
        if entry.begin >= row.first_successor {
            return false;
        }
        if entry.is_unlinked() {
            return true;
        }
        let block = layout.block(pair.successor);
        let Some(newer) = Entry::read(region, block) else { return false };
        let leads_there = newer.begin == pair.version && newer.previous == pair.retired;
        // The last free block gets its link from this commit. No reader with a pin comes there.
        let is_free = pair.successor == Queue::from_word(region.load(free)).last;
        // What may be looked at was overwritten up to the horizon: all pins that can want it are known.
        let is_wanted = self.space.pins.wanting(entry.begin, newer.begin).is_some();
        if entry.is_removed() || !leads_there || is_free || is_wanted {
            return false;
        }
        let link = region.load(block + LINK_WORD) & !0xffff_ffff;
        self.stage.store_once(block + LINK_WORD, link | u64::from(entry.previous.0));
        row.first_successor = row.first_successor.min(newer.begin);
        true
    }
}
