//! What the demonstration's processes note for each other, in shared memory that Heirloom does not manage.
//!
//! A worker notes each commit directly after it returned. What is noted here and missing in the table is lost, and
//! nothing but these notes can tell: they survive the worker, and the table's own bookkeeping plays no part in them.
//!
//! ```text
//! words    one line (64 bytes) for each writer, so that nobody's noting slows the others down
//!    0     the director:     released position, stop, dead epoch
//!    8     the owner:        epoch, first event read (ns), last commit returned (ns)
//!   16     the reader:       reads, torn, failed, ownerless, ready
//!   64..   one line for each ownership, at 64 + 8 * epoch:
//!          pid, inherited version, inherited position, first commit returned (ns), version, position, commits
//! ```
//!
//! Times are `CLOCK_MONOTONIC` in nanoseconds; 0 stands for "not yet".

use heirloom_protocol::region::Region;

const LINE_WORDS: u64 = 8;
const OWNERSHIPS: u64 = 64;

const RELEASED: u64 = 0;
const STOP: u64 = 1;
const DEAD_EPOCH: u64 = 2;

const OWNER_EPOCH: u64 = 8;
const FIRST_EVENT_NS: u64 = 9;
const LAST_COMMIT_NS: u64 = 10;

const READS: u64 = 16;
const TORN: u64 = 17;
const FAILED: u64 = 18;
const OWNERLESS: u64 = 19;
const READER_READY: u64 = 20;

const PID: u64 = 0;
const INHERITED_VERSION: u64 = 1;
const INHERITED_POSITION: u64 = 2;
const FIRST_COMMIT_NS: u64 = 3;
const VERSION: u64 = 4;
const POSITION: u64 = 5;
const COMMITS: u64 = 6;

/// The notes, wherever they are.
#[derive(Debug, Clone)]
pub(super) struct Notes<R>(R);

/// What was noted of one ownership.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) epoch: u64,
    pub(super) pid: u32,
    /// The version at which the heir found the table.
    pub(super) inherited_version: u64,
    /// The position that the bequest told the heir.
    pub(super) inherited_position: u64,
    /// When its first commit had returned.
    pub(super) first_commit_ns: Option<u64>,
    /// The version of the last commit that returned; 0 before the first.
    pub(super) version: u64,
    /// The position after the event that the last commit counted; 0 before the first.
    pub(super) position: u64,
    /// How many commits returned.
    pub(super) commits: u64,
}

/// What the reader noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// All reads.
    pub(super) reads: u64,
    /// Those whose value was not whole.
    pub(super) torn: u64,
    /// Those that gave an error.
    pub(super) failed: u64,
    /// Those that began and ended while the table had no living owner.
    pub(super) ownerless: u64,
}

/// The bytes that notes of that many ownerships take.
pub(super) fn bytes_for(ownerships: u64) -> u64 {
    (OWNERSHIPS + (ownerships + 1) * LINE_WORDS) * 8
}

impl<R: Region> Notes<R> {
    pub(super) fn new(region: R) -> Self {
        Self(region)
    }

    /// Up to which position workers may go. Grows only.
    pub(super) fn released(&self) -> u64 {
        self.0.load(RELEASED)
    }

    pub(super) fn release_up_to(&self, position: u64) {
        self.0.store(RELEASED, position);
    }

    /// Whether the reader shall end.
    pub(super) fn stop_wanted(&self) -> bool {
        self.0.load(STOP) != 0
    }

    pub(super) fn want_stop(&self) {
        self.0.store(STOP, 1);
    }

    /// The owner of that epoch is known to be dead.
    pub(super) fn note_dead(&self, epoch: u64) {
        self.0.store(DEAD_EPOCH, epoch);
    }

    /// The epoch of a dead owner without heir yet; `None` while there is an owner.
    pub(super) fn ownerless_since(&self) -> Option<u64> {
        let dead = self.0.load(DEAD_EPOCH);
        (dead != 0 && dead >= self.0.load(OWNER_EPOCH)).then_some(dead)
    }

