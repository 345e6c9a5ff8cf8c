//! The connection to the manager.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`session`] | what the client knows, as a pure state machine |
//! | [`link`] | handles on any thread speak through it; it does what the session says is to be done |
//! | [`thread`] | the one thread that connects, listens and calls heirs |
//! | [`ownership`] | what makes this process an owner, and ends it by being dropped |
//! | [`source`] | the mapping that all readers of a table share |
//! | [`back_off`] | how long to wait between tries to connect |

mod back_off;
mod link;
mod ownership;
mod session;
mod source;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, io};

use heirloom_protocol::message::{Refusal, Status};
use heirloom_protocol::sys::SocketError;
use heirloom_protocol::table::OpenError;

pub(crate) use link::Link;
#[cfg(feature = "tokio")]
pub(crate) use ownership::Tenure;
pub(crate) use ownership::{Grant, Ownership};
pub(crate) use session::Reply;
pub(crate) use session::{Answer, Question};
use session::{Answered, Refused, Session};
pub(crate) use source::Source;

use crate::codec::{Key, Value};
use crate::engine::MapError;
use crate::reader::Reader;

/// Where children of `heirloom run` find the control socket.
const SOCKET_VARIABLE: &str = "HEIRLOOM_SOCKET";

/// How long an answer is waited for. The manager answers at once, unless it is still hydrating.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(30);

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

    /// Asks the owner of a table, through the manager, to give it back. Returns when the owner has been asked.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn recall(&self, table: &str) -> Result<(), RequestError> {
        self.ask(Question::Recall { table: table.to_owned() }).map(drop)
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
        let link = Link::new(Session::new(name), sender, first);
        let (hub, path) = (Arc::clone(link.hub()), socket.to_owned());
        std::thread::Builder::new()
            .name("heirloom-client".to_owned())
            .spawn(move || thread::run(&hub, &path, patience, &running))
            .map_err(|source| ConnectError::Thread { source })?;
        Ok(Self { link, socket: socket.into() })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Asks, and waits for the answer.
    fn ask(&self, question: Question) -> Result<Answer, RequestError> {
        if self.link.is_client_thread() {
            return Err(RequestError::OnClientThread);
        }
        let (sender, answer) = crossbeam_channel::bounded(1);
        let asked = question.clone();
        self.ask_then(question, move |answered| {
            let _ = sender.send(answered);
        })?;
        match answer.recv_timeout(ANSWER_TIME) {
            Ok(answered) => answered.map_err(RequestError::from),
            Err(_) => Err(RequestError::NoAnswer { question: asked.to_string() }),
        }
    }

    /// Asks; `reply` hears the answer on the client's thread.
    pub(crate) fn ask_then(
        &self,
        question: Question,
        reply: impl FnOnce(Answered) + Send + 'static,
    ) -> Result<(), RequestError> {
        if self.link.is_inert() {
            return Err(RequestError::ForkedChild);
        }
        self.link.ask(question, Box::new(reply));
        Ok(())
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
        let Answer::Opened(descriptor) = answer else { return Err(RequestError::Unexpected) };
        let segment = source::open(table, descriptor)?;
        let source = Source::new(table.to_owned(), segment, Some(Arc::clone(&self.link)));
        Ok(Reader::new(self.link.share(source)))
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

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { table } => write!(f, "open table `{table}`"),
            Self::Recall { table } => write!(f, "recall table `{table}`"),
            Self::Status => f.write_str("say its status"),
        }
    }
}

/// The manager could not be reached, or does not want this client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The environment does not say where the control socket is.
    #[error(
        "{SOCKET_VARIABLE} is not set: start this program by `heirloom run`, or set it to the control socket's path"
    )]
    NoSocket,
    /// Nobody listens on the control socket.
    #[error("{source}")]
    Unreachable {
        /// Which socket, and what the kernel says.
        source: SocketError,
    },
    /// The manager refuses the version, the name or the user.
    #[error("the manager refuses: {message}")]
    Refused {
        /// What kind of refusal this is.
        why: Refusal,
        /// What the manager says.
        message: String,
    },
    /// Somebody listens, and does not answer.
    #[error("no answer from the manager at {}: it may still be hydrating; see its log", socket.display())]
    NoAnswer {
        /// The control socket.
        socket: PathBuf,
    },
    /// The client's thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It refuses.
    #[error("the manager refuses: {message}")]
    Refused {
        /// What kind of refusal this is.
        why: Refusal,
        /// What the manager says.
        message: String,
    },
    /// It is away, or busy.
    #[error("the manager did not {question} in {} seconds: see `heirloom status` and its log", ANSWER_TIME.as_secs())]
    NoAnswer {
        /// What was asked.
        question: String,
    },
    /// It answered something else: its version and this library's do not fit.
    #[error("the manager's answer makes no sense: its version and this program's do not fit together")]
    Unexpected,
    /// The segment could not be mapped.
    #[error("cannot map table `{table}`: {source}")]
    Map {
        /// The table's id.
        table: String,
        /// What the kernel says.
        source: MapError,
    },
    /// The segment is not a table that this library can read.
    #[error("cannot read table `{table}`: {source}")]
    Open {
        /// The table's id.
        table: String,
        /// What is wrong with it.
        source: OpenError,
    },
    /// Called by an heir, on the thread that hears the manager.
    #[error("an heir must not wait for the manager: do this on another thread")]
    OnClientThread,
    /// The connection belongs to the parent process.
    #[error("this is a forked child: connect again")]
    ForkedChild,
    /// The client has ended.
    #[error("the connection was closed")]
    Closed,
}

impl From<Refused> for RequestError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ByManager { why, message } => Self::Refused { why, message },
            Refused::Closed => Self::Closed,
        }
    }
}
