//! What clients say, and what they are answered.

use super::access::NotRegistered;
use super::chatter::{self, Kind, shown};
use super::checkpoint::Waiting;
use super::claims::NotPinned;
use super::client::{ClientId, MAX_UNREAD_DESCRIPTORS, Sender};
use super::control::{Control, WaitingOpen, Worker};
use super::recalls::Wish;
use super::status;
use heirloom_protocol::message::{Event, LOADER, MAX_NAME_BYTES, PROTOCOL_VERSION, Refusal, Request};
use heirloom_protocol::ownership::{Input, Link, State, WorkerId};
use heirloom_protocol::sys::{Process, limits};
use heirloom_protocol::table::{self, Pin, PinError};
use heirloom_worker::embedding::Memory;
use std::sync::Arc;

/// Longest piece of a status that goes into one message, in bytes.
const STATUS_PIECE_BYTES: usize = 48 * 1024;

/// Most requests of one kind that wait for the same thing.
const MAX_WAITING_REQUESTS: usize = 1024;

/// A request that is not carried out.
struct No {
    request: Option<u32>,
    why: Refusal,
    message: String,
}

impl No {
    fn because(why: Refusal, message: impl Into<String>) -> Self {
        Self { request: None, why, message: message.into() }
    }

    fn to(self, request: u32) -> Self {
        Self { request: Some(request), ..self }
    }
}

impl Control {
    /// One message of a client.
    pub(super) fn said(&mut self, from: ClientId, request: Request, sender: Sender) {
        let Some(client) = self.clients.get(&from) else { return };
        let by = client.person.by();
        if let Err(no) = self.answer(client.is_sender(sender), from, request, sender) {
            chatter::say(Kind::Refusals, by, || {
                tracing::info!(client = from.0, message = no.message, "a request is refused");
            });
            let No { request, why, message } = no;
            self.send(from, &Event::Refused { request, why, message });
            // Those two will not agree on anything; nothing that follows would make sense.
            if matches!(why, Refusal::Version | Refusal::Malformed)
                && let Some(client) = self.clients.get(&from)
            {
                client.way.end();
            }
        }
    }

