//! What a client knows about itself and the manager, as a pure state machine: what was said or asked goes in, what is
//! to be done comes out. It opens no socket and calls no heir; [`super::link`] does.
//!
//! ```text
//!            connected            Welcome                 Registered
//!   Away ────────────► Greeting ───────────► Registering ────────────► Online
//!    ▲      Hello       │     │   Register        │      heirs, releases, │
//!    │                  │     └───────────────────┼── Ready, requests ──► │
//!    └──────────────────┴── connection lost ──────┴───────────────────────┘
//!                                 (a client without a name goes to Online at Welcome)
//! ```
//!
//! What outlives a connection: heirs, readiness, requests that wait for an answer (asked again), ownerships (their
//! handles go on writing; what is held is said before anything else) and releases (said again: the manager may have died
//! before it heard), and snapshots (whoever has one says so, and the next manager gives back what nobody has). What does not: offers. An offer that was being accepted fails, because its epoch was the dead
//! manager's.
//!
//! An epoch's number says which ownership is meant only as long as the table is the same one. A manager that had to
//! create it anew counts from the beginning: it says at once that what is held is not held any more, and such an ownership
//! is never taken for a new one of the same number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Refusal, Request};

use super::handing_on::{HandOn, HandedOn};
use super::ownership::Tenure;
use super::will::Will;
use crate::heir::{Fenced, Recall};
use crate::host::Memory;
use crate::transfer::Offer;

/// How many clients this process has had.
static CLIENTS: AtomicU64 = AtomicU64::new(0);

/// The number of a request whose answer nobody waits for: questions are counted from 1.
const NOBODY_ASKED: u32 = 0;

/// Hears the answer to one question, once; on whatever thread learns it.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What the manager has to say to a question.
pub(crate) type Answered = Result<Answer, Refused>;

/// The answer to an acceptance: what to map, or why the offer does not stand any more.
pub(crate) type Granted = Result<(Memory, Arc<Tenure>), String>;

/// A question to the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Open {
        table: String,
    },
    HandOn {
        table: String,
        how: HandOn,
    },
    Pin {
        table: String,
    },
    Follow {
        table: String,
    },
    SetLimit {
        table: String,
        max_bytes: u64,
    },
    /// That everything up to a version, or to the newest, is on disk.
    Flush {
        table: String,
        version: Option<u64>,
    },
    Status,
    /// Whether the manager knows this table and lets the worker be its heir. Asked right after it was told of the heir.
    MayInherit {
        table: String,
    },
}

/// The manager's answer to a [`Question`].
#[derive(Debug)]
pub(crate) enum Answer {
    Opened(Memory),
    HandedOn(HandedOn),
    Pinned { slot: u32, version: u64 },
    Done,
    Flushed(u64),
    Status(String),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The manager says no.
    ByManager { why: Refusal, message: String },
    /// This side's handles were all dropped.
    Closed,
}

/// What is to be done, in this order.
pub(crate) enum Effect {
    Send(Request),
    /// The client is registered (again).
    Online,
    /// The manager does not want this client at all.
    Unwelcome {
        why: Refusal,
        message: String,
    },
    /// The manager does not do something that has no answer of its own.
    Complaint {
        why: Refusal,
        message: String,
    },
    /// The manager says what it cannot mean: begin anew with another connection.
    HangUp(String),
    Transferred {
        offer: Offer,
        will: Weak<Will>,
    },
    Recalled(Recall),
    Fenced(Fenced),
    Grant {
        reply: Reply<Granted>,
        granted: Granted,
    },
    Answer {
        reply: Reply<Answered>,
        answered: Answered,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    Greeting,
    Registering,
    Online,
    Closed,
}

/// A question that waits for its answer.
struct Asked {
    question: Question,
    reply: Reply<Answered>,
    /// The pieces of a status that have come so far.
    pieces: String,
    /// What the manager refused before it answered, without saying which request that was.
    complaint: Option<Refused>,
}

/// An offer that has not been declined or granted.
struct Offered {
    epoch: u64,
    /// None once the worker has accepted: whoever owns the table reads the bequest there.
    will: Option<Arc<Will>>,
    /// The same, for good: which offer it is.
    identity: Weak<Will>,
    /// Set once the worker has accepted.
    accepted: Option<Reply<Granted>>,
}

/// See the top of this file.
pub(crate) struct Session {
    name: Option<String>,
    /// Which client of this process it is.
    number: u64,
    phase: Phase,
    heirs: BTreeSet<String>,
    ready: bool,
    last_number: u32,
    asked: BTreeMap<u32, Asked>,
    offers: HashMap<String, Offered>,
    owned: HashMap<String, Arc<Tenure>>,
    /// With the epoch, and whether a panic was the reason.
    released: BTreeMap<String, (u64, bool)>,
    /// The tables whose changes are followed, and by how many handles.
    followed: BTreeMap<String, u32>,
    /// The snapshots that there are: table, place, version.
    pins: BTreeSet<(String, u32, u64)>,
    /// Those that were given back while there was no manager to hear it.
    unpinned: Vec<(String, u32, u64)>,
}

impl Session {
    /// A session under a worker's name, or of a client that only reads and asks.
    pub(crate) fn new(name: Option<String>) -> Self {
        Self {
            name,
            number: CLIENTS.fetch_add(1, Ordering::Relaxed),
            phase: Phase::Away,
            heirs: BTreeSet::new(),
            ready: false,
            last_number: 0,
            asked: BTreeMap::new(),
            offers: HashMap::new(),
            owned: HashMap::new(),
            released: BTreeMap::new(),
            followed: BTreeMap::new(),
            pins: BTreeSet::new(),
            unpinned: Vec::new(),
        }
    }

