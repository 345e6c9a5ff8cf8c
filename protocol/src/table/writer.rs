//! The one handle that writes.
//!
//! Every write is: prepare (new blocks in reusable memory, word stores in the stage), commit (the log, `committed`, the stores,
//! `applied`: [`super::stage`]), then a little housekeeping in commits of its own: the index grows by a bucket,
//! a removed entry's slot is emptied. A write that fails leaves nothing behind: the stage is thrown away, and what was
//! prepared is still reusable.

use std::fmt;

use super::bucket::{self, BucketImage, Slot, Tag, View};
use super::bulk::Place;
use super::changes::{RecordKind, Recorder};
use super::class::Unit;
use super::clock::Clock;
use super::compact::Compaction;
use super::entry::{
    self, Attributes, Entry, LINK_WORD, MAX_KEY_BYTES, MAX_VALUE_BYTES, MAX_VERSION, NewEntry, NodeKind,
};
use super::error::{OpenError, WriteError};
use super::horizon::Space;
use super::index::{Found, MAX_CHAIN, Nonsense};
use super::layout::{
    APPLIED, BEQUEST, COMMITTED, Counts, DRAINING, EPOCH, HORIZON, LOG_PRESENT, LOG_STEP_WORDS,
};
use super::operations::Buffers;
use super::ordered::Tending;
use super::reader::TableReader;
use super::reclaim::SWEEPS_WHEN_SHORT;
use super::recovery::recover;
use super::root::Root;
use super::space::room_bytes;
use super::stage::{self, Stage};
use super::transaction::{Draft, Transaction};
use crate::region::Region;

/// The horizon is moved every so many commits, so that its line stays quiet for readers (R7).
const BATCH_COMMITS: u64 = 64;

/// Writes a table, as the owner of one epoch.
///
/// There is at most one writer of a table at a time; that is the manager's promise, not this type's (R14, R17). An
/// example is at [`TableReader`].
pub struct TableWriter<R> {
    pub(super) reader: TableReader<R>,
    pub(super) stage: Stage,
    pub(super) space: Space,
    /// The last commit.
    pub(super) version: u64,
    pub(super) batch_commits: u64,
    epoch: u64,
    /// Set while a commit is in flight; found set by the next call after a panic only.
    in_flight: bool,
    pub(super) log_present_words: u64,
    /// What is being done to give memory back.
    pub(super) compaction: Compaction,
    /// Whether the commit that is being prepared needs memory.
    pub(super) allocates: bool,
    /// Whether a look round the house may find something to do: see [`super::reclaim`].
    pub(super) chores: bool,
    /// No split is tried before this version: the last one found no room.
    pub(super) growth_waits_until: u64,
    /// The schema version of the values that this handle writes, where it is not the table's base version.
    schema_version: Option<u32>,
    /// For keys that are read again.
    pub(super) key_buffer: Vec<u8>,
    /// Where the search for expired entries goes on.
    pub(super) expired_up_to: Place,
    /// For values that are changed.
    pub(super) buffers: Buffers,
    /// Where the ordered index is to be tended.
    pub(super) tending: Tending,
    /// What the transaction collects; kept for its buffers.
    pub(super) draft: Draft,
    /// Keeps the change ring.
    pub(super) recorder: Recorder,
}

