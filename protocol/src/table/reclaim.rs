//! Housekeeping: what is done between the owner's commits, in commits of its own.
//!
//! A removed entry keeps its slot until the horizon has passed its removal; then its slot is emptied by a commit c of its own,
//! and its block, unreachable since then, is freed by c (R12a). An entry that was superseded meanwhile (the key was
//! inserted again) has no slot, and is only freed. No step costs a write more than one chain (R15).

use super::bucket::Slot;
use super::class::Unit;
use super::entry::Entry;
use super::error::WriteError;
use super::layout::{Queue, REMOVED};
use super::writer::TableWriter;
use crate::region::Region;

/// Steps for each write: the index grows by one bucket for 5.5 inserts, and each removal leaves one slot to empty,
/// so two steps a write keep pace with anything.
const STEPS_PER_WRITE: usize = 2;
/// Slots that are emptied at once where memory is short.
pub(super) const SWEEPS_WHEN_SHORT: usize = 64;

impl<R: Region> TableWriter<R> {
    /// Called after each commit with the number of writes in it.
    #[inline]
    pub(super) fn keep_house(&mut self, writes: usize) {
        if writes as u64 >= self.batch_commits {
            // What so many writes freed is worth a batch of its own.
            self.move_horizon();
        }
        for _ in 0..STEPS_PER_WRITE * writes.max(1) {
            // What goes wrong in a sweep can wait: nothing is lost, and the next write that needs it says so.
            if !self.adjust_index() && !matches!(self.sweep(), Ok(true)) && !self.compact() {
                return;
            }
        }
    }

    /// Makes up to so many removed entries, or nodes that are nearly empty, reusable, and all that waits for the
    /// horizon; says how many. For a write that found no memory.
    #[cold]
    pub(super) fn make_room(&mut self, sweeps: usize) -> Result<usize, WriteError> {
        self.move_horizon();
        let mut swept = 0;
        while swept < sweeps && self.sweep()? {
            swept += 1;
        }
        while self.is_ordered() && swept < sweeps && self.tend_when_short()? {
            // The copies of the next step may need what this one freed.
            self.move_horizon();
            swept += 1;
        }
        if swept > 0 {
            self.move_horizon();
        }
        Ok(swept)
    }

    /// Empties the slot of the entry that was removed first; false where none can be.
    #[inline]
    fn sweep(&mut self) -> Result<bool, WriteError> {
        if self.space.removed_ready.is_none() {
            return Ok(false);
        }
        self.stage_sweep().and_then(|()| self.commit()).inspect_err(|_| self.abandon())?;
        Ok(true)
    }

    fn stage_sweep(&mut self) -> Result<(), WriteError> {
        let queue = Queue::from_word(self.reader.region().load(REMOVED));
        let unit = queue.first;
        let class = Entry::read(self.reader.region(), self.reader.layout().block(unit))
            .and_then(|entry| entry.class())
            .ok_or_else(|| WriteError::Corrupt("a removed entry is no entry".into()))?;
        self.check_block(unit, class)?;
        let rest =
            if unit == queue.last { Queue::EMPTY } else { Queue { first: self.link_of(unit), ..queue } };
        if unit == self.space.removed_ready {
            self.space.removed_ready = Unit::NONE;
            if !rest.is_empty() {
                self.space.wait();
            }
        }
        if let Some(slot) = self.slot_of(unit)? {
            self.empty_slot(slot)?;
        }
        self.stage.store_header(REMOVED, rest.to_word());
        // Its memory is needed as soon as the horizon has passed this commit.
        self.space.wait();
        self.free(unit, class);
        Ok(())
    }

    /// Empties a slot.
    fn empty_slot(&mut self, slot: Slot) -> Result<(), WriteError> {
        self.count(0, -1)?;
        if self.is_ordered() {
            return self.empty_lane(slot);
        }
        let word = slot.offset_word();
        let value = slot.with_offset(self.reader.region().load(word), Unit::NONE);
        self.stage.store(word, value);
        Ok(())
    }

    /// The slot that points to an entry, where one does.
    fn slot_of(&mut self, unit: Unit) -> Result<Option<Slot>, WriteError> {
        if self.is_ordered() {
            return self.lane_of(unit);
        }
        let hash = self.hash_of(unit)?;
        let region = self.reader.region();
        let chain = self.reader.layout().chain(region, self.root()?.bucket(hash))?;
        Ok(chain.into_iter().flat_map(Slot::all).find(|slot| slot.entry(region) == unit))
    }
}
