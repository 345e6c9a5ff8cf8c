//! One connection: what comes in goes to the control task, what goes out never makes it wait.

use super::access::Person;
use super::chatter::{self, By, Kind};
use super::control::Notice;
use super::readiness;
use super::seats::{Seat, Seats, Turn};
use heirloom_protocol::codec;
use heirloom_protocol::message::{Event, Refusal, Request};
use heirloom_protocol::ownership::WorkerId;
use heirloom_protocol::sys::{Connection, Credentials, Identity, Listener, Process, Received, SocketError};
use heirloom_worker::embedding::{Guest, Memory};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};

/// Which connection; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(pub(super) u64);

/// Most packets that wait for a client that does not read (rule H18): then the connection is ended.
const MAX_WAITING: usize = 128;

/// Most descriptors that a client has asked for and may not have received yet. What it leaves unread counts against
/// what the manager's own user may have under way, and would stop every handoff (rule H19).
pub(super) const MAX_UNREAD_DESCRIPTORS: u32 = 8;

/// How long nothing is sent to a client after the kernel has said that too many descriptors are under way.
const TOO_MANY_PAUSE: Duration = Duration::from_millis(10);

/// What the control task knows of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) way: Way,
    pub(super) credentials: Credentials,
    pub(super) process: Arc<Process>,
    pub(super) person: Person,
    /// Whether it has said [`Request::Hello`].
    pub(super) greeted: bool,
    /// Its registration, once it is a worker.
    pub(super) worker: Option<WorkerId>,
    /// Descriptors sent since it had last received everything.
    descriptors: u32,
}

impl Client {
    /// Takes up a connection that has just been accepted, and counted.
    fn new(connection: Connection, seat: Seat) -> io::Result<Self> {
        connection.set_nonblocking(true)?;
        connection.refuse_descriptors();
        let peer = connection.peer()?;
        let person = Person::new(peer.credentials, &peer.process);
        if peer.credentials.pid == 0
            && let Err(error) = connection.name_senders()
        {
            chatter::say(Kind::Connections, person.by(), || {
                tracing::warn!(%error, "a client in another PID namespace can read, and cannot be a worker");
            });
        }
        Ok(Self {
            way: Way::Socket(Arc::new(Outbox::new(connection, seat, person.by())?)),
            credentials: peer.credentials,
            process: Arc::new(peer.process),
            person,
            greeted: false,
            worker: None,
            descriptors: 0,
        })
    }

    /// Takes up a client in this process.
    pub(super) fn in_this_process(guest: Guest, told: &Told, process: Arc<Process>) -> Self {
        let pid = process.pid();
        let credentials = Credentials {
            pid,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let person = Person::new(credentials, &process);
        let way = Way::House { guest, told: Arc::clone(told) };
        Self { way, credentials, process, person, greeted: false, worker: None, descriptors: 0 }
    }

    /// Whether it may be sent one more descriptor that it asked for; counts that one.
    pub(super) fn may_have_descriptor(&mut self) -> bool {
        match &self.way {
            Way::Socket(outbox) if !outbox.is_read() => {}
            _ => self.descriptors = 0,
        }
        self.descriptors += 1;
        self.descriptors <= MAX_UNREAD_DESCRIPTORS
    }

    /// It has registered, and is heard beside its user's other clients from here on.
    pub(super) fn registers(&mut self, worker: WorkerId) {
        self.worker = Some(worker);
        if let Way::Socket(outbox) = &self.way {
            outbox.is_worker.store(true, Ordering::Relaxed);
        }
    }

    /// Whether what it is sent waits, since it has not read what it was sent before.
    pub(super) fn is_behind(&self) -> bool {
        matches!(&self.way, Way::Socket(outbox) if !outbox.is_empty())
    }

    /// Whether the packet was sent by the process at the other end itself, not by a child that it forked (rule H12).
    pub(super) fn is_sender(&self, sender: Sender) -> bool {
        sender.is(self.credentials.pid, self.process.identity())
    }
}

/// Who sent a packet, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    /// Its number; 0 where it has none here.
    pub(super) pid: u32,
    /// Which process it is, where it is asked for since it has no number.
    pub(super) process: Option<Identity>,
}

impl Sender {
    /// Whether it is the process with that number, or where it has none, that process.
    fn is(self, pid: u32, process: Identity) -> bool {
        match pid {
            // Its children have no number either.
            0 => self.process == Some(process),
            pid => self.pid == pid,
        }
    }
}

/// What clients in this process are to be told, in order, once the manager's lock is released.
pub(super) type Told = Arc<Mutex<VecDeque<(Guest, Event, Option<Memory>)>>>;

