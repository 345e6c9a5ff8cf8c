//! A manager in a few lines, for tests: it says exactly what a test wants said, over a real socket, about a table in a
//! real segment. It decides nothing.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use heirloom_protocol::message::{Event, OfferedBequest, PROTOCOL_VERSION, Request, TransferReason};
use heirloom_protocol::sys::{Connection, Listener, Proof, ProofError, Segment};
use heirloom_protocol::table::{self, Recovery, TableOptions, TableWriter};
use heirloom_worker::{Fenced, Recall, TableHeir, Transfer};
use tempfile::TempDir;

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The one table that there is.
pub const TABLE: &str = "sales";

/// The manager's side of all connections, and the table.
pub struct Manager {
    pub socket: PathBuf,
    pub segment: Segment,
    pub epoch: u64,
    incoming: Receiver<Connection>,
    _directory: TempDir,
}

/// One connection, as the manager sees it.
pub struct Line {
    connection: Connection,
}

impl Manager {
    /// Listens; the table is empty and nobody's.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("control.sock");
        let listener = Listener::bind(&socket, 0o600).expect("a socket");
        let (sender, incoming) = crossbeam_channel::unbounded();
        thread::spawn(move || {
            while let Ok(connection) = listener.accept() {
                if sender.send(connection).is_err() {
                    return;
                }
            }
        });
        Self { socket, segment: segment(1), epoch: 0, incoming, _directory: directory }
    }

    /// The next connection, before anything was said.
    pub fn accept(&self) -> Line {
        Line { connection: self.incoming.recv_timeout(PATIENCE).expect("a connection") }
    }

    /// The next connection, registered as a worker of that name.
    pub fn register(&self, name: &str) -> Line {
        let line = self.accept();
        line.welcome();
        line.expect_registration(name);
        line.say(Event::Registered);
        line
    }

    /// The next connection: a worker with an heir for the table, and ready.
    pub fn candidate(&self, name: &str) -> Line {
        let line = self.register(name);
        line.agree();
        line.expect(Request::Ready);
        line
    }

    /// The next connection: the same worker, which owns the table in that epoch.
    pub fn owner_again(&self, name: &str, epoch: u64) -> Line {
        let line = self.register(name);
        line.expect(Request::Holds { table: TABLE.to_owned(), epoch });
        line.expect(Request::Heir { table: TABLE.to_owned() });
        line.expect(Request::Ready);
        line
    }

    /// The next connection: the same worker, after the connection was lost.
    pub fn candidate_again(&self, name: &str) -> Line {
        let line = self.register(name);
        line.expect(Request::Heir { table: TABLE.to_owned() });
        line.expect(Request::Ready);
        line
    }

    /// Runs `worker` on another thread while the manager side goes on here.
    pub fn beside<T: Send + 'static>(
        &self,
        worker: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let socket = self.socket.clone();
        thread::spawn(move || worker(socket))
    }

    /// Takes the table back, as far as it can be: recovered, and proven to be nobody's.
    pub fn take_back(&self) -> Recovery {
        assert_eq!(self.segment.prove_unwritable().expect("nobody can write"), Proof::Proven);
        table::recover(&self.segment.map().expect("mapped")).expect("a table")
    }

    /// Whether somebody can write at this moment.
    pub fn is_writable_by_somebody(&self) -> bool {
        matches!(self.segment.prove_unwritable(), Err(ProofError::StillWritable))
    }

    /// Offers the table, at the next epoch.
    pub fn offer(&mut self, line: &Line, gift: &str) {
        self.epoch += 1;
        let offer = Event::Offered {
            table: TABLE.to_owned(),
            epoch: self.epoch,
            gift: gift.to_owned(),
            reason: TransferReason::First,
            expires_in_ms: 5_000,
            bequest: OfferedBequest::InSegment,
        };
        line.say_with(offer, &self.segment.fresh_read_only().expect("a descriptor"));
    }

    /// Waits for the acceptance, and grants.
    pub fn grant(&self, line: &Line) {
        line.expect(Request::Accept { table: TABLE.to_owned(), epoch: self.epoch });
        self.grant_accepted(line);
    }

    /// Grants what the worker has accepted.
    pub fn grant_accepted(&self, line: &Line) {
        table::begin_epoch(&self.segment.map().expect("mapped"), self.epoch).expect("a table");
        let descriptor = self.segment.fresh_writable().expect("a descriptor");
        line.say_with(Event::Granted { table: TABLE.to_owned(), epoch: self.epoch }, &descriptor);
    }

    /// Offers and grants.
    pub fn hand_over(&mut self, line: &Line) {
        self.offer(line, "");
        self.grant(line);
    }

    /// Waits for the release of the current epoch.
    pub fn expect_release(&self, line: &Line) {
        line.expect(Request::Release { table: TABLE.to_owned(), epoch: self.epoch, panicked: false });
    }

    /// Answers a request to open the table.
    pub fn open(&self, line: &Line) {
        match line.hear() {
            Some(Request::Open { request, table }) => {
                assert_eq!(table, TABLE);
                let descriptor = self.segment.fresh_read_only().expect("a descriptor");
                line.say_with(Event::Opened { request, table }, &descriptor);
            }
            other => panic!("expected a request to open the table, heard {other:?}"),
        }
    }
}

