//! How the index grows and shrinks: one bucket at a time, each step a commit of its own.
//!
//! A split or a merge touches one chain, so no write pays for more than a few buckets. [`super::index`] says why
//! readers find every key throughout; the order of the stores here is part of that argument.

use super::bucket::{self, BUCKET_WORDS, BucketImage, SLOTS, Slot, Tag, View};
use super::class::Unit;
use super::entry::{self, Entry};
use super::error::WriteError;
use super::index::MAX_CHAIN;
use super::layout::{MERGED_AT, MOST_BUCKETS, ROOT};
use super::root::{MIN_BUCKETS, Root};
use super::writer::TableWriter;
use crate::region::Region;

/// A bucket is split when there are more slots in use than 5.5 a bucket: 2 to 3 percent of the keys then need a
/// second line, and the index costs 12 bytes an entry.
const SLOTS_PER_BUCKET_HALVES: u64 = 11;
/// Buckets are merged below 2 slots a bucket: far enough from splitting that neither undoes the other.
const FEWEST_SLOTS_PER_BUCKET: u64 = 2;
/// After a step that found no room, so many commits pass before the next is tried.
const PAUSE: u64 = 64;
/// Main buckets are made present in steps of 64 KiB.
const INDEX_STEP_BUCKETS: u32 = 1024;

/// What a used slot holds.
type Content = (Tag, Unit);

/// What the slots of one chain hold, by the lanes of its main bucket, and what does not fit there. Nearly always
/// everything fits, and nothing is allocated.
#[derive(Default)]
struct Contents {
    lanes: [Option<Content>; SLOTS as usize],
    rest: Vec<Content>,
}

