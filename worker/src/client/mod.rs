//! The connection to the manager.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`session`] | what the client knows, as a pure state machine |
//! | [`link`] | handles on any thread speak through it; it does what the session says is to be done |
//! | [`wire`] | the way to the manager: a socket, or a call where it is in this process |
//! | [`thread`] | the one thread that connects, listens and calls heirs |
//! | [`ownership`] | what makes this process an owner, and ends it by being dropped |
//! | [`handing_on`] | what can be asked about a table that somebody else owns |
//! | [`claims`] | pins and followers: what a client has at the manager until it drops it |
//! | [`disk`] | waiting until commits are on disk |
//! | [`will`] | what an offer says of the bequest; the offer's identity |
//! | [`source`] | the mapping that all readers of a table share |
//! | [`error`] | why the manager could not be reached, or did not do something |
//! | [`back_off`] | how long to wait between tries to connect |

mod back_off;
mod claims;
mod disk;
mod error;
mod handing_on;
mod link;
mod ownership;
mod session;
mod source;
mod thread;
mod will;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{env, fmt};

use crossbeam_channel::Receiver;
use heirloom_protocol::message::{MAX_NAME_BYTES, Status};

pub(crate) use claims::{Followed, Pinned};
pub(crate) use disk::Disk;
#[cfg(feature = "tokio")]
pub(crate) use disk::flushed;
pub use error::{ConnectError, RequestError};
pub use handing_on::{HandOn, HandedOn};
pub(crate) use link::{Asking, Hub, Link};
#[cfg(feature = "tokio")]
pub(crate) use ownership::Tenure;
pub(crate) use ownership::{Grant, Ownership};
pub(crate) use session::Reply;
use session::Session;
pub(crate) use session::{Answer, Answered, Question};
pub(crate) use source::Source;
pub(crate) use will::{Unread, Will};
use wire::Wire;

use crate::codec::{Key, Value};
use crate::embedding::House;
use crate::heir::TableHeir;
use crate::reader::Reader;
use crate::worker::HeirError;

/// Where children of `heirloom run` find the control socket.
const SOCKET_VARIABLE: &str = "HEIRLOOM_SOCKET";

/// How long an answer is waited for. The manager answers at once, unless it is still hydrating.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long it may work on something whose end only the manager knows.
const LONGEST_WORK: Duration = Duration::from_secs(3600);

/// A connection for reading tables and asking the manager.
///
/// It has its own thread, reconnects by itself, and lives as long as it or any of its readers does. Clones share it.
///
/// ```no_run
/// use heirloom_worker::{Client, Reader};
///
/// let client = Client::connect("/run/heirloom.sock")?;
/// let sales: Reader<String, u64> = client.reader("sales")?;
/// println!("{:?} of {} cars", sales.get("Zonda")?, sales.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
    socket: Arc<Path>,
}