    fn answer(
        &mut self,
        by_itself: bool,
        from: ClientId,
        request: Request,
        sender: Sender,
    ) -> Result<(), No> {
        let client = self.clients.get_mut(&from).expect("the caller has just found it");
        match request {
            Request::Hello { version } if version != PROTOCOL_VERSION => Err(No::because(
                Refusal::Version,
                format!(
                    "this manager speaks version {PROTOCOL_VERSION}, the client version {version}: update the older one"
                ),
            )),
            Request::Hello { .. } => {
                client.greeted = true;
                let manager_pid = std::process::id();
                self.send(from, &Event::Welcome { version: PROTOCOL_VERSION, manager_pid });
                Ok(())
            }
            _ if !client.greeted => Err(No::because(Refusal::Malformed, "the first message must be Hello")),

            Request::Open { request, table } => {
                let of = self.find(&table).map_err(|no| no.to(request))?;
                if self.is_open(of).is_ok() {
                    self.open_table(from, request, &table);
                    return Ok(());
                }
                self.may_open(from, of).map_err(|no| no.to(request))?;
                let waiting = self.waiting_opens.iter().filter(|open| open.client == from).count();
                if waiting >= MAX_UNREAD_DESCRIPTORS as usize {
                    let message = "the tables are still being hydrated, and you wait for many already";
                    return Err(No::because(Refusal::TooMany, message).to(request));
                }
                self.waiting_opens.push(WaitingOpen { client: from, request, table });
                Ok(())
            }
            Request::Recall { request, table, to, force, deadline_ms } => {
                let until = Wish::until(deadline_ms, self.times.recall_timeout);
                let passings_over = self.registry.passings_over();
                let wish = Wish { by: from, request, to, force, until, passings_over, pursued: false };
                self.recall(&table, wish).map_err(|no| no.to(request))
            }
            Request::Pin { request, table } => self.pin(from, request, &table).map_err(|no| no.to(request)),
            Request::Unpin { table, slot, version } => {
                let of = self.find(&table)?;
                let of = &mut self.tables[of];
                of.claims.unpin(&of.region, from, Pin::from_parts(slot, version));
                Ok(())
            }
            Request::HoldsPin { table, slot, version } => {
                let of = self.find(&table)?;
                self.may_open(from, of)?;
                let of = &mut self.tables[of];
                of.claims.hold(&of.region, from, Pin::from_parts(slot, version));
                Ok(())
            }
            Request::Follow { request, table } => {
                self.follow(from, &table).map_err(|no| no.to(request))?;
                self.send(from, &Event::Done { request });
                Ok(())
            }
            Request::Unfollow { table } => {
                let of = self.find(&table)?;
                let of = &mut self.tables[of];
                of.claims.unfollow(&of.region, from);
                Ok(())
            }
            Request::SetLimit { request, table, max_bytes } => {
                self.set_limit(from, &table, max_bytes).map_err(|no| no.to(request))?;
                self.send(from, &Event::Done { request });
                Ok(())
            }
            Request::Flush { request, table, version } => {
                self.flush(from, request, &table, version).map_err(|no| no.to(request))
            }
            Request::Status { request } => {
                // It can be long; one that waits is enough.
                if client.is_behind() {
                    let message = "read the answers before asking for more";
                    return Err(No::because(Refusal::TooMany, message).to(request));
                }
                self.send_status(from, request);
                Ok(())
            }
            Request::Sync { request } => {
                self.send(from, &Event::Done { request });
                Ok(())
            }
            Request::Children { children } => {
                let parent =
                    rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get() as u32);
                if parent == 0 || sender.pid != parent {
                    return Err(No::because(
                        Refusal::NotPermitted,
                        "only the supervisor says how its children are",
                    ));
                }
                self.children = children;
                Ok(())
            }

            // From here on, what speaks for ownership (rule H12).
            _ if !by_itself => Err(No::because(
                Refusal::NotPermitted,
                "a worker speaks for itself: not a child that it forked, nor a process in another PID namespace where the \
                 kernel does not say which (before Linux 6.9)",
            )),
            Request::Register { name, client } => self.register(from, &name, client),
            Request::Holds { table, epoch } => {
                self.speak(from, &table, |worker| Input::Holds { worker, epoch })
            }
            Request::Heir { table } => self.heir(from, &table),
            Request::Ready => self.ready(from),
            Request::Accept { table, epoch } => {
                self.speak(from, &table, |worker| Input::Accepted { worker, epoch })
            }
            Request::Decline { table, epoch, reason } => {
                tracing::info!(table = shown(&table), epoch, reason = shown(&reason), "declined");
                self.speak(from, &table, |worker| Input::Declined { worker, epoch })
            }
            Request::Release { table, epoch, panicked } => {
                self.speak(from, &table, |worker| Input::Released { worker, epoch, panicked })
            }
            _ => Err(No::because(Refusal::Malformed, "this manager does not know that request")),
        }
    }

    fn register(&mut self, from: ClientId, name: &str, number: u64) -> Result<(), No> {
        let client = &self.clients[&from];
        if client.worker.is_some() {
            return Err(No::because(Refusal::NotNow, "this connection has registered already"));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(No::because(
                Refusal::Malformed,
                format!("a name of more than {MAX_NAME_BYTES} bytes"),
            ));
        }
        let known = if name == LOADER { Ok(()) } else { self.names.check(name, &client.person) };
        known.map_err(|why| match why {
            NotRegistered::Unknown => No::because(
                Refusal::UnknownWorker,
                format!("there is no [[worker]] `{}` in the configuration", shown(name)),
            ),
            NotRegistered::OtherUser => No::because(
                Refusal::NotPermitted,
                format!("user {} may not register as worker `{name}`", client.person.uid()),
            ),
        })?;
        let (credentials, process) = (client.credentials, Arc::clone(&client.process));
        if let Err(error) = process.may_kill() {
            tracing::warn!(
                worker = credentials.pid,
                name,
                %error,
                "a worker cannot be killed: a table that it keeps against the contract, or beyond its lease, will be stuck"
            );
        }
        self.end_connection_before(&process, number);
        let id = match self.worker_before(&process, number) {
            // It owns tables, or one is being taken back from it.
            Some(known) => {
                let worker = self.workers.get_mut(&known).expect("it was found there");
                (worker.name, worker.client) = (name.into(), Some(from));
                known
            }
            None => {
                let id = self.registry.next_id(&process);
                let watch = match self.embedded {
                    true => None,
                    false => Some(self.watch(id, Arc::clone(&process)).map_err(|error| {
                        No::because(Refusal::TooMany, format!("the process cannot be watched: {error}"))
                    })?),
                };
                let worker = Worker::new(name.into(), Arc::clone(&process), number, Some(from), watch);
                self.workers.insert(id, worker);
                id
            }
        };
        self.registry.register(id, name, credentials, process);
        let client = self.clients.get_mut(&from).expect("it was there above");
        client.registers(id);
        chatter::say(Kind::Workers, client.person.by(), || {
            tracing::info!(worker = id.pid, name, "registered");
        });
        self.send(from, &Event::Registered);
        Ok(())
    }

    /// A worker that comes back before the end of its last connection was noticed.
    fn end_connection_before(&mut self, process: &Process, number: u64) {
        let before = self.worker_before(process, number).and_then(|id| self.workers[&id].client);
        if let Some(before) = before {
            self.closed(before);
        }
    }

    fn heir(&mut self, from: ClientId, table: &str) -> Result<(), No> {
        let worker = self.worker_of(from)?;
        let table = self.find(table)?;
        let (id, client) = (Arc::clone(&self.tables[table].id), &self.clients[&from]);
        if !self.tables[table].owners.admits(&client.person) {
            let message = format!("user {} may not own table `{id}`", client.person.uid());
            return Err(No::because(Refusal::NotPermitted, message));
        }
        self.registry.heir(worker, &id);
        self.wake(worker);
        Ok(())
    }

    fn ready(&mut self, from: ClientId) -> Result<(), No> {
        let worker = self.worker_of(from)?;
        self.registry.ready(worker);
        self.gives_up_the_rest(worker);
        self.wake(worker);
        Ok(())
    }

    /// What a worker that is back does not say it holds, it never got: the manager died before the grant had left it.
    fn gives_up_the_rest(&mut self, worker: WorkerId) {
        for table in 0..self.tables.len() {
            if let State::Owned { by, epoch, link: Link::Lost, .. } = *self.tables[table].ownership.state()
                && by == worker
            {
                self.feed(table, Input::Released { worker, epoch, panicked: false });
            }
        }
    }

    /// The worker may have become a candidate: find-me is asked at once.
    fn wake(&mut self, worker: WorkerId) {
        let registry = self.registry.now();
        let Some(worker) = registry.worker(worker).filter(|worker| worker.ready.is_some()) else { return };
        for table in 0..self.tables.len() {
            if worker.heirs.contains_key(&self.tables[table].id) {
                self.feed(table, Input::Wake);
                self.pursue(table);
            }
        }
    }

    /// A worker speaks about its offer or its ownership; what is stale, the machine refuses.
    fn speak(
        &mut self,
        from: ClientId,
        table: &str,
        input: impl FnOnce(WorkerId) -> Input,
    ) -> Result<(), No> {
        let (worker, table) = (self.worker_of(from)?, self.find(table)?);
        self.feed(table, input(worker));
        Ok(())
    }

    fn recall(&mut self, table: &str, wish: Wish) -> Result<(), No> {
        let table = self.find(table)?;
        self.may_own(wish.by, table, "recall")?;
        if wish.to.as_ref().is_some_and(|to| to.len() > MAX_NAME_BYTES) {
            let message = format!("a name of more than {MAX_NAME_BYTES} bytes");
            return Err(No::because(Refusal::Malformed, message));
        }
        if wish.force && self.embedded {
            let message = "a thread or a task cannot be killed: recall without force, or end it yourself";
            return Err(No::because(Refusal::NotPermitted, message));
        }
        let of = &mut self.tables[table];
        if of.wishes.len() >= MAX_WAITING_REQUESTS {
            let message = format!("table `{}` is being recalled by many already", of.id);
            return Err(No::because(Refusal::TooMany, message));
        }
        let others = of.wishes.iter().find_map(|other| other.to.as_ref().filter(|_| other.to != wish.to));
        if let (Some(other), Some(_)) = (others, &wish.to) {
            let message = format!("table `{}` is being handed on to `{other}`: wait for that", of.id);
            return Err(No::because(Refusal::NotNow, message));
        }
        if wish.to.is_none() && matches!(of.ownership.state(), State::Unowned { .. }) {
            let message = format!("table `{}` is not handed on: nobody owns it", of.id);
            return Err(No::because(Refusal::NotNow, message));
        }
        of.wishes.push(wish);
        self.pursue(table);
        Ok(())
    }

    fn may_own(&self, from: ClientId, table: usize, what: &str) -> Result<(), No> {
        let (of, client) = (&self.tables[table], &self.clients[&from]);
        if !of.owners.admits(&client.person) {
            let message = format!("user {} may not {what} table `{}`", client.person.uid(), of.id);
            return Err(No::because(Refusal::NotPermitted, message));
        }
        Ok(())
    }

    fn pin(&mut self, from: ClientId, request: u32, table: &str) -> Result<(), No> {
        let of = self.find(table)?;
        self.may_open(from, of)?;
        self.is_open(of)?;
        let of = &mut self.tables[of];
        let pin = of.claims.pin(&of.region, from).map_err(|error| {
            let why = match error {
                NotPinned::TooManyOfOne | NotPinned::Engine(PinError::TooMany) => Refusal::TooMany,
                NotPinned::Engine(_) => Refusal::NotNow,
            };
            No::because(why, format!("table `{}`: {error}", of.id))
        })?;
        let table = table.to_owned();
        self.send(from, &Event::Pinned { request, table, slot: pin.slot(), version: pin.version() });
        Ok(())
    }

    fn follow(&mut self, from: ClientId, table: &str) -> Result<(), No> {
        let of = self.find(table)?;
        self.may_open(from, of)?;
        let of = &mut self.tables[of];
        if of.claims.followers() >= MAX_WAITING_REQUESTS {
            let message = format!("table `{}` is followed by many already", of.id);
            return Err(No::because(Refusal::TooMany, message));
        }
        of.claims.follow(&of.region, from);
        Ok(())
    }

    /// Whoever may own a table may have it written to disk.
    fn flush(&mut self, from: ClientId, request: u32, table: &str, version: Option<u64>) -> Result<(), No> {
        let number = self.find(table)?;
        self.may_own(from, number, "flush")?;
        let of = &mut self.tables[number];
        let Some(checkpoints) = &mut of.checkpoints else {
            let message = format!("table `{table}` is in memory only: its durability says so");
            return Err(No::because(Refusal::NotDurable, message));
        };
        let newest = of.reader.version();
        let version = version.unwrap_or(newest);
        if version > newest {
            let message = format!("table `{table}` has no version {version}: it was created anew");
            return Err(No::because(Refusal::NotDurable, message));
        }
        if let Some(durable) = checkpoints.durable().filter(|durable| *durable >= version) {
            self.send(from, &Event::Flushed { request, version: durable });
            return Ok(());
        }
        if checkpoints.waiting() >= MAX_WAITING_REQUESTS {
            let message = format!("many wait for table `{table}` to be on disk already");
            return Err(No::because(Refusal::TooMany, message));
        }
        checkpoints.wait(Waiting { client: from, request, version });
        Ok(())
    }

    /// An operator's: the memory is the manager's.
    fn set_limit(&mut self, from: ClientId, table: &str, max_bytes: u64) -> Result<(), No> {
        let number = self.find(table)?;
        if !self.clients[&from].person.is_ours() {
            let message = "only root and the manager's own user change a table's limit";
            return Err(No::because(Refusal::NotPermitted, message));
        }
        let others = self.tables.iter().enumerate().filter(|(other, _)| *other != number);
        let others: u64 = others.map(|(_, other)| other.reader.info().max_bytes).fold(0, u64::saturating_add);
        let limit = limits::memory_limit();
        if others.saturating_add(max_bytes) > limit.bytes {
            let message =
                format!("all tables could take {} bytes then, and {}", others + max_bytes, limit.limit);
            return Err(No::because(Refusal::TooMany, message));
        }
        let of = &mut self.tables[number];
        table::set_limit(&of.region, max_bytes)
            .map_err(|error| No::because(Refusal::NotNow, format!("table `{}`: {error}", of.id)))?;
        tracing::info!(table = &*of.id, max_bytes, "the limit has been changed");
        of.fullness.look(&of.id, &of.reader.info());
        Ok(())
    }

    /// A table that outlived the last manager was open before.
    fn is_open(&self, table: usize) -> Result<(), No> {
        match self.open || self.tables[table].adopted {
            true => Ok(()),
            false => {
                let message = format!("table `{}` is being hydrated", self.tables[table].id);
                Err(No::because(Refusal::NotNow, message))
            }
        }
    }

    /// Answers [`Request::Open`]; whoever it is answered late for may be gone.
    pub(super) fn open_table(&mut self, from: ClientId, request: u32, table: &str) {
        let opened = self.find(table).and_then(|table| self.read_only(from, table));
        let Some(client) = self.clients.get(&from) else { return };
        match opened {
            Ok(descriptor) => {
                let event = Event::Opened { request, table: table.to_owned() };
                client.way.send(&event, Some(descriptor));
            }
            Err(No { why, message, .. }) => {
                self.send(from, &Event::Refused { request: Some(request), why, message });
            }
        }
    }

    fn may_open(&self, from: ClientId, table: usize) -> Result<(), No> {
        let gone = || No::because(Refusal::NotNow, "the client is gone");
        let client = self.clients.get(&from).ok_or_else(gone)?;
        let of = &self.tables[table];
        let id = &of.id;
        if of.private {
            let message = format!("table `{id}` is private: its owner alone reads it");
            return Err(No::because(Refusal::NotPermitted, message));
        }
        if !of.readers.admits(&client.person) && !of.owners.admits(&client.person) {
            let message = format!("user {} may not read table `{id}`", client.person.uid());
            return Err(No::because(Refusal::NotPermitted, message));
        }
        Ok(())
    }

    fn read_only(&mut self, from: ClientId, table: usize) -> Result<Memory, No> {
        self.may_open(from, table)?;
        let client = self.clients.get_mut(&from).expect("it was there above");
        let of = &self.tables[table];
        let id = &of.id;
        if !client.may_have_descriptor() {
            return Err(No::because(Refusal::TooMany, "read the answers before asking for more tables"));
        }
        of.to_read()
            .map_err(|error| No::because(Refusal::TooMany, format!("table `{id}` cannot be opened: {error}")))
    }

    fn send_status(&self, to: ClientId, request: u32) {
        let json = serde_json::to_string(&status::of(self))
            .expect("a status has no maps with other keys than strings");
        let mut rest = json.as_str();
        while let Some((piece, left)) = split_piece(rest, STATUS_PIECE_BYTES) {
            let event = Event::Status { request, piece: piece.to_owned(), more: !left.is_empty() };
            self.send(to, &event);
            rest = left;
        }
    }

    fn worker_of(&self, client: ClientId) -> Result<WorkerId, No> {
        let none = || No::because(Refusal::NotNow, "register first");
        self.clients[&client].worker.ok_or_else(none)
    }

    fn find(&self, table: &str) -> Result<usize, No> {
        self.tables.iter().position(|known| &*known.id == table).ok_or_else(|| {
            No::because(
                Refusal::UnknownTable,
                format!("there is no [[table]] `{}` in the configuration", shown(table)),
            )
        })
    }
}

/// The first piece of a text, at most that long, and the rest; nothing where there is no text.
fn split_piece(text: &str, most_bytes: usize) -> Option<(&str, &str)> {
    let ends = (0..=most_bytes.min(text.len())).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end))?;
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_and_all_of_them() {
        let text = "aé".repeat(1000);
        let (mut rest, mut whole) = (text.as_str(), String::new());
        while let Some((piece, left)) = split_piece(rest, 7) {
            assert!(piece.len() <= 7);
            whole.push_str(piece);
            rest = left;
        }
        assert_eq!(whole, text);
    }
}
