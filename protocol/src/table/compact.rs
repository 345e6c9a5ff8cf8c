//! Giving memory back, and keeping free memory from being scattered.
//!
//! Freed blocks go back to their class, so a table that once had many small values, or that lost nine of ten entries,
//! would keep memory that nobody uses. When a tenth of the arena is free, the owner goes through it, between its
//! commits, at its own pace ([`super::pace`]):
//!
//! 1. *Survey*: run by run, count the blocks whose entries stand. A run with few of them, for which the runs before it
//!    have room, is marked draining: from here on its blocks are not handed out.
//! 2. *Empty*: move each entry that stands in a draining run to another block. That is an ordinary overwrite with the same
//!    value (R16), so readers, snapshots and recovery have nothing to learn.
//! 3. *Collect*: the free blocks of draining runs are somewhere in their class's queue. The queue goes round once: what is
//!    of a draining run leaves it and is counted in the run's span word (*drained*), what is not goes to the end.
//! 4. *Release*: a run whose blocks are all drained is given back to the host, and its spans are free for any class.
//!
//! All of it is logged commits, so a kill at any store leaves runs that drain, and counts that are exact. What the owner
//! knows beyond that (which runs, how far) is a hint: an heir begins with a survey of its own.
//!
//! Memory is given back *before* its spans are committed as free, so a kill in between forgets no memory: the run is
//! still draining, and is given back once more. No reader is in there: a block is drained only when the horizon has passed
//! the commit that freed it (R7). Only the owner does this (R14).
//!
//! **How much is left.** Memory in use stays within 1.3 of what the entries take, plus a fixed part that a table of a few MB
//! feels and a large one does not: less than 1 MiB of free blocks is not gathered; each class of sizes in use has a run that it
//! still carves up, from 16 KiB to 256 KiB for values of up to 64 KiB; header, log and change ring come on top. Measured under
//! updates that change their size: 1 MB for values of up to 1 KiB, 4 to 7 MB for values of 8 bytes to 64 KiB (and 1.24 in
//! all at 49 MB of entries, after ten million updates). The log that a long transaction made counts until a pass
//! shortens it.
//!
//! While there are pins, no pass begins and nothing is moved: it would be there twice.
//!
//! The index, when it has shrunk, and the log, after a long transaction, are shortened in the same way. The index keeps
//! enough for one slot for each block that there is, or a table that is filled again would be one of long chains.

use super::class::{CLASSES, Class, SPAN_UNITS, UNIT_BYTES, UNIT_WORDS, Unit};
use super::entry::{self, Entry};
use super::error::WriteError;
use super::index::Found;
use super::layout::{
    ALLOCATED, BLOCKS, DRAINING, FREE_SPANS, Fresh, LOG_PRESENT, LOG_STEP_WORDS, MERGED_AT, MOST_BUCKETS,
    NEXT_SPAN, Queue, fresh_word, queue_word,
};
use super::pace::Pace;
use super::pin::held;
use super::root::MIN_BUCKETS;
use super::space::spans_in_use;
use super::spans::{Span, span_of};
use super::writer::TableWriter;
use crate::region::Region;

/// A pass begins when one part in so many of the spans in use is free ...
const FREE_PART: u64 = 10;
/// ... and that is at least so much: less is not worth the work.
const LEAST_FREE_UNITS: u64 = (1 << 20) / UNIT_BYTES;
/// Larger entries are not moved: a copy would keep a write waiting. Their runs have one or two blocks each, and empty
/// themselves.
const MOST_MOVED_UNITS: u64 = 64 * 1024 / UNIT_BYTES;
/// Blocks that are looked at in one step: a microsecond or two.
const LOOKS_PER_STEP: usize = 8;
/// Free spans that are passed over instead of a look at a block: their words lie side by side.
const FREE_SPANS_PER_LOOK: u64 = 64;
/// Blocks that leave a queue in one step.
const DRAINED_PER_STEP: usize = 16;
/// After a pass that gave nothing back, so many commits pass for each block that there is before the next: then passes cost
/// a commit no more than a part of a look at a block.
const PAUSE_BY_BLOCKS: u64 = 4;
/// A full table tries again sooner, but not for each write that it refuses.
const PAUSES_WHEN_FULL: u64 = 16;
const LEAST_PAUSE: u64 = 1024;