impl Client {
    /// Connects to the manager that `HEIRLOOM_SOCKET` names, as `heirloom run` sets it for its children.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn from_env() -> Result<Self, ConnectError> {
        Self::connect(socket_from_env()?)
    }

    /// Connects to the manager's control socket.
    ///
    /// # Errors
    /// [`ConnectError`], at once where nobody listens.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_within(socket, Duration::ZERO)
    }

    /// The same, trying for as long as `patience`: for a program that is started beside the manager.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_within(socket: impl AsRef<Path>, patience: Duration) -> Result<Self, ConnectError> {
        Self::connect_as(None, socket.as_ref(), patience)
    }

    /// Opens a table for reading. The descriptor comes from the manager, once; reads ask nobody.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn reader<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
    ) -> Result<Reader<K, V>, RequestError> {
        if let Some(reader) = self.opened_before(table) {
            return Ok(reader);
        }
        let answer = self.ask(Question::Open { table: table.to_owned() })?;
        self.opened(table, answer)
    }

    /// Hands a table on: its owner is asked, through the manager, to give it up for another. Returns when it has changed
    /// hands.
    ///
    /// ```no_run
    /// use heirloom_worker::{Client, HandOn};
    /// use std::time::Duration;
    ///
    /// let client = Client::from_env()?;
    /// let handed_on = client.hand_on("sales", HandOn::new().within(Duration::from_secs(5)))?;
    /// println!("{:?} has it now", handed_on.owner);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Refused`] where nobody owns the table, or its owner did not give it up in time and keeps it;
    /// otherwise as for every request.
    pub fn hand_on(&self, table: &str, how: HandOn) -> Result<HandedOn, RequestError> {
        match self.ask(Question::HandOn { table: table.to_owned(), how })? {
            Answer::HandedOn(handed_on) => Ok(handed_on),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Changes a table's limit, in bytes, while it lives: up to its reserve, down to what it uses now.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where that is too much or too little, or this user may not; otherwise as for every
    /// request.
    pub fn set_limit(&self, table: &str, max_bytes: u64) -> Result<(), RequestError> {
        self.ask(Question::SetLimit { table: table.to_owned(), max_bytes }).map(drop)
    }

    /// What the manager knows about tables, workers and the supervisor's children.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn status(&self) -> Result<Status, RequestError> {
        status_from(self.ask(Question::Status)?)
    }

    /// The path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects, as a worker where there is a name, and waits until the manager has agreed.
    pub(crate) fn connect_as(
        name: Option<String>,
        socket: &Path,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let (sender, outcome) = crossbeam_channel::bounded(1);
        let first = Box::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        let client = Self::start(name, socket, patience, first)?;
        match outcome.recv_timeout(patience.saturating_add(ANSWER_TIME)) {
            Ok(outcome) => outcome.map(|()| client),
            Err(_) => Err(ConnectError::NoAnswer { socket: socket.to_owned() }),
        }
    }

    /// Starts the client's thread; `first` hears how the first connection went.
    pub(crate) fn start(
        name: Option<String>,
        socket: &Path,
        patience: Duration,
        first: Reply<Result<(), ConnectError>>,
    ) -> Result<Self, ConnectError> {
        let (sender, running) = crossbeam_channel::bounded(0);
        let link = Link::new(Session::new(name), sender, first, None);
        let (hub, path) = (Arc::clone(link.hub()), socket.to_owned());
        std::thread::Builder::new()
            .name("heirloom-client".to_owned())
            .spawn(move || thread::run(&hub, &path, patience, &running))
            .map_err(|source| ConnectError::Thread { source })?;
        Ok(Self { link, socket: socket.into() })
    }

    /// A client of a manager in this process; `introduce` tells that one of it.
    pub(crate) fn embedded(
        house: &Arc<dyn House>,
        number: u64,
        name: Option<String>,
        introduce: impl FnOnce(Weak<Hub>),
    ) -> Result<Self, ConnectError> {
        let socket = Path::new("(in this process)");
        if house.is_carrying_on_here() {
            return Err(ConnectError::NoAnswer { socket: socket.to_owned() });
        }
        let (sender, outcome) = crossbeam_channel::bounded(1);
        let first = Box::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        // Nobody listens for this: there is no thread of the client's.
        let (running, _) = crossbeam_channel::bounded(0);
        let link = Link::new(Session::new(name), running, first, Some(Arc::clone(house)));
        introduce(Arc::downgrade(link.hub()));
        link.hub().attach(Wire::House(Arc::clone(house), number));
        match outcome.recv_timeout(ANSWER_TIME) {
            Ok(outcome) => outcome.map(|()| Self { link, socket: socket.into() }),
            Err(_) => Err(ConnectError::NoAnswer { socket: socket.to_owned() }),
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Tells the manager of an heir, and waits until it agrees.
    pub(crate) fn heir(&self, table: &str, heir: Box<dyn TableHeir>) -> Result<(), HeirError> {
        let (reply, answer) = self.link.waiting()?;
        let _asking = self.heir_then(table, heir, reply)?;
        let answered = wait(&Question::MayInherit { table: table.to_owned() }, &answer);
        self.heir_answered(table, answered.map(drop))
    }

    /// Tells the manager of an heir; `reply` hears on the client's thread whether it agrees, while what is returned is
    /// kept, and then [`Self::heir_answered`] is to be called.
    pub(crate) fn heir_then(
        &self,
        table: &str,
        heir: Box<dyn TableHeir>,
        reply: Reply<Answered>,
    ) -> Result<Asking, HeirError> {
        if table.is_empty() || table.len() > MAX_NAME_BYTES {
            return Err(HeirError::Name { length: table.len() });
        }
        if self.link.is_inert() {
            return Err(RequestError::ForkedChild.into());
        }
        self.link.heir(table, heir, reply).ok_or_else(|| HeirError::Twice { table: table.to_owned() })
    }

    pub(crate) fn heir_answered(
        &self,
        table: &str,
        answered: Result<(), RequestError>,
    ) -> Result<(), HeirError> {
        if answered.is_err() {
            self.link.no_heir(table);
        }
        Ok(answered?)
    }

    /// Asks, and waits for the answer.
    fn ask(&self, question: Question) -> Result<Answer, RequestError> {
        self.link.put(&question)
    }

    /// A reader over the mapping that others of this client read already.
    pub(crate) fn opened_before<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
    ) -> Option<Reader<K, V>> {
        // A fork's copy may not take the lock.
        if self.link.is_inert() { None } else { self.link.source(table).map(Reader::new) }
    }

    /// A reader over the segment that the manager answered with.
    pub(crate) fn opened<K: Key + ?Sized, V: Value + ?Sized>(
        &self,
        table: &str,
        answer: Answer,
    ) -> Result<Reader<K, V>, RequestError> {
        let Answer::Opened(memory) = answer else { return Err(RequestError::Unexpected) };
        let segment = source::open(table, memory)?;
        let source = Source::new(table.to_owned(), segment, Some(self.clone()));
        Ok(Reader::new(self.link.share(source)))
    }
}

impl Link {
    /// Asks, and waits for the answer.
    fn put(self: &Arc<Self>, question: &Question) -> Result<Answer, RequestError> {
        let (reply, answer) = self.waiting()?;
        let _asking = self.ask_then(question.clone(), reply)?;
        wait(question, &answer)
    }

    /// A reply, and where it arrives. Not on the client's thread, which would have to bring it.
    fn waiting(&self) -> Result<(Reply<Answered>, Receiver<Answered>), RequestError> {
        if self.is_client_thread() {
            return Err(RequestError::OnClientThread);
        }
        let (sender, answer) = crossbeam_channel::bounded(1);
        let reply = move |answered| {
            let _ = sender.send(answered);
        };
        Ok((Box::new(reply), answer))
    }

    /// Asks; `reply` hears the answer on the client's thread, while what is returned is kept.
    pub(crate) fn ask_then(
        self: &Arc<Self>,
        question: Question,
        reply: Reply<Answered>,
    ) -> Result<Asking, RequestError> {
        if self.is_inert() {
            return Err(RequestError::ForkedChild);
        }
        Ok(self.ask(question, reply))
    }
}

fn wait(question: &Question, answer: &Receiver<Answered>) -> Result<Answer, RequestError> {
    let time = question.answer_time();
    match answer.recv_timeout(time) {
        Ok(answered) => answered.map_err(RequestError::from),
        Err(_) => Err(RequestError::NoAnswer { question: question.to_string(), time }),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The control socket that the environment names.
pub(crate) fn socket_from_env() -> Result<PathBuf, ConnectError> {
    env::var_os(SOCKET_VARIABLE).map(PathBuf::from).ok_or(ConnectError::NoSocket)
}

pub(crate) fn status_from(answer: Answer) -> Result<Status, RequestError> {
    let Answer::Status(json) = answer else { return Err(RequestError::Unexpected) };
    serde_json::from_str(&json).map_err(|_| RequestError::Unexpected)
}

impl Question {
    /// How long its answer is waited for.
    pub(crate) fn answer_time(&self) -> Duration {
        match self {
            // The manager keeps the time, and says when it is over.
            Self::HandOn { how, .. } => how.time().unwrap_or(LONGEST_WORK).saturating_add(ANSWER_TIME),
            _ => ANSWER_TIME,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { table } => write!(f, "open table `{table}`"),
            Self::HandOn { table, .. } => write!(f, "hand table `{table}` on"),
            Self::Pin { table } => write!(f, "pin a version of table `{table}`"),
            Self::Follow { table } => write!(f, "let table `{table}` be followed"),
            Self::SetLimit { table, .. } => write!(f, "change the limit of table `{table}`"),
            Self::Flush { table, version: Some(version) } => {
                write!(f, "write version {version} of table `{table}` to disk")
            }
            Self::Flush { table, version: None } => write!(f, "write table `{table}` to disk"),
            Self::Status => f.write_str("say its status"),
            Self::MayInherit { table } => write!(f, "say whether this worker may inherit table `{table}`"),
        }
    }
}
