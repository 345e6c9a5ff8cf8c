//! redb, a file in memory: with a transaction for each operation, and with one for all of them.
//!
//! Transactions are not made durable, which would be an fsync. What they wrote is then in the cache of the process, and
//! lost with it.

use super::folder_in_memory;
use crate::turn::Subject;
use crate::work::{Value, Writes, add_words, bytes_of, read_each};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};
use tempfile::TempDir;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("compare");

pub(crate) struct Redb<const ONE_TRANSACTION: bool> {
    database: Database,
    folder: TempDir,
}

impl<const ONE_TRANSACTION: bool> Redb<ONE_TRANSACTION> {
    fn transact(&self, write: impl FnOnce(&mut Table<'_, &[u8], &[u8]>)) {
        let mut transaction = self.database.begin_write().expect("the file is whole");
        transaction.set_durability(Durability::None).expect("there are no savepoints");
        write(&mut transaction.open_table(TABLE).expect("the types are always these"));
        transaction.commit().expect("the folder has room");
    }

    fn put_all(&self, writes: Writes<'_>) {
        self.transact(|table| writes.iter().for_each(|(key, value)| put(table, key, &value)));
    }
}

impl<const ONE_TRANSACTION: bool> Subject for Redb<ONE_TRANSACTION> {
    const OPERATIONS: usize = if ONE_TRANSACTION { usize::MAX } else { 50_000 };

    fn new(_entries: usize) -> Self {
        let folder = folder_in_memory();
        let database = Database::create(folder.path().join("compare.redb")).expect("the folder is empty");
        let new = Self { database, folder };
        new.transact(|_| {});
        new
    }

    fn write(&mut self, writes: Writes<'_>) {
        if ONE_TRANSACTION {
            return self.put_all(writes);
        }
        for (key, value) in writes.iter() {
            self.transact(|table| put(table, key, &value));
        }
    }

    fn fill(&mut self, writes: Writes<'_>) {
        self.put_all(writes);
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        let mut kept = None;
        read_each(keys, |key, into| {
            let table = kept.take().unwrap_or_else(|| {
                let transaction = self.database.begin_read().expect("the file is whole");
                transaction.open_table(TABLE).expect("the table is there")
            });
            let value = table.get(bytes_of(key).as_slice()).expect("the file is whole");
            let found = value.map(|value| into.copy_from_slice(value.value())).is_some();
            kept = ONE_TRANSACTION.then_some(table);
            found
        })
    }

    fn remove(&mut self, keys: &[u64]) {
        if ONE_TRANSACTION {
            return self.clear(keys);
        }
        for key in keys {
            self.transact(|table| take(table, *key));
        }
    }

    fn clear(&mut self, keys: &[u64]) {
        self.transact(|table| keys.iter().for_each(|key| take(table, *key)));
    }

    fn scan(&mut self) -> Option<u64> {
        let transaction = self.database.begin_read().expect("the file is whole");
        let table = transaction.open_table(TABLE).expect("the table is there");
        let entries = table.iter().expect("the file is whole");
        Some(entries.fold(0, |sum, entry| add_words(sum, entry.expect("the file is whole").1.value())))
    }

    /// What the file has of the folder's memory, and its cache.
    fn bytes(&mut self, grown: u64) -> u64 {
        grown + super::allocated_bytes(&self.folder.path().join("compare.redb"))
    }
}

fn put(table: &mut Table<'_, &[u8], &[u8]>, key: u64, value: &Value) {
    table.insert(bytes_of(key).as_slice(), value.as_slice()).expect("the folder has room");
}

fn take(table: &mut Table<'_, &[u8], &[u8]>, key: u64) {
    table.remove(bytes_of(key).as_slice()).expect("the file is whole");
}
