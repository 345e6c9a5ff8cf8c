//! The check of everything: the invariants of [`super`], number by number.

use std::collections::HashSet;

use super::bucket::{self, Slot, Tag, View};
use super::changes;
use super::class::{Class, SPAN_UNITS, Unit};
use super::entry::Entry;
use super::error::OpenError;
use super::index::{MAX_CHAIN, Nonsense};
use super::layout::{
    ALLOCATED, APPLIED, BEQUEST, BLOCKS, COMMITTED, COUNTS, Counts, DRAINING, FREE_SPANS, Fresh, HORIZON,
    Layout, MERGED_AT, MOST_BUCKETS, MOST_PINS, NEXT_SPAN, Queue, RECALLED, RETIRED, SCHEMA, fresh_word,
    held_size_word, held_word, queue_word, waiting_first_word, waiting_word,
};
use super::pin::{HeldSize, pins};
use super::root::Root;
use super::spans::Span;
use super::waiting::End;
use super::writer::check_versions;
use crate::region::Region;

/// What [`verify`] found in a table that is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Version of the last commit.
    pub version: u64,
    /// Number of entries.
    pub entries: u64,
    /// Entries that were removed or overwritten, and wait to be looked at.
    pub retired: u64,
    /// Those that pins hold back.
    pub held: u64,
    /// Freed blocks that wait to be looked at once more, for pins that came since.
    pub recalled: u64,
    /// Buckets of the hash index.
    pub buckets: u64,
    /// Overflow buckets.
    pub overflows: u64,
    /// Leaves of the ordered index.
    pub leaves: u64,
    /// Its inner nodes.
    pub inner_nodes: u64,
    /// Blocks that are free for reuse, now or when the horizon has passed.
    pub free_blocks: u64,
    /// Spans of 16 KiB that were given back to the host.
    pub free_spans: u64,
    /// Runs of blocks that are being emptied, to be given back.
    pub draining: u64,
}

/// What a block was found to be. Every block must end as exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Use {
    Unseen = 0,
    Entry,
    Removed,
    RetiredRemoved,
    Retired,
    Waiting,
    Overflow,
    Node,
    Separator,
    Bequest,
    Schema,
    Recalled,
    Free,
}

/// Walks everything, and accounts for every block once. Only by whoever may write the table, and while it does not.
///
/// The work is bounded by the table's size, and memory by a sixteenth of it, whatever the bytes say.
///
/// # Errors
/// [`OpenError::Corrupt`] with the first thing that is wrong.
pub fn verify<R: Region>(region: &R) -> Result<VerifyReport, OpenError> {
    let layout = Layout::read(region)?;
    let mut check = Check::new(region, &layout)?;
    check.runs()?;
    check.index()?;
    check.behind_words()?;
    check.retired()?;
    check.free()?;
    check.versions()?;
    check.nothing_is_lost()?;
    changes::check(region, &layout, check.applied).map_err(|what| wrong(format!("10: {what}")))?;
    check.counts()?;
    Ok(check.report)
}

pub(super) struct Check<'a, R> {
    pub(super) region: &'a R,
    pub(super) layout: &'a Layout,
    pub(super) applied: u64,
    root: Root,
    /// The class and first unit of the run that each span belongs to.
    runs: Vec<Option<(Class, u32)>>,
    /// What the block that starts at a unit is.
    uses: Vec<Use>,
    counted: Counted,
    pub(super) report: VerifyReport,
    /// The key of the entry that was looked at last.
    pub(super) key: Vec<u8>,
}

/// What a part of an index has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) slots: u64,
    pub(super) entries: u64,
}

/// What the header counts, counted anew.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    free_spans: u64,
    draining: u64,
    blocks: u64,
    allocated: u64,
}

pub(super) fn wrong(what: impl Into<String>) -> OpenError {
    OpenError::Corrupt(what.into())
}

