//! Housekeeping: what is done between the owner's commits, in commits of its own.
//!
//! An entry that is no key's newest any more (it was overwritten, or removed) is free at once as far as unpinned readers
//! are concerned: they need the horizon only (R7). What pins need is decided here.
//!
//! ```text
//!                                                                       ┌─► reused
//!  newest ─┬─► overwritten, and no pin is known ──────► queue of its class ─► first pins since: RECALLED
//!          │                                                 ▲     ▲                               │
//!          ├─► overwritten, and a known pin wants it ──► WAITING   └─── sweep ─────────┬───────────┘
//!          │                                               │ a pin between gone        │
//!          ├─► overwritten, and no known pin wants it ─┐   ▼                           │
//!          └─► removed ────────────────────────────► RETIRED ◄─── pin gone ─── HELD ◄──┘
//!                                                                          for one pin
//! ```
//!
//! What waits is freed as a whole when its pins are gone ([`super::waiting`]).
//! RETIRED is swept from the front, a row of overwritten entries a commit ([`super::rows`]) or one entry, as far as the horizon has passed the commits that retired them: then the
//! known pins say all (see [`super::horizon::Space`]). An entry that stood from version b until f is wanted by the pins
//! p with `b <= p < f`. What is wanted is held for one of them, and looked at again when that one is gone. What is not
//! is freed by this commit c, the last one that made it unreachable (R12a):
//!
//! - *A removed entry that its slot still points to*: the slot is emptied by c. Where pins see older ones behind it, the
//!   slot points to the next of these from then on, if that was removed too. If it was overwritten, it may wait, and be freed
//!   without a look at any slot: then the removed entry is held instead, one for each key.
//! - *An overwritten entry*: a reader with an old pin comes by on its way to older entries. So its successor's `previous` is
//!   set past it by c. Where no walk of a pinned reader comes by, nothing is set. A removed entry whose key came back is
//!   wanted until then, not until its removal: a pin in between that no longer met it would take an older one.
//! - *A run of one key*: unwanted entries above it are set past by the same store, and marked as unlinked, so that their own
//!   turn costs no walk. However often a key is overwritten under an old pin, a batch of its entries costs one walk
//!   over those that the horizon has not passed yet.
//! - *Recalled blocks*: what was freed without a look, while there were no pins, and could not be reused yet when the first
//!   pins were found; to an heir, that is all that was free. Parts of an index among them are freed again: pins do not
//!   hold those. So is whatever else makes no sense: it may have been prepared for another life by an owner that died.
//!
//! No step costs a write more than one chain of the index, and one of a key's entries (R15). Nor does every write look
//! round: where a look found nothing to do, the next is when the counts have changed, by which the index is adjusted, or the
//! horizon has moved, which everything else waits for.

use super::bucket::Slot;
use super::class::{Class, Unit};
use super::entry::{self, Entry, LINK_WORD};
use super::error::WriteError;
use super::index::Found;
use super::layout::{BEQUEST, Queue, RECALLED, RETIRED, held_size_word, held_word};
use super::pin::{HeldSize, Pin};
use super::writer::TableWriter;
use crate::region::Region;

/// Steps for each write, the index and the retired entries in turn: the index grows by one bucket for 5.5 inserts, and each
/// write retires one entry at most, so two steps a write keep pace with anything.
const STEPS_PER_WRITE: usize = 2;
/// Entries that are swept at once where memory is short.
pub(super) const SWEEPS_WHEN_SHORT: usize = 64;
/// Entries of one run that are unlinked at once.
const LONGEST_RUN: usize = 16;

/// What becomes of a retired entry.
enum Fate {
    /// Nobody wants it. What makes it unreachable is staged.
    Free,
    /// A pin wants it.
    Hold(Pin),
    /// It was overwritten after the last batch: pins that are not known yet may want it.
    Wait,
}

/// One of a key's entries, on the way from the newest to older ones.
#[derive(Clone, Copy)]
struct Step {
    block: u64,
    begin: u64,
}

impl<R: Region> TableWriter<R> {
    /// Called after each commit with the number of writes in it.
    #[inline]
    pub(super) fn keep_house(&mut self, writes: usize) {
        if writes as u64 >= self.batch_commits {
            // What so many writes freed is worth a batch of its own.
            self.move_horizon();
        }
        if self.chores {
            self.do_chores(STEPS_PER_WRITE * writes.max(1));
        }
    }

