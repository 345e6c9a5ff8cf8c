//! LMDB in a folder in memory: with a transaction for each operation, and with one for all of them.
//!
//! Nothing is synced, so what is committed survives its process as it does in a Heirloom table, and the host's crash in
//! neither.

use super::folder_in_memory;
use crate::turn::Subject;
use crate::work::{Writes, add_words, bytes_of, read_each};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use tempfile::TempDir;

pub(crate) struct Lmdb<const ONE_TRANSACTION: bool> {
    folder: TempDir,
    env: &'static Env,
    database: Database<'static, Bytes, Bytes>,
}

impl<const ONE_TRANSACTION: bool> Lmdb<ONE_TRANSACTION> {
    /// Does something with each key, in transactions of this kind.
    fn transact<T>(
        &self,
        each: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut heed::RwTxn<'static>, T) -> heed::Result<()>,
    ) {
        let mut transaction = None;
        for one in each {
            let mut open =
                transaction.take().unwrap_or_else(|| self.env.write_txn().expect("nobody else writes"));
            write(&mut open, one).expect("the map is large enough");
            if ONE_TRANSACTION {
                transaction = Some(open);
            } else {
                open.commit().expect("the folder has room");
            }
        }
        if let Some(open) = transaction {
            open.commit().expect("the folder has room");
        }
    }
}

impl<const ONE_TRANSACTION: bool> Subject for Lmdb<ONE_TRANSACTION> {
    fn new(entries: usize) -> Self {
        let folder = folder_in_memory();
        let mut options = EnvOpenOptions::new();
        options.map_size((entries * 1024).max(64 << 20));
        // SAFETY: without a sync only the host's crash can spoil the file, and it does not outlive this process. Nobody
        // else knows of the folder, so nobody changes the file under the map.
        #[allow(unsafe_code)]
        let env = unsafe { options.flags(EnvFlags::NO_SYNC).open(folder.path()) };
        // A database borrows its environment; this process ends soon, and both with it.
        let env: &'static Env = Box::leak(Box::new(env.expect("the folder is empty")));
        let transaction = env.write_txn().expect("nobody else writes");
        let database = env.create_databases_and_commit(transaction, |opener, transaction| {
            opener.create_database(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
        });
        let database = database.expect("the folder has room").unwrap_commit();
        Self { folder, env, database }
    }

    fn write(&mut self, writes: Writes<'_>) {
        self.transact(writes.iter(), |open, (key, value)| self.database.put(open, &bytes_of(key), &value));
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        let mut transaction = None;
        read_each(keys, |key, into| {
            let open =
                transaction.take().unwrap_or_else(|| self.env.read_txn().expect("there is a free slot"));
            let value = self.database.get(&open, &bytes_of(key)).expect("the file is whole");
            let found = value.map(|value| into.copy_from_slice(value)).is_some();
            transaction = ONE_TRANSACTION.then_some(open);
            found
        })
    }

    fn remove(&mut self, keys: &[u64]) {
        self.transact(keys, |open, key| self.database.delete(open, &bytes_of(*key)).map(drop));
    }

    fn scan(&mut self) -> Option<u64> {
        let open = self.env.read_txn().expect("there is a free slot");
        let entries = self.database.iter(&open).expect("the file is whole");
        Some(entries.fold(0, |sum, entry| add_words(sum, entry.expect("the file is whole").1)))
    }

    /// What the file has of the folder's memory.
    fn bytes(&mut self, _grown: u64) -> u64 {
        super::allocated_bytes(&self.folder.path().join("data.mdb"))
    }
}