impl<R> fmt::Debug for TableWriter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("epoch", &self.epoch)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<R: Region> TableWriter<R> {
    /// Takes up writing where the last owner stopped, as the owner of `epoch`.
    ///
    /// # Errors
    /// [`OpenError::NotRecovered`] where a commit is in flight, and what [`TableReader::open`] says.
    pub fn open(region: R, epoch: u64) -> Result<Self, OpenError> {
        let reader = TableReader::open(region)?;
        let (committed, applied) = (reader.region().load(COMMITTED), reader.region().load(APPLIED));
        if committed != applied {
            return Err(OpenError::NotRecovered { committed, applied });
        }
        let horizon = reader.region().load(HORIZON);
        check_versions(horizon, applied)?;
        let recorder = Recorder::open(reader.region(), reader.layout())?;
        reader.region().expect_growth(room_bytes(reader.region()));
        let compaction = Compaction::of_new_owner(reader.region().load(DRAINING));
        Ok(Self {
            reader,
            stage: Stage::default(),
            space: Space::unknown(horizon),
            version: applied,
            batch_commits: BATCH_COMMITS,
            epoch,
            in_flight: false,
            // The first page of the log came with the table, or its last owner could not have begun.
            log_present_words: LOG_STEP_WORDS,
            compaction,
            allocates: false,
            chores: true,
            growth_waits_until: 0,
            schema_version: None,
            key_buffer: Vec::new(),
            expired_up_to: Place::default(),
            buffers: Buffers::default(),
            tending: Tending::default(),
            draft: Draft::default(),
            recorder,
        })
    }

