//! How the index grows and shrinks: one bucket at a time, each step a commit of its own.
//!
//! A split or a merge touches one chain, so no write pays for more than a few buckets. [`super::index`] says why
//! readers find every key throughout; the order of the stores here is part of that argument.

use super::bucket::{self, BucketImage, SLOTS, Slot, Tag, View};
use super::class::Unit;
use super::entry::{self, Entry};
use super::error::WriteError;
use super::layout::{MERGED_AT, ROOT};
use super::root::{MIN_BUCKETS, Root};
use super::writer::TableWriter;
use crate::region::Region;

/// A bucket is split when there are more slots in use than 5.5 a bucket: 2 to 3 percent of the keys then need a
/// second line, and the index costs 12 bytes an entry.
const SLOTS_PER_BUCKET_HALVES: u64 = 11;
/// Buckets are merged below 2 slots a bucket: far enough from splitting that neither undoes the other.
const FEWEST_SLOTS_PER_BUCKET: u64 = 2;
/// After a split that found no room, so many commits pass before the next is tried.
const GROWTH_PAUSE: u64 = 64;
/// Main buckets are made present in steps of 64 KiB.
const INDEX_STEP_BUCKETS: u32 = 1024;

/// A used slot that is to be moved or kept.
#[derive(Debug, Clone, Copy)]
struct Used {
    slot: Slot,
    tag: Tag,
    unit: Unit,
}

/// The chain of one bucket, read for a split or a merge.
struct Chain {
    main: u64,
    in_main: Vec<Used>,
    in_overflow: Vec<Used>,
    overflows: Vec<Unit>,
}

impl<R: Region> TableWriter<R> {
    /// Takes one step towards the right number of buckets; false where none is due, or none is possible now.
    pub(super) fn adjust_index(&mut self) -> bool {
        let slots = u64::from(self.counts().slots);
        let root = self.root();
        let buckets = u64::from(root.buckets);
        let step = if slots * 2 > buckets * SLOTS_PER_BUCKET_HALVES
            && root.buckets < self.reader.layout().most_buckets()
        {
            if self.version < self.growth_waits_until {
                return false;
            }
            self.split(root)
        } else if slots < buckets * FEWEST_SLOTS_PER_BUCKET && root.buckets > MIN_BUCKETS {
            self.merge(root)
        } else {
            return false;
        };
        let done = step.and_then(|possible| if possible { self.commit().map(|()| true) } else { Ok(false) });
        if !matches!(done, Ok(true)) {
            // Growth can wait: chains get longer meanwhile, and nothing is lost. What is wrong shows at the next write.
            self.abandon();
            self.growth_waits_until = self.version + GROWTH_PAUSE;
        }
        matches!(done, Ok(true))
    }

    /// Stages the split of the next bucket in order; false where memory beyond the index is still being read.
    fn split(&mut self, root: Root) -> Result<bool, WriteError> {
        if self.reader.region().load(MERGED_AT) > self.space.horizon() {
            self.space.wait();
            return Ok(false);
        }
        let grown = root.grown();
        let (number, twin) = (root.next_to_split(), root.buckets);
        let (depth, deeper) = (root.depth(number), grown.depth(number));
        self.check_limit(super::bucket::BUCKET_WORDS * 8)?;
        if twin.is_multiple_of(INDEX_STEP_BUCKETS) || twin == MIN_BUCKETS {
            let layout = self.reader.layout();
            let start = layout.bucket(twin);
            let end = start + u64::from(INDEX_STEP_BUCKETS) * bucket::BUCKET_WORDS;
            self.reader.region().make_present(start..end.min(layout.index.end()))?;
        }
        let mut chain = self.read_chain(number)?;
        let goes = |used: &Used| used.tag.split_bit(depth);
        let leaving: Vec<Used> =
            chain.in_main.iter().chain(&chain.in_overflow).filter(|used| goes(used)).copied().collect();
        chain.in_main.retain(|used| !goes(used));
        chain.in_overflow.retain(|used| !goes(used));

        // The twin is beyond the root: no reader looks there before the root is stored.
        let mut image = BucketImage::default();
        let leaving = self.retag(&leaving, depth, deeper)?;
        let (near, far) = leaving.split_at(leaving.len().min(SLOTS as usize));
        for (lane, (tag, unit)) in near.iter().enumerate() {
            image.put(lane as u64, *tag, *unit);
        }
        image.link(self.allocate_overflows(far)?);
        let twin = self.reader.layout().bucket(twin);
        self.write_bucket(twin, &image);

        self.stage.store(ROOT, grown.to_word());
        self.stage_chain(&chain, &[], depth, deeper)?;
        Ok(true)
    }

