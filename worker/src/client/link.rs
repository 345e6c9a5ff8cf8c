//! Between the session and the world: handles on any thread speak through the [`Link`]; what the session says is to be
//! done, the [`Hub`] does.
//!
//! A message is sent by the thread that has something to say, under the lock, so that messages leave in the order in
//! which the session made them; an acceptance costs no detour through the client's thread. Nothing waits under the
//! lock: the connection is a non-blocking one, and heirs and answers are called after it is released.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};

use crossbeam_channel::Sender;
use heirloom_protocol::message::{Refusal, Request};

use super::ownership::Tenure;
use super::session::{Answer, Answered, Effect, Granted, Question, Refused, Reply, Session};
use super::source::Source;
use super::will::Will;
use super::wire::Wire;
use super::{ConnectError, Grant, Ownership};
use crate::embedding::House;
use crate::heir::TableHeir;
use crate::host::SocketError;
use crate::transfer::Transfer;

/// How often a table is asked for, one answer after the other, while the manager says that too many are waiting.
const OPEN_TRIES: u32 = 16;

/// Handles hold this. When the last one is dropped, the client ends.
pub(crate) struct Link {
    hub: Arc<Hub>,
    /// In any other process this is a copy that a fork made, and inert (rule H2): its thread does not exist there, its
    /// locks may be held for ever, and the connection is still the parent's (rule H12).
    process: u32,
}

/// What the client's thread and the handles share.
pub(crate) struct Hub {
    link: Weak<Link>,
    /// The manager, where it is in this process.
    house: Option<Arc<dyn House>>,
    state: Mutex<State>,
    heirs: Mutex<HashMap<String, SharedHeir>>,
    sources: Mutex<HashMap<String, Weak<Source>>>,
    /// Hears how the first connection went.
    first: Mutex<Option<Reply<Result<(), ConnectError>>>>,
    thread: OnceLock<ThreadId>,
}

struct State {
    session: Session,
    wire: Option<Wire>,
    /// Dropped when the client ends, which wakes its thread from a back-off.
    running: Option<Sender<Infallible>>,
}

/// Only the client's thread calls heirs, so their lock is never waited for.
type SharedHeir = Arc<Mutex<Box<dyn TableHeir>>>;

impl Link {
    pub(super) fn new(
        session: Session,
        running: Sender<Infallible>,
        first: Reply<Result<(), ConnectError>>,
        house: Option<Arc<dyn House>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|link| {
            let state = State { session, wire: None, running: Some(running) };
            let hub = Hub {
                link: Weak::clone(link),
                house,
                state: Mutex::new(state),
                heirs: Mutex::default(),
                sources: Mutex::default(),
                first: Mutex::new(Some(first)),
                thread: OnceLock::new(),
            };
            Self { hub: Arc::new(hub), process: process::id() }
        })
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Whether this is a fork's copy.
    pub(crate) fn is_inert(&self) -> bool {
        self.process != process::id()
    }

    /// Whether waiting for the manager here would keep the only thread that hears it from hearing.
    pub(crate) fn is_client_thread(&self) -> bool {
        self.hub.is_client_thread()
    }

    pub(super) fn ask(self: &Arc<Self>, question: Question, reply: Reply<Answered>) -> Asking {
        self.asking(|session| session.ask(question, reply))
    }

    fn asking(self: &Arc<Self>, ask: impl FnOnce(&mut Session) -> Vec<Effect>) -> Asking {
        let mut number = 0;
        self.hub.tell(|session| {
            let effects = ask(session);
            number = session.last_number();
            effects
        });
        Asking { link: Arc::clone(self), number }
    }

    /// None where the table has an heir already. `reply` hears whether the manager agrees.
    pub(super) fn heir(
        self: &Arc<Self>,
        table: &str,
        heir: Box<dyn TableHeir>,
        reply: Reply<Answered>,
    ) -> Option<Asking> {
        // The heir is there before the manager hears of it.
        let mut heirs = lock(&self.hub.heirs);
        if heirs.contains_key(table) {
            return None;
        }
        heirs.insert(table.to_owned(), Arc::new(Mutex::new(heir)));
        drop(heirs);
        Some(self.asking(|session| session.heir(table, reply)))
    }

    /// Forgets an heir that the manager does not agree to.
    pub(super) fn no_heir(&self, table: &str) {
        self.hub.tell(|session| session.no_heir(table));
        // Dropped after the lock is released: an heir may hold anything.
        let heir = lock(&self.hub.heirs).remove(table);
        drop(heir);
    }

    pub(crate) fn ready(&self) {
        self.hub.tell(Session::ready);
    }

