//! The ready-made heir of a service whose request handlers write.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::client::Disk;
use crate::codec::{Key, Value};
use crate::heir::{Fenced, Recall, TableHeir};
use crate::reader::Reader;
use crate::transfer::{AcceptError, Transfer};
use crate::writer::{WriteError, Writer};

/// A table that a service writes while it owns it, and reads always.
///
/// It accepts every transfer and answers every recall by itself, after the write in hand. Of two processes of one name
/// (every rolling deploy) one owns the table and writes; the other stands by, reads, and answers writes with
/// [`OwnedError::NotOwner`]. Clones share the table and may be used by any number of threads; writes take a lock among
/// them, reads none. Made by [`Worker::own`](crate::Worker::own).
///
/// ```no_run
/// # use heirloom_worker::{Owned, Worker};
/// let worker = Worker::from_env("web")?;
/// let sessions: Owned<u64, String> = worker.own("sessions")?;
/// worker.ready()?;
/// sessions.write(|table| table.insert(&7, &"alice".into()))?;
/// assert_eq!(sessions.reader().get(&7)?.as_deref(), Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Owned<K: ?Sized, V: ?Sized> {
    desk: Arc<Desk<K, V>>,
    reader: Reader<K, V>,
}

/// Where the writer lies while the service owns the table.
struct Desk<K: ?Sized, V: ?Sized> {
    writer: Mutex<Option<Writer<K, V>>>,
}

/// The heir behind an [`Owned`]. It does not keep the desk: a service that has dropped its last `Owned` gives the table
/// back, and is offered it no more than it can decline.
struct Steward<K: ?Sized, V: ?Sized> {
    desk: Weak<Desk<K, V>>,
}

impl<K: Key + ?Sized + 'static, V: Value + ?Sized + 'static> Owned<K, V> {
    /// The handle, and the heir to register for it.
    pub(crate) fn new(reader: Reader<K, V>) -> (Self, impl TableHeir) {
        let desk = Arc::new(Desk { writer: Mutex::new(None) });
        let steward = Steward { desk: Arc::downgrade(&desk) };
        (Self { desk, reader }, steward)
    }

    /// Writes, if this process owns the table now. One write at a time; what `work` returns is returned. In the mode
    /// `commit` that is when it is on disk: the waiting is done without the lock, so that several share it. (The tokio
    /// feature's `write_async` awaits it.)
    ///
    /// # Errors
    /// [`OwnedError::NotOwner`] on a standby, and whatever `work` fails with. [`WriteError::NotDurable`] says that the
    /// write was made all the same.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Writer<K, V>) -> Result<T, WriteError>,
    ) -> Result<T, OwnedError> {
        let (made, awaited) = self.write_in_memory(work)?;
        if let Some((disk, version)) = awaited {
            disk.wait(version)?;
        }
        Ok(made)
    }

    /// Returns when everything that was committed so far is on disk, and says up to which version that is. It takes no
    /// lock while it waits.
    ///
    /// # Errors
    /// [`OwnedError::NotOwner`] on a standby; [`WriteError::NotDurable`] where it cannot be.
    pub fn flush(&self) -> Result<u64, OwnedError> {
        let (disk, version) = self.owning(|writer| Ok((writer.disk(), writer.version())))?;
        Ok(disk.wait(version)?)
    }

    /// Writes, and says what is to be waited for before that counts.
    pub(crate) fn write_in_memory<T>(
        &self,
        work: impl FnOnce(&mut Writer<K, V>) -> Result<T, WriteError>,
    ) -> Result<(T, Option<(Disk, u64)>), OwnedError> {
        self.owning(|writer| Ok((work(writer)?, writer.awaits_disk())))
    }

    fn owning<T>(
        &self,
        work: impl FnOnce(&mut Writer<K, V>) -> Result<T, WriteError>,
    ) -> Result<T, OwnedError> {
        let mut writer = self.desk.writer();
        match writer.as_mut() {
            // A recalled writer takes no new work, or a busy service would never give the table back.
            Some(writer) if !writer.is_recalled() => work(writer).map_err(OwnedError::Write),
            _ => Err(OwnedError::NotOwner { table: self.reader.table().to_owned() }),
        }
    }

    /// Shows that this service lives, as [`Writer::renew`], where its table has a `lease`. Where requests may stay away for
    /// that long, a timer of the server's own loop is the place for it: one that stops where the service hangs.
    ///
    /// # Errors
    /// [`OwnedError::NotOwner`] on a standby, which needs no lease.
    pub fn renew(&self) -> Result<(), OwnedError> {
        self.write(|writer| writer.renew())
    }

    /// The value of a key, as [`Reader::get`]; also on a standby, and without the lock of writes.
    ///
    /// # Errors
    /// [`ReadError`](crate::ReadError).
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V::Owned>, crate::ReadError>
    where
        K: std::borrow::Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.reader.get(key)
    }

    /// Reads, also on a standby.
    pub fn reader(&self) -> &Reader<K, V> {
        &self.reader
    }

    /// Whether this process owns the table, for a health check; the answer may be old when it is read.
    pub fn is_owner(&self) -> bool {
        self.desk.writer().as_ref().is_some_and(|writer| !writer.is_recalled())
    }
}

