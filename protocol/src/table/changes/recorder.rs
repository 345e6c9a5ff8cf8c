//! The owner's side of the change ring.

use super::ring::{Record, RecordKind, Ring, give_up};
use crate::region::Region;
use crate::table::class::SPAN_BYTES;
use crate::table::entry::Entry;
use crate::table::error::{OpenError, WriteError};
use crate::table::layout::{FOLLOWED, Layout, RING_LOW, RING_PRESENT, RING_SINCE, RING_TAIL};
use crate::table::stage::Stage;
use crate::table::writer::TableWriter;

/// Old records are given up in steps of a sixteenth of the ring, and of this many words at most: looking at so many
/// headers takes some microseconds (R15).
const MOST_GIVEN_UP: u64 = 4096;
/// Memory for the ring is made present in steps of 64 KiB (H4).
const STEP_WORDS: u64 = 4 * SPAN_BYTES / 8;
/// No position gets there.
const MAX_POSITION: u64 = 1 << 62;

/// What the owner knows about the ring (R6a: loaded anew after recovery), and what the commit that is being prepared adds to it.
#[derive(Debug)]
pub(in crate::table) struct Recorder {
    ring: Ring,
    /// `RING_SINCE` and `RING_TAIL`, as of the last commit.
    since: u64,
    tail: u64,
    /// `RING_LOW`.
    low: u64,
    /// Up to which position this owner has made memory present; no position is beyond it once the whole ring is.
    present: u64,
    first_present: u64,
    /// Whether the commit that is being prepared is recorded.
    recording: bool,
    /// The end of its records so far.
    next: u64,
    /// Whether they did not fit.
    overtakes: bool,
    /// Whether it changes any of the above.
    has_news: bool,
}

impl Recorder {
    pub(in crate::table) fn open<R: Region>(region: &R, layout: &Layout) -> Result<Self, OpenError> {
        let ring = Ring::of(layout);
        let (since, low, tail) = (region.load(RING_SINCE), region.load(RING_LOW), region.load(RING_TAIL));
        if !ring.spans(low, tail) || tail > MAX_POSITION {
            return Err(OpenError::Corrupt(format!(
                "the change ring of {} words goes from {low} to {tail}",
                ring.words()
            )));
        }
        Ok(Self {
            ring,
            since,
            tail,
            low,
            present: tail,
            first_present: tail,
            recording: since != 0,
            next: tail,
            overtakes: false,
            has_news: false,
        })
    }

    /// Forgets what was prepared.
    #[inline]
    pub(in crate::table) fn abandon(&mut self) {
        if self.has_news {
            self.recording = self.since != 0;
            self.next = self.tail;
            self.overtakes = false;
            self.has_news = false;
        }
    }

    /// Stages what the commit of `version` changes of the ring's words.
    #[inline]
    pub(in crate::table) fn stage(&self, stage: &mut Stage, version: u64) {
        if !self.has_news {
            return;
        }
        let (since, tail) = self.after(version);
        if since != self.since {
            stage.store_header(RING_SINCE, since);
        }
        if tail != self.tail {
            stage.store_header(RING_TAIL, tail);
        }
    }

    /// The commit of `version` stands.
    #[inline]
    pub(in crate::table) fn committed(&mut self, version: u64) {
        if self.has_news {
            (self.since, self.tail) = self.after(version);
            self.abandon();
        }
    }

    /// `RING_SINCE` and `RING_TAIL`, as the commit of `version` will leave them.
    #[inline]
    fn after(&self, version: u64) -> (u64, u64) {
        match self {
            Self { recording: false, .. } => (0, self.tail),
            Self { overtakes: true, .. } => (version + 1, self.tail),
            Self { since: 0, .. } => (version, self.next),
            Self { .. } => (self.since, self.next),
        }
    }