    /// A new connection is there.
    pub(crate) fn connected(&mut self) -> Vec<Effect> {
        self.phase = Phase::Greeting;
        vec![Effect::Send(Request::Hello { version: PROTOCOL_VERSION })]
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) -> Vec<Effect> {
        if self.phase != Phase::Closed {
            self.phase = Phase::Away;
        }
        for asked in self.asked.values_mut() {
            asked.pieces.clear();
            asked.complaint = None;
        }
        self.forget_offers("the connection to the manager was lost")
    }

    /// Whether the manager has agreed to everything that this connection began with.
    pub(crate) fn is_online(&self) -> bool {
        self.phase == Phase::Online
    }

    /// Nobody on this side is interested any more.
    pub(crate) fn closed(&mut self) -> Vec<Effect> {
        self.phase = Phase::Closed;
        let mut effects = self.forget_offers("the client was closed");
        for asked in mem::take(&mut self.asked).into_values() {
            effects.push(Effect::Answer { reply: asked.reply, answered: Err(Refused::Closed) });
        }
        effects
    }

    /// Asks the manager something; at once, or when it is there again.
    pub(crate) fn ask(&mut self, question: Question, reply: Reply<Answered>) -> Vec<Effect> {
        if self.phase == Phase::Closed {
            return vec![Effect::Answer { reply, answered: Err(Refused::Closed) }];
        }
        self.last_number = self.last_number.wrapping_add(1);
        let request = question.request(self.last_number);
        self.asked
            .insert(self.last_number, Asked { question, reply, pieces: String::new(), complaint: None });
        self.when_online(request)
    }

    /// The number of the question that was asked last.
    pub(crate) fn last_number(&self) -> u32 {
        self.last_number
    }

    /// Nobody waits for the answer to a question any more.
    pub(crate) fn forget(&mut self, number: u32) -> Option<Reply<Answered>> {
        self.asked.remove(&number).map(|asked| asked.reply)
    }

    /// The worker has an heir for a table; `reply` hears whether it may.
    pub(crate) fn heir(&mut self, table: &str, reply: Reply<Answered>) -> Vec<Effect> {
        self.heirs.insert(table.to_owned());
        let mut effects = self.when_online(Request::Heir { table: table.to_owned() });
        effects.extend(self.ask(Question::MayInherit { table: table.to_owned() }, reply));
        effects
    }

    /// The worker has no heir for a table after all.
    pub(crate) fn no_heir(&mut self, table: &str) -> Vec<Effect> {
        self.heirs.remove(table);
        Vec::new()
    }

    /// The worker can take tables from now on.
    pub(crate) fn ready(&mut self) -> Vec<Effect> {
        self.ready = true;
        self.when_online(Request::Ready)
    }

    /// The worker takes what was offered.
    pub(crate) fn accept(
        &mut self,
        table: &str,
        epoch: u64,
        offer: &Weak<Will>,
        reply: Reply<Granted>,
    ) -> Vec<Effect> {
        match self.offers.get_mut(table) {
            Some(stands) if Weak::ptr_eq(&stands.identity, offer) && stands.accepted.is_none() => {
                stands.accepted = Some(reply);
                stands.will = None;
                self.when_online(Request::Accept { table: table.to_owned(), epoch })
            }
            _ => vec![Effect::Grant { reply, granted: Err("the offer was withdrawn".to_owned()) }],
        }
    }

