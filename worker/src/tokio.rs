//! The same for tokio programs: what waits for the manager is an `async fn`, and an heir is a stream of events.
//!
//! Reading and writing stay as they are: they touch memory only, and there is nothing to await. The connection keeps its
//! own thread, so that a busy runtime never makes the manager wait.
//!
//! ```no_run
//! use heirloom_worker::tokio::{Told, Worker};
//! # fn total(writer: &mut heirloom_worker::Writer<String, u64>) -> Result<(), heirloom_worker::WriteError> { Ok(()) }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let worker = Worker::from_env("totals").await?;
//! let mut sales = worker.heir("sales").await?;
//! worker.ready()?;
//! while let Some(told) = sales.next().await {
//!     if let Told::Transferred(transfer) = told {
//!         let mut writer = transfer.accept::<String, u64>().await?;
//!         total(&mut writer)?;
//!         tokio::select! {
//!             () = writer.recalled() => {}
//!             _ = tokio::signal::ctrl_c() => {}
//!         }
//!         heirloom_worker::tokio::release(writer).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A service whose request handlers write needs no heir of its own:
//!
//! ```no_run
//! use heirloom_worker::{Owned, OwnedError, tokio::Worker};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let worker = Worker::from_env("web").await?;
//! let sessions: Owned<u64, String> = worker.own("sessions").await?;
//! worker.ready()?;
//!
//! // In a handler, with a clone of `sessions`; the lock inside is held for one write.
//! match sessions.write(|table| table.insert(&7, &"alice".into())) {
//!     Ok(_) => println!("logged in"),
//!     Err(OwnedError::NotOwner { .. }) => println!("503: the other instance owns the table"),
//!     Err(error) => println!("500: {error}"),
//! }
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::sync::{mpsc, oneshot};
use ::tokio::task;
use ::tokio::time::timeout;
use heirloom_protocol::message::Status;

pub use crate::watch::tokio::{Watch, watch, watch_from};

use crate::client::{self, ANSWER_TIME, Answer, Answered, Link, Question, socket_from_env};
use crate::{
    AcceptError, ConnectError, Fenced, HandOn, HandedOn, HeirError, Key, Owned, OwnedError, Reader, Recall,
    RequestError, TableHeir, Value, WriteError, Writer,
};

/// A connection for reading tables and asking the manager; see [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Client(crate::Client);

/// This process, as the manager knows it; see [`crate::Worker`].
#[derive(Debug, Clone)]
pub struct Worker(crate::Worker);

/// A table that this worker may have now; see [`crate::Transfer`], which it derefs to.
#[derive(Debug)]
pub struct Transfer(crate::Transfer);

/// What an heir is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// The worker may have the table now. Dropping the transfer declines it.
    Transferred(Transfer),
    /// The manager wants the table back; [`Writer::recalled`] says the same to the task that writes.
    Recalled(Recall),
    /// The table is the worker's no longer.
    Fenced(Fenced),
}

/// An heir's events. Dropped, the heir declines every further transfer.
#[derive(Debug)]
pub struct Heir {
    told: mpsc::UnboundedReceiver<Told>,
}

impl Client {
    /// As [`crate::Client::from_env`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::connect(socket_from_env()?).await
    }

    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(socket: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_within(socket, Duration::ZERO).await
    }

    /// As [`crate::Client::connect_within`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_within(socket: impl AsRef<Path>, patience: Duration) -> Result<Self, ConnectError> {
        connect(None, socket.as_ref(), patience).await.map(Self)
    }

    /// As [`crate::Client::reader`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn reader<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
    ) -> Result<Reader<K, V>, RequestError> {
        if let Some(reader) = self.0.opened_before(table) {
            return Ok(reader);
        }
        let answer = self.ask(Question::Open { table: table.to_owned() }).await?;
        self.0.opened(table, answer)
    }

    /// As [`crate::Client::hand_on`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn hand_on(&self, table: &str, how: HandOn) -> Result<HandedOn, RequestError> {
        match self.ask(Question::HandOn { table: table.to_owned(), how }).await? {
            Answer::HandedOn(handed_on) => Ok(handed_on),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// As [`crate::Client::flush`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn flush(&self, table: &str) -> Result<u64, RequestError> {
        client::flushed(&self.ask(Question::Flush { table: table.to_owned(), version: None }).await?)
    }

    /// As [`crate::Client::status`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn status(&self) -> Result<Status, RequestError> {
        client::status_from(self.ask(Question::Status).await?)
    }

    async fn ask(&self, question: Question) -> Result<Answer, RequestError> {
        ask(&self.0, question).await
    }
}

