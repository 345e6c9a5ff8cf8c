//! What the soak's processes note for each other, in shared memory that Heirloom does not manage: it outlives each of them,
//! and noting costs some stores.
//!
//! ```text
//! word 0         the phase
//! per table      the ledger (see below)
//! per watcher and reader   a line of counts
//! ```
//!
//! The ledger of a table, written by its owner of the moment:
//!
//! ```text
//!    note the changes ─ intent = n ─► commit ─ returned = n ─► make the changes in the slots ─ settled = n
//! ```
//!
//! Where its owner was killed, the three numbers say what the heir must find: all equal, then the table is as the slots
//! say; `intent` alone ahead, then that commit was in flight, and is there wholly or not at all; `returned` ahead of
//! `settled`, then it is there.

use super::model::{Change, Commit, MOST_CHANGES, Model, Slot};
use super::tables::{FIRST_WRITE, SLOTS, TABLES, Table};
use heirloom_protocol::region::Region;

const PHASE: u64 = 0;
const LEDGERS: u64 = 8;

const RETURNED: u64 = 0;
const SETTLED: u64 = 1;
const INTENT: u64 = 2;
const HOW: u64 = 3;
const BEQUEATHED: u64 = 4;

const OWNER: u64 = 8;
const FIRST_COMMIT_NS: u64 = 9;
const RESTS: u64 = 10;
const COUNTS: u64 = 16;

const CHANGES: u64 = 32;
const SLOTS_AT: u64 = CHANGES + 3 * MOST_CHANGES;
const LEDGER_WORDS: u64 = SLOTS_AT + 2 * SLOTS;

const TALLIES: u64 = LEDGERS + LEDGER_WORDS * TABLES.len() as u64;
const TALLY_WORDS: u64 = 8;

const CLEARS: u64 = 1 << 32;
const BEQUEATHS: u64 = 1 << 33;

/// Processes that read, each with a thread to read and one to watch for each table.
pub(super) const READERS: u64 = 2;

/// How many lines of counts there are.
pub(super) const LINES: u64 = READERS * TABLES.len() as u64 * 2;

/// The bytes that the notes take.
pub(super) const BYTES: u64 = (TALLIES + LINES * TALLY_WORDS) * 8;

/// What everybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Commit and read.
    Run,
    /// Owners commit nothing; readers look once more, and say what they found.
    Rest,
    /// Readers end.
    Stop,
}

/// What owners count over all their ownerships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Count {
    Lost,
    Duplicated,
    Half,
    Torn,
    InFlight,
    InFlightStood,
    Full,
    Ownerships,
}

/// What readers and watchers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Tally {
    Reads,
    Torn,
    Failed,
    /// Reads that were compared with all that must be there.
    Compared,
    /// Watches only: how often changes were lost to it, as it was told.
    Overtaken,
    /// How the last look ended: 1 with the same as must be there, 2 with something else.
    Verdict,
}

/// The notes, wherever they are.
#[derive(Debug, Clone)]
pub(super) struct Notes<R>(R);

impl<R: Region + Clone> Notes<R> {
    pub(super) fn new(region: R) -> Self {
        Self(region)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.0.load(PHASE) {
            0 => Phase::Run,
            1 => Phase::Rest,
            _ => Phase::Stop,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.0.store(PHASE, phase as u64);
    }

    /// The ledger of a table.
    pub(super) fn ledger(&self, table: Table) -> Ledger<R> {
        Ledger { region: self.0.clone(), at: LEDGERS + LEDGER_WORDS * table.number(), table }
    }

    /// The counts of one thread of one reader.
    pub(super) fn line(&self, reader: u64, table: Table, watches: bool) -> Line<R> {
        let number = (reader * TABLES.len() as u64 + table.number()) * 2 + u64::from(watches);
        Line { region: self.0.clone(), at: TALLIES + number * TALLY_WORDS }
    }

    /// All lines of one reader.
    pub(super) fn lines_of(&self, reader: u64) -> Vec<Line<R>> {
        TABLES
            .iter()
            .flat_map(|table| [false, true].map(|watches| self.line(reader, *table, watches)))
            .collect()
    }
}

/// Some counts, each written by one thread at a time.
#[derive(Debug, Clone)]
pub(super) struct Line<R> {
    region: R,
    at: u64,
}

impl<R: Region> Line<R> {
    pub(super) fn get(&self, tally: Tally) -> u64 {
        self.region.load(self.at + tally as u64)
    }

    pub(super) fn set(&self, tally: Tally, value: u64) {
        self.region.store(self.at + tally as u64, value);
    }

    pub(super) fn add(&self, tally: Tally) {
        self.set(tally, self.get(tally) + 1);
    }
}

/// See the top of this file.
#[derive(Debug, Clone)]
pub(super) struct Ledger<R> {
    region: R,
    at: u64,
    pub(super) table: Table,
}

impl<R: Region> Ledger<R> {
    fn load(&self, word: u64) -> u64 {
        self.region.load(self.at + word)
    }

