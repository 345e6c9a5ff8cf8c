//! Where blocks come from and go to.
//!
//! Each size class has a queue of freed blocks, oldest first, and a run of fresh memory. Both are header words that
//! change by the log only, so they are always exactly those of `committed`: what a dead owner prepared is still in
//! its queue or beyond its run.
//!
//! The queue is a list through the blocks' link words, which no reader reads. Its shape makes both ends safe without
//! logging the links: a pop changes the queue's word and leaves the block's link as it is (a new entry keeps it, so an
//! abandoned commit leaves the list whole); a push stores the link of the last block, which means nothing until the queue's
//! word says that the list goes on. So freeing needs no memory, and a table that is full can be emptied (R15).

use super::bucket::View;
use super::class::{Class, SPAN_BYTES, SPAN_UNITS, UNIT_BYTES, Unit};
use super::entry::LINK_WORD;
use super::error::WriteError;
use super::layout::{
    ALLOCATED, BLOCKS, Counts, FREE_SPANS, Fresh, HEADER_WORDS, LOG_PRESENT, Layout, MAX_BYTES, MOST_BUCKETS,
    NEXT_SPAN, Queue, RING_PRESENT, fresh_word, queue_word,
};
use super::pin::held;
use super::spans::Span;
use super::writer::TableWriter;
use crate::region::Region;

/// Bytes of a main bucket.
const BUCKET_BYTES: u64 = super::bucket::BUCKET_WORDS * 8;

/// So many spans are looked at for a row of free ones.
const SPANS_LOOKED_AT: u64 = 2048;

/// Memory in use, in bytes: the header, the log and the index at their longest, the change ring once it was used, the
/// spans given to classes with their table. What was needed once stays, and counts, until it is given back to the host.
pub(super) fn used_bytes<R: Region>(region: &R) -> u64 {
    let spans = spans_in_use(region).saturating_mul(SPAN_BYTES + 8);
    let buckets = region.load(MOST_BUCKETS).saturating_mul(BUCKET_BYTES);
    let log_and_ring = region.load(LOG_PRESENT).saturating_add(region.load(RING_PRESENT));
    let header_and_those = HEADER_WORDS.saturating_add(log_and_ring).saturating_mul(8);
    header_and_those.saturating_add(spans).saturating_add(buckets)
}

/// By how much the table may grow.
pub(super) fn room_bytes<R: Region>(region: &R) -> u64 {
    region.load(MAX_BYTES).saturating_sub(used_bytes(region))
}

/// What blocks have of the arena, with what pins hold, and what is left of the spans in use.
pub(super) fn allocated_and_free_bytes<R: Region>(region: &R) -> (u64, u64) {
    let allocated = region.load(ALLOCATED).saturating_mul(UNIT_BYTES).saturating_add(held(region).bytes);
    (allocated, spans_in_use(region).saturating_mul(SPAN_BYTES).saturating_sub(allocated))
}

/// Spans of the arena that are given to a class.
pub(super) fn spans_in_use<R: Region>(region: &R) -> u64 {
    region.load(NEXT_SPAN).saturating_sub(1).saturating_sub(region.load(FREE_SPANS))
}

#[cold]
fn impossible_block(block: Unit, class: Class) -> WriteError {
    WriteError::Corrupt(format!("a free block of {} units at unit {}", class.units(), block.0))
}

impl Layout {
    /// The block after one in its queue.
    #[inline]
    fn link_of<R: Region>(&self, region: &R, block: Unit) -> Unit {
        Unit((region.load(self.block(block) + LINK_WORD) >> 32) as u32)
    }
}

impl<R: Region> TableWriter<R> {
    /// A block of that class, in the commit that is being prepared.
    #[inline]
    pub(super) fn allocate(&mut self, class: Class) -> Result<Unit, WriteError> {
        self.allocates = true;
        self.space.allocated += class.units() as i64;
        let Some(block) = self.take_first(class)? else { return self.allocate_fresh(class) };
        if self.compaction.is_draining() {
            self.compaction.hands_out(block);
            if self.is_draining(block) {
                return self.allocate_undrained(block, class);
            }
        }
        Ok(block)
    }