    /// Takes up to so many steps.
    #[inline(never)]
    fn do_chores(&mut self, steps: usize) {
        for step in 0..steps {
            // What goes wrong in a sweep can wait: nothing is lost, and the next write that needs it says so.
            let swept = |writer: &mut Self| matches!(writer.sweep(), Ok(true));
            let stepped = (step % 2 == 0 && swept(self))
                || self.adjust_index()
                || swept(self)
                || self.compact_at_pace();
            if !stepped {
                self.chores = self.compacts_later();
                return;
            }
        }
    }

    /// Makes up to so many retired entries, or nodes that are nearly empty, reusable, and all that waits for the
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

    /// Retires an entry that stood from version `begin` on, and that the commit under way overwrites with `successor`.
    #[inline(always)]
    pub(super) fn retire(&mut self, unit: Unit, begin: u64, class: Class, successor: Unit) {
        let Some(newest) = self.space.pins.newest() else { return self.free(unit, class) };
        self.deallocate(class);
        // All known pins are below the commit under way.
        if begin <= newest {
            return self.wait_for_pins(unit, class);
        }
        self.space.pairs.note(unit, successor, self.version + 1);
        self.retire_unwanted(unit);
    }

    /// Retires an entry that the commit under way removes: its slot still points to it.
    pub(super) fn retire_removed(&mut self, unit: Unit, class: Class) {
        self.deallocate(class);
        self.retire_unwanted(unit);
    }

    fn retire_unwanted(&mut self, unit: Unit) {
        self.space.wait();
        self.push(RETIRED, unit);
    }

    fn hold(&mut self, pin: Pin, unit: Unit, class: Class) {
        let slot = u64::from(pin.slot());
        self.push(held_word(slot), unit);
        let size = HeldSize::from_word(self.stage.header(self.reader.region(), held_size_word(slot)));
        self.stage.store_header(held_size_word(slot), size.and(class).to_word());
    }

    /// Looks at the row, or the entry, that was retired first, or else at the block that was recalled first; false where none may be
    /// looked at yet.
    #[inline]
    pub(super) fn sweep(&mut self) -> Result<bool, WriteError> {
        let from = match self.space.retired_ready() {
            Unit::NONE if !self.space.recalled => return Ok(false),
            Unit::NONE => RECALLED,
            _ => RETIRED,
        };
        let swept =
            if from == RETIRED && !self.space.pairs.is_empty() { self.sweep_row() } else { Ok(false) };
        let swept = match swept {
            Ok(false) => self.sweep_one(from),
            swept => swept,
        };
        swept.inspect_err(|_| self.abandon())
    }

    fn sweep_one(&mut self, from: u64) -> Result<bool, WriteError> {
        let first = Queue::from_word(self.reader.region().load(from)).first;
        self.stage_sweep(from)?;
        self.commit()?;
        if from == RETIRED {
            self.space.pairs.swept(first);
        }
        Ok(true)
    }

