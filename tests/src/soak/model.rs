//! What a table must have: a slot for each entry that there may be, and the commit that fills or empties some of them.

use super::tables::{CONSERVED_KEYS, MOVERS, SLOTS, TOTAL, Table};
use super::value::Entry;

/// What is in a slot: nothing, where its write is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// The commit that wrote it.
    pub(super) write: u64,
    /// Of an account: what is in it. Of an entry that expires: when it may be gone, in milliseconds of UNIX time.
    pub(super) extra: u64,
}

impl Slot {
    /// What is in an empty one.
    pub(super) const EMPTY: Self = Self { write: 0, extra: 0 };

    /// Whether there is something in it.
    pub(super) fn is_used(self) -> bool {
        self.write != 0
    }
}

/// What a commit makes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) slot: u64,
    pub(super) to: Slot,
}

/// One commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// Counted from [`super::tables::FIRST_WRITE`]; it is also the write that new entries are of.
    pub(super) number: u64,
    /// Everything is removed first.
    pub(super) clears: bool,
    /// The number is the bequest too.
    pub(super) bequeaths: bool,
    /// Each slot once.
    pub(super) changes: Vec<Change>,
}

/// Most changes of a commit.
pub(super) const MOST_CHANGES: u64 = 32;

/// The content that a table must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) table: Table,
    pub(super) slots: Vec<Slot>,
    /// The last commit that left a bequest; 0 before the first.
    pub(super) bequeathed: u64,
}

impl Model {
    /// That of a table that was never written.
    pub(super) fn empty(table: Table) -> Self {
        Self { table, slots: vec![Slot::EMPTY; SLOTS as usize], bequeathed: 0 }
    }

    /// What is in a slot.
    pub(super) fn slot(&self, slot: u64) -> Slot {
        self.slots[slot as usize]
    }

    /// The entry of a slot.
    pub(super) fn entry(&self, slot: u64) -> Option<Entry> {
        let found = self.slot(slot);
        let amount = if self.table.is_account(self.table.key_of(slot)) { found.extra } else { 0 };
        found.is_used().then_some(Entry { write: found.write, amount })
    }

    /// The entries of a key, in order.
    pub(super) fn entries_of(&self, key: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.table.slots_of(key).filter_map(|slot| self.entry(slot)).collect();
        entries.sort_unstable();
        entries
    }

    /// Whether the entries of a key may be gone by that time.
    pub(super) fn may_be_gone(&self, key: u64, now_ms: u64) -> bool {
        self.table.expires(key) && self.slot(key).extra <= now_ms
    }

    /// Makes a commit.
    pub(super) fn apply(&mut self, commit: &Commit) {
        if commit.clears {
            self.slots.fill(Slot::EMPTY);
        }
        for change in &commit.changes {
            self.slots[change.slot as usize] = change.to;
        }
        if commit.bequeaths {
            self.bequeathed = commit.number;
        }
    }
}

/// Whether entries of the conserved keys add up, as they do after each commit: sums of accounts, and one of each mover.
pub(super) fn is_conserved(table: Table, entries_of: impl Fn(u64) -> Vec<Entry>) -> bool {
    let mut entries: Vec<Entry> = (0..CONSERVED_KEYS).flat_map(entries_of).collect();
    if table.kind.is_bag() {
        entries.sort_unstable();
        entries.iter().map(|entry| entry.write).eq(MOVERS)
    } else {
        entries.len() as u64 == CONSERVED_KEYS
            && entries.iter().map(|entry| entry.amount).sum::<u64>() == TOTAL
    }
}