impl<K: ?Sized, V: ?Sized> Desk<K, V> {
    /// A handler that panicked left no half write: a write or transaction is whole or nothing.
    fn writer(&self) -> MutexGuard<'_, Option<Writer<K, V>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key + ?Sized + 'static, V: Value + ?Sized + 'static> Steward<K, V> {
    /// Gives the table back once the write in hand is done, on a thread of its own: heirs must not block, and unmapping
    /// a large table takes its time.
    fn give_back(&self, table: &str) {
        let desk = Weak::clone(&self.desk);
        let leave = move || {
            let Some(desk) = desk.upgrade() else { return };
            let mut writer = desk.writer();
            // A newer ownership is not meant, and an epoch's number does not tell: a manager that died and had to
            // create the table anew begins again at 1. What is over counts as recalled.
            let left = writer.take_if(|writer| writer.is_recalled());
            drop(writer);
            drop(left);
        };
        if let Err(error) = thread::Builder::new().name("heirloom-release".to_owned()).spawn(leave) {
            tracing::error!(table, %error, "cannot start the thread that gives the table back");
        }
    }
}

impl<K: Key + ?Sized + 'static, V: Value + ?Sized + 'static> TableHeir for Steward<K, V> {
    fn transferred(&mut self, transfer: Transfer) {
        let desk = Weak::clone(&self.desk);
        let (table, epoch) = (transfer.table().to_owned(), transfer.epoch());
        if desk.strong_count() == 0 {
            return transfer.decline("the service has dropped its handle");
        }
        let accepted = transfer.accept_then(move |grant| {
            let taken_up = grant.and_then(|grant| grant.into_writer::<K, V>());
            match (taken_up, desk.upgrade()) {
                (Ok(mut writer), Some(desk)) => {
                    // Nobody waits for the disk while others wait for the lock.
                    writer.defer(true);
                    *desk.writer() = Some(writer);
                    tracing::info!(table, epoch, "owner");
                }
                // The last handle is gone: dropped here, the writer gives the table back.
                (Ok(_), None) => {}
                (Err(AcceptError::Withdrawn { reason, .. }), _) => {
                    tracing::debug!(table, epoch, reason, "still standby")
                }
                (Err(error), _) => tracing::error!(table, epoch, %error, "cannot take the table"),
            }
        });
        debug_assert!(accepted.is_ok(), "the client's thread runs in one process only");
    }

    fn recalled(&mut self, recall: Recall) {
        self.give_back(&recall.table);
    }

    fn fenced(&mut self, fenced: Fenced) {
        self.give_back(&fenced.table);
    }
}

impl<K: ?Sized, V: ?Sized> Clone for Owned<K, V> {
    fn clone(&self) -> Self {
        Self { desk: Arc::clone(&self.desk), reader: self.reader.clone() }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Owned<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// A write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnedError {
    /// Another process owns the table now, or nobody does.
    #[error(
        "this process does not own table `{table}` now: send the request to the one that does, or try again"
    )]
    NotOwner {
        /// The table's id.
        table: String,
    },
    /// The write itself failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}