    /// Takes the first block out of its class's queue, where that one may be reused.
    #[inline]
    pub(super) fn take_first(&mut self, class: Class) -> Result<Option<Unit>, WriteError> {
        let word = queue_word(class);
        let ready = self.space.ready[class.index()];
        if ready.is_none() {
            self.space.waiting |= self.stage.header(self.reader.region(), word) != 0;
            return Ok(None);
        }
        let staged = self.stage.header_mut(self.reader.region(), word);
        let queue = Queue::from_word(*staged);
        let block = queue.first;
        let rest = if block == queue.last {
            Queue::EMPTY
        } else {
            Queue { first: self.reader.layout().link_of(self.reader.region(), block), last: queue.last }
        };
        *staged = rest.to_word();
        self.check_block(block, class)?;
        // What waited for a pin once is not in the cache, and comes round for ever: the next entry does not wait for its block.
        self.reader.layout().prefetch(self.reader.region(), rest.first);
        if block == ready {
            self.space.take_last(class.index());
            self.space.waiting |= !rest.is_empty();
        }
        Ok(Some(block))
    }

    pub(super) fn allocate_fresh(&mut self, class: Class) -> Result<Unit, WriteError> {
        let word = fresh_word(class);
        let mut fresh = Fresh::from_word(self.stage.header(self.reader.region(), word));
        if u64::from(fresh.next.0) + class.units() > u64::from(fresh.end.0) {
            fresh = self.new_run(class)?;
        }
        self.check_block(fresh.next, class)?;
        let after = Unit(fresh.next.0 + class.units() as u32);
        self.stage.store_header(word, Fresh { next: after, ..fresh }.to_word());
        Ok(fresh.next)
    }

    /// Gives the class another run of spans.
    #[cold]
    fn new_run(&mut self, class: Class) -> Result<Fresh, WriteError> {
        let spans = class.run_spans();
        self.check_run(class)?;
        let unused = self
            .reader
            .layout()
            .arena_spans()
            .saturating_sub(self.stage.header(self.reader.region(), NEXT_SPAN));
        // Where no row is found soon, spans that were never used cost addresses, and no more memory.
        let looks = if unused >= spans { SPANS_LOOKED_AT } else { u64::MAX };
        let first = match self.free_spans(spans, looks) {
            Some(first) => self.reuse_spans(first, class)?,
            None => self.new_spans(class)?,
        };
        let next = Unit((first * SPAN_UNITS) as u32);
        let end = u32::try_from((first + spans) * SPAN_UNITS).map_err(|_| self.full())?;
        let start = self.reader.layout().block(next);
        let region = self.reader.region();
        region.expect_growth(room_bytes(region));
        region.make_present(start..start + spans * SPAN_UNITS * super::class::UNIT_WORDS)?;
        if !class.is_node() {
            let blocks = self.stage.header(self.reader.region(), BLOCKS);
            self.stage.store_header(BLOCKS, blocks + class.run_blocks());
        }
        self.note_growth(spans);
        Ok(Fresh { next, end: Unit(end) })
    }

    /// Whether a run of that class stays within the table's limit, together with the buckets that index what fits in.
    fn check_run(&self, class: Class) -> Result<(), WriteError> {
        let region = self.reader.region();
        let staged = |word| self.stage.header(region, word).wrapping_sub(region.load(word));
        let started = staged(NEXT_SPAN).wrapping_sub(staged(FREE_SPANS)).wrapping_mul(SPAN_BYTES);
        // 11 to 12 bytes a slot; an ordered index is made of blocks.
        let buckets = if self.is_ordered() { 0 } else { class.run_blocks() * 12 };
        self.check_limit(started + class.run_spans() * SPAN_BYTES + buckets)
    }

    /// Spans that were never used.
    fn new_spans(&mut self, class: Class) -> Result<u64, WriteError> {
        let region = self.reader.region();
        let (first, spans) = (self.stage.header(region, NEXT_SPAN), class.run_spans());
        if first.saturating_add(spans) > self.reader.layout().arena_spans() {
            return Err(self.full());
        }
        // Nobody looks at the table of spans beyond NEXT_SPAN: this needs no log.
        let word = self.reader.layout().span_word(first);
        region.make_present(word..word + spans)?;
        for place in 0..spans {
            region.store(word + place, Span::new(class, place).to_word());
        }
        self.stage.store_header(NEXT_SPAN, first + spans);
        Ok(first)
    }

    /// Spans that were given back.
    fn reuse_spans(&mut self, first: u64, class: Class) -> Result<u64, WriteError> {
        for place in 0..class.run_spans() {
            let word = self.reader.layout().span_word(first + place);
            self.stage.store(word, Span::new(class, place).to_word());
        }
        let free = self.stage.header(self.reader.region(), FREE_SPANS);
        let left = free.checked_sub(class.run_spans());
        let left =
            left.ok_or_else(|| WriteError::Corrupt(format!("{free} spans are free, and more are found")))?;
        self.stage.store_header(FREE_SPANS, left);
        Ok(first)
    }