    /// The same handle with another clock for the deadlines of entries.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.reader = self.reader.with_clock(clock);
        self
    }

    /// Says with which version of the table's schema the values are written from here on; `None` for its base version.
    /// A newer build writes newer values, and keeps older ones readable.
    pub fn write_schema_version(&mut self, version: Option<u32>) {
        self.schema_version = version;
    }

    /// For reading what this handle has written.
    pub fn reader(&self) -> &TableReader<R> {
        &self.reader
    }

    /// The ownership this handle is for.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Version of the last commit.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Inserts or overwrites, as one commit; true where a value was replaced. The entry does not expire.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    #[inline]
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<bool, WriteError> {
        if self.reader.layout().kind.is_bag() {
            return self.insert_object(key, value, None);
        }
        check_lengths(key, value)?;
        let new = self.new_entry(self.reader.layout().hash(key), key, value, None);
        self.commit_with(1, |writer| writer.prepare_insert(&new)).map(|(replaced, _)| replaced)
    }

    /// The same, with a time to live: from `deadline_ms` on, in milliseconds of UNIX time, no reader sees it.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn insert_expiring(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline_ms: u64,
    ) -> Result<bool, WriteError> {
        if self.reader.layout().kind.is_bag() {
            return self.insert_object(key, value, Some(deadline_ms));
        }
        check_lengths(key, value)?;
        let new = self.new_entry(self.reader.layout().hash(key), key, value, Some(deadline_ms));
        self.commit_with(1, |writer| writer.prepare_insert(&new)).map(|(replaced, _)| replaced)
    }

    /// Removes a key (in a bag, with all its values), as one commit; false where it was not there. Never fails for want of memory.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn remove(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        if self.reader.layout().kind.is_bag() {
            return self.remove_objects(key);
        }
        let hash = self.reader.layout().hash(key);
        self.commit_with(1, |writer| writer.prepare_remove(hash, key)).map(|(removed, _)| removed)
    }

    /// Leaves bytes for the heir, as one commit; see [`Transaction::bequeath`].
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn bequeath(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        check_lengths(&[], bequest)?;
        self.commit_with(1, |writer| writer.prepare_bequest(bequest)).map(|_| ())
    }

    /// Several writes, and a bequest, that become visible and survive together.
    pub fn transaction(&mut self) -> Transaction<'_, R> {
        Transaction::new(self)
    }

    /// Prepares, commits, and keeps house. Where memory is short, what waits for the horizon is made reusable and
    /// the preparation is done again.
    #[inline]
    pub(super) fn commit_with<T>(
        &mut self,
        writes: usize,
        mut prepare: impl FnMut(&mut Self) -> Result<T, WriteError>,
    ) -> Result<(T, u64), WriteError> {
        self.begin()?;
        // Each time twice as many removed entries are reclaimed, so that a large transaction is prepared some times and
        // not some thousand times; and no more than there are blocks, whatever their links say.
        let mut sweeps = SWEEPS_WHEN_SHORT.max(writes);
        let mut left = self.most_blocks();
        loop {
            match prepare(self).and_then(|done| self.commit().map(|()| done)) {
                Ok(done) => {
                    let version = self.version;
                    self.keep_house(writes);
                    return Ok((done, version));
                }
                Err(error) => {
                    let (lags, before) = (self.horizon_lags(), self.version);
                    self.abandon();
                    let short = matches!(error, WriteError::TableFull { .. } | WriteError::OutOfMemory(_));
                    if !short {
                        return Err(error);
                    }
                    // The table may have become another's meanwhile (R17).
                    self.check_epoch()?;
                    let swept = self.make_room(sweeps.min(left))?;
                    // What waited for a pin that is gone was freed by the batch, in a commit of its own, and not by a sweep.
                    let spliced = self.version > before;
                    if swept == 0 && !lags && !spliced && !self.compact_for_room() {
                        return Err(error);
                    }
                    left -= swept;
                    sweeps = sweeps.saturating_mul(2);
                }
            }
        }
    }

    #[inline]
    pub(super) fn begin(&mut self) -> Result<(), WriteError> {
        // Before anything is stored: the table may be another's (R17).
        self.check_epoch()?;
        if self.in_flight || !self.stage.is_empty() {
            self.resume()?;
        }
        self.look_for_followers();
        // A panic may have left a count behind.
        self.space.forget_allocated();
        self.move_horizon_if_due();
        Ok(())
    }

    /// After a panic in the middle of a commit: what the manager does after a kill.
    #[cold]
    fn resume(&mut self) -> Result<(), WriteError> {
        self.abandon();
        self.space.forget(self.reader.region().load(HORIZON));
        recover(self.reader.region()).map_err(|error| WriteError::Corrupt(error.to_string()))?;
        self.version = self.reader.region().load(APPLIED);
        self.recorder = Recorder::open(self.reader.region(), self.reader.layout())
            .map_err(|error| WriteError::Corrupt(error.to_string()))?;
        self.in_flight = false;
        Ok(())
    }

    #[inline]
    pub(super) fn check_epoch(&self) -> Result<(), WriteError> {
        let table = self.reader.region().load(EPOCH);
        if table != self.epoch {
            return Err(WriteError::Fenced { handle: self.epoch, table });
        }
        Ok(())
    }

    pub(super) fn abandon(&mut self) {
        self.stage.clear();
        self.allocates = false;
        self.space.restore(self.version);
        self.recorder.abandon();
    }

    /// Commits what is staged. Nothing staged, nothing to commit.
    #[inline]
    pub(super) fn commit(&mut self) -> Result<(), WriteError> {
        if self.stage.is_empty() {
            return Ok(());
        }
        self.stage_allocated();
        let version = self.version + 1;
        if version > MAX_VERSION {
            return Err(WriteError::Corrupt("the last version there can be is used".into()));
        }
        self.check_epoch()?;
        self.recorder.stage(&mut self.stage, version);
        let words = stage::log_words(self.stage.len());
        if words > self.log_present_words {
            self.grow_log(words)?;
        }
        self.in_flight = true;
        let region = self.reader.region();
        self.stage.write_log(region, self.reader.layout(), version);
        self.stage.commit(region, version);
        self.in_flight = false;
        self.version = version;
        self.recorder.committed(version);
        self.space.settle();
        self.stage.clear();
        self.allocates = false;
        Ok(())
    }

    /// Makes room for a longer log. It counts as the table's memory, but removing works however full the table is.
    #[cold]
    fn grow_log(&mut self, words: u64) -> Result<(), WriteError> {
        let (region, log) = (self.reader.region(), self.reader.layout().log);
        if words > log.words {
            return Err(self.full());
        }
        let words = words.next_multiple_of(LOG_STEP_WORDS).min(log.words);
        let present = region.load(LOG_PRESENT);
        if self.allocates && words > present {
            self.check_limit((words - present) * 8)?;
        }
        region.make_present(log.start + self.log_present_words..log.start + words)?;
        region.store(LOG_PRESENT, present.max(words));
        self.log_present_words = words;
        Ok(())
    }

    /// Whether the table has the ordered index, and not the hash index.
    #[inline]
    pub(super) fn is_ordered(&self) -> bool {
        self.reader.layout().kind.is_ordered()
    }

    /// A word, as the commit that is being prepared will leave it.
    pub(super) fn word(&self, word: u64) -> u64 {
        self.stage.over(self.reader.region()).word(word)
    }

    #[inline]
    pub(super) fn root(&self) -> Result<Root, WriteError> {
        Ok(self.reader.layout().root(self.reader.region())?)
    }

    /// Changes the counts.
    #[inline]
    pub(super) fn count(&mut self, entries: i32, slots: i32) -> Result<(), WriteError> {
        let counts = self.counts();
        let changed = counts.entries.checked_add_signed(entries).zip(counts.slots.checked_add_signed(slots));
        let (entries, slots) =
            changed.ok_or_else(|| WriteError::Corrupt(format!("{counts:?} do not count what is there")))?;
        self.set_counts(Counts { entries, slots });
        // The index may have to follow.
        self.chores = true;
        Ok(())
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Result<Option<Found>, WriteError> {
        if self.is_ordered() {
            return Ok(self.place_of(key)?.and_then(|(_, found)| found));
        }
        match self.find_at_first(hash, key)? {
            None => self.find_anywhere(hash, key),
            found => Ok(found),
        }
    }

    /// Looks for a key of a `set` where it nearly always is, while nothing is staged. None means nothing.
    #[inline(always)]
    fn find_at_first(&self, hash: u64, key: &[u8]) -> Result<Option<Found>, WriteError> {
        if !self.stage.is_empty() {
            return Ok(None);
        }
        Ok(self.reader.layout().find_at_first(self.reader.region(), self.root()?, hash, key))
    }

    #[inline(never)]
    fn find_anywhere(&self, hash: u64, key: &[u8]) -> Result<Option<Found>, WriteError> {
        let (region, layout, root) = (self.reader.region(), self.reader.layout(), self.root()?);
        if self.stage.is_empty() {
            return Ok(layout.find(region, region, root, hash, key)?);
        }
        Ok(layout.find(region, &self.stage.over(region), root, hash, key)?)
    }

    /// What an entry of this handle has beside key and value.
    #[inline]
    pub(super) fn attributes(&self, deadline_ms: Option<u64>) -> Attributes {
        Attributes { deadline_ms, schema_version: self.schema_version }
    }

    /// What an entry of this handle is to hold.
    #[inline]
    pub(super) fn new_entry<'a>(
        &self,
        hash: u64,
        key: &'a [u8],
        value: &'a [u8],
        deadline_ms: Option<u64>,
    ) -> NewEntry<'a> {
        NewEntry { hash, key, value, attributes: self.attributes(deadline_ms) }
    }

    /// Stages an insertion or an overwrite; whether the key had a value.
    #[inline]
    pub(super) fn prepare_insert(&mut self, new: &NewEntry<'_>) -> Result<bool, WriteError> {
        if self.is_ordered() {
            return self.prepare_insert_in_order(new);
        }
        // The straight path: a commit of its own overwrites what is found at first. All else is out of line.
        if let Some(found) = self.find_at_first(new.hash, new.key)? {
            self.overwrite(&found, new)?;
            return Ok(found.entry.is_there(self.reader.clock()));
        }
        self.prepare_insert_anywhere(new)
    }

    #[inline(never)]
    fn prepare_insert_anywhere(&mut self, new: &NewEntry<'_>) -> Result<bool, WriteError> {
        let found = self.find_anywhere(new.hash, new.key)?;
        self.prepare_put(found, new)?;
        Ok(found.is_some_and(|found| found.entry.is_there(self.reader.clock())))
    }

    /// Stages an entry for a key where it was found.
    #[inline]
    pub(super) fn prepare_put(&mut self, found: Option<Found>, new: &NewEntry<'_>) -> Result<(), WriteError> {
        if let Some(found) = found {
            return self.overwrite(&found, new);
        }
        let unit = self.prepare_entry(Unit::NONE, new)?;
        self.prepare_slot(new.hash, new.key, unit)?;
        self.count(1, 1)
    }

    /// Stages an entry in the place of another.
    #[inline(always)]
    pub(super) fn overwrite(&mut self, found: &Found, new: &NewEntry<'_>) -> Result<(), WriteError> {
        let unit = self.prepare_entry(found.unit, new)?;
        self.set_slot(found.slot, unit);
        if found.entry.is_removed() {
            // The superseded entry is among the removed ones already, and is freed from there.
            return self.count(1, 0);
        }
        self.free_entry(found, unit)
    }

    /// Prepares an entry, and records that its key is written.
    #[inline(always)]
    pub(super) fn prepare_entry(&mut self, previous: Unit, new: &NewEntry<'_>) -> Result<Unit, WriteError> {
        let unit = self.allocate(new.class())?;
        let block = self.reader.layout().block(unit);
        entry::write(self.reader.region(), block, self.version + 1, previous, new);
        self.record(RecordKind::Written, new.key);
        Ok(unit)
    }

    /// Stages a removal; whether the key had a value. An expired entry goes too.
    pub(super) fn prepare_remove(&mut self, hash: u64, key: &[u8]) -> Result<bool, WriteError> {
        let Some(found) = self.find(hash, key)?.filter(|found| !found.entry.is_removed()) else {
            return Ok(false);
        };
        self.count(-1, 0)?;
        self.prepare_removal(found.unit, found.block)?;
        Ok(!found.entry.is_expired(self.reader.clock()))
    }

    /// Stages the removal of an entry that stands, and records it; the caller counts.
    pub(super) fn prepare_removal(&mut self, unit: Unit, block: u64) -> Result<(), WriteError> {
        self.stage_removal(unit, block)?;
        self.record_removal(block);
        Ok(())
    }

    /// The same for who records what becomes of the table as a whole.
    pub(super) fn stage_removal(&mut self, unit: Unit, block: u64) -> Result<(), WriteError> {
        let class = self.reader.layout().class_of(self.reader.region(), unit);
        let class = class.ok_or_else(|| WriteError::Corrupt("an entry in no run".into()))?;
        let word = block + 1;
        let removed = entry::with_removed_at(self.reader.region().load(word), self.version + 1);
        self.stage.store_once(word, removed);
        self.retire_removed(unit, class);
        Ok(())
    }

    pub(super) fn prepare_bequest(&mut self, bequest: &[u8]) -> Result<(), WriteError> {
        let old = Unit(self.reader.region().load(BEQUEST) as u32);
        let new = NewEntry { hash: 0, key: &[], value: bequest, attributes: Attributes::default() };
        let unit = self.allocate(new.class())?;
        let block = self.reader.layout().block(unit);
        entry::write(self.reader.region(), block, self.version + 1, old, &new);
        self.stage.store(BEQUEST, u64::from(unit.0));
        self.record(RecordKind::Bequest, &[]);
        if !old.is_none() {
            let class = Entry::read(self.reader.region(), self.reader.layout().block(old))
                .and_then(|entry| entry.class())
                .ok_or_else(|| WriteError::Corrupt("the bequest is no entry".into()))?;
            self.check_block(old, class)?;
            let begin = entry::begin_of(self.reader.region().load(self.reader.layout().block(old)));
            self.retire(old, begin, class, unit);
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn free_entry(&mut self, found: &Found, successor: Unit) -> Result<(), WriteError> {
        let class = found
            .entry
            .class()
            .ok_or_else(|| WriteError::Corrupt("an entry of an impossible size".into()))?;
        self.check_block(found.unit, class)?;
        self.retire(found.unit, found.entry.begin, class, successor);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn set_slot(&mut self, slot: Slot, unit: Unit) {
        if self.is_ordered() {
            return self.set_lane(slot, unit);
        }
        let word = slot.offset_word();
        let value = slot.with_offset(self.stage.over(self.reader.region()).word(word), unit);
        self.stage.store(word, value);
    }

    #[inline]
    fn set_tag(&mut self, slot: Slot, tag: Tag) {
        let word = slot.tag_word();
        let value = slot.with_tag(self.stage.over(self.reader.region()).word(word), tag);
        self.stage.store(word, value);
    }

    /// Points a slot to a new key's entry: an unused one of its chain, or the first of a new overflow bucket.
    #[inline]
    fn prepare_slot(&mut self, hash: u64, key: &[u8], unit: Unit) -> Result<(), WriteError> {
        if self.is_ordered() {
            let place = self.place_of(key)?.map(|(place, _)| place);
            return self.prepare_lane(place, key, unit);
        }
        let root = self.root()?;
        let number = root.bucket(hash);
        let tag = Tag::new(hash, root.depth(number));
        let mut bucket = self.reader.layout().bucket(number);
        for length in 1..=MAX_CHAIN {
            let view = self.stage.over(self.reader.region());
            if let Some(slot) = Slot::unused(&view, bucket) {
                self.set_slot(slot, unit);
                self.set_tag(slot, tag);
                return Ok(());
            }
            let next = bucket::link(&view, bucket);
            if next.is_none() {
                if length == MAX_CHAIN {
                    break;
                }
                let overflow = self.allocate_overflow(&[(tag, unit)], Unit::NONE)?;
                let (word, value) =
                    bucket::with_link(&self.stage.over(self.reader.region()), bucket, overflow);
                self.stage.store(word, value);
                return Ok(());
            }
            bucket = self.reader.layout().overflow(next);
        }
        Err(self.full())
    }

    /// Prepares an overflow bucket with these slots.
    pub(super) fn allocate_overflow(
        &mut self,
        slots: &[(Tag, Unit)],
        next: Unit,
    ) -> Result<Unit, WriteError> {
        let unit = self.allocate(bucket::overflow_class())?;
        let block = self.reader.layout().block(unit);
        let region = self.reader.region();
        let link = region.load(block + LINK_WORD) & !0xffff_ffff;
        region.store(block, NodeKind::Overflow.header(self.version + 1));
        region.store(block + 1, 0);
        region.store(block + LINK_WORD, link);
        let mut image = BucketImage::default();
        for (lane, (tag, unit)) in slots.iter().enumerate() {
            image.put(lane as u64, *tag, *unit);
        }
        image.link(next);
        self.write_bucket(self.reader.layout().overflow(unit), &image);
        Ok(unit)
    }

    /// Writes a bucket that no reader can reach yet.
    pub(super) fn write_bucket(&self, bucket: u64, image: &BucketImage) {
        self.reader.region().store_words(bucket, &image.0);
    }
}

impl From<Nonsense> for WriteError {
    fn from(Nonsense(what): Nonsense) -> Self {
        Self::Corrupt(what.to_owned())
    }
}

/// What the versions in a header must be for anybody to go on from there.
pub(super) fn check_versions(horizon: u64, applied: u64) -> Result<(), OpenError> {
    if horizon > applied {
        return Err(OpenError::Corrupt(format!("the horizon {horizon} is ahead of commit {applied}")));
    }
    if applied >= MAX_VERSION {
        return Err(OpenError::Corrupt(format!("commit {applied} is above the last version there can be")));
    }
    Ok(())
}

pub(super) fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), WriteError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(WriteError::KeyTooLong(key.len()));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(WriteError::ValueTooLong(value.len()));
    }
    Ok(())
}