    /// The worker does not take what was offered. An offer that does not stand any more cannot be declined, also where
    /// another of the same number does: of a manager that died and counted the same epochs.
    pub(crate) fn decline(
        &mut self,
        table: &str,
        epoch: u64,
        offer: &Weak<Will>,
        reason: String,
    ) -> Vec<Effect> {
        match self.offers.get(table) {
            Some(stands) if Weak::ptr_eq(&stands.identity, offer) && stands.accepted.is_none() => {
                self.offers.remove(table);
                self.when_online(Request::Decline { table: table.to_owned(), epoch, reason })
            }
            _ => Vec::new(),
        }
    }

    /// The worker has unmapped a table. An ownership that the manager has ended is nothing to it any more.
    pub(crate) fn release(&mut self, tenure: &Arc<Tenure>, panicked: bool) -> Vec<Effect> {
        let (table, epoch) = (tenure.table(), tenure.epoch());
        if !self.owned.get(table).is_some_and(|held| Arc::ptr_eq(held, tenure)) {
            return Vec::new();
        }
        self.owned.remove(table);
        self.say_released(table, epoch, panicked)
    }

    /// One more handle follows a table's changes; the manager has agreed.
    pub(crate) fn follows(&mut self, table: &str) -> Vec<Effect> {
        *self.followed.entry(table.to_owned()).or_default() += 1;
        Vec::new()
    }

    /// One handle less follows them.
    pub(crate) fn unfollow(&mut self, table: &str) -> Vec<Effect> {
        if let Some(handles) = self.followed.get_mut(table) {
            *handles -= 1;
            if *handles == 0 {
                self.followed.remove(table);
            }
        }
        self.when_online(Request::Unfollow { table: table.to_owned() })
    }

    /// A snapshot is not needed any more. The manager forgets those of a connection that is lost, but the next manager does
    /// not know whose they were.
    pub(crate) fn unpin(&mut self, table: &str, slot: u32, version: u64) -> Vec<Effect> {
        let pin = (table.to_owned(), slot, version);
        self.pins.remove(&pin);
        if !self.is_online() {
            self.unpinned.push(pin);
        }
        self.when_online(Request::Unpin { table: table.to_owned(), slot, version })
    }

    fn say_released(&mut self, table: &str, epoch: u64, panicked: bool) -> Vec<Effect> {
        self.released.insert(table.to_owned(), (epoch, panicked));
        self.when_online(Request::Release { table: table.to_owned(), epoch, panicked })
    }

    /// The manager has said something.
    pub(crate) fn heard(&mut self, event: Event, memory: Option<Memory>, now: Instant) -> Vec<Effect> {
        match (self.phase, event) {
            (Phase::Greeting, Event::Welcome { version: PROTOCOL_VERSION, .. }) => self.welcomed(),
            (Phase::Greeting, Event::Welcome { version, .. }) => vec![Effect::Unwelcome {
                why: Refusal::Version,
                message: format!(
                    "the manager speaks version {version} of the protocol, this worker {PROTOCOL_VERSION}"
                ),
            }],
            (Phase::Registering, Event::Registered) => self.online(),
            (Phase::Greeting | Phase::Registering, Event::Refused { why, message, .. }) => {
                vec![Effect::Unwelcome { why, message }]
            }
            (Phase::Online, event) => self.heard_online(event, memory, now),
            (_, event) => vec![Effect::HangUp(format!("out of turn: {event:?}"))],
        }
    }

