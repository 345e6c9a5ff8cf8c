//! The open house: who carries the manager's work on, and when.
//!
//! What is said to the manager lies on a desk. Whoever puts something there then works the desk off, one thing after the
//! other, unless somebody is at it already: the manager's state is used by one thread at a time, and nobody waits for
//! it. What comes of a thing is told to the clients after the manager's lock is released, and before the next thing,
//! so each client hears its events in order. A thread of the house's own does the same when time has passed.

use super::super::client::{Client as Known, ClientId, Sender, Told};
use super::super::control::Control;
use super::super::status;
use super::ManagerError;
use heirloom_protocol::message::{Request, Status};
use heirloom_protocol::sys::Process;
use heirloom_worker::embedding::{self, Guest};
use heirloom_worker::{Client, ConnectError, Worker};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::Instant;

/// A manager inside this program. It lives as long as it or any worker, writer or reader of it does; clones share it.
#[derive(Clone)]
pub struct House(Arc<Inner>);

struct Inner {
    desk: Mutex<Desk>,
    manager: Mutex<Control>,
    /// Filled under the manager's lock, emptied without it.
    told: Told,
    alarm: Arc<Alarm>,
    process: Arc<Process>,
    last_client: AtomicU64,
}

/// What has been said and not been carried out.
#[derive(Default)]
struct Desk {
    notes: VecDeque<Note>,
    /// Who is at it.
    busy: Option<ThreadId>,
}

enum Note {
    Said(ClientId, Request),
    Gone(ClientId),
    TimePassed,
}

/// When the house's own thread is to look at the clock.
#[derive(Default)]
struct Alarm {
    set: Mutex<Set>,
    changed: Condvar,
}

#[derive(Default)]
struct Set {
    at: Option<Instant>,
    over: bool,
}

impl House {
    pub(super) fn open(mut control: Control) -> Result<Self, ManagerError> {
        let alarm = Arc::new(Alarm::default());
        // The house's own thread tells those who wait: a storage thread must not end the house that waits for its end.
        control.begin_checkpoints(|_| {
            let alarm = Arc::clone(&alarm);
            Arc::new(move || alarm.set(Instant::now()))
        })?;
        let inner = Arc::new(Inner {
            desk: Mutex::default(),
            manager: Mutex::new(control),
            told: Told::default(),
            alarm: Arc::clone(&alarm),
            process: Arc::new(Process::current().map_err(ManagerError::Runtime)?),
            last_client: AtomicU64::new(0),
        });
        let house = Arc::downgrade(&inner);
        thread::Builder::new()
            .name("heirloom-house".to_owned())
            .spawn(move || alarm.ring(&house))
            .map_err(ManagerError::Runtime)?;
        inner.note(Note::TimePassed);
        embedding::House::carry_on(&*inner);
        Ok(Self(inner))
    }

    /// A new worker of that name, as a thread or task of this program is one; several may share a name. It is a candidate
    /// once it has heirs and says that it is ready, and until its last handle is dropped.
    ///
    /// # Errors
    /// [`ConnectError`], inside an heir.
    pub fn worker(&self, name: &str) -> Result<Worker, ConnectError> {
        let (house, number) = self.next_client();
        embedding::worker(&house, number, name, |guest| self.0.enters(number, guest))
    }

    /// A client that only reads and asks.
    ///
    /// # Errors
    /// [`ConnectError`], inside an heir.
    pub fn client(&self) -> Result<Client, ConnectError> {
        let (house, number) = self.next_client();
        embedding::client(&house, number, |guest| self.0.enters(number, guest))
    }

    /// What the manager knows about tables and workers.
    #[must_use]
    pub fn status(&self) -> Status {
        status::of(&lock(&self.0.manager))
    }

    fn next_client(&self) -> (Arc<dyn embedding::House>, u64) {
        let number = self.0.last_client.fetch_add(1, Ordering::Relaxed) + 1;
        (Arc::clone(&self.0) as Arc<dyn embedding::House>, number)
    }
}

impl Inner {
    fn note(&self, note: Note) {
        lock(&self.desk).notes.push_back(note);
    }

    fn enters(&self, number: u64, guest: Guest) {
        let client = Known::in_this_process(guest, &self.told, Arc::clone(&self.process));
        lock(&self.manager).enters(ClientId(number), client);
    }

    /// The next thing on the desk, for this thread; none where there is none, or another thread is at it.
    fn take_note(&self) -> Option<Note> {
        let mut desk = lock(&self.desk);
        if desk.busy.is_some() {
            return None;
        }
        let note = desk.notes.pop_front()?;
        desk.busy = Some(thread::current().id());
        Some(note)
    }

    fn carry_out(&self, note: Note) {
        let mut control = lock(&self.manager);
        match note {
            Note::Said(client, request) => {
                // It speaks for itself: there is nobody else in this process.
                let pid = self.process.pid();
                control.said(client, request, Sender { pid, process: None });
            }
            Note::Gone(client) => control.closed(client),
            Note::TimePassed => control.time_passes(),
        }
        self.alarm.set(control.next_deadline());
    }

    fn tell(&self) {
        loop {
            let told = lock(&self.told).pop_front();
            let Some((guest, event, memory)) = told else { return };
            guest.hear(event, memory);
        }
    }
}

/// Leaves the desk to others, also where carrying something out panicked.
struct AtTheDesk<'i>(&'i Inner);

impl Drop for AtTheDesk<'_> {
    fn drop(&mut self) {
        lock(&self.0.desk).busy = None;
    }
}

impl embedding::House for Inner {
    fn say(&self, client: u64, request: Request) {
        self.note(Note::Said(ClientId(client), request));
    }

    fn leave(&self, client: u64) {
        self.note(Note::Gone(ClientId(client)));
    }

    fn carry_on(&self) {
        while let Some(note) = self.take_note() {
            let _busy = AtTheDesk(self);
            self.carry_out(note);
            self.tell();
        }
    }

    fn is_carrying_on_here(&self) -> bool {
        lock(&self.desk).busy == Some(thread::current().id())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.manager).last_checkpoints();
        lock(&self.alarm.set).over = true;
        self.alarm.changed.notify_all();
    }
}

impl Alarm {
    /// The house's thread has a look at that time, or before.
    fn set(&self, at: Instant) {
        let mut set = lock(&self.set);
        if set.at.is_none_or(|earlier| at < earlier) {
            set.at = Some(at);
            self.changed.notify_all();
        }
    }

    /// What the house's thread does, as long as there is a house.
    fn ring(&self, house: &Weak<Inner>) {
        while self.wait() {
            let Some(house) = house.upgrade() else { return };
            house.note(Note::TimePassed);
            embedding::House::carry_on(&*house);
        }
    }

    /// Returns when it is time; false where the house is gone.
    fn wait(&self) -> bool {
        let mut set = lock(&self.set);
        loop {
            let now = Instant::now();
            match set.at {
                _ if set.over => return false,
                Some(at) if at <= now => {
                    set.at = None;
                    return true;
                }
                Some(at) => {
                    let waited = self.changed.wait_timeout(set, at - now);
                    set = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => set = self.changed.wait(set).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

/// A panic of an heir never gets here; one of the manager's own is a fault, and no reason to stop all others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
