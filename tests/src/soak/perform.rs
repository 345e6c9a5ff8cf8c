//! Makes a commit of the plan, each time by the operation that a program would use, and checks what that returns.

use super::dice::mix;
use super::model::{Change, Commit, Model, Slot};
use super::value::{Entry, bytes_of};
use heirloom_worker::{Swap, Transaction, WriteError, Writer};
use std::fmt;
use std::time::Duration;

/// A commit that was not made, or that returned what it should not.
#[derive(Debug)]
pub(super) enum Failure {
    /// The table has no room, and nothing has changed.
    Full,
    /// The table is another's by now.
    Over,
    /// The operation found something else than must be there.
    Wrong(String),
    /// Anything else.
    Write(WriteError),
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TableFull { .. } | WriteError::OutOfMemory { .. } => Self::Full,
            WriteError::Fenced { .. } => Self::Over,
            error => Self::Write(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the table is full"),
            Self::Over => f.write_str("the table is another's"),
            Self::Wrong(what) => f.write_str(what),
            Self::Write(error) => error.fmt(f),
        }
    }
}

/// Makes the commit. The model is the one before it.
pub(super) fn perform(
    writer: &mut Writer<u64, [u8]>,
    model: &Model,
    commit: &Commit,
    now_ms: u64,
) -> Result<(), Failure> {
    if !commit.bequeaths && !commit.clears {
        return single(writer, model, commit, now_ms);
    }
    let mut transaction = writer.transaction();
    if commit.clears {
        transaction.clear();
    }
    for change in &commit.changes {
        in_transaction(&mut transaction, model, change, commit.clears, now_ms)?;
    }
    if commit.bequeaths {
        transaction.bequeath(&commit.number)?;
    }
    transaction.commit()?;
    Ok(())
}

fn in_transaction(
    transaction: &mut Transaction<'_, u64, [u8]>,
    model: &Model,
    change: &Change,
    cleared: bool,
    now_ms: u64,
) -> Result<(), Failure> {
    let table = model.table;
    let key = table.key_of(change.slot);
    let before = if cleared { Slot::EMPTY } else { model.slot(change.slot) };
    let value = |slot: Slot| bytes_of(table, key, entry(model, key, slot));
    if table.kind.is_bag() {
        if before.is_used() {
            // Equal ones are removed together.
            transaction.remove_value(&key, &value(before))?;
        }
        if change.to.is_used() {
            transaction.insert(&key, &value(change.to))?;
        }
    } else if !change.to.is_used() {
        transaction.remove(&key)?;
    } else if table.expires(key) {
        transaction.insert_with_ttl(&key, &value(change.to), ttl(change.to, now_ms))?;
    } else if table.is_account(key) && before.is_used() {
        let mut as_before = false;
        transaction.update(&key, |found| {
            as_before = found.as_deref() == Some(&value(before)[..]);
            Some(value(change.to))
        })?;
        expect(as_before, "an account has another amount", key)?;
    } else {
        transaction.insert(&key, &value(change.to))?;
    }
    Ok(())
}

/// A commit of one operation.
fn single(
    writer: &mut Writer<u64, [u8]>,
    model: &Model,
    commit: &Commit,
    now_ms: u64,
) -> Result<(), Failure> {
    let table = model.table;
    let change = commit.changes.first().expect("there is no commit without a change");
    let key = table.key_of(change.slot);
    let before = model.slot(change.slot);
    let value = |slot: Slot| bytes_of(table, key, entry(model, key, slot));
    if table.kind.is_bag() {
        if change.to.is_used() {
            writer.insert(&key, &value(change.to))?;
            return Ok(());
        }
        let used = table.slots_of(key).filter(|slot| model.slot(*slot).is_used()).count();
        if commit.changes.len() == used {
            return expect(writer.remove(&key)?, "a key with values had none to remove", key);
        }
        let removed = writer.remove_value(&key, &value(before))?;
        return expect(removed == commit.changes.len() as u64, "not as many values were removed", key);
    }
    if table.expires(key) {
        match change.to.is_used() {
            true => writer.insert_with_ttl(&key, &value(change.to), ttl(change.to, now_ms))?,
            false => writer.remove(&key)?,
        };
        return Ok(());
    }
    let (old, new) = (before.is_used().then(|| value(before)), change.to.is_used().then(|| value(change.to)));
    let way = mix(commit.number) % 3;
    let as_before = match (&old, &new, way) {
        (_, Some(new), 0) => writer.insert(&key, new)? == old.is_some(),
        (None, Some(new), 1) => writer.insert_new(&key, new)?,
        (_, None, 0) => writer.remove(&key)?,
        (_, None, 1) => writer.take(&key)? == old,
        (_, _, 2) => writer.compare_and_swap(&key, old.as_deref(), new.as_deref())? == Swap::Swapped,
        _ => {
            let mut as_before = false;
            writer.update(&key, |found| {
                as_before = found == old;
                new.clone()
            })?;
            as_before
        }
    };
    expect(as_before, "a key had another value than the commit before left", key)
}

fn entry(model: &Model, key: u64, slot: Slot) -> Entry {
    let amount = if model.table.is_account(key) { slot.extra } else { 0 };
    Entry { write: slot.write, amount }
}

fn ttl(slot: Slot, now_ms: u64) -> Duration {
    Duration::from_millis(slot.extra.saturating_sub(now_ms))
}

fn expect(is_so: bool, what: &str, key: u64) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(Failure::Wrong(format!("{what}: key {key}"))) }
}
