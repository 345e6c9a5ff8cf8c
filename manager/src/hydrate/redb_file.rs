//! A redb file: the entries of one of its tables of byte strings.

use super::{Each, HydrateError};
use crate::formats::{Entry, FormatError, Item};
use crate::store::{FileBackend, Untouched};
use heirloom_protocol::table::Attributes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle,
};
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Hands on every entry, in the order of the keys, after all checksums were checked. The file stays as it is.
pub(super) fn read(path: &Path, table: &str, name: &str, each: Each<'_>) -> Result<(), HydrateError> {
    let unreadable = |error| FormatError::Unreadable { source_name: name.to_owned(), error };
    let bad = |wrong: &str| {
        HydrateError::from(FormatError::BadFile { source_name: name.to_owned(), wrong: wrong.to_owned() })
    };
    let file = File::open(path).map_err(unreadable)?;
    // redb takes an empty file for a new database.
    if file.metadata().map_err(unreadable)?.len() == 0 {
        return Err(bad("an empty file, not a redb database"));
    }
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(bad("another process has this database open")),
        Err(TryLockError::Error(error)) => return Err(unreadable(error).into()),
    }
    let file = Untouched::new(Arc::new(FileBackend::new(file))).map_err(unreadable)?;
    // redb checks much, and panics on some of what it does not check.
    let entries = AssertUnwindSafe(|| read_database(file, table, name, each));
    catch_unwind(entries).unwrap_or_else(|_| Err(bad("the database is corrupt: redb panicked on it")))
}

fn read_database(file: Untouched, table: &str, name: &str, each: Each<'_>) -> Result<(), HydrateError> {
    let bad =
        |wrong: String| HydrateError::from(FormatError::BadFile { source_name: name.to_owned(), wrong });
    let foreign = |error: DatabaseError| bad(format!("not a redb database, or not a whole one: {error}"));
    let corrupt = |error: redb::StorageError| bad(format!("the database is corrupt: {error}"));

    let mut database = Database::builder().create_with_backend(file).map_err(foreign)?;
    if !database.check_integrity().map_err(foreign)? {
        return Err(bad("the database is corrupt: its checksums do not fit its content".to_owned()));
    }
    let reading = database.begin_read().map_err(|error| bad(error.to_string()))?;
    let definition = TableDefinition::<&[u8], &[u8]>::new(table);
    let entries = reading.open_table(definition).map_err(|error| match error {
        TableError::TableDoesNotExist(_) => match reading.list_tables() {
            Ok(tables) => {
                let there: Vec<_> = tables.map(|table| table.name().to_owned()).collect();
                bad(format!("no table `{table}` in it; there are: {}", there.join(", ")))
            }
            Err(error) => corrupt(error),
        },
        TableError::TableTypeMismatch { key, value, .. } => bad(format!(
            "table `{table}` is of <{}, {}>, and only <&[u8], &[u8]> can be hydrated",
            key.name(),
            value.name()
        )),
        error => bad(error.to_string()),
    })?;
    for entry in entries.iter().map_err(corrupt)? {
        let (key, value) = entry.map_err(corrupt)?;
        let (key, value) = (key.value(), value.value());
        each(Item::Entry(Entry { key, value, attributes: Attributes::default(), line: None }))?;
    }
    Ok(())
}