impl Contents {
    fn put(&mut self, content: Content) {
        match self.lanes.iter_mut().find(|lane| lane.is_none()) {
            Some(lane) => *lane = Some(content),
            None => self.rest.push(content),
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Content> {
        self.lanes.iter_mut().flatten().chain(&mut self.rest)
    }

    /// Takes out what a split at that depth sends to the twin. What stays in the main bucket stays in its lane.
    fn split(&mut self, depth: u32) -> Contents {
        let mut leaving = Contents::default();
        for lane in &mut self.lanes {
            if let Some(content) = lane.take_if(|(tag, _)| tag.split_bit(depth)) {
                leaving.put(content);
            }
        }
        for content in std::mem::take(&mut self.rest) {
            if content.0.split_bit(depth) { leaving.put(content) } else { self.put(content) }
        }
        leaving
    }
}

/// The chain of one bucket.
struct Chain {
    main: u64,
    contents: Contents,
    overflows: Vec<Unit>,
}

impl<R: Region> TableWriter<R> {
    /// Takes one step towards the right number of buckets; false where none is due, or none is possible now.
    #[inline]
    pub(super) fn adjust_index(&mut self) -> bool {
        if self.is_ordered() {
            return self.tend_tree();
        }
        let slots = u64::from(self.counts().slots);
        let Ok(root) = self.root() else { return false };
        let buckets = u64::from(root.buckets);
        let too_few = slots * 2 > buckets * SLOTS_PER_BUCKET_HALVES;
        let too_many = slots < buckets * FEWEST_SLOTS_PER_BUCKET && root.buckets > MIN_BUCKETS;
        (too_few || too_many) && self.version >= self.growth_waits_until && self.take_step(root, too_few)
    }

    /// Grows the index for so many new keys in one commit, which would make its chains too long. What does not work
    /// now shows when the keys come.
    #[cold]
    pub(super) fn grow_index_for(&mut self, keys: usize) {
        while let Ok(root) = self.root()
            && (u64::from(self.counts().slots) + keys as u64) * 2
                > u64::from(root.buckets) * SLOTS_PER_BUCKET_HALVES
            && self.take_step(root, true)
        {}
    }

    #[inline(never)]
    fn take_step(&mut self, root: Root, split: bool) -> bool {
        let staged = if split { self.split(root) } else { self.merge(root) };
        let done =
            staged.and_then(|possible| if possible { self.commit().map(|()| true) } else { Ok(false) });
        if !matches!(done, Ok(true)) {
            // This can wait: chains get longer meanwhile, and nothing is lost. What is wrong shows at the next write.
            self.abandon();
            self.growth_waits_until = self.version + PAUSE;
        }
        matches!(done, Ok(true))
    }

    /// Stages the split of the next bucket in order; false where memory beyond the index may still be read.
    fn split(&mut self, root: Root) -> Result<bool, WriteError> {
        if self.reader.region().load(MERGED_AT) > self.space.horizon() {
            self.space.wait();
            return Ok(false);
        }
        let grown = root.grown();
        let (number, twin) = (root.next_to_split(), root.buckets);
        if twin >= self.reader.layout().most_buckets() {
            return Ok(false);
        }
        if self.reader.region().load(MOST_BUCKETS) <= u64::from(twin) {
            self.check_limit(BUCKET_WORDS * 8)?;
            self.stage.store_header(MOST_BUCKETS, u64::from(grown.buckets));
        }
        if twin.is_multiple_of(INDEX_STEP_BUCKETS) || twin == MIN_BUCKETS {
            let layout = self.reader.layout();
            let start = layout.bucket(twin);
            let end = start + u64::from(INDEX_STEP_BUCKETS) * BUCKET_WORDS;
            self.reader.region().make_present(start..end.min(layout.index.end()))?;
        }
        let (depth, deeper) = (root.depth(number), grown.depth(number));
        let mut chain = self.read_chain(number)?;
        let mut leaving = chain.contents.split(depth);
        self.retag(&mut leaving, depth, deeper)?;
        self.retag(&mut chain.contents, depth, deeper)?;

        // The twin is beyond the root: no reader looks there before the root is stored.
        let image = self.image(&leaving)?;
        self.write_bucket(self.reader.layout().bucket(twin), &image);
        self.stage.store(ROOT, grown.to_word());
        self.stage_chain(&chain)?;
        Ok(true)
    }

    /// Stages the merge of the last bucket into the one it came from.
    fn merge(&mut self, root: Root) -> Result<bool, WriteError> {
        let shrunk = root.shrunk();
        let (number, twin) = (shrunk.next_to_split(), shrunk.buckets);
        let (deeper, depth) = (root.depth(number), shrunk.depth(number));
        let mut chain = self.read_chain(number)?;
        let mut twin = self.read_chain(twin)?;
        for content in twin.contents.all_mut() {
            chain.contents.put(*content);
        }
        self.retag(&mut chain.contents, deeper, depth)?;
        self.stage_chain(&chain)?;
        for overflow in twin.overflows {
            self.free(overflow, bucket::overflow_class());
        }
        self.stage.store(ROOT, shrunk.to_word());
        self.stage.store_header(MERGED_AT, self.version + 1);
        Ok(true)
    }

    fn read_chain(&self, number: u32) -> Result<Chain, WriteError> {
        let region = self.reader.region();
        let main = self.reader.layout().bucket(number);
        let content = |slot: Slot| {
            let unit = slot.entry(region);
            (!unit.is_none()).then(|| (slot.tag_in(region.word(slot.tag_word())), unit))
        };
        let mut chain = Chain { main, contents: Contents::default(), overflows: Vec::new() };
        for (lane, slot) in Slot::all(main).enumerate() {
            chain.contents.lanes[lane] = content(slot);
        }
        let mut next = bucket::link(region, main);
        while !next.is_none() {
            self.check_block(next, bucket::overflow_class())?;
            if chain.overflows.len() >= MAX_CHAIN - 1 {
                return Err(WriteError::Corrupt("a chain of overflow buckets does not end".into()));
            }
            chain.overflows.push(next);
            let overflow = self.reader.layout().overflow(next);
            chain.contents.rest.extend(Slot::all(overflow).filter_map(content));
            next = bucket::link(region, overflow);
        }
        Ok(chain)
    }

    /// Gives everything the tags of another depth. Only where the window of the hash changes are the entries touched.
    fn retag(&mut self, contents: &mut Contents, from: u32, to: u32) -> Result<(), WriteError> {
        if bucket::window(from) == bucket::window(to) {
            return Ok(());
        }
        for (tag, unit) in contents.all_mut() {
            *tag = Tag::new(self.hash_of(*unit)?, to);
        }
        Ok(())
    }

    /// The hash of an entry's key.
    pub(super) fn hash_of(&mut self, unit: Unit) -> Result<u64, WriteError> {
        let block = self.reader.layout().block(unit);
        if let Some(hash) = entry::kept_hash(self.reader.region(), block) {
            return Ok(hash);
        }
        self.read_key(unit)?;
        Ok(self.reader.layout().hash(&self.key_buffer))
    }

    /// Reads the key of an entry into the buffer for that.
    pub(super) fn read_key(&mut self, unit: Unit) -> Result<(), WriteError> {
        let (region, block) = (self.reader.region(), self.reader.layout().block(unit));
        let entry = Entry::read(region, block)
            .ok_or_else(|| WriteError::Corrupt("a slot points to what is no entry".into()))?;
        self.key_buffer.clear();
        if !region.copy_out(entry.key_at(block), entry.key_bytes, &mut self.key_buffer) {
            return Err(WriteError::Corrupt("a key ends outside the segment".into()));
        }
        Ok(())
    }

    /// A main bucket with these contents, and prepared overflow buckets for what does not fit.
    fn image(&mut self, contents: &Contents) -> Result<BucketImage, WriteError> {
        let mut image = BucketImage::default();
        for (lane, content) in contents.lanes.iter().enumerate() {
            // An unused slot keeps no tag; nobody reads one.
            if let Some((tag, unit)) = content {
                image.put(lane as u64, *tag, *unit);
            }
        }
        if contents.rest.len() > (MAX_CHAIN - 1) * SLOTS as usize {
            return Err(self.full());
        }
        let mut next = Unit::NONE;
        for some in contents.rest.chunks(SLOTS as usize) {
            next = self.allocate_overflow(some, next)?;
        }
        image.link(next);
        Ok(image)
    }

    /// Stages what becomes of a chain: the main bucket in place, word by word, new overflow buckets, the old ones freed.
    fn stage_chain(&mut self, chain: &Chain) -> Result<(), WriteError> {
        let image = self.image(&chain.contents)?;
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