    /// An heir has accepted the table; everything about its ownership is to be noted through what is returned.
    /// `None` where there is no room for so many ownerships.
    pub(super) fn begin(
        &self,
        epoch: u64,
        pid: u32,
        inherited_version: u64,
        inherited_position: u64,
    ) -> Option<Logbook<'_, R>> {
        let line = OWNERSHIPS + epoch.checked_mul(LINE_WORDS)?;
        if line + LINE_WORDS > self.0.words() {
            return None;
        }
        self.0.store(line + PID, u64::from(pid));
        self.0.store(line + INHERITED_VERSION, inherited_version);
        self.0.store(line + INHERITED_POSITION, inherited_position);
        self.0.store(OWNER_EPOCH, epoch);
        Some(Logbook { region: &self.0, line, commits: 0 })
    }

    /// Notes when the first event of all was read; later ones are not noted.
    pub(super) fn note_first_event(&self, now_ns: u64) {
        if self.0.load(FIRST_EVENT_NS) == 0 {
            self.0.store(FIRST_EVENT_NS, now_ns);
        }
    }

    /// Notes when the last commit of the stream had returned.
    pub(super) fn note_end_of_stream(&self, now_ns: u64) {
        self.0.store(LAST_COMMIT_NS, now_ns);
    }

    /// How long the stream took, in nanoseconds, once it has ended.
    pub(super) fn stream_ns(&self) -> Option<u64> {
        let end = self.0.load(LAST_COMMIT_NS);
        (end != 0).then(|| end.saturating_sub(self.0.load(FIRST_EVENT_NS)))
    }

    /// The epoch of the last ownership that began.
    pub(super) fn owner_epoch(&self) -> u64 {
        self.0.load(OWNER_EPOCH)
    }

    /// What is noted of the ownership of that epoch, if there was one.
    pub(super) fn ownership(&self, epoch: u64) -> Option<Ownership> {
        let word = |word| self.0.load(OWNERSHIPS + epoch * LINE_WORDS + word);
        let pid = u32::try_from(word(PID)).ok().filter(|pid| *pid != 0)?;
        Some(Ownership {
            epoch,
            pid,
            inherited_version: word(INHERITED_VERSION),
            inherited_position: word(INHERITED_POSITION),
            first_commit_ns: Some(word(FIRST_COMMIT_NS)).filter(|ns| *ns != 0),
            version: word(VERSION),
            position: word(POSITION),
            commits: word(COMMITS),
        })
    }

    /// All ownerships so far, oldest first.
    pub(super) fn ownerships(&self) -> Vec<Ownership> {
        (1..=self.owner_epoch()).filter_map(|epoch| self.ownership(epoch)).collect()
    }

    /// The reader's count so far.
    pub(super) fn note_reads(&self, reads: Reads) {
        self.0.store(READS, reads.reads);
        self.0.store(TORN, reads.torn);
        self.0.store(FAILED, reads.failed);
        self.0.store(OWNERLESS, reads.ownerless);
        self.0.store(READER_READY, 1);
    }

    /// What the reader counted; `None` before it has begun.
    pub(super) fn reads(&self) -> Option<Reads> {
        let word = |word| self.0.load(word);
        (word(READER_READY) != 0).then(|| Reads {
            reads: word(READS),
            torn: word(TORN),
            failed: word(FAILED),
            ownerless: word(OWNERLESS),
        })
    }
}

/// Where an owner notes its commits.
#[derive(Debug)]
pub(super) struct Logbook<'a, R> {
    region: &'a R,
    line: u64,
    commits: u64,
}

impl<R: Region> Logbook<'_, R> {
    /// To be called directly after a commit returned; reads the clock after the first only.
    #[inline]
    pub(super) fn note_commit(&mut self, version: u64, position: u64, now_ns: impl FnOnce() -> u64) {
        if self.commits == 0 {
            self.region.store(self.line + FIRST_COMMIT_NS, now_ns());
        }
        self.commits += 1;
        self.region.store(self.line + VERSION, version);
        self.region.store(self.line + POSITION, position);
        self.region.store(self.line + COMMITS, self.commits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_protocol::region::HeapRegion;

    fn notes() -> Notes<HeapRegion> {
        Notes::new(HeapRegion::new(bytes_for(3) / 8))
    }

    #[test]
    fn an_ownership_is_noted_commit_by_commit() {
        let notes = notes();
        assert_eq!(notes.ownership(1), None);
        let mut logbook = notes.begin(1, 77, 5, 10).expect("there is room");
        assert_eq!(notes.ownership(1).expect("it began").first_commit_ns, None);
        logbook.note_commit(6, 13, || 1_000);
        logbook.note_commit(7, 14, || panic!("the clock is read once"));
        let expected = Ownership {
            epoch: 1,
            pid: 77,
            inherited_version: 5,
            inherited_position: 10,
            first_commit_ns: Some(1_000),
            version: 7,
            position: 14,
            commits: 2,
        };
        assert_eq!(notes.ownerships(), [expected]);
    }

    #[test]
    fn the_table_is_ownerless_between_a_death_and_the_next_acceptance() {
        let notes = notes();
        assert_eq!(notes.ownerless_since(), None);
        notes.begin(1, 7, 0, 0).expect("there is room");
        notes.note_dead(1);
        assert_eq!(notes.ownerless_since(), Some(1));
        notes.begin(2, 8, 0, 0).expect("there is room");
        assert_eq!(notes.ownerless_since(), None);
        notes.note_dead(1);
        assert_eq!(notes.ownerless_since(), None, "a late word on the first owner");
    }

    #[test]
    fn an_ownership_beyond_the_room_is_refused() {
        assert!(notes().begin(3, 7, 0, 0).is_some());
        assert!(notes().begin(4, 7, 0, 0).is_none());
        assert!(notes().begin(u64::MAX, 7, 0, 0).is_none());
    }
}