    /// The link lasts until the acceptance is answered, even where nothing else holds it: whoever accepts with the last
    /// handle is about to own a table.
    pub(crate) fn accept(
        self: &Arc<Self>,
        table: &str,
        epoch: u64,
        offer: &Weak<Will>,
        reply: Reply<Result<Grant, String>>,
    ) {
        let link = Arc::clone(self);
        let reply: Reply<Granted> = Box::new(move |granted| {
            reply(
                granted
                    .map(|(memory, tenure)| Grant::from_manager(memory, Ownership::new(tenure, Some(link)))),
            );
        });
        self.hub.tell(|session| session.accept(table, epoch, offer, reply));
    }

    pub(crate) fn decline(&self, table: &str, epoch: u64, offer: &Weak<Will>, reason: String) {
        if !self.is_inert() {
            self.hub.tell(|session| session.decline(table, epoch, offer, reason));
        }
    }

    pub(crate) fn release(&self, tenure: &Arc<Tenure>) {
        let panicked = thread::panicking();
        self.hub.tell(|session| session.release(tenure, panicked));
    }

    pub(super) fn follows(&self, table: &str) {
        self.hub.tell(|session| session.follows(table));
    }

    pub(super) fn unfollow(&self, table: &str) {
        if !self.is_inert() {
            self.hub.tell(|session| session.unfollow(table));
        }
    }

    pub(super) fn unpin(&self, table: &str, slot: u32, version: u64) {
        if !self.is_inert() {
            self.hub.tell(|session| session.unpin(table, slot, version));
        }
    }

    /// The readers' source of a table, if there is one.
    pub(super) fn source(&self, table: &str) -> Option<Arc<Source>> {
        lock(&self.hub.sources).get(table).and_then(Weak::upgrade)
    }

    /// Makes `source` the readers' source of its table, unless another thread was faster.
    pub(super) fn share(&self, source: Arc<Source>) -> Arc<Source> {
        let mut sources = lock(&self.hub.sources);
        sources.retain(|_, source| source.strong_count() > 0);
        match sources.get(source.table()).and_then(Weak::upgrade) {
            Some(faster) => faster,
            None => {
                sources.insert(source.table().to_owned(), Arc::downgrade(&source));
                source
            }
        }
    }
}

/// A question whose answer somebody waits for. Dropped, it is not asked again after a reconnection.
#[must_use = "dropped, the question is forgotten"]
pub(crate) struct Asking {
    link: Arc<Link>,
    number: u32,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.link.is_inert() {
            return;
        }
        // Dropped after the lock is released: a reply may hold anything.
        let mut forgotten = None;
        self.link.hub.tell(|session| {
            forgotten = session.forget(self.number);
            Vec::new()
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.is_inert() {
            self.hub.close();
        }
    }
}

impl Hub {
    pub(super) fn starts_here(&self) {
        self.thread.set(thread::current().id()).expect("one thread runs a client");
    }

    fn is_client_thread(&self) -> bool {
        match &self.house {
            Some(house) => house.is_carrying_on_here(),
            None => self.thread.get() == Some(&thread::current().id()),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).running.is_none()
    }

    /// A new connection is there; false where the client has ended meanwhile.
    pub(super) fn attach(&self, wire: Wire) -> bool {
        let mut state = lock(&self.state);
        if state.running.is_none() {
            return false;
        }
        state.wire = Some(wire);
        drop(state);
        self.tell(Session::connected);
        true
    }

    /// The connection has ended; whether the manager had agreed to all that it began with.
    pub(super) fn detach(&self) -> bool {
        let was_online = {
            let mut state = lock(&self.state);
            state.wire = None;
            state.session.is_online()
        };
        self.tell(Session::lost);
        was_online
    }

    /// How the first connection went; later ones are nobody's news. True where somebody waited for it.
    pub(super) fn first(&self, outcome: Result<(), ConnectError>) -> bool {
        let reply = lock(&self.first).take();
        reply.map(|reply| reply(outcome)).is_some()
    }

    pub(super) fn first_is_awaited(&self) -> bool {
        lock(&self.first).is_some()
    }

    fn close(&self) {
        let (running, wire) = {
            let mut state = lock(&self.state);
            (state.running.take(), state.wire.take())
        };
        drop(running);
        if let Some(wire) = wire {
            wire.end();
        }
        self.tell(Session::closed);
    }