    /// Gives up old records, whole ones, until those up to position `end` have their places.
    #[cold]
    fn make_way<R: Region>(&mut self, region: &R, end: u64, applied: u64) {
        let step = MOST_GIVEN_UP.min(self.ring.words() / 16);
        let until = (end - self.ring.words()).max(self.tail.min(self.low + step));
        let (mut low, mut lost) = (self.low, applied);
        while low < until {
            let Some(record) = Record::read(region, self.ring, low, self.tail) else {
                // These bytes were not written by an owner. Nobody is to take them for records.
                (low, lost) = (self.tail, applied);
                break;
            };
            low += record.words();
            lost = record.version;
        }
        give_up(region, low, lost);
        self.low = low;
    }

    /// Makes the memory up to position `end` present; false where there is none.
    #[cold]
    fn make_present<R: Region>(&mut self, region: &R, end: u64) -> bool {
        while self.present < end {
            let first = self.ring.place(self.present);
            let words = STEP_WORDS.min(self.ring.place(0) + self.ring.words() - first);
            if region.make_present(first..first + words).is_err() {
                return false;
            }
            self.present += words;
            if self.present - self.first_present >= self.ring.words() {
                self.present = u64::MAX;
            }
        }
        true
    }
}

impl<R: Region> TableWriter<R> {
    /// Before a commit is prepared: whether it is to be recorded.
    #[inline]
    pub(in crate::table) fn look_for_followers(&mut self) {
        self.recorder.abandon();
        let followed = self.reader.region().load(FOLLOWED) != 0;
        if followed != self.recorder.recording {
            self.turn_recording(followed);
        }
    }

    #[cold]
    fn turn_recording(&mut self, followed: bool) {
        if followed && self.charge_ring().is_err() {
            // It is not recorded, and whoever follows is overtaken, until there is room.
            return;
        }
        self.recorder.recording = followed;
        self.recorder.has_news = true;
    }

    /// The ring counts as the table's memory from the first time it is used.
    fn charge_ring(&self) -> Result<(), WriteError> {
        let (region, words) = (self.reader.region(), self.recorder.ring.words());
        if region.load(RING_PRESENT) != words {
            self.check_limit(words * 8)?;
            region.store(RING_PRESENT, words);
        }
        Ok(())
    }

    /// Records a change that the commit being prepared makes, where anybody follows. Writing never fails for that.
    #[inline]
    pub(in crate::table) fn record(&mut self, kind: RecordKind, key: &[u8]) {
        if self.recorder.recording {
            self.record_now(kind, key);
        }
    }

    /// Records the removal of the entry in a block.
    #[inline]
    pub(in crate::table) fn record_removal(&mut self, block: u64) {
        if self.recorder.recording {
            self.record_removal_now(block);
        }
    }

    fn record_removal_now(&mut self, block: u64) {
        let mut key = std::mem::take(&mut self.key_buffer);
        key.clear();
        let region = self.reader.region();
        let entry = Entry::read(region, block);
        // What is no entry has no key to tell; that it is none is for the write to say.
        if entry.is_some_and(|entry| region.copy_out(entry.key_at(block), entry.key_bytes, &mut key)) {
            self.record_now(RecordKind::Removed, &key);
        }
        self.key_buffer = key;
    }

    fn record_now(&mut self, kind: RecordKind, key: &[u8]) {
        let (region, recorder) = (self.reader.region(), &mut self.recorder);
        recorder.has_news = true;
        let record = Record { version: self.version + 1, kind, key_bytes: key.len() };
        let end = recorder.next + record.words();
        recorder.overtakes |= end - recorder.tail > recorder.ring.words();
        if recorder.overtakes {
            return;
        }
        if end - recorder.low > recorder.ring.words() {
            recorder.make_way(region, end, self.version);
        }
        if end > recorder.present && !recorder.make_present(region, end) {
            recorder.overtakes = true;
            return;
        }
        record.write(region, recorder.ring, recorder.next, key);
        recorder.next = end;
    }
}