/// A log up to this long is kept.
const LOG_KEPT_WORDS: u64 = 32 * LOG_STEP_WORDS;
/// The index is shortened by no less than this.
const INDEX_STEP_BUCKETS: u64 = 2048;

/// How far the owner is. None of it is needed to go on elsewhere.
#[derive(Debug)]
pub(super) struct Compaction {
    /// [`LEAST_FREE_UNITS`], unless a test has set it.
    pub(super) least_free_units: u64,
    phase: Phase,
    /// Whether a run is draining.
    draining: bool,
    /// The first spans of the runs that this pass empties.
    runs: Vec<u64>,
    /// Free blocks by class in the runs that this pass has left alone, less what it will move there.
    room: Vec<u64>,
    released: u64,
    /// The version at which the last pass ended that gave nothing back, and the units that were allocated then.
    fruitless: Option<(u64, u64)>,
    pace: Pace,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Idle,
    /// At that block of the run that begins at that span; so many of those before it stand.
    Survey {
        span: u64,
        block: u64,
        standing: u64,
    },
    /// At that block of that run of the list.
    Empty {
        run: usize,
        block: u64,
    },
    /// Taking that class's queue round, until that block has gone by; no more than so many steps.
    Collect {
        class: usize,
        until: Unit,
        left: u64,
    },
    /// At that run of the list.
    Release {
        run: usize,
    },
}

impl Compaction {
    /// What an owner begins with.
    pub(super) fn of_new_owner(draining_runs: u64) -> Self {
        Self {
            least_free_units: LEAST_FREE_UNITS,
            phase: Phase::Idle,
            draining: draining_runs != 0,
            runs: Vec::new(),
            room: Vec::new(),
            released: 0,
            fruitless: None,
            pace: Pace::default(),
        }
    }

    /// The span that a survey will look at next.
    #[cfg(test)]
    pub(super) fn surveyed_span(&self) -> Option<u64> {
        if let Phase::Survey { span, .. } = self.phase { Some(span) } else { None }
    }

    /// What the next step will be about.
    #[cfg(test)]
    pub(super) fn phase_name(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Idle => None,
            Phase::Survey { .. } => Some("survey of the runs"),
            Phase::Empty { .. } => Some("move of entries"),
            Phase::Collect { .. } => Some("collection of free blocks"),
            Phase::Release { .. } => Some("release of a run"),
        }
    }

    /// Notes that a block was handed out. With the last one of the round that a queue is taken, the round is over.
    pub(super) fn hands_out(&mut self, block: Unit) {
        if let Phase::Collect { until, left, .. } = &mut self.phase
            && *until == block
        {
            *left = 0;
        }
    }

    /// Whether blocks may have to be passed over.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }
}

impl<R: Region> TableWriter<R> {
    /// Units of the spans in use, and how many of them nobody uses.
    fn free_units(&self) -> (u64, u64) {
        let region = self.reader.region();
        let units = spans_in_use(region).saturating_mul(SPAN_UNITS);
        (units, units.saturating_sub(region.load(ALLOCATED)))
    }

    /// Begins a pass where one is worth it. Called once for each batch of commits.
    pub(super) fn consider_compaction(&mut self) {
        if !matches!(self.compaction.phase, Phase::Idle) || self.is_fruitless(1) {
            return;
        }
        // What only pins need is not free, and is needed again with the next snapshot.
        let held = if self.space.pins.is_empty() { 0 } else { held(self.reader.region()).bytes / UNIT_BYTES };
        if !self.is_scattered_beside(held) && !self.log_is_long() && self.spare_buckets().is_none() {
            self.compaction.pace.has_no_work();
        } else if self.space.pins.is_empty() && self.compaction.pace.may_begin(self.reader.region().clock()) {
            self.begin_pass();
        } else {
            // With the next batch, for which nothing else may be waiting.
            self.space.wait();
        }
    }

