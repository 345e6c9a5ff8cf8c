//! What is done to a table, one commit at a time.

use std::collections::BTreeMap;

use super::scene::Scene;
use crate::region::Region;
use crate::table::{Change, Modify, TableWriter, WriteError};

/// What a table holds, by the keys that its index has: those of bags are composite.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    pub(super) entries: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) bequest: Option<Vec<u8>>,
}

/// One operation, and what its states are counted as.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Insert(Vec<u8>, Vec<u8>),
    /// Inserts what has expired already: only who looks with a clock of its own sees it.
    InsertExpired(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    /// Looks at what is there first, and replaces or removes it.
    Change(Vec<u8>, Option<Vec<u8>>),
    Bequeath(Vec<u8>),
    Clear,
    RemoveExpired(usize),
    Transaction(Writes),
    /// What the manager does: pins the version that is there, and gives one of its pins back.
    Pin,
    Unpin(usize),
}

/// The writes of a transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    pub(super) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) bequest: Option<Vec<u8>>,
    /// All that was there before goes.
    pub(super) clears: bool,
    /// The writes look at what is there first, and what they insert expires some time.
    pub(super) looks: bool,
}

impl Act {
    pub(super) fn named(self, name: &'static str) -> Operation {
        Operation { name, act: self }
    }
}

impl From<Writes> for Act {
    fn from(writes: Writes) -> Self {
        Self::Transaction(writes)
    }
}

pub(super) fn insert(key: Vec<u8>, value: Vec<u8>) -> Operation {
    Act::Insert(key, value).named("insert")
}

pub(super) fn remove(key: Vec<u8>) -> Operation {
    Act::Remove(key).named("remove")
}

pub(super) fn transaction(writes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Writes {
    Writes { writes: writes.into_iter().collect(), ..Writes::default() }
}

/// Long before any test runs, in milliseconds of UNIX time.
const LONG_AGO_MS: u64 = 1;

impl Operation {
    /// What the owner does.
    pub(super) fn carry_out<R: Region>(&self, writer: &mut TableWriter<R>) -> Result<(), WriteError> {
        match &self.act {
            Act::Insert(key, value) => writer.insert(key, value).map(drop),
            Act::InsertExpired(key, value) => writer.insert_expiring(key, value, LONG_AGO_MS).map(drop),
            Act::Remove(key) => writer.remove(key).map(drop),
            Act::Change(key, value) => writer.modify(key, |_, new| change(value.as_deref(), new)),
            Act::Bequeath(bequest) => writer.bequeath(bequest),
            Act::Clear => writer.clear().map(drop),
            Act::RemoveExpired(limit) => writer.remove_expired(*limit).map(drop),
            Act::Transaction(writes) => writes.carry_out(writer),
            Act::Pin | Act::Unpin(_) => Ok(()),
        }
    }

    /// What the table holds after it; not said for what the operation itself finds in the table.
    pub(super) fn after(&self, before: &Content) -> Content {
        let mut content = before.clone();
        match self.act.clone() {
            Act::Insert(key, value) | Act::InsertExpired(key, value) => content.write(key, Some(value)),
            Act::Remove(key) => content.write(key, None),
            Act::Change(key, value) => content.write(key, value),
            Act::Bequeath(bequest) => content.bequest = Some(bequest),
            Act::Clear => content.entries.clear(),
            Act::Transaction(writes) => content.apply(writes),
            Act::RemoveExpired(_) | Act::Pin | Act::Unpin(_) => {}
        }
        content
    }
}

impl Content {
    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
    }

    fn apply(&mut self, transaction: Writes) {
        if transaction.clears {
            self.entries.clear();
        }
        for (key, value) in transaction.writes {
            self.write(key, value);
        }
        if transaction.bequest.is_some() {
            self.bequest = transaction.bequest;
        }
    }
}

impl Writes {
    fn carry_out<R: Region>(&self, writer: &mut TableWriter<R>) -> Result<(), WriteError> {
        let mut transaction = writer.transaction();
        if self.clears {
            transaction.clear();
        }
        for (key, value) in &self.writes {
            match value {
                _ if self.looks => transaction.modify(key, |_, new| change(value.as_deref(), new))?,
                Some(value) => transaction.insert(key, value)?,
                None => transaction.remove(key)?,
            }
        }
        if let Some(bequest) = &self.bequest {
            transaction.bequeath(bequest)?;
        }
        transaction.commit().map(drop)
    }
}

/// A value that expires when no test runs any more.
fn change(value: Option<&[u8]>, new: &mut Vec<u8>) -> (Change, ()) {
    let Some(value) = value else { return (Change::Remove, ()) };
    new.extend_from_slice(value);
    (Change::PutUntil(u64::MAX), ())
}

/// A key: some are empty but for two bytes, some are long.
pub(super) fn key(number: u64) -> Vec<u8> {
    let mut key = number.to_le_bytes().to_vec();
    key.truncate(2 + (number % 7) as usize);
    if number % 41 == 40 {
        key.resize(300, 1);
    }
    key
}

/// A random operation on the first so many keys, named by what it does.
pub(super) fn random_operation(scene: &mut Scene<'_>, keys: u64) -> Operation {
    let key = key(scene.random(keys));
    let length = [0, 5, 24, 40, 64, 200, 4200][scene.random(7) as usize];
    let value = vec![scene.random(250) as u8; length];
    let there = scene.writer.reader().contains(&key).unwrap();
    match scene.random(10) {
        0..5 => Act::Insert(key, value).named(if there { "overwrite" } else { "insert" }),
        5..8 => Act::Remove(key).named(if there { "remove" } else { "remove of nothing" }),
        8 => Act::Bequeath(value).named("bequest"),
        _ => {
            let mut writes = Vec::new();
            for _ in 0..scene.random(8) {
                let value = vec![scene.random(250) as u8; scene.random(60) as usize];
                let key = self::key(scene.random(keys));
                writes.push((key, (scene.random(3) > 0).then_some(value)));
            }
            let writes = Writes { writes, bequest: Some(value), ..Writes::default() };
            Act::from(writes).named("transaction of several")
        }
    }
}