    fn stage_sweep(&mut self, from: u64) -> Result<(), WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let queue = Queue::from_word(region.load(from));
        let unit = queue.first;
        let class = layout.class_of(region, unit);
        let class = class.ok_or_else(|| WriteError::Corrupt("a retired entry in no run".into()))?;
        self.check_block(unit, class)?;
        let is_last = unit == queue.last;
        let rest = if is_last { Queue::EMPTY } else { Queue { first: self.link_of(unit), ..queue } };
        // The next one's turn is soon.
        region.prefetch(layout.block(rest.first));
        let is_recalled = from == RECALLED;
        let fate = match self.fate_of(unit) {
            // What was freed may have been prepared for another life since, by an owner that died.
            Err(_) if is_recalled => Fate::Free,
            fate => fate?,
        };
        self.stage.store_header(from, rest.to_word());
        if is_recalled {
            self.space.recalled = !rest.is_empty();
        } else if unit == self.space.retired_ready() {
            self.space.take_last_retired();
        }
        match fate {
            Fate::Free => self.push_free(unit, class),
            Fate::Hold(pin) => self.hold(pin, unit, class),
            Fate::Wait => self.push(RETIRED, unit),
        }
        // Its memory, or what was retired after it, is needed as soon as the horizon has passed this commit.
        self.space.wait();
        Ok(())
    }

    fn fate_of(&mut self, unit: Unit) -> Result<Fate, WriteError> {
        let (region, block) = (self.reader.region(), self.reader.layout().block(unit));
        if entry::is_node(region.load(block)) {
            return Ok(Fate::Free);
        }
        let entry = Entry::read(region, block)
            .ok_or_else(|| WriteError::Corrupt("a retired entry is no entry".into()))?;
        if entry.is_unlinked() || self.space.pins.is_empty() && !entry.is_removed() {
            return Ok(Fate::Free);
        }
        if entry.key_bytes == 0 {
            // It may be a bequest: the newest of them is behind a word, not in the index.
            let newest = Unit(self.reader.region().load(BEQUEST) as u32);
            if let Some(fate) = self.fate_behind(newest, unit, &entry)? {
                return Ok(fate);
            }
        }
        match self.newest_of(unit)? {
            Some(newest) if newest.unit == unit => self.fate_of_newest(newest.slot, &entry),
            Some(newest) => Ok(self.fate_behind(newest.unit, unit, &entry)?.unwrap_or(Fate::Free)),
            None => Ok(Fate::Free),
        }
    }

    /// A removed entry that its slot still points to.
    fn fate_of_newest(&mut self, slot: Slot, entry: &Entry) -> Result<Fate, WriteError> {
        if !entry.is_removed() {
            return Err(WriteError::Corrupt("a retired entry is its key's newest".into()));
        }
        match self.space.pins.newest_below(entry.removed_at) {
            Some(pin) if entry.begin <= pin.version() => return Ok(Fate::Hold(pin)),
            Some(pin) if !entry.previous.is_none() && !self.may_step_back(entry)? => {
                return Ok(Fate::Hold(pin));
            }
            Some(_) if !entry.previous.is_none() => self.set_slot(slot, entry.previous),
            _ => self.empty_slot(slot)?,
        }
        Ok(Fate::Free)
    }

    /// Whether a slot may point to the entry behind a removed one: it does not where that one may be spliced into a free queue
    /// with others. An entry that waits was overwritten, not removed; the recalled ones were free.
    fn may_step_back(&self, entry: &Entry) -> Result<bool, WriteError> {
        let (region, block) = (self.reader.region(), self.reader.layout().block(entry.previous));
        let behind = Entry::read(region, block).filter(|behind| behind.begin < entry.begin);
        let behind = behind.ok_or_else(|| WriteError::Corrupt("a previous entry is not older".into()))?;
        Ok(behind.is_removed() && !self.space.recalled)
    }

    /// An entry that was overwritten, behind the newest one of its key; none where no reader with a pin comes to it
    /// from there.
    fn fate_behind(&mut self, newest: Unit, unit: Unit, entry: &Entry) -> Result<Option<Fate>, WriteError> {
        let Some(way) = self.way_to(newest, unit)? else { return Ok(None) };
        let pins = &self.space.pins;
        let horizon = self.space.horizon();
        let (mut step, mut newer) = (way.len() - 1, way[way.len() - 1]);
        if newer.begin > horizon {
            return Ok(Some(Fate::Wait));
        }
        if let Some(pin) = pins.wanting(entry.begin, newer.begin) {
            return Ok(Some(Fate::Hold(pin)));
        }
        // The run of unwanted ones above it: all but the last of the way go with it.
        let region = self.reader.region();
        while step > 0 && way.len() - step <= LONGEST_RUN {
            let above = way[step - 1];
            if above.begin > horizon || pins.wanting(newer.begin, above.begin).is_some() {
                break;
            }
            let word = newer.block + 1;
            self.stage.store(word, entry::unlinked(region.load(word)));
            (step, newer) = (step - 1, above);
        }
        let word = newer.block + LINK_WORD;
        let link = region.load(word) & !0xffff_ffff;
        self.stage.store(word, link | u64::from(entry.previous.0));
        Ok(Some(Fate::Free))
    }

    /// The way of a reader with the oldest pin from a key's newest entry to an older one of it; none where it does not come
    /// there.
    fn way_to(&self, newest: Unit, unit: Unit) -> Result<Option<Vec<Step>>, WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let Some(oldest) = self.space.pins.oldest() else { return Ok(None) };
        let mut way: Vec<Step> = Vec::new();
        let mut next = newest;
        while !next.is_none() {
            if next == unit && !way.is_empty() {
                return Ok(Some(way));
            }
            let block = layout.block(next);
            let entry = Entry::read(region, block)
                .ok_or_else(|| WriteError::Corrupt("a previous entry is no entry".into()))?;
            if way.last().is_some_and(|newer| newer.begin <= entry.begin) {
                return Err(WriteError::Corrupt("a previous entry is not older".into()));
            }
            if entry.begin <= oldest {
                break;
            }
            way.push(Step { block, begin: entry.begin });
            next = entry.previous;
        }
        Ok(None)
    }

    /// The newest entry of the key of an entry, and its slot, where the index has one.
    fn newest_of(&mut self, unit: Unit) -> Result<Option<Found>, WriteError> {
        self.read_key(unit)?;
        let key = std::mem::take(&mut self.key_buffer);
        let found = self.find(self.reader.layout().hash(&key), &key);
        self.key_buffer = key;
        found
    }

    /// Empties the slot of an entry that nobody wants any more.
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
}