    /// Whether a pass is worth it for what is free, less so many units.
    fn is_scattered_beside(&self, held: u64) -> bool {
        let (units, free) = self.free_units();
        let free = free.saturating_sub(held);
        free >= self.compaction.least_free_units && free > units / FREE_PART
    }

    /// Notes that a class took so many spans from the host.
    pub(super) fn note_growth(&mut self, spans: u64) {
        if self.space.pins.is_empty() && self.is_scattered_beside(0) {
            let (blocks, in_use) = (self.reader.region().load(BLOCKS), spans_in_use(self.reader.region()));
            self.compaction.pace.owe(blocks.saturating_mul(spans).div_ceil(in_use.max(1)), blocks);
            self.space.wait();
        }
    }

    /// Takes the steps that are due now; false where none are.
    pub(super) fn compact_at_pace(&mut self) -> bool {
        if matches!(self.compaction.phase, Phase::Idle) {
            return false;
        }
        if self.compaction.pace.pay() {
            return self.compact();
        }
        let Some(begin) = self.compaction.pace.begin_slice(|| self.reader.region().clock()) else {
            return false;
        };
        loop {
            let stepped = self.compact();
            let is_over = self.compaction.pace.end_step(begin, self.reader.region().clock());
            if is_over || !stepped {
                return stepped;
            }
        }
    }

    /// Whether there are steps that are not due yet.
    pub(super) fn compacts_later(&self) -> bool {
        !matches!(self.compaction.phase, Phase::Idle) && self.space.pins.is_empty()
    }

    fn begin_pass(&mut self) {
        self.compaction.phase = Phase::Survey { span: 1, block: 0, standing: 0 };
        self.compaction.runs.clear();
        self.compaction.room = vec![0; CLASSES];
        self.compaction.released = 0;
    }

    /// One step; false where there is nothing to do. What goes wrong can wait: nothing is lost.
    #[inline]
    pub(super) fn compact(&mut self) -> bool {
        match self.compaction.phase {
            Phase::Idle => false,
            // What is moved now would be there twice: a pin holds the old place.
            Phase::Empty { .. } if !self.space.pins.is_empty() => false,
            _ => self.compact_step(),
        }
    }

    #[cold]
    fn compact_step(&mut self) -> bool {
        // Memory is given back before the commit that says so, which would be refused (R17).
        let next = self.check_epoch().and_then(|()| match self.compaction.phase {
            Phase::Idle => Ok(Phase::Idle),
            Phase::Survey { span, block, standing } => self.survey(span, block, standing),
            Phase::Empty { run, block } => self.empty(run, block),
            Phase::Collect { class, until, left } => self.collect(class, until, left),
            Phase::Release { run } => self.release(run),
        });
        match next {
            Ok(phase) => self.compaction.phase = phase,
            Err(_) => {
                self.abandon();
                self.end_pass();
            }
        }
        true
    }

    fn end_pass(&mut self) {
        self.compaction.phase = Phase::Idle;
        self.compaction.pace.has_no_work();
        self.compaction.draining = self.reader.region().load(DRAINING) != 0;
        let allocated = self.reader.region().load(ALLOCATED);
        self.compaction.fruitless = (self.compaction.released == 0).then_some((self.version, allocated));
    }

    /// Whether the last pass gave nothing back, and little has changed since.
    fn is_fruitless(&self, pauses: u64) -> bool {
        let region = self.reader.region();
        self.compaction.fruitless.is_some_and(|(version, allocated)| {
            let pause = region.load(BLOCKS).saturating_mul(PAUSE_BY_BLOCKS) / pauses;
            let freed = allocated.saturating_sub(region.load(ALLOCATED));
            self.version - version < pause.max(LEAST_PAUSE) && freed < SPAN_UNITS
        })
    }

    /// Goes through the table at once, for a write that found no memory; whether anything was given back.
    #[cold]
    pub(super) fn compact_for_room(&mut self) -> bool {
        let (_, free) = self.free_units();
        if free < 2 * SPAN_UNITS || self.is_fruitless(PAUSES_WHEN_FULL) || !self.space.pins.is_empty() {
            return false;
        }
        self.begin_pass();
        while self.compact() {}
        self.compaction.released > 0
    }