impl<'a, R: Region> Check<'a, R> {
    fn new(region: &'a R, layout: &'a Layout) -> Result<Self, OpenError> {
        let (committed, applied) = (region.load(COMMITTED), region.load(APPLIED));
        if committed != applied {
            return Err(OpenError::NotRecovered { committed, applied });
        }
        check_versions(region.load(HORIZON), applied)?;
        if region.load(MERGED_AT) > applied {
            return Err(wrong(format!(
                "1: the last merge, {}, above applied {applied}",
                region.load(MERGED_AT)
            )));
        }
        let root = layout.root(region)?;
        if region.load(MOST_BUCKETS) < u64::from(root.buckets) {
            return Err(wrong(format!(
                "4: {} buckets, and never more than {}",
                root.buckets,
                region.load(MOST_BUCKETS)
            )));
        }
        let spans = region.load(NEXT_SPAN);
        if spans == 0 || spans > layout.arena_spans() {
            return Err(wrong(format!("9: next span {spans} of {}", layout.arena_spans())));
        }
        let report = VerifyReport { version: applied, ..VerifyReport::default() };
        let uses = vec![Use::Unseen; (spans * SPAN_UNITS) as usize];
        let counted = Counted::default();
        Ok(Self { region, layout, applied, root, runs: Vec::new(), uses, counted, report, key: Vec::new() })
    }

    /// 9: the runs tile the spans.
    fn runs(&mut self) -> Result<(), OpenError> {
        let spans = self.region.load(NEXT_SPAN);
        self.runs = vec![None; spans as usize];
        let mut span = 1;
        while span < spans {
            let word = self.region.load(self.layout.span_word(span));
            if word == 0 {
                self.counted.free_spans += 1;
                span += 1;
                continue;
            }
            let first = Span::from_word(word)
                .filter(|first| first.place == 0)
                .ok_or_else(|| wrong(format!("9: span {span} begins no run")))?;
            let class = first.class;
            let end = span + class.run_spans();
            if end > spans {
                return Err(wrong(format!("9: the run at span {span} ends beyond span {spans}")));
            }
            for place in 1..class.run_spans() {
                if self.region.load(self.layout.span_word(span + place)) != Span::new(class, place).to_word()
                {
                    return Err(wrong(format!("9: span {} is not span {place} of its run", span + place)));
                }
            }
            if !first.draining && first.drained != 0 {
                return Err(wrong(format!(
                    "10: {} blocks are drained at span {span}, which is in use",
                    first.drained
                )));
            }
            self.counted.draining += u64::from(first.draining);
            self.counted.blocks += if class.is_node() { 0 } else { class.run_blocks() };
            self.runs[span as usize..end as usize].fill(Some((class, (span * SPAN_UNITS) as u32)));
            span = end;
        }
        for class in Class::all() {
            let fresh = self.fresh(class);
            let whole = fresh == Fresh { next: Unit::NONE, end: Unit::NONE };
            let inside = || {
                let run =
                    self.runs.get(fresh.end.0.checked_sub(1)? as usize / SPAN_UNITS as usize).copied()??;
                let start = run.1;
                (run.0 == class
                    && u64::from(fresh.end.0) == u64::from(start) + class.run_spans() * SPAN_UNITS
                    && fresh.next.0 >= start
                    && fresh.next <= fresh.end
                    && u64::from(fresh.next.0 - start) % class.units() == 0)
                    .then_some(())
            };
            if !whole && inside().is_none() {
                return Err(wrong(format!("9: fresh memory {fresh:?} of {class:?} is in no run of it")));
            }
        }
        Ok(())
    }

    fn fresh(&self, class: Class) -> Fresh {
        Fresh::from_word(self.region.load(fresh_word(class)))
    }

    /// Notes what a block is. It must be a block, of that class, handed out, and not noted before.
    pub(super) fn note(&mut self, unit: Unit, class: Class, used: Use) -> Result<(), OpenError> {
        let run = self.runs.get((u64::from(unit.0) / SPAN_UNITS) as usize).copied().flatten();
        let Some((run_class, start)) = run else {
            return Err(wrong(format!("7: {used:?} at unit {}, where no run is", unit.0)));
        };
        let offset = u64::from(unit.0 - start);
        let fresh = self.fresh(class);
        let is_fresh = unit >= fresh.next && unit < fresh.end;
        if run_class != class
            || !offset.is_multiple_of(class.units())
            || offset / class.units() >= class.run_blocks()
            || is_fresh
        {
            return Err(wrong(format!(
                "7: {used:?} of {class:?} at unit {}, in a run of {run_class:?} from {start}, fresh: {is_fresh}",
                unit.0
            )));
        }
        let seen = &mut self.uses[unit.0 as usize];
        if *seen != Use::Unseen {
            return Err(wrong(format!("7: the block at unit {} is both {seen:?} and {used:?}", unit.0)));
        }
        *seen = used;
        if matches!(
            used,
            Use::Entry | Use::Overflow | Use::Node | Use::Separator | Use::Bequest | Use::Schema
        ) {
            self.counted.allocated += class.units();
        }
        Ok(())
    }