    fn heard_online(&mut self, event: Event, memory: Option<Memory>, now: Instant) -> Vec<Effect> {
        match event {
            Event::Offered { table, epoch, gift, reason, expires_in_ms, bequest } => {
                let expires = now + Duration::from_millis(expires_in_ms);
                self.offered(Offer { table, epoch, gift, reason, expires }, Will::new(bequest, memory))
            }
            Event::Granted { table, epoch } => self.granted(table, epoch, memory),
            Event::Withdrawn { table, epoch, reason } => self.withdrawn(&table, epoch, reason),
            Event::Recalled { table, epoch, deadline_ms } => {
                let Some(tenure) = self.tenure(&table, epoch) else { return Vec::new() };
                tenure.set_recalled(true);
                let deadline = now + Duration::from_millis(deadline_ms);
                vec![Effect::Recalled(Recall { table, epoch, deadline })]
            }
            Event::Fenced { table, epoch, reason } => {
                let Some(tenure) = self.tenure(&table, epoch) else { return Vec::new() };
                tenure.end();
                self.owned.remove(&table);
                vec![Effect::Fenced(Fenced { table, epoch, reason })]
            }
            Event::Opened { request, .. } => match memory {
                Some(memory) => self.answered(request, Ok(Answer::Opened(memory))),
                None => vec![Effect::HangUp("a table was opened without a descriptor".to_owned())],
            },
            Event::Done { request } => self.answered(request, Ok(Answer::Done)),
            Event::HandedOn { request, owner, handoff } => {
                self.answered(request, Ok(Answer::HandedOn(HandedOn { owner, handoff })))
            }
            Event::Pinned { request, table, slot, version } => self.pinned(request, &table, slot, version),
            Event::Flushed { request, version } => self.answered(request, Ok(Answer::Flushed(version))),
            Event::Status { request, piece, more } => self.status(request, &piece, more),
            Event::Refused { request: Some(request), why, message } => {
                self.answered(request, Err(Refused::ByManager { why, message }))
            }
            Event::Refused { request: None, why, message } => self.complained(why, message),
            event => vec![Effect::HangUp(format!("out of turn: {event:?}"))],
        }
    }

    fn welcomed(&mut self) -> Vec<Effect> {
        match &self.name {
            Some(name) => {
                self.phase = Phase::Registering;
                vec![Effect::Send(Request::Register { name: name.clone(), client: self.number })]
            }
            None => self.online(),
        }
    }

    /// Says everything again that outlives a connection.
    fn online(&mut self) -> Vec<Effect> {
        self.phase = Phase::Online;
        let held = self
            .owned
            .values()
            .map(|tenure| Request::Holds { table: tenure.table().to_owned(), epoch: tenure.epoch() });
        let heirs = self.heirs.iter().map(|table| Request::Heir { table: table.clone() });
        let released = self.released.iter().map(|(table, &(epoch, panicked))| Request::Release {
            table: table.clone(),
            epoch,
            panicked,
        });
        let ready = self.ready.then_some(Request::Ready);
        let asked = self.asked.iter().map(|(number, asked)| asked.question.request(*number));
        let followed = self.followed.iter().flat_map(|(table, handles)| {
            (0..*handles).map(|_| Request::Follow { request: NOBODY_ASKED, table: table.clone() })
        });
        let pins = self.pins.iter().cloned();
        let pins = pins.map(|(table, slot, version)| Request::HoldsPin { table, slot, version });
        let unpinned = mem::take(&mut self.unpinned).into_iter();
        let unpinned = unpinned.map(|(table, slot, version)| Request::Unpin { table, slot, version });
        let said = held.chain(heirs).chain(released).chain(ready).chain(followed).chain(pins).chain(unpinned);
        let said = said.chain(asked).map(Effect::Send);
        said.chain([Effect::Online]).collect()
    }

    fn offered(&mut self, offer: Offer, will: Option<Will>) -> Vec<Effect> {
        let Some(will) = will else {
            return vec![Effect::HangUp(format!("table `{}` was offered without a descriptor", offer.table))];
        };
        let mut effects = self.end_older(&offer.table);
        if !self.heirs.contains(&offer.table) {
            let Offer { table, epoch, .. } = offer;
            let reason = "the worker has no heir for this table".to_owned();
            effects.push(Effect::Send(Request::Decline { table, epoch, reason }));
            return effects;
        }
        // Whatever was released before, the manager has heard.
        self.released.remove(&offer.table);
        effects.extend(self.forget_offer(&offer.table, "the table was offered anew"));
        let will = Arc::new(will);
        let identity = Arc::downgrade(&will);
        let stands = Offered {
            epoch: offer.epoch,
            will: Some(will),
            identity: Weak::clone(&identity),
            accepted: None,
        };
        self.offers.insert(offer.table.clone(), stands);
        effects.push(Effect::Transferred { offer, will: identity });
        effects
    }

    fn granted(&mut self, table: String, epoch: u64, memory: Option<Memory>) -> Vec<Effect> {
        let expected =
            self.offers.get(&table).is_some_and(|offer| offer.epoch == epoch && offer.accepted.is_some());
        let mut effects = self.end_older(&table);
        let (Some(memory), true) = (memory, expected) else {
            // Nobody here will ever write it; the descriptor is closed by now.
            effects.extend(self.say_released(&table, epoch, false));
            return effects;
        };
        let reply =
            self.offers.remove(&table).and_then(|offer| offer.accepted).expect("it was just looked at");
        let tenure = Tenure::new(table.clone(), epoch);
        self.owned.insert(table, Arc::clone(&tenure));
        effects.push(Effect::Grant { reply, granted: Ok((memory, tenure)) });
        effects
    }