    fn survey(&mut self, mut span: u64, mut block: u64, mut standing: u64) -> Result<Phase, WriteError> {
        for _ in 0..LOOKS_PER_STEP {
            if span >= self.reader.region().load(NEXT_SPAN).min(self.reader.layout().arena_spans()) {
                self.shorten_log();
                self.shorten_index()?;
                return Ok(Phase::Empty { run: 0, block: 0 });
            }
            // What was free at the last step may have become a run since, and this be the middle of it.
            let Some(first) = self.span_at(span).filter(|first| first.place == 0) else {
                span = self.after_free_spans(span + 1);
                continue;
            };
            let class = first.class;
            if class.is_node() || self.has_fresh(span, class) {
                span += class.run_spans();
                continue;
            }
            if block < class.run_blocks() {
                standing += u64::from(self.standing(block_of(span, class, block), class).is_some());
                block += 1;
                continue;
            }
            self.judge(span, first, standing)?;
            (span, block, standing) = (span + class.run_spans(), 0, 0);
        }
        Ok(Phase::Survey { span, block, standing })
    }

    /// The next span that is not free, or one that is not far from there: a table that has shrunk may have more of these
    /// than blocks.
    fn after_free_spans(&self, span: u64) -> u64 {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let end = region.load(NEXT_SPAN).min(layout.arena_spans()).min(span + FREE_SPANS_PER_LOOK);
        (span..end).find(|span| region.load(layout.span_word(*span)) != 0).unwrap_or(span.max(end))
    }

    /// Whether the class still carves blocks from the run.
    fn has_fresh(&self, span: u64, class: Class) -> bool {
        let fresh = Fresh::from_word(self.reader.region().load(fresh_word(class)));
        let first = span * SPAN_UNITS;
        let last = first + class.run_spans() * SPAN_UNITS;
        fresh.next < fresh.end
            && (first..=last).contains(&u64::from(fresh.end.0))
            && u64::from(fresh.end.0) > first
    }

    fn span_at(&self, span: u64) -> Option<Span> {
        Span::from_word(self.reader.region().load(self.reader.layout().span_word(span)))
    }

    /// Marks a run as draining, or counts its room for what others hold.
    fn judge(&mut self, span: u64, first: Span, standing: u64) -> Result<(), WriteError> {
        let (class, blocks) = (first.class, first.class.run_blocks());
        let (units, free) = self.free_units();
        // Emptier than the whole, or than half.
        let is_sparse = standing * 2 <= blocks
            || (standing * class.units()).saturating_mul(units)
                < (units - free).saturating_mul(class.run_spans() * SPAN_UNITS);
        let room = &mut self.compaction.room[class.index()];
        let is_movable = standing == 0 || class.units() <= MOST_MOVED_UNITS && standing <= *room;
        if !(first.draining || is_sparse && is_movable) {
            *room += blocks.saturating_sub(standing);
            return Ok(());
        }
        *room = room.saturating_sub(standing);
        self.compaction.runs.push(span);
        if first.draining {
            return Ok(());
        }
        self.stage.store(self.reader.layout().span_word(span), Span { draining: true, ..first }.to_word());
        let draining = self.reader.region().load(DRAINING) + 1;
        self.stage.store_header(DRAINING, draining);
        self.commit()?;
        self.compaction.draining = true;
        Ok(())
    }

    /// The slot of the entry in a block, where one points to it.
    fn standing(&mut self, unit: Unit, class: Class) -> Option<Found> {
        let block = self.reader.layout().block(unit);
        // A free block may hold anything.
        let entry = Entry::read(self.reader.region(), block)?;
        if entry.class() != Some(class) || !self.reader.layout().fits(unit, class) {
            return None;
        }
        let mut key = std::mem::take(&mut self.key_buffer);
        key.clear();
        let read = self.reader.region().copy_out(entry.key_at(block), entry.key_bytes, &mut key);
        let found = if read { self.find(self.reader.layout().hash(&key), &key) } else { Ok(None) };
        self.key_buffer = key;
        found.ok().flatten().filter(|found| found.unit == unit)
    }