    /// The first of so many free spans in a row, among the next so many.
    fn free_spans(&mut self, wanted: u64, looks: u64) -> Option<u64> {
        let region = self.reader.region();
        if self.stage.header(region, FREE_SPANS) < wanted {
            return None;
        }
        let view = self.stage.over(region);
        let end = region.load(NEXT_SPAN).min(self.reader.layout().arena_spans());
        let from = self.space.free_span_from.min(end);
        let (mut row, mut none_yet) = (0, true);
        for span in from..end.min(from.saturating_add(looks)) {
            let is_free = view.word(self.reader.layout().span_word(span)) == 0;
            row = if is_free { row + 1 } else { 0 };
            none_yet &= !is_free;
            if row == wanted {
                return Some(span + 1 - wanted);
            }
            if none_yet {
                self.space.free_span_from = span + 1;
            }
        }
        None
    }

    /// Spans from this one on were given back.
    pub(super) fn look_for_free_spans_from(&mut self, span: u64) {
        self.space.free_span_from = self.space.free_span_from.min(span);
    }

    /// Notes in the commit what it takes and frees, where that is not the same.
    #[inline]
    pub(super) fn stage_allocated(&mut self) {
        let units = std::mem::take(&mut self.space.allocated);
        if units != 0 {
            let before = self.stage.header(self.reader.region(), ALLOCATED);
            self.stage.store_header(ALLOCATED, before.wrapping_add_signed(units));
        }
    }

    /// No more blocks than this are in use or free.
    pub(super) fn most_blocks(&self) -> usize {
        (spans_in_use(self.reader.region()).min(self.reader.layout().arena_spans()) * SPAN_UNITS / 2) as usize
    }

    /// Whether so many bytes more stay within the table's limit.
    pub(super) fn check_limit(&self, more_bytes: u64) -> Result<(), WriteError> {
        let max_bytes = self.reader.region().load(MAX_BYTES);
        if used_bytes(self.reader.region()).saturating_add(more_bytes) > max_bytes {
            return Err(self.full());
        }
        Ok(())
    }

    pub(super) fn full(&self) -> WriteError {
        WriteError::TableFull { max_bytes: self.reader.region().load(MAX_BYTES) }
    }

    /// Puts a block that this commit makes unreachable at the end of its queue.
    #[inline]
    pub(super) fn free(&mut self, block: Unit, class: Class) {
        self.deallocate(class);
        self.push_free(block, class);
    }

    /// Notes that a block serves neither the table as it is nor its index any more.
    #[inline]
    pub(super) fn deallocate(&mut self, class: Class) {
        self.space.allocated -= class.units() as i64;
    }

    /// Puts a block that is free already at the end of its queue.
    #[inline]
    pub(super) fn push_free(&mut self, block: Unit, class: Class) {
        self.space.has_grown(class);
        self.push(queue_word(class), block);
    }

    /// Puts a block at the end of a queue.
    #[inline]
    pub(super) fn push(&mut self, word: u64, block: Unit) {
        self.append(word, Queue { first: block, last: block });
    }

    /// Puts the blocks of another queue, or of a part of one, at the end of a queue.
    #[inline]
    pub(super) fn append(&mut self, word: u64, more: Queue) {
        let staged = self.stage.header_mut(self.reader.region(), word);
        let before = Queue::from_word(*staged);
        if before.is_empty() {
            *staged = more.to_word();
        } else {
            *staged = Queue { last: more.last, ..before }.to_word();
            self.set_link(before.last, more.first);
        }
    }

    /// The block after one in its queue.
    #[inline]
    pub(super) fn link_of(&self, block: Unit) -> Unit {
        self.reader.layout().link_of(self.reader.region(), block)
    }

    #[inline]
    pub(super) fn set_link(&self, block: Unit, next: Unit) {
        let word = self.reader.layout().block(block) + LINK_WORD;
        let rest = self.reader.region().load(word) & 0xffff_ffff;
        self.reader.region().store(word, rest | u64::from(next.0) << 32);
    }

    #[inline(always)]
    pub(super) fn check_block(&self, block: Unit, class: Class) -> Result<(), WriteError> {
        if self.reader.layout().fits(block, class) { Ok(()) } else { Err(impossible_block(block, class)) }
    }

    /// Entries and slots, as the commit that is being prepared will leave them.
    #[inline]
    pub(super) fn counts(&self) -> Counts {
        Counts::from_word(self.stage.header(self.reader.region(), super::layout::COUNTS))
    }

    #[inline]
    pub(super) fn set_counts(&mut self, counts: Counts) {
        self.stage.store_header(super::layout::COUNTS, counts.to_word());
    }
}