    fn entry(&self, unit: Unit) -> Result<(u64, Entry, Class), OpenError> {
        let block = self.layout.block(unit);
        let entry = Entry::read(self.region, block);
        let class = entry.and_then(|entry| entry.class());
        match (entry, class) {
            (Some(entry), Some(class)) if self.layout.fits(unit, class) => Ok((block, entry, class)),
            _ => Err(wrong(format!("5: the block at unit {} is no entry", unit.0))),
        }
    }

    /// 4, 5, 6: each slot.
    fn index(&mut self) -> Result<(), OpenError> {
        let Found { slots, entries } =
            if self.layout.kind.is_ordered() { self.tree()? } else { self.buckets()? };
        let counts = Counts::from_word(self.region.load(COUNTS));
        if (u64::from(counts.slots), u64::from(counts.entries)) != (slots, entries) {
            return Err(wrong(format!("6: {counts:?}, and there are {slots} slots and {entries} entries")));
        }
        self.report.entries = entries;
        Ok(())
    }

    fn buckets(&mut self) -> Result<Found, OpenError> {
        let mut found = Found::default();
        for number in 0..self.root.buckets {
            let chain = self.chain(number)?;
            let mut hashes: Vec<(u64, Unit)> = Vec::new();
            for slot in chain.iter().flat_map(|bucket| Slot::all(*bucket)) {
                let unit = slot.entry(self.region);
                if unit.is_none() {
                    continue;
                }
                found.slots += 1;
                let (hash, removed) = self.slot(number, slot, unit)?;
                found.entries += u64::from(!removed);
                hashes.push((hash, unit));
            }
            self.no_key_twice(&mut hashes)?;
        }
        self.report.buckets = u64::from(self.root.buckets);
        Ok(found)
    }

    fn chain(&mut self, number: u32) -> Result<Vec<u64>, OpenError> {
        let mut chain = vec![self.layout.bucket(number)];
        loop {
            let next = bucket::link(self.region, chain[chain.len() - 1]);
            if next.is_none() {
                return Ok(chain);
            }
            if chain.len() == MAX_CHAIN {
                return Err(wrong(format!("4: the chain of bucket {number} does not end")));
            }
            self.note(next, bucket::overflow_class(), Use::Overflow)?;
            self.report.overflows += 1;
            chain.push(self.layout.overflow(next));
        }
    }

    fn slot(&mut self, number: u32, slot: Slot, unit: Unit) -> Result<(u64, bool), OpenError> {
        let removed = self.indexed(unit)?;
        let hash = self.layout.hash(&self.key);
        let tag = slot.tag_in(self.region.word(slot.tag_word()));
        if self.root.bucket(hash) != number || tag != Tag::new(hash, self.root.depth(number)) {
            return Err(wrong(format!(
                "5: the key of unit {} does not belong into bucket {number}, {tag:?}",
                unit.0
            )));
        }
        let block = self.layout.block(unit);
        if super::entry::kept_hash(self.region, block).is_some_and(|kept| kept != hash) {
            return Err(wrong(format!("5: the entry at unit {} keeps another hash", unit.0)));
        }
        Ok((hash, removed))
    }

    /// 5: an entry that the index has; whether it is removed. Its key is read.
    pub(super) fn indexed(&mut self, unit: Unit) -> Result<bool, OpenError> {
        let (block, entry, class) = self.entry(unit)?;
        self.key.clear();
        if !self.region.copy_out(entry.key_at(block), entry.key_bytes, &mut self.key) {
            return Err(wrong("5: a key ends outside the segment"));
        }
        let begins = entry.begin >= 1 && entry.begin <= self.applied;
        let ends =
            !entry.is_removed() || (entry.removed_at > entry.begin && entry.removed_at <= self.applied);
        if !begins || !ends {
            return Err(wrong(format!(
                "5: the entry at unit {} stands from {} to {}",
                unit.0, entry.begin, entry.removed_at
            )));
        }
        self.note(unit, class, if entry.is_removed() { Use::Removed } else { Use::Entry })?;
        Ok(entry.is_removed())
    }