    /// Stages the merge of the last bucket into the one it came from.
    fn merge(&mut self, root: Root) -> Result<bool, WriteError> {
        let shrunk = root.shrunk();
        let (number, twin) = (shrunk.next_to_split(), shrunk.buckets);
        let (deeper, depth) = (root.depth(number), shrunk.depth(number));
        let chain = self.read_chain(number)?;
        let twin = self.read_chain(twin)?;
        let coming: Vec<Used> = twin.in_main.iter().chain(&twin.in_overflow).copied().collect();
        let coming = self.retag(&coming, deeper, depth)?;
        self.stage_chain(&chain, &coming, deeper, depth)?;
        for overflow in twin.overflows {
            self.free(overflow, bucket::overflow_class());
        }
        self.stage.store(ROOT, shrunk.to_word());
        self.stage.store_header(MERGED_AT, self.version + 1);
        Ok(true)
    }

    fn read_chain(&self, number: u32) -> Result<Chain, WriteError> {
        let region = self.reader.region();
        let buckets = self.reader.layout().chain(region, number)?;
        let used = |bucket: u64| {
            Slot::all(bucket).filter_map(|slot| {
                let unit = slot.entry(region);
                (!unit.is_none()).then(|| Used { slot, tag: slot.tag_in(region.word(slot.tag_word())), unit })
            })
        };
        let (main, overflow) = (buckets[0], &buckets[1..]);
        let overflows: Vec<Unit> =
            buckets[..overflow.len()].iter().map(|bucket| bucket::link(region, *bucket)).collect();
        for unit in &overflows {
            self.check_block(*unit, bucket::overflow_class())?;
        }
        Ok(Chain {
            main,
            in_main: used(main).collect(),
            in_overflow: overflow.iter().flat_map(|bucket| used(*bucket)).collect(),
            overflows,
        })
    }

    /// Tags for another depth. Only where the window of the hash in them changes are the entries touched.
    fn retag(&mut self, slots: &[Used], from: u32, to: u32) -> Result<Vec<(Tag, Unit)>, WriteError> {
        slots.iter().map(|used| Ok((self.tag_at(used, from, to)?, used.unit))).collect()
    }

    fn tag_at(&mut self, used: &Used, from: u32, to: u32) -> Result<Tag, WriteError> {
        if bucket::window(from) == bucket::window(to) {
            return Ok(used.tag);
        }
        Ok(Tag::new(self.hash_of(used.unit)?, to))
    }

    /// The hash of an entry's key.
    pub(super) fn hash_of(&mut self, unit: Unit) -> Result<u64, WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let block = layout.block(unit);
        if let Some(hash) = entry::kept_hash(region, block) {
            return Ok(hash);
        }
        let entry = Entry::read(region, block)
            .ok_or_else(|| WriteError::Corrupt("a slot points to what is no entry".into()))?;
        self.key_buffer.clear();
        if !region.copy_out(entry.key_at(block), entry.key_bytes, &mut self.key_buffer) {
            return Err(WriteError::Corrupt("a key ends outside the segment".into()));
        }
        Ok(layout.hash(&self.key_buffer))
    }

    /// Overflow buckets for these slots, the first of them; none for none.
    fn allocate_overflows(&mut self, slots: &[(Tag, Unit)]) -> Result<Unit, WriteError> {
        let mut next = Unit::NONE;
        for some in slots.chunks(SLOTS as usize) {
            next = self.allocate_overflow(some, next)?;
        }
        Ok(next)
    }

    /// Stages what becomes of a chain: what stays in the main bucket keeps its slots, the rest of `chain` and what is `coming` fill
    /// the unused ones, what is left gets new overflow buckets, and the old ones are freed. The link word goes last.
    fn stage_chain(
        &mut self,
        chain: &Chain,
        coming: &[(Tag, Unit)],
        from: u32,
        to: u32,
    ) -> Result<(), WriteError> {
        let mut slots = [None; SLOTS as usize];
        for used in &chain.in_main {
            slots[used.slot.lane as usize] = Some((self.tag_at(used, from, to)?, used.unit));
        }
        let mut rest = self.retag(&chain.in_overflow, from, to)?;
        rest.extend_from_slice(coming);
        let mut rest = rest.into_iter();
        for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
            *slot = rest.next();
        }
        let left: Vec<(Tag, Unit)> = rest.collect();
        let mut image = BucketImage::default();
        for (lane, slot) in slots.iter().enumerate() {
            // An unused slot keeps no tag; nobody reads one.
            let (tag, unit) = slot.unwrap_or((Tag(0), Unit::NONE));
            image.put(lane as u64, tag, unit);
        }
        image.link(self.allocate_overflows(&left)?);
        // Readers load the link word first, so it is stored last.
        for offset in [3, 4, 5, 6, 7, 0, 1, 2] {
            let (word, value) = (chain.main + offset, image.0[offset as usize]);
            if self.reader.region().load(word) != value {
                self.stage.store(word, value);
            }
        }
        for overflow in &chain.overflows {
            self.free(*overflow, bucket::overflow_class());
        }
        Ok(())
    }
}