impl Worker {
    /// As [`crate::Worker::from_env`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn from_env(name: &str) -> Result<Self, ConnectError> {
        Self::connect(socket_from_env()?, name).await
    }

    /// As [`crate::Worker::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(socket: impl AsRef<Path>, name: &str) -> Result<Self, ConnectError> {
        Self::connect_within(socket, name, Duration::ZERO).await
    }

    /// As [`crate::Worker::connect_within`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_within(
        socket: impl AsRef<Path>,
        name: &str,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let client = connect(Some(name.to_owned()), socket.as_ref(), patience).await?;
        Ok(Self(crate::Worker::from_client(client, name.to_owned())))
    }

    /// As [`crate::Worker::reader`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn reader<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
    ) -> Result<Reader<K, V>, RequestError> {
        self.client().reader(table).await
    }

    /// Registers an heir of a table, whose events are awaited.
    ///
    /// # Errors
    /// [`HeirError`].
    pub async fn heir(&self, table: &str) -> Result<Heir, HeirError> {
        let (sender, told) = mpsc::unbounded_channel();
        self.inherit(table, Box::new(Forward(sender))).await?;
        Ok(Heir { told })
    }

    /// As [`crate::Worker::own`]: returns as soon as the table is open for reading, as a standby.
    ///
    /// # Errors
    /// [`HeirError`].
    pub async fn own<K, V>(&self, table: &str) -> Result<Owned<K, V>, HeirError>
    where
        K: Key + ?Sized + 'static,
        V: Value + ?Sized + 'static,
    {
        let (owned, heir) = Owned::new(self.reader(table).await?);
        self.inherit(table, Box::new(heir)).await?;
        Ok(owned)
    }

    async fn inherit(&self, table: &str, heir: Box<dyn TableHeir>) -> Result<(), HeirError> {
        let (sender, answer) = oneshot::channel();
        let reply = Box::new(move |answered| drop(sender.send(answered)));
        let _asking = self.0.client().heir_then(table, heir, reply)?;
        let answered = awaited(&Question::MayInherit { table: table.to_owned() }, answer).await;
        self.0.client().heir_answered(table, answered.map(drop))
    }

    /// As [`crate::Worker::ready`].
    ///
    /// # Errors
    /// [`RequestError::ForkedChild`].
    pub fn ready(&self) -> Result<(), RequestError> {
        self.0.ready()
    }

    /// The connection, for reading and asking.
    pub fn client(&self) -> Client {
        Client(self.0.client().clone())
    }

    /// The name the worker is registered under.
    pub fn name(&self) -> &str {
        self.0.name()
    }
}

/// A worker of another kind of manager, such as one in this process.
impl From<crate::Worker> for Worker {
    fn from(worker: crate::Worker) -> Self {
        Self(worker)
    }
}

impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Self {
        Self(client)
    }
}

impl Heir {
    /// What the heir is told next; `None` once the worker's connection has ended for good. May be cancelled: nothing is
    /// lost.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }
}

impl Transfer {
    /// Takes the table: tells the manager, awaits the grant, and maps the segment. Cancelled, it gives the table back.
    ///
    /// # Errors
    /// [`AcceptError`]; the table is then offered to the next candidate.
    pub async fn accept<K: Key + ?Sized, V: Value + ?Sized>(self) -> Result<Writer<K, V>, AcceptError> {
        let (sender, granted) = oneshot::channel();
        // Where nobody awaits it any more, the grant comes back from the channel and is dropped, which gives it back.
        self.0.accept_then(move |grant| drop(sender.send(grant)))?;
        granted.await.expect("the session answers every acceptance")?.into_writer()
    }

    /// As [`crate::Transfer::decline`].
    pub fn decline(self, reason: impl Into<String>) {
        self.0.decline(reason);
    }
}

impl Deref for Transfer {
    type Target = crate::Transfer;

