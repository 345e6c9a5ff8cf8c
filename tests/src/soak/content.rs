//! What a table has, as it is read; and what is wrong with that.

use super::model::{Model, Slot, is_conserved};
use super::tables::{FIRST_WRITE, Table};
use super::value::{Entry, entry_of};
use heirloom_worker::{ReadError, Reader};
use std::ops::ControlFlow;

/// The entries that were read, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) table: Table,
    pub(super) keys: Vec<Vec<Entry>>,
    /// Values that were not whole, or of keys that there are not.
    pub(super) torn: u64,
}

/// How a table differs from its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Keys of which something that was committed is not there: a value, a newer one, or that it was removed.
    pub(super) lost: u64,
    /// Keys that have something more often than it was committed, or that was never committed.
    pub(super) duplicated: u64,
    /// Some of these keys.
    pub(super) keys: Vec<u64>,
}

impl Content {
    /// Nothing as yet.
    pub(super) fn empty(table: Table) -> Self {
        Self { table, keys: vec![Vec::new(); table.keys() as usize], torn: 0 }
    }

    /// All that `scan` shows.
    pub(super) fn gather(
        table: Table,
        scan: impl FnOnce(&mut dyn FnMut(u64, Vec<u8>)) -> Result<(), ReadError>,
    ) -> Result<Self, ReadError> {
        let mut content = Self::empty(table);
        scan(&mut |key, value| content.add(key, &value))?;
        content.keys.iter_mut().for_each(|entries| entries.sort_unstable());
        Ok(content)
    }

    /// All that a reader shows.
    pub(super) fn of(table: Table, reader: &Reader<u64, [u8]>) -> Result<Self, ReadError> {
        Self::gather(table, |each| {
            let scanned = reader.scan(|key, value| {
                each(key, value);
                ControlFlow::<()>::Continue(())
            });
            scanned.map(drop)
        })
    }

    /// One more entry.
    pub(super) fn add(&mut self, key: u64, value: &[u8]) {
        match entry_of(self.table, key, value) {
            Some(entry) => self.keys[key as usize].push(entry),
            None => self.torn += 1,
        }
    }

    /// Whatever a key had.
    pub(super) fn forget(&mut self, key: u64) {
        if let Some(entries) = self.keys.get_mut(key as usize) {
            entries.clear();
        }
    }

    /// The entries of a key, in order.
    pub(super) fn entries_of(&self, key: u64) -> Vec<Entry> {
        let mut entries = self.keys[key as usize].clone();
        entries.sort_unstable();
        entries
    }

    /// The number of entries.
    pub(super) fn entries(&self) -> u64 {
        self.keys.iter().map(|entries| entries.len() as u64).sum()
    }

    /// Whether the conserved keys add up; a table that was never written has none.
    pub(super) fn is_conserved(&self) -> bool {
        is_conserved(self.table, |key| self.entries_of(key))
    }

    /// How it differs from what must be there at that time.
    pub(super) fn differences(&self, model: &Model, now_ms: u64) -> Differences {
        let mut differences = Differences::default();
        for key in 0..self.table.keys() {
            let (found, wanted) = (self.entries_of(key), model.entries_of(key));
            if found == wanted || (found.is_empty() && model.may_be_gone(key, now_ms)) {
                continue;
            }
            // Something of the newest commit, or twice; what is left over otherwise was overwritten or removed.
            let newest = model.newest();
            let twice = found.iter().any(|entry| {
                let count = |entries: &[Entry]| entries.iter().filter(|other| *other == entry).count();
                entry.write > newest || (wanted.contains(entry) && count(&found) > count(&wanted))
            });
            match twice {
                true => differences.duplicated += 1,
                false => differences.lost += 1,
            }
            differences.keys.push(key);
        }
        differences
    }

    /// A model of what is there.
    pub(super) fn as_model(&self, bequeathed: u64, now_ms: u64) -> Model {
        let mut model = Model::empty(self.table);
        for key in 0..self.table.keys() {
            for (slot, entry) in self.table.slots_of(key).zip(self.entries_of(key)) {
                let extra = if self.table.expires(key) { now_ms } else { entry.amount };
                model.slots[slot as usize] = Slot { write: entry.write, extra };
            }
        }
        Model { bequeathed, ..model }
    }

    /// Whether each key is as in one of the two: some of a commit is there, and some is not.
    pub(super) fn is_between(&self, before: &Model, after: &Model, now_ms: u64) -> bool {
        (0..self.table.keys()).all(|key| {
            let found = self.entries_of(key);
            [before, after].iter().any(|model| {
                found == model.entries_of(key) || (found.is_empty() && model.may_be_gone(key, now_ms))
            })
        })
    }
}

impl Differences {
    /// Whether there are none.
    pub(super) fn is_none(&self) -> bool {
        self.lost + self.duplicated == 0
    }
}

impl Model {
    /// The number of the newest commit that shows.
    fn newest(&self) -> u64 {
        self.slots.iter().map(|slot| slot.write).max().unwrap_or(0).max(self.bequeathed).max(FIRST_WRITE)
    }
}