    fn no_key_twice(&self, hashes: &mut [(u64, Unit)]) -> Result<(), OpenError> {
        hashes.sort_unstable();
        for same_hash in hashes.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1) {
            let mut keys = HashSet::new();
            for (_, unit) in same_hash {
                let (block, entry, _) = self.entry(*unit)?;
                let mut key = Vec::new();
                if !self.region.copy_out(entry.key_at(block), entry.key_bytes, &mut key) || !keys.insert(key)
                {
                    return Err(wrong(format!("5: the key of unit {} is there twice", unit.0)));
                }
            }
        }
        Ok(())
    }

    /// 7: the entries behind header words.
    fn behind_words(&mut self) -> Result<(), OpenError> {
        for (word, used) in [(BEQUEST, Use::Bequest), (SCHEMA, Use::Schema)] {
            let unit = Unit(self.region.load(word) as u32);
            if unit.is_none() {
                continue;
            }
            let (_, entry, class) = self.entry(unit)?;
            if entry.begin > self.applied {
                return Err(wrong(format!("5: {used:?} is of version {}", entry.begin)));
            }
            self.note(unit, class, used)?;
        }
        Ok(())
    }

    /// 8: the retired ones, those that are held, and those that wait.
    fn retired(&mut self) -> Result<(), OpenError> {
        self.each_of(Queue::from_word(self.region.load(RETIRED)), |check, unit| {
            check.report.retired += 1;
            check.note_retired(unit).map(drop)
        })?;
        for slot in 0..MOST_PINS {
            let mut size = HeldSize::default();
            self.each_of(Queue::from_word(self.region.load(held_word(slot))), |check, unit| {
                check.report.held += 1;
                size = size.and(check.note_retired(unit)?);
                Ok(())
            })?;
            let counted = HeldSize::from_word(self.region.load(held_size_word(slot)));
            if counted != size {
                return Err(wrong(format!("8: {counted:?} are held for pin {slot}, and there are {size:?}")));
            }
        }
        self.waiting()?;
        match self.uses.iter().position(|seen| *seen == Use::Removed) {
            Some(unit) => Err(wrong(format!("8: the removed entry at unit {unit} is not retired"))),
            None => Ok(()),
        }
    }

    /// 8: what waits for pins, which no slot points to.
    fn waiting(&mut self) -> Result<(), OpenError> {
        for class in Class::all() {
            let end = End::from_word(self.region.load(waiting_word(class)));
            let first = Unit(self.region.load(waiting_first_word(class)) as u32);
            let mut blocks = 0;
            self.each_of(Queue { first, last: end.last }, |check, unit| {
                blocks += 1;
                check.note(unit, class, Use::Waiting)
            })?;
            self.report.held += u64::from(blocks);
            if blocks != end.blocks {
                return Err(wrong(format!("8: {end:?} of {class:?} wait, and there are {blocks}")));
            }
        }
        Ok(())
    }

    fn note_retired(&mut self, unit: Unit) -> Result<Class, OpenError> {
        let class = self.layout.class_of(self.region, unit);
        let class = class.ok_or_else(|| wrong(format!("8: a retired block at unit {}", unit.0)))?;
        match self.uses.get_mut(unit.0 as usize) {
            Some(seen @ Use::Removed) => *seen = Use::RetiredRemoved,
            _ => self.note(unit, class, Use::Retired)?,
        }
        Ok(class)
    }

    /// 12: whatever a reader with a pin comes by on its way to older entries is still there.
    fn versions(&mut self) -> Result<(), OpenError> {
        let Some(oldest) = pins(self.region).iter().map(|pin| pin.version()).min() else { return Ok(()) };
        let bequest = Unit(self.region.load(BEQUEST) as u32);
        if !bequest.is_none() {
            self.versions_behind(bequest, oldest)?;
        }
        for unit in 0..self.uses.len() {
            if matches!(self.uses[unit], Use::Entry | Use::RetiredRemoved) {
                self.versions_behind(Unit(unit as u32), oldest)?;
            }
        }
        Ok(())
    }

    fn versions_behind(&mut self, newest: Unit, oldest: u64) -> Result<(), OpenError> {
        let (mut unit, mut block, mut entry) = (newest, 0, None::<Entry>);
        let key = |check: &Self, block: u64, entry: &Entry| {
            let mut key = Vec::new();
            check.region.copy_out(entry.key_at(block), entry.key_bytes, &mut key).then_some(key)
        };
        loop {
            let (older_block, older, _) = self.entry(unit)?;
            if let Some(newer) = entry {
                let used = self.uses.get(unit.0 as usize);
                if !matches!(used, Some(Use::Retired | Use::Waiting | Use::Recalled | Use::Free))
                    || older.is_unlinked()
                    || older.begin >= newer.begin
                    || key(self, block, &newer) != key(self, older_block, &older)
                {
                    return Err(wrong(format!(
                        "12: the entry at unit {} has {older:?} at unit {} before it, {used:?}",
                        newest.0, unit.0
                    )));
                }
            }
            if older.begin <= oldest || older.previous.is_none() {
                return Ok(());
            }
            (unit, block, entry) = (older.previous, older_block, Some(older));
        }
    }

    fn free(&mut self) -> Result<(), OpenError> {
        self.each_of(Queue::from_word(self.region.load(RECALLED)), |check, unit| {
            check.report.recalled += 1;
            let class = check.layout.class_of(check.region, unit);
            let class = class.ok_or_else(|| wrong(format!("7: a recalled block at unit {}", unit.0)))?;
            check.note(unit, class, Use::Recalled)
        })?;
        for class in Class::all() {
            self.each_of(Queue::from_word(self.region.load(queue_word(class))), |check, unit| {
                check.report.free_blocks += 1;
                check.note(unit, class, Use::Free)
            })?;
        }
        Ok(())
    }

    /// Each block of a queue. A block that comes twice is refused by `each`, so this ends.
    fn each_of(
        &mut self,
        queue: Queue,
        mut each: impl FnMut(&mut Self, Unit) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        if queue.is_empty() != queue.last.is_none() {
            return Err(wrong(format!("7: {queue:?} has one end")));
        }
        let mut unit = queue.first;
        while !unit.is_none() {
            if unit.0 as usize >= self.uses.len() {
                return Err(wrong(format!("7: {queue:?} leaves the arena at unit {}", unit.0)));
            }
            each(self, unit)?;
            if unit == queue.last {
                return Ok(());
            }
            unit = Unit((self.region.load(self.layout.block(unit) + super::entry::LINK_WORD) >> 32) as u32);
        }
        if queue.is_empty() { Ok(()) } else { Err(wrong(format!("7: {queue:?} ends before its last block"))) }
    }

    /// 7: each block of each run is something.
    fn nothing_is_lost(&self) -> Result<(), OpenError> {
        let mut span = 1_usize;
        while span < self.runs.len() {
            let Some(run) = self.runs[span] else {
                span += 1;
                continue;
            };
            let (class, start) = run;
            let fresh = self.fresh(class);
            let first = Span::from_word(self.region.load(self.layout.span_word(span as u64)));
            let drained = first.filter(|first| first.draining).map_or(0, |first| first.drained);
            let mut unseen = 0;
            for block in 0..class.run_blocks() {
                let unit = Unit(start + (block * class.units()) as u32);
                let is_fresh = unit >= fresh.next && unit < fresh.end;
                unseen += u64::from(!is_fresh && self.uses[unit.0 as usize] == Use::Unseen);
                if unseen > drained {
                    return Err(wrong(format!("7: the block of {class:?} at unit {} is lost", unit.0)));
                }
            }
            if unseen != drained {
                return Err(wrong(format!(
                    "10: {drained} blocks are drained at span {span}, and there are {unseen}"
                )));
            }
            span += class.run_spans() as usize;
        }
        Ok(())
    }

    /// 11: what the header counts.
    fn counts(&mut self) -> Result<(), OpenError> {
        let load = |word| self.region.load(word);
        let counted = Counted {
            free_spans: load(FREE_SPANS),
            draining: load(DRAINING),
            blocks: load(BLOCKS),
            allocated: load(ALLOCATED),
        };
        self.report.free_spans = counted.free_spans;
        self.report.draining = counted.draining;
        if counted != self.counted {
            return Err(wrong(format!(
                "11: the header counts {counted:?}, and there are {:?}",
                self.counted
            )));
        }
        Ok(())
    }
}

impl From<Nonsense> for OpenError {
    fn from(Nonsense(what): Nonsense) -> Self {
        wrong(what)
    }
}