    fn deref(&self) -> &crate::Transfer {
        &self.0
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Writer<K, V> {
    /// Returns once the manager wants the table back, or has taken it: then stop and release.
    pub async fn recalled(&self) {
        self.tenure().recalled().await;
    }
}

/// In the mode `commit`, [`Writer`]'s own calls and [`Owned::write`] hold up a runtime's thread until the disk has what they
/// committed; these await it.
impl<K: Key + ?Sized, V: Value + ?Sized> Writer<K, V> {
    /// Several writes, whose commits are on disk when this returns. Cancelled, those that were made stand, in memory.
    ///
    /// # Errors
    /// Whatever `work` fails with; [`WriteError::NotDurable`] says that it was made all the same.
    pub async fn write_async<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        self.defer(true);
        let made = work(self);
        self.defer(false);
        let made = made?;
        if let Some((disk, version)) = self.awaits_disk() {
            disk.awaited(version).await?;
        }
        Ok(made)
    }

    /// As [`Writer::flush`].
    ///
    /// # Errors
    /// [`WriteError::NotDurable`].
    pub async fn flush_async(&mut self) -> Result<u64, WriteError> {
        self.disk().awaited(self.version()).await
    }
}

impl<K: Key + ?Sized + 'static, V: Value + ?Sized + 'static> Owned<K, V> {
    /// As [`Owned::write`]. Cancelled while it awaits the disk, the write stands, in memory.
    ///
    /// # Errors
    /// As for [`Owned::write`].
    pub async fn write_async<T>(
        &self,
        work: impl FnOnce(&mut Writer<K, V>) -> Result<T, WriteError>,
    ) -> Result<T, OwnedError> {
        let (made, awaited) = self.write_in_memory(work)?;
        if let Some((disk, version)) = awaited {
            disk.awaited(version).await?;
        }
        Ok(made)
    }
}

/// As [`Writer::release`], where unmapping a large table must not hold up the runtime. (Dropping a writer unmaps it on
/// the spot: some tens of milliseconds for a GiB in small pages.)
///
/// # Errors
/// [`WriteError::Fenced`] where it was not this writer's any more.
pub async fn release<K, V>(writer: Writer<K, V>) -> Result<(), WriteError>
where
    K: Key + ?Sized + 'static,
    V: Value + ?Sized + 'static,
{
    task::spawn_blocking(move || writer.release()).await.expect("releasing does not panic")
}

/// The heir behind [`Heir`].
struct Forward(mpsc::UnboundedSender<Told>);

impl TableHeir for Forward {
    fn transferred(&mut self, transfer: crate::Transfer) {
        // With nobody to take it, the transfer comes back from the channel and is dropped, which declines it.
        let _ = self.0.send(Told::Transferred(Transfer(transfer)));
    }

    fn recalled(&mut self, recall: Recall) {
        let _ = self.0.send(Told::Recalled(recall));
    }

    fn fenced(&mut self, fenced: Fenced) {
        let _ = self.0.send(Told::Fenced(fenced));
    }
}

pub(crate) async fn ask(client: &crate::Client, question: Question) -> Result<Answer, RequestError> {
    put(client.link(), question).await
}

/// Asks, and awaits the answer.
pub(crate) async fn put(link: &Arc<Link>, question: Question) -> Result<Answer, RequestError> {
    let (sender, answer) = oneshot::channel();
    let reply = Box::new(move |answered| drop(sender.send(answered)));
    let _asking = link.ask_then(question.clone(), reply)?;
    awaited(&question, answer).await
}

async fn awaited(question: &Question, answer: oneshot::Receiver<Answered>) -> Result<Answer, RequestError> {
    let time = question.answer_time();
    match timeout(time, answer).await {
        Ok(Ok(answered)) => answered.map_err(RequestError::from),
        Ok(Err(_)) => Err(RequestError::Closed),
        Err(_) => Err(RequestError::NoAnswer { question: question.to_string(), time }),
    }
}

async fn connect(
    name: Option<String>,
    socket: &Path,
    patience: Duration,
) -> Result<crate::Client, ConnectError> {
    let (sender, outcome) = oneshot::channel();
    let first = Box::new(move |outcome| {
        let _ = sender.send(outcome);
    });
    let client = crate::Client::start(name, socket, patience, first)?;
    match timeout(patience.saturating_add(ANSWER_TIME), outcome).await {
        Ok(Ok(outcome)) => outcome.map(|()| client),
        Ok(Err(_)) | Err(_) => Err(ConnectError::NoAnswer { socket: socket.to_owned() }),
    }
}