    /// Takes the session one step further, and does what comes of it.
    pub(crate) fn tell(&self, step: impl FnOnce(&mut Session) -> Vec<Effect>) {
        let mut later = Vec::new();
        let mut broken = None;
        let mut state = lock(&self.state);
        for effect in step(&mut state.session) {
            match effect {
                Effect::Send(request) => broken = state.send(request).or(broken),
                Effect::HangUp(reason) => {
                    tracing::error!(reason, "the manager broke the protocol; connecting again");
                    broken = state.wire.clone();
                }
                other => later.push(other),
            }
        }
        drop(state);
        // The client's thread, which waits for the end, makes a new connection.
        if let Some(wire) = broken {
            wire.end();
        }
        for effect in later {
            self.perform(effect);
        }
        if let Some(house) = &self.house {
            house.carry_on();
        }
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Send(_) | Effect::HangUp(_) => unreachable!("done under the lock"),
            Effect::Online => {
                if !self.first(Ok(())) {
                    tracing::info!("the manager is back");
                    self.move_readers();
                }
            }
            Effect::Unwelcome { why, message } => {
                tracing::error!(?why, message, "the manager refuses this client");
                let was_first = self.first(Err(ConnectError::Refused { why, message }));
                let mut state = lock(&self.state);
                if was_first {
                    // A mistake, then, and told as one. Later it may be an upgrade under way: go on trying.
                    state.running = None;
                }
                let wire = state.wire.clone();
                drop(state);
                if let Some(wire) = wire {
                    wire.end();
                }
            }
            Effect::Complaint { why: Refusal::StaleEpoch, message } => {
                // The answer to a release that was said twice.
                tracing::debug!(message, "the manager knew already");
            }
            Effect::Complaint { why, message } => tracing::error!(?why, message, "the manager refuses"),
            Effect::Transferred { offer, will } => {
                let table = offer.table.clone();
                if let Some(link) = self.link.upgrade() {
                    let transfer = Transfer::from_manager(offer, will, link);
                    self.call_heir(&table, |heir| heir.transferred(transfer));
                }
            }
            Effect::Recalled(recall) => {
                let table = recall.table.clone();
                self.call_heir(&table, |heir| heir.recalled(recall));
            }
            Effect::Fenced(fenced) => {
                let table = fenced.table.clone();
                tracing::warn!(
                    table,
                    epoch = fenced.epoch,
                    reason = fenced.reason,
                    "the table was taken away"
                );
                self.call_heir(&table, |heir| heir.fenced(fenced));
            }
            Effect::Grant { reply, granted } => reply(granted),
            Effect::Answer { reply, answered } => reply(answered),
        }
    }

    /// An heir that panics costs the worker that transfer (it is dropped, so declined), not its connection.
    fn call_heir(&self, table: &str, call: impl FnOnce(&mut dyn TableHeir)) {
        let Some(heir) = lock(&self.heirs).get(table).map(Arc::clone) else { return };
        if catch_unwind(AssertUnwindSafe(|| call(lock(&heir).as_mut()))).is_err() {
            tracing::error!(table, "the heir panicked");
        }
    }

    /// After a reconnection: where the manager had to create a table anew, its readers go on with the new one.
    fn move_readers(&self) {
        let sources = lock(&self.sources).values().cloned().collect();
        self.move_next(sources, OPEN_TRIES);
    }

    /// Moves the readers of the last of `sources`, and then those of the others: one after the other, because the
    /// manager keeps no more than a few descriptors waiting for a connection.
    fn move_next(&self, mut sources: Vec<Weak<Source>>, tries: u32) {
        let (source, table) = loop {
            let Some(source) = sources.pop() else { return };
            let table = source.upgrade().map(|source| source.table().to_owned());
            if let Some(table) = table {
                break (source, table);
            }
        };
        let question = Question::Open { table: table.clone() };
        let link = Weak::clone(&self.link);
        let reply: Reply<Answered> = Box::new(move |answered| {
            let mut tries_left = OPEN_TRIES;
            match answered {
                Ok(answer) => move_source(&source, answer),
                Err(Refused::Closed) => return,
                Err(Refused::ByManager { why: Refusal::TooMany, .. }) if tries > 1 => {
                    // Whatever waited before this answer has been read by now.
                    sources.push(source);
                    tries_left = tries - 1;
                }
                Err(Refused::ByManager { message, .. }) => {
                    tracing::warn!(table, message, "readers stay with the old segment");
                }
            }
            if let Some(link) = link.upgrade() {
                link.hub.move_next(sources, tries_left);
            }
        });
        self.tell(|session| session.ask(question, reply));
    }
}

fn move_source(source: &Weak<Source>, answer: Answer) {
    let (Some(source), Answer::Opened(memory)) = (source.upgrade(), answer) else { return };
    match source.move_to(memory) {
        Ok(true) => tracing::info!(table = source.table(), "reading the segment created anew"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "readers stay with the old segment"),
    }
}

impl State {
    /// Gives the way that is broken, if it is.
    fn send(&mut self, request: Request) -> Option<Wire> {
        let wire = self.wire.as_ref()?;
        match wire.send(request) {
            // The client's thread reads the end of a connection that is closed, and makes a new one.
            Ok(()) | Err(SocketError::Closed) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot send to the manager; connecting again");
                Some(wire.clone())
            }
        }
    }
}

/// A panic of a handle's user never leaves these in a state that matters: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