    fn store(&self, word: u64, value: u64) {
        self.region.store(self.at + word, value);
    }

    /// The last commit that returned; the one before the first where none has.
    pub(super) fn returned(&self) -> u64 {
        self.load(RETURNED).max(FIRST_WRITE - 1)
    }

    pub(super) fn settled(&self) -> u64 {
        self.load(SETTLED).max(FIRST_WRITE - 1)
    }

    pub(super) fn intent(&self) -> u64 {
        self.load(INTENT).max(FIRST_WRITE - 1)
    }

    /// The number of commits so far, where none is in flight: then the slots say what is in the table.
    pub(super) fn quiet(&self) -> Option<u64> {
        let settled = self.settled();
        (self.intent() == settled && self.returned() == settled).then_some(settled)
    }

    /// What must be in the table, as of the last commit that was settled.
    pub(super) fn model(&self) -> Model {
        let slots = (0..SLOTS).map(|slot| self.slot(slot)).collect();
        Model { table: self.table, slots, bequeathed: self.load(BEQUEATHED) }
    }

    /// A model that is right for one key only.
    pub(super) fn slots_of(&self, key: u64) -> Model {
        let mut model = Model::empty(self.table);
        for slot in self.table.slots_of(key) {
            model.slots[slot as usize] = self.slot(slot);
        }
        model
    }

    /// The commit that was noted last.
    pub(super) fn noted(&self) -> Commit {
        let how = self.load(HOW);
        let change = |number: u64| {
            let at = CHANGES + 3 * number;
            Change {
                slot: self.load(at).min(SLOTS - 1),
                to: Slot { write: self.load(at + 1), extra: self.load(at + 2) },
            }
        };
        Commit {
            number: self.intent(),
            clears: how & CLEARS != 0,
            bequeaths: how & BEQUEATHS != 0,
            changes: (0..(how & 0xFFFF_FFFF).min(MOST_CHANGES)).map(change).collect(),
        }
    }

    /// Notes what is about to be committed.
    pub(super) fn intend(&self, commit: &Commit) {
        for (number, change) in (0..).zip(&commit.changes) {
            let at = CHANGES + 3 * number;
            self.store(at, change.slot);
            self.store(at + 1, change.to.write);
            self.store(at + 2, change.to.extra);
        }
        let flags = u64::from(commit.clears) * CLEARS + u64::from(commit.bequeaths) * BEQUEATHS;
        self.store(HOW, commit.changes.len() as u64 | flags);
        self.store(INTENT, commit.number);
    }

    /// It was not committed after all.
    pub(super) fn give_up(&self) {
        self.store(INTENT, self.returned());
    }

    /// It has returned, or was found to have been made.
    pub(super) fn returns(&self, commit: &Commit) {
        self.store(RETURNED, commit.number);
    }

    /// Makes its changes in the slots.
    pub(super) fn settle(&self, commit: &Commit) {
        if commit.clears {
            for slot in 0..SLOTS {
                self.set_slot(slot, Slot::EMPTY);
            }
        }
        for change in &commit.changes {
            self.set_slot(change.slot, change.to);
        }
        if commit.bequeaths {
            self.store(BEQUEATHED, commit.number);
        }
        self.store(SETTLED, commit.number);
    }

    /// Takes what was found for what must be there, after it was noted how that differs: so that it is told once.
    pub(super) fn correct(&self, model: &Model) {
        for (slot, found) in (0..).zip(&model.slots) {
            self.set_slot(slot, *found);
        }
        self.store(BEQUEATHED, model.bequeathed);
    }

    fn slot(&self, slot: u64) -> Slot {
        let at = SLOTS_AT + 2 * slot;
        Slot { write: self.load(at), extra: self.load(at + 1) }
    }

    fn set_slot(&self, slot: u64, to: Slot) {
        let at = SLOTS_AT + 2 * slot;
        self.store(at, to.write);
        self.store(at + 1, to.extra);
    }

    pub(super) fn get(&self, count: Count) -> u64 {
        self.load(COUNTS + count as u64)
    }

    pub(super) fn add(&self, count: Count, more: u64) {
        self.store(COUNTS + count as u64, self.get(count) + more);
    }

    /// A new owner has made its first commit.
    pub(super) fn begin(&self, pid: u32, now_ns: u64) {
        self.store(RESTS, 0);
        self.store(FIRST_COMMIT_NS, now_ns);
        self.store(OWNER, u64::from(pid));
        self.add(Count::Ownerships, 1);
    }

    /// The owner of the moment, and when its first commit returned.
    pub(super) fn owner(&self) -> Option<(u32, u64)> {
        let pid = u32::try_from(self.load(OWNER)).ok().filter(|pid| *pid != 0)?;
        Some((pid, self.load(FIRST_COMMIT_NS)))
    }

    /// Its owner commits nothing more, until it is told to.
    pub(super) fn rests(&self) -> bool {
        self.load(RESTS) != 0
    }

    pub(super) fn set_rests(&self, rests: bool) {
        self.store(RESTS, u64::from(rests));
    }
}
