//! What clients say, and what they are answered.

use super::access::NotRegistered;
use super::client::{ClientId, MAX_UNREAD_DESCRIPTORS};
use super::control::{Control, WaitingOpen, Worker};
use super::status;
use heirloom_protocol::message::{Event, MAX_NAME_BYTES, PROTOCOL_VERSION, Refusal, Request};
use heirloom_protocol::ownership::{Input, WorkerId};
use heirloom_protocol::sys::Credentials;
use std::os::fd::OwnedFd;
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
    pub(super) fn said(&mut self, from: ClientId, request: Request, sender: Option<Credentials>) {
        let Some(client) = self.clients.get(&from) else { return };
        if let Err(no) = self.answer(client.is_sender(sender), from, request, sender) {
            tracing::info!(client = from.0, message = no.message, "a request is refused");
            let No { request, why, message } = no;
            self.send(from, &Event::Refused { request, why, message });
            // Those two will not agree on anything; nothing that follows would make sense.
            if matches!(why, Refusal::Version | Refusal::Malformed)
                && let Some(client) = self.clients.get(&from)
            {
                client.outbox.end();
            }
        }
    }

    fn answer(
        &mut self,
        by_itself: bool,
        from: ClientId,
        request: Request,
        sender: Option<Credentials>,
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

            Request::Open { request, table } if !self.open => {
                let may = self.find(&table).and_then(|table| self.may_open(from, table));
                may.map_err(|no| no.to(request))?;
                let waiting = self.waiting_opens.iter().filter(|open| open.client == from).count();
                if waiting >= MAX_UNREAD_DESCRIPTORS as usize {
                    let message = "the tables are still being hydrated, and you wait for many already";
                    return Err(No::because(Refusal::TooMany, message).to(request));
                }
                self.waiting_opens.push(WaitingOpen { client: from, request, table });
                Ok(())
            }
            Request::Open { request, table } => {
                self.open_table(from, request, &table);
                Ok(())
            }
            Request::Recall { request, table, .. } => {
                self.recall(from, request, &table).map_err(|no| no.to(request))
            }
            Request::Status { request } => {
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
                if parent == 0 || sender.is_none_or(|sender| sender.pid != parent) {
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
                "a worker speaks for itself: not a child that it forked, nor a process that the manager cannot see",
            )),
            Request::Register { name } => self.register(from, &name),
            Request::Heir { table } => self.heir(from, &table),
            Request::Ready => self.ready(from),
            Request::Accept { table, epoch } => {
                self.speak(from, &table, |worker| Input::Accepted { worker, epoch })
            }
            Request::Decline { table, epoch, reason } => {
                tracing::info!(table, epoch, reason, "declined");
                self.speak(from, &table, |worker| Input::Declined { worker, epoch })
            }
            Request::Release { table, epoch } => {
                self.speak(from, &table, |worker| Input::Released { worker, epoch })
            }
            _ => Err(No::because(Refusal::Malformed, "this manager does not know that request")),
        }
    }

    fn register(&mut self, from: ClientId, name: &str) -> Result<(), No> {
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
        self.names.check(name, &client.person).map_err(|why| match why {
            NotRegistered::Unknown => No::because(
                Refusal::UnknownWorker,
                format!("there is no [[worker]] `{name}` in the configuration"),
            ),
            NotRegistered::OtherUser => No::because(
                Refusal::NotPermitted,
                format!("user {} may not register as worker `{name}`", client.person.uid()),
            ),
        })?;
        let (credentials, process) = (client.credentials, Arc::clone(&client.process));
        if let Err(error) = process.may_kill() {
            tracing::warn!(worker = credentials.pid, name, %error, "a worker could not be killed if it had to be");
        }
        let id = self.registry.register(name, credentials, Arc::clone(&process));
        let watch = self.watch(id, Arc::clone(&process)).map_err(|error| {
            self.registry.remove(id);
            No::because(Refusal::TooMany, format!("the process cannot be watched: {error}"))
        })?;
        let worker = Worker {
            name: name.into(),
            process,
            leads_group: leads_group_without_us(credentials.pid),
            client: Some(from),
            _watch: watch,
        };
        self.workers.insert(id, worker);
        self.clients.get_mut(&from).expect("it was there above").worker = Some(id);
        tracing::info!(worker = id.pid, name, "registered");
        self.send(from, &Event::Registered);
        Ok(())
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
        self.wake(worker);
        Ok(())
    }

    /// The worker may have become a candidate: find-me is asked at once.
    fn wake(&mut self, worker: WorkerId) {
        let registry = self.registry.now();
        let Some(worker) = registry.worker(worker).filter(|worker| worker.ready.is_some()) else { return };
        for table in 0..self.tables.len() {
            if worker.heirs.contains_key(&self.tables[table].id) {
                self.feed(table, Input::Wake);
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

    fn recall(&mut self, from: ClientId, request: u32, table: &str) -> Result<(), No> {
        let table = self.find(table)?;
        let (of, client) = (&mut self.tables[table], &self.clients[&from]);
        if !of.owners.admits(&client.person) {
            let message = format!("user {} may not recall table `{}`", client.person.uid(), of.id);
            return Err(No::because(Refusal::NotPermitted, message));
        }
        if of.recalls.len() >= MAX_WAITING_REQUESTS {
            let message = format!("table `{}` is being recalled by many already", of.id);
            return Err(No::because(Refusal::TooMany, message));
        }
        of.recalls.push((from, request));
        self.feed(table, Input::RecallWanted);
        Ok(())
    }

    /// Answers [`Request::Open`]; whoever it is answered late for may be gone.
    pub(super) fn open_table(&mut self, from: ClientId, request: u32, table: &str) {
        let opened = self.find(table).and_then(|table| self.read_only(from, table));
        let Some(client) = self.clients.get(&from) else { return };
        match opened {
            Ok(descriptor) => {
                let event = Event::Opened { request, table: table.to_owned() };
                client.outbox.send(&event, Some(descriptor));
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
            let message = format!("table `{id}` is private: its owner alone may have it");
            return Err(No::because(Refusal::NotPermitted, message));
        }
        if !of.readers.admits(&client.person) && !of.owners.admits(&client.person) {
            let message = format!("user {} may not read table `{id}`", client.person.uid());
            return Err(No::because(Refusal::NotPermitted, message));
        }
        Ok(())
    }

    fn read_only(&mut self, from: ClientId, table: usize) -> Result<OwnedFd, No> {
        self.may_open(from, table)?;
        let client = self.clients.get_mut(&from).expect("it was there above");
        let of = &self.tables[table];
        let id = &of.id;
        if !client.may_have_descriptor() {
            return Err(No::because(Refusal::TooMany, "read the answers before asking for more tables"));
        }
        of.segment
            .fresh_read_only()
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
                format!("there is no [[table]] `{table}` in the configuration"),
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

/// Whether that process leads a process group that we are not in: then its children can be killed with it.
fn leads_group_without_us(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    rustix::process::getpgid(Some(pid)) == Ok(pid) && rustix::process::getpgrp() != pid
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