    fn empty(&mut self, run: usize, mut block: u64) -> Result<Phase, WriteError> {
        let Some(&span) = self.compaction.runs.get(run) else { return Ok(self.first_collection()) };
        let Some(first) = self.span_at(span).filter(|first| first.draining) else {
            return Ok(Phase::Empty { run: run + 1, block: 0 });
        };
        for _ in 0..LOOKS_PER_STEP {
            if block >= first.class.run_blocks() {
                return Ok(Phase::Empty { run: run + 1, block: 0 });
            }
            let unit = block_of(span, first.class, block);
            block += 1;
            if let Some(found) = self.standing(unit, first.class)
                && !found.entry.is_removed()
                && first.class.units() <= MOST_MOVED_UNITS
            {
                match self.relocate(&found, first.class).and_then(|()| self.commit()) {
                    Ok(()) => break,
                    // Then what can be given back is given back, and the rest next time.
                    Err(WriteError::TableFull { .. } | WriteError::OutOfMemory(_)) => {
                        self.abandon();
                        return Ok(self.first_collection());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Phase::Empty { run, block })
    }

    /// Moves an entry to another block: an overwrite with the same value (R16).
    fn relocate(&mut self, found: &Found, class: Class) -> Result<(), WriteError> {
        let unit = self.allocate(class)?;
        let (from, to) = (found.block, self.reader.layout().block(unit));
        entry::write_copy(self.reader.region(), from, to, self.version + 1, found.unit, class);
        self.set_slot(found.slot, unit);
        self.free_entry(found, unit)
    }

    fn first_collection(&mut self) -> Phase {
        // What was moved, and all else that was freed before, may be collected from here on.
        self.move_horizon();
        self.collection(0)
    }

    /// The next class, from that one on, that has runs to be drained.
    fn collection(&self, from: usize) -> Phase {
        let region = self.reader.region();
        let has_runs = |class: usize| {
            self.compaction.runs.iter().any(|span| {
                self.span_at(*span).is_some_and(|first| first.draining && first.class.index() == class)
            })
        };
        let class = (from..CLASSES).find(|class| has_runs(*class)).and_then(Class::from_index);
        let Some(class) = class else { return Phase::Release { run: 0 } };
        let until = Queue::from_word(region.load(queue_word(class))).last;
        Phase::Collect { class: class.index(), until, left: region.load(BLOCKS) }
    }

    fn collect(&mut self, number: usize, until: Unit, left: u64) -> Result<Phase, WriteError> {
        let Some(class) = Class::from_index(number).filter(|_| left > 0) else {
            return Ok(self.collection(number + 1));
        };
        for _ in 0..DRAINED_PER_STEP {
            let Some(unit) = self.take_first(class)? else {
                self.commit()?;
                return Ok(self.collection(number + 1));
            };
            let is_draining = self.is_draining(unit);
            if is_draining {
                self.drain(unit);
            } else {
                // One block can be put at the end, which writes the last block's link; a second one would write this
                // one's, which an abandoned commit still needs.
                self.push_free(unit, class);
            }
            if unit == until {
                self.commit()?;
                return Ok(self.collection(number + 1));
            }
            if !is_draining {
                break;
            }
        }
        self.commit()?;
        Ok(Phase::Collect { class: number, until, left: left - 1 })
    }

    /// The word of the first span of a block's run, and what it says.
    fn run_of(&self, unit: Unit) -> Option<(u64, Span)> {
        let layout = self.reader.layout();
        let span = Span::from_word(self.word(layout.span_word(span_of(unit))))?;
        let word = layout.span_word(span_of(unit).checked_sub(span.place)?);
        Some((word, Span::from_word(self.word(word))?))
    }

    /// Whether a block is of a run that is not handed out any more.
    #[cold]
    pub(super) fn is_draining(&self, unit: Unit) -> bool {
        self.run_of(unit).is_some_and(|(_, first)| first.draining)
    }

    /// Counts a block of a draining run that this commit took out of its queue.
    fn drain(&mut self, unit: Unit) {
        if let Some((word, first)) = self.run_of(unit) {
            self.stage.store(word, Span { drained: first.drained + 1, ..first }.to_word());
        }
    }

    /// Goes on allocating where the first block of the queue was of a draining run.
    #[cold]
    pub(super) fn allocate_undrained(&mut self, mut unit: Unit, class: Class) -> Result<Unit, WriteError> {
        for _ in 0..DRAINED_PER_STEP {
            self.drain(unit);
            match self.take_first(class)? {
                Some(next) if !self.is_draining(next) => return Ok(next),
                Some(next) => unit = next,
                None => return self.allocate_fresh(class),
            }
        }
        self.drain(unit);
        self.allocate_fresh(class)
    }

    fn release(&mut self, run: usize) -> Result<Phase, WriteError> {
        let Some(&span) = self.compaction.runs.get(run) else {
            self.end_pass();
            return Ok(Phase::Idle);
        };
        let next = Phase::Release { run: run + 1 };
        let Some(first) = self.span_at(span).filter(|first| first.draining) else { return Ok(next) };
        let (class, spans) = (first.class, first.class.run_spans());
        if first.drained != class.run_blocks() {
            return Ok(next);
        }
        let start = self.reader.layout().block(Unit((span * SPAN_UNITS) as u32));
        self.reader.region().give_back(start..start + spans * SPAN_UNITS * UNIT_WORDS);
        for place in 0..spans {
            self.stage.store(self.reader.layout().span_word(span + place), 0);
        }
        let region = self.reader.region();
        let (draining, free, blocks) = (region.load(DRAINING), region.load(FREE_SPANS), region.load(BLOCKS));
        self.stage.store_header(DRAINING, draining.saturating_sub(1));
        self.stage.store_header(FREE_SPANS, free + spans);
        self.stage.store_header(BLOCKS, blocks.saturating_sub(class.run_blocks()));
        if Fresh::from_word(region.load(fresh_word(class))).end == Unit(((span + spans) * SPAN_UNITS) as u32)
        {
            // It was the last run that the class carved up.
            self.stage.store_header(fresh_word(class), 0);
        }
        self.commit()?;
        self.look_for_free_spans_from(span);
        self.compaction.released += spans;
        Ok(next)
    }

    fn log_is_long(&self) -> bool {
        self.reader.region().load(LOG_PRESENT) > LOG_KEPT_WORDS
    }

    /// Gives back what a long transaction made of the log. Nothing is in it between commits.
    fn shorten_log(&mut self) {
        if !self.log_is_long() {
            return;
        }
        let (region, log) = (self.reader.region(), self.reader.layout().log);
        let present = region.load(LOG_PRESENT).min(log.words);
        region.give_back(log.start + LOG_KEPT_WORDS..log.start + present);
        region.store(LOG_PRESENT, LOG_KEPT_WORDS);
        self.log_present_words = self.log_present_words.min(LOG_KEPT_WORDS);
        self.compaction.released += 1;
    }

    /// How many buckets the index could do with, where that is a good deal less than it has memory for.
    fn spare_buckets(&self) -> Option<u64> {
        let region = self.reader.region();
        let root = self.root().ok()?;
        let wanted =
            u64::from(root.buckets.max(MIN_BUCKETS)).max(region.load(BLOCKS).saturating_mul(2) / 11 + 1);
        let kept = wanted.next_multiple_of(INDEX_STEP_BUCKETS);
        // Beyond the root, buckets that were merged may still be read (see `super::index`).
        let is_unread = region.load(MERGED_AT) <= self.space.horizon();
        (is_unread && kept + INDEX_STEP_BUCKETS <= region.load(MOST_BUCKETS)).then_some(kept)
    }

    /// Gives back what lies beyond the buckets that are there, before the header says so.
    fn shorten_index(&mut self) -> Result<(), WriteError> {
        let Some(kept) = self.spare_buckets() else { return Ok(()) };
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let most = region.load(MOST_BUCKETS).min(u64::from(layout.most_buckets()));
        region.give_back(layout.bucket(kept as u32)..layout.bucket(most as u32));
        self.stage.store_header(MOST_BUCKETS, kept);
        self.commit()?;
        self.compaction.released += 1;
        Ok(())
    }
}

/// A block of the run that begins at a span.
fn block_of(span: u64, class: Class, block: u64) -> Unit {
    Unit((span * SPAN_UNITS + block * class.units()) as u32)
}