impl Line {
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Answers the greeting.
    pub fn welcome(&self) {
        self.expect(Request::Hello { version: PROTOCOL_VERSION });
        self.say(Event::Welcome { version: PROTOCOL_VERSION, manager_pid: std::process::id() });
    }

    /// Agrees that the worker is an heir of the table.
    pub fn agree(&self) {
        self.expect(Request::Heir { table: TABLE.to_owned() });
        match self.hear() {
            Some(Request::Sync { request }) => self.say(Event::Done { request }),
            other => panic!("expected to be asked whether that is all right, heard {other:?}"),
        }
    }

    /// The next request; `None` where the worker has closed.
    pub fn hear(&self) -> Option<Request> {
        assert!(self.connection.wait_readable(Some(PATIENCE)).expect("waited"), "the worker is silent");
        let (request, received) = self.connection.recv_message().expect("a message")?;
        let sender = received.sender.expect("the kernel's word on the sender");
        assert_eq!(sender.pid, std::process::id(), "rule H12: {request:?} came from another process");
        Some(request)
    }

    /// Waits for exactly this request.
    pub fn expect(&self, request: Request) {
        assert_eq!(self.hear(), Some(request));
    }

    /// Waits for a registration under that name, and says as which client of its process.
    pub fn expect_registration(&self, name: &str) -> u64 {
        match self.hear() {
            Some(Request::Register { name: heard, client }) if heard == name => client,
            other => panic!("expected the registration of `{name}`, heard {other:?}"),
        }
    }

    /// Whether there is nothing to hear now. Only after something that the worker would have said it before.
    pub fn is_silent(&self) -> bool {
        !self.connection.wait_readable(Some(Duration::ZERO)).expect("waited")
    }

    pub fn say(&self, event: Event) {
        self.connection.send_message(&event, None).expect("sent");
    }

    pub fn say_with(&self, event: Event, descriptor: &impl std::os::fd::AsFd) {
        self.connection.send_message(&event, Some(descriptor.as_fd())).expect("sent");
    }

    /// Says what is no message.
    pub fn say_garbage(&self) {
        self.connection.send(&[0xFF; 64], None).expect("sent");
    }
}

/// Memory with an empty table in it.
pub fn segment(incarnation: u64) -> Segment {
    let mut options = TableOptions::set(4 * 1024 * 1024);
    options.incarnation = incarnation;
    let segment = Segment::create(TABLE, options.segment_bytes()).expect("a segment");
    table::create(&segment.map().expect("mapped"), &options).expect("a table");
    segment
}

/// Writes an entry of `Writer<str, u64>` as an owner before the test's would have.
pub fn written(segment: &Segment, key: &str, value: u64) {
    let mut writer = TableWriter::open(segment.map().expect("mapped"), 0).expect("a table");
    let bytes = postcard::to_stdvec(&value).expect("encoded");
    writer.insert(key.as_bytes(), &bytes).expect("written");
}

/// Asks again and again, until it is so: where nothing is said that could be waited for.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// An heir that sends everything on.
pub struct Inbox(pub crossbeam_channel::Sender<Told>);

/// What an heir is told.
#[derive(Debug)]
pub enum Told {
    Transferred(Transfer),
    Recalled(Recall),
    Fenced(Fenced),
}

impl TableHeir for Inbox {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(Told::Transferred(transfer));
    }
    fn recalled(&mut self, recall: Recall) {
        let _ = self.0.send(Told::Recalled(recall));
    }
    fn fenced(&mut self, fenced: Fenced) {
        let _ = self.0.send(Told::Fenced(fenced));
    }
}

/// An heir and where it sends to.
pub fn inbox() -> (Inbox, Receiver<Told>) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    (Inbox(sender), receiver)
}

/// The next transfer.
pub fn transfer(inbox: &Receiver<Told>) -> Transfer {
    match inbox.recv_timeout(PATIENCE) {
        Ok(Told::Transferred(transfer)) => transfer,
        other => panic!("expected a transfer, got {other:?}"),
    }
}