    /// The manager gives a table away that this worker still holds, so it is another table than it was: the manager died
    /// and had to create it anew.
    fn end_older(&mut self, table: &str) -> Vec<Effect> {
        let Some(tenure) = self.owned.remove(table) else { return Vec::new() };
        tenure.end();
        let reason = "the manager gives the table away anew".to_owned();
        vec![Effect::Fenced(Fenced { table: table.to_owned(), epoch: tenure.epoch(), reason })]
    }

    /// An offer, or a recall, does not stand any more.
    fn withdrawn(&mut self, table: &str, epoch: u64, reason: String) -> Vec<Effect> {
        if let Some(tenure) = self.tenure(table, epoch) {
            tenure.set_recalled(false);
        }
        match self.offers.get(table) {
            Some(offer) if offer.epoch == epoch => self.forget_offer(table, &reason),
            _ => Vec::new(),
        }
    }

    /// A pin that nobody waits for any more is given back.
    fn pinned(&mut self, request: u32, table: &str, slot: u32, version: u64) -> Vec<Effect> {
        match self.asked.contains_key(&request) {
            true => {
                self.pins.insert((table.to_owned(), slot, version));
                self.answered(request, Ok(Answer::Pinned { slot, version }))
            }
            false => self.unpin(table, slot, version),
        }
    }

    fn status(&mut self, request: u32, piece: &str, more: bool) -> Vec<Effect> {
        let Some(asked) = self.asked.get_mut(&request) else { return Vec::new() };
        asked.pieces.push_str(piece);
        if more {
            return Vec::new();
        }
        let whole = mem::take(&mut asked.pieces);
        self.answered(request, Ok(Answer::Status(whole)))
    }

    fn answered(&mut self, request: u32, answered: Answered) -> Vec<Effect> {
        // None: it was asked again after a reconnection and this is the second answer, or nobody waited so long.
        let Some(asked) = self.asked.remove(&request) else { return Vec::new() };
        let answered = asked.complaint.map_or(answered, Err);
        vec![Effect::Answer { reply: asked.reply, answered }]
    }

    /// A connection's requests are dealt with in order, so what is refused without a number before the first question
    /// about an heir is answered, is that heir.
    fn complained(&mut self, why: Refusal, message: String) -> Vec<Effect> {
        let about_heir = matches!(why, Refusal::UnknownTable | Refusal::NotPermitted);
        let first =
            self.asked.values_mut().find(|asked| matches!(asked.question, Question::MayInherit { .. }));
        match first {
            Some(asked) if about_heir => {
                asked.complaint = Some(Refused::ByManager { why, message });
                Vec::new()
            }
            _ => vec![Effect::Complaint { why, message }],
        }
    }

    fn forget_offers(&mut self, reason: &str) -> Vec<Effect> {
        let tables: Vec<_> = self.offers.keys().cloned().collect();
        tables.iter().flat_map(|table| self.forget_offer(table, reason)).collect()
    }

    fn forget_offer(&mut self, table: &str, reason: &str) -> Vec<Effect> {
        let accepted = self.offers.remove(table).and_then(|offer| offer.accepted);
        accepted.map(|reply| Effect::Grant { reply, granted: Err(reason.to_owned()) }).into_iter().collect()
    }

    fn tenure(&self, table: &str, epoch: u64) -> Option<&Arc<Tenure>> {
        self.owned.get(table).filter(|tenure| tenure.epoch() == epoch)
    }

    /// What is not said now is said by [`Self::online`], from what was noted.
    fn when_online(&self, request: Request) -> Vec<Effect> {
        if self.is_online() { vec![Effect::Send(request)] } else { Vec::new() }
    }
}

impl Question {
    fn request(&self, request: u32) -> Request {
        match self {
            Self::Open { table } => Request::Open { request, table: table.clone() },
            Self::HandOn { table, how } => how.request(request, table),
            Self::Pin { table } => Request::Pin { request, table: table.clone() },
            Self::Follow { table } => Request::Follow { request, table: table.clone() },
            Self::SetLimit { table, max_bytes } => {
                Request::SetLimit { request, table: table.clone(), max_bytes: *max_bytes }
            }
            Self::Flush { table, version } => {
                Request::Flush { request, table: table.clone(), version: *version }
            }
            Self::Status => Request::Status { request },
            Self::MayInherit { .. } => Request::Sync { request },
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
