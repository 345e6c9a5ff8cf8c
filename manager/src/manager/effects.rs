//! What the ownership machine wants done, done.
//!
//! From the notice of a death to the offer, and from the acceptance to the grant, this runs without a pause and
//! without a log line in between: a table is handed on first and talked about afterwards.

use super::chatter::{self, By, Kind};
use super::checkpoint::Checkpoints;
use super::clock::now_ns;
use super::control::{Control, Notice, Worker};
use super::kept::OwnerName;
use super::lease::Lease;
use super::story::Story;
use heirloom_protocol::message::{Event, LOADER, TransferReason};
use heirloom_protocol::ownership::{Effect, Input, Offer, State, Timer, WorkerId};
use heirloom_protocol::sys::{KillError, Proof, ProofError};
use heirloom_protocol::table::{self, Recovery};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the kernel is asked without a pause whether anybody can write, before it is asked later.
const SPIN: Duration = Duration::from_micros(30);

impl Control {
    /// Gives one table's machine an input, and everything that comes of it.
    pub(super) fn feed(&mut self, table: usize, input: Input) {
        let noticed_ns = now_ns();
        let before = self.tables[table].ownership.clone();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let had_owner = self.tables[table].ownership.owner().is_some();
            let (next, effects) = self.tables[table].ownership.clone().step(input);
            self.tables[table].ownership = next;
            if had_owner && self.tables[table].ownership.owner().is_none() {
                let of = &mut self.tables[table];
                of.story = Story::begin(noticed_ns);
                of.lease.iter_mut().for_each(Lease::end);
            }
            for effect in effects {
                inputs.extend(self.carry_out(table, effect));
            }
        }
        if !self.tables[table].wishes.is_empty() {
            self.pursue(table);
            let of = &self.tables[table];
            if matches!(of.ownership.state(), State::Unowned { .. }) && of.search.has_answered() {
                self.nobody_takes_it(table);
            }
        }
        let now = &self.tables[table].ownership;
        if (now.word(), now.detail()) != (before.word(), before.detail()) {
            let (id, state, detail) = (&*self.tables[table].id, now.word(), now.detail().unwrap_or_default());
            match state {
                "stuck" => tracing::error!(table = id, state, detail),
                _ => tracing::debug!(table = id, state, detail),
            }
        }
    }

    /// Does one thing; gives the input that came of it, where one comes at once.
    pub(super) fn carry_out(&mut self, table: usize, effect: Effect) -> Option<Input> {
        match effect {
            Effect::AskFindMe => self.ask_find_me(table),
            Effect::PassOver { worker } => {
                let of = &mut self.tables[table];
                self.registry.pass_over(worker, &of.id);
                let recalled = TransferReason::Recalled { pid: worker.pid };
                let was_asked_to =
                    matches!(of.ownership.state(), State::Reclaiming { why, .. } if *why == recalled);
                of.search.passed_over(was_asked_to);
                None
            }
            Effect::Offer { to, epoch, why } => self.offer(table, to, epoch, why),
            Effect::Prove => Some(self.prove(table)),
            Effect::Recover => Some(self.recover(table)),
            Effect::Store { worker, epoch } => Some(self.store(table, worker, epoch)),
            Effect::Grant { to, epoch, why } => self.grant(table, to, epoch, &why),
            Effect::Withdraw { from, epoch, why } => {
                let id = self.tables[table].id.to_string();
                self.tell(from, &Event::Withdrawn { table: id.clone(), epoch, reason: why.to_owned() });
                // A worker that accepts what it was not offered can do so as often as it likes.
                let by = self.client_of(from).map_or(By::Ours, |client| client.person.by());
                chatter::say(Kind::Refusals, by, || {
                    tracing::warn!(
                        table = id,
                        epoch,
                        worker = from.pid,
                        why,
                        "the offer or recall is withdrawn"
                    );
                });
                None
            }
            Effect::Recall { from, epoch } => {
                let time = self.tables[table].duration(Timer::Recall, &self.times);
                let deadline_ms = time.as_millis() as u64;
                let id = self.tables[table].id.to_string();
                self.tell(from, &Event::Recalled { table: id.clone(), epoch, deadline_ms });
                tracing::info!(table = id, epoch, worker = from.pid, "the owner is asked to release it");
                None
            }
            Effect::RecallOver { end } => {
                self.recall_over(table, end);
                None
            }
            Effect::Fence { worker, epoch, why } => {
                let id = self.tables[table].id.to_string();
                self.tell(worker, &Event::Fenced { table: id, epoch, reason: why.to_owned() });
                None
            }
            Effect::Kill { worker, why } => self.kill(table, worker, why),
            // An operator's command is for whoever typed it to end.
            Effect::Arm { timer: Timer::Lease, .. } if self.is_loader(table) => None,
            Effect::Arm { timer, epoch } => {
                self.tables[table].arm(timer, epoch, &self.times);
                None
            }
        }
    }

    fn offer(&mut self, table: usize, to: WorkerId, epoch: u64, why: TransferReason) -> Option<Input> {
        let of = &mut self.tables[table];
        let (bequest, read_only) = match of.will() {
            Ok(will) => will,
            Err(error) => {
                tracing::error!(table = &*of.id, error, "it cannot be offered");
                return Some(Input::Declined { worker: to, epoch });
            }
        };
        let event = Event::Offered {
            table: of.id.to_string(),
            epoch,
            gift: of.gift.clone(),
            reason: why,
            expires_in_ms: of.duration(Timer::Offer, &self.times).as_millis() as u64,
            bequest,
        };
        let Some(client) = self.client_of(to) else { return Some(Input::Disconnected { worker: to }) };
        client.way.send(&event, read_only);
        let of = &mut self.tables[table];
        of.story.offered();
        tracing::info!(table = &*of.id, epoch, worker = to.pid, "offered");
        None
    }

    /// Whether anybody can write (rule H7).
    fn prove(&mut self, table: usize) -> Input {
        let of = &mut self.tables[table];
        if matches!(of.ownership.state(), State::Offered { offer: Offer::Accepted, .. }) {
            of.story.accepted();
        }
        let until = Instant::now() + SPIN;
        loop {
            // Threads of this process have the manager's own mapping, and a write handle is a value that there is one of:
            // it was dropped before its release was said. There is nobody else to ask the kernel about.
            let proof = match of.embedded {
                true => Ok(Proof::Proven),
                false => of.segment.prove_unwritable(),
            };
            match proof {
                // Where this kernel has no answer, the pidfd alone speaks; that was warned of at the start.
                Ok(_) => {
                    of.holders.refusals = 0;
                    of.holders.found = None;
                    if matches!(of.ownership.state(), State::Reclaiming { .. }) {
                        of.story.unwritable();
                    }
                    return Input::Unwritable;
                }
                Err(ProofError::StillWritable) if Instant::now() < until => std::hint::spin_loop(),
                Err(error) => {
                    of.holders.refusals = of.holders.refusals.saturating_add(1);
                    let held_by = match error {
                        ProofError::StillWritable => of.holders.found.clone(),
                        error => Some(format!("nobody may know whom: {error}")),
                    };
                    self.look_for_holders(table);
                    return Input::StillWritable { held_by: held_by.unwrap_or("some process".to_owned()) };
                }
            }
        }
    }

    /// Finds out who can write, for people: through /proc, on a thread, since that takes milliseconds.
    fn look_for_holders(&mut self, table: usize) {
        let of = &mut self.tables[table];
        if std::mem::replace(&mut of.holders.looking, true) {
            return;
        }
        let (segment, notices) = (Arc::clone(&of.segment), self.own.clone());
        tokio::task::spawn_blocking(move || {
            let writers = heirloom_protocol::sys::writers::writers_of(&segment, &[std::process::id()]);
            let found = match writers.is_empty() {
                true => "a process that /proc does not show".to_owned(),
                false => writers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            // The control task is gone only when the manager ends.
            let _ = notices.send(Notice::HoldersFound { table, found });
        });
    }

    fn recover(&mut self, table: usize) -> Input {
        let of = &mut self.tables[table];
        match table::recover(&of.region) {
            Ok(recovery) => {
                of.story.recovered(recovery);
                if let Some(owner) = of.kept_owner.take() {
                    self.supervision.forget_owner(&owner);
                }
                of.counts.recoveries += 1;
                of.counts.recovered_mid_commit += u64::from(recovery != Recovery::Clean);
                // What it committed last it could not ask for any more.
                of.checkpoints.iter().for_each(Checkpoints::ask);
                Input::Recovered
            }
            Err(error) => Input::Unrecoverable { why: error.to_string() },
        }
    }

    /// The owner's pidfd goes to the supervisor, and then the epoch into the header, before the grant is sent (rule H13).
    fn store(&mut self, table: usize, to: WorkerId, epoch: u64) -> Input {
        // A thread of this process dies with it.
        let owner = self.workers.get(&to).filter(|_| !self.embedded);
        if let Some(Worker { process, number, .. }) = owner {
            let of = &mut self.tables[table];
            let name = OwnerName { epoch, pid: to.pid, client: *number, table: of.id.to_string() };
            self.supervision.keep_owner(&name, process);
            of.kept_owner = Some(name);
        }
        let of = &mut self.tables[table];
        // Made before, so that a grant cannot fail for want of it.
        match of.to_write() {
            Ok(writable) => of.write_handle = Some(writable),
            Err(error) => {
                tracing::error!(table = &*of.id, error, "the write handle cannot be made");
                return Input::NotStored;
            }
        }
        match table::begin_epoch(&of.region, epoch) {
            Ok(()) => Input::Stored { epoch },
            Err(error) => {
                of.write_handle = None;
                Input::Unrecoverable { why: error.to_string() }
            }
        }
    }

    fn grant(&mut self, table: usize, to: WorkerId, epoch: u64, why: &TransferReason) -> Option<Input> {
        let of = &mut self.tables[table];
        // The manager's copy is closed when it has been sent: until then the manager itself counts as a writer.
        let writable = of.write_handle.take();
        let event = Event::Granted { table: of.id.to_string(), epoch };
        of.story.granted();
        let Some(client) = self.client_of(to) else { return Some(Input::Disconnected { worker: to }) };
        client.way.send(&event, writable);
        let of = &mut self.tables[table];
        of.search.granted(self.registry.passings_over());
        of.counts.handoffs += 1;
        of.last_handoff = Some(of.story.tell(&of.id, to, epoch, why));
        self.wishes_granted(table, to);
        None
    }

    /// Kills a worker, and the process group that it leads: its children may hold what it held.
    fn kill(&mut self, table: usize, worker: WorkerId, why: &str) -> Option<Input> {
        let id = &*self.tables[table].id;
        if self.embedded {
            return Some(Input::NotKilled {
                why: "it is a thread or a task of the manager's own process".to_owned(),
            });
        }
        let Worker { process, leads_group, .. } = self.workers.get(&worker)?;
        let killed = match leads_group {
            true => process.kill_group(Signal::KILL),
            false => process.kill(Signal::KILL),
        };
        match killed {
            Ok(()) => {
                tracing::warn!(table = id, worker = worker.pid, why, "a worker is killed");
                None
            }
            Err(KillError::Gone | KillError::NoGroup { .. }) => None,
            Err(error) => Some(Input::NotKilled { why: error.to_string() }),
        }
    }

    /// Whether a command such as `heirloom load` has the table.
    fn is_loader(&self, table: usize) -> bool {
        let owner = self.tables[table].ownership.owner().and_then(|owner| self.workers.get(&owner));
        owner.is_some_and(|owner| &*owner.name == LOADER)
    }
}