/// The way out to one client.
#[derive(Debug)]
pub(super) enum Way {
    /// To another process.
    Socket(Arc<Outbox>),
    /// To a client in this one.
    House { guest: Guest, told: Told },
}

impl Way {
    /// Sends an event now, or as soon as the client can take it.
    pub(super) fn send(&self, event: &Event, memory: Option<Memory>) {
        match self {
            Self::Socket(outbox) => {
                let descriptor = memory.and_then(|memory| match memory {
                    Memory::Segment(descriptor) => Some(descriptor),
                    Memory::Shared(_) => None,
                });
                outbox.send(event, descriptor);
            }
            Self::House { guest, told } => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.push_back((guest.clone(), event.clone(), memory));
            }
        }
    }

    /// Ends the connection. What was sent can still be read.
    pub(super) fn end(&self) {
        if let Self::Socket(outbox) = self {
            outbox.end();
        }
    }
}

/// A connection on its way out.
#[derive(Debug)]
pub(super) struct Outbox {
    connection: AsyncFd<Connection>,
    /// What could not be sent at once, in order.
    waiting: Mutex<VecDeque<Packet>>,
    more: Notify,
    is_worker: AtomicBool,
    by: By,
    /// Given back with the connection.
    seat: Seat,
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Outbox {
    fn new(connection: Connection, seat: Seat, by: By) -> io::Result<Self> {
        let connection = readiness::watch(connection, Interest::READABLE | Interest::WRITABLE)?;
        let (waiting, more, is_worker) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Ok(Self { connection, waiting, more, is_worker, by, seat })
    }

    /// Sends an event now, or as soon as the client has read enough. A client that cannot be sent to loses its
    /// connection, which is noticed as any other loss.
    fn send(&self, event: &Event, descriptor: Option<OwnedFd>) {
        let bytes = match codec::encode(event) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "an event cannot be sent");
                return self.end();
            }
        };
        let mut waiting = self.waiting.lock().expect("nothing panics while it holds this lock");
        if waiting.is_empty() {
            match self.connection.get_ref().send(&bytes, descriptor.as_ref().map(AsFd::as_fd)) {
                Ok(()) => return,
                Err(SocketError::WouldBlock | SocketError::TooManyInFlight) => {}
                Err(_) => return self.end(),
            }
        }
        if waiting.len() >= MAX_WAITING {
            let waiting_now = waiting.len();
            chatter::say(Kind::CutOff, self.by, || {
                tracing::warn!(
                    waiting = waiting_now,
                    "a client does not read what it is sent: its connection is ended"
                );
            });
            waiting.clear();
            return self.end();
        }
        waiting.push_back(Packet { bytes, descriptor });
        self.more.notify_one();
    }

    /// Whether the client has received everything.
    fn is_read(&self) -> bool {
        self.is_empty() && self.connection.get_ref().unread().is_ok_and(|bytes| bytes == 0)
    }

    /// Whether everything has been handed to the kernel.
    fn is_empty(&self) -> bool {
        self.waiting.lock().expect("nothing panics while it holds this lock").is_empty()
    }

    /// Ends the connection, for forked children that hold it too. What was sent can still be read.
    fn end(&self) {
        self.connection.get_ref().shutdown();
    }

    /// Sends what waits, for as long as the connection lasts.
    async fn drain(&self) -> io::Result<()> {
        loop {
            if self.is_empty() {
                self.more.notified().await;
                continue;
            }
            let mut ready = self.connection.writable().await?;
            match self.send_first(self.connection.get_ref()) {
                Ok(()) => {}
                Err(SocketError::WouldBlock) => ready.clear_ready(),
                // Others leave their descriptors unread: no fault of this client.
                Err(SocketError::TooManyInFlight) => {
                    drop(ready);
                    tokio::time::sleep(TOO_MANY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send_first(&self, connection: &Connection) -> Result<(), SocketError> {
        let mut waiting = self.waiting.lock().expect("nothing panics while it holds this lock");
        if let Some(packet) = waiting.front() {
            connection.send(&packet.bytes, packet.descriptor.as_ref().map(AsFd::as_fd))?;
            waiting.pop_front();
        }
        Ok(())
    }

    /// The next packet, in the turn of its user; none where the client is gone.
    async fn receive(&self, buffer: &mut Vec<u8>) -> Result<Option<Heard>, SocketError> {
        loop {
            let mut ready = self.connection.readable().await.map_err(SocketError::Failed)?;
            let turn = self.seat.turn(self.is_worker.load(Ordering::Relaxed)).await;
            match self.connection.get_ref().recv(buffer) {
                Err(SocketError::WouldBlock) => ready.clear_ready(),
                answer => {
                    let Some(Received { descriptors, sender, process }) = answer? else { return Ok(None) };
                    if !descriptors.is_empty() {
                        // Closing one can take as long as whoever sent it likes (rule H19). The kernel refuses them before
                        // that where it can.
                        tokio::task::spawn_blocking(move || drop(descriptors));
                        return Err(SocketError::Failed(io::Error::other("a client sends no descriptors")));
                    }
                    let sender = Sender { pid: sender.map_or(0, |sender| sender.pid), process };
                    return Ok(Some(Heard { sender, turn }));
                }
            }
        }
    }
}

/// What comes with a packet.
struct Heard {
    sender: Sender,
    turn: Turn,
}

/// The task of one connection: ends with it.
pub(super) async fn serve(id: ClientId, outbox: Arc<Outbox>, said: mpsc::Sender<Notice>) {
    tokio::select! {
        () = listen(id, &outbox, &said) => {}
        _ = outbox.drain() => {}
    }
    // The control task is gone only when the manager ends.
    let _ = said.send(Notice::Closed { from: id }).await;
}

async fn listen(id: ClientId, outbox: &Outbox, said: &mpsc::Sender<Notice>) {
    let mut buffer = Vec::new();
    loop {
        let wrong = match outbox.receive(&mut buffer).await {
            Ok(None) | Err(SocketError::Closed) => return,
            Ok(Some(Heard { sender, turn })) => match codec::decode::<Request>(&buffer) {
                Ok(request) => {
                    let notice = Notice::Said { from: id, request, sender, turn };
                    if said.send(notice).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        chatter::say(Kind::CutOff, outbox.by, || {
            tracing::warn!(client = id.0, error = wrong, "a client is cut off");
        });
        outbox.send(&Event::Refused { request: None, why: Refusal::Malformed, message: wrong }, None);
        return outbox.end();
    }
}

/// The task that accepts connections, and counts them before anything else is done for them.
pub(super) async fn accept(listener: Listener, seats: Seats, said: mpsc::Sender<Notice>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // What is connected inherits that: nothing can be sent in between.
    listener.refuse_descriptors();
    let listener = readiness::watch(listener, Interest::READABLE)?;
    loop {
        let mut ready = listener.readable().await?;
        match ready.try_io(|listener| listener.get_ref().accept()) {
            Err(_would_block) => {}
            Ok(Ok(connection)) => {
                if let Some(client) = take_up(connection, &seats)
                    && said.send(Notice::Connected { client }).await.is_err()
                {
                    return Ok(());
                }
                // However many come at once, all else has its turn between any two.
                tokio::task::yield_now().await;
            }
            Ok(Err(error)) => {
                // Out of descriptors, most likely: there is nothing to do but to let others go on.
                chatter::say(Kind::Connections, By::Ours, || {
                    tracing::warn!(%error, "a connection cannot be accepted");
                });
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Nothing where there is no seat for it, or the client is gone.
fn take_up(connection: Connection, seats: &Seats) -> Option<Client> {
    let unusable = |by, error: io::Error| {
        chatter::say(Kind::Connections, by, || tracing::warn!(%error, "a connection cannot be taken up"));
    };
    let uid = match connection.peer_credentials() {
        Ok(credentials) => credentials.uid,
        Err(error) => {
            unusable(By::Others, error);
            return None;
        }
    };
    let by = By::of(uid);
    match seats.take(uid) {
        Ok(seat) => Client::new(connection, seat).map_err(|error| unusable(by, error)).ok(),
        Err(no_seat) => {
            let message = no_seat.to_string();
            chatter::say(Kind::Connections, by, || tracing::warn!("{message}: one more is refused"));
            let refused = Event::Refused { request: None, why: Refusal::TooMany, message };
            // A new connection has room for it, or it is gone already.
            let _ = connection.send_message(&refused, None);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_number_here_is_known_by_its_process_alone() {
        let ours = Process::current().unwrap().identity();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let childs = Process::open(child.id()).unwrap().identity();
        child.wait().unwrap();
        let sender = |pid, process| Sender { pid, process };
        assert!(sender(0, Some(ours)).is(0, ours));
        assert!(!sender(0, Some(childs)).is(0, ours) && !sender(0, None).is(0, ours));
        assert!(sender(7, None).is(7, ours) && !sender(8, None).is(7, ours) && !sender(0, None).is(7, ours));
    }
}
