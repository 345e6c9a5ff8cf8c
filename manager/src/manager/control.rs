//! The control task: owns the tables, and all that is known of clients and workers.

use super::ManagerError;
use super::access::WorkerNames;
use super::chatter;
use super::claims;
use super::client::{self, Client, ClientId, Sender, Way};
use super::filling::{self, OnDisks};
use super::fullness::LOOK_EVERY;
use super::kept::Kept;
use super::notify::Supervision;
use super::readiness;
use super::seats::{Limits, Seats, Turn};
use super::start;
use super::table::Table;
use crate::config::{Config, ManagerConfig};
use crate::find_me::{FindMe, FindMeError};
use crate::registry::{Candidate, RegistryWriter};
use heirloom_protocol::message::{ChildStatus, Event, Request};
use heirloom_protocol::ownership::{Input, State, WorkerId};
use heirloom_protocol::sys::notify::{NotifyError, Pings};
use heirloom_protocol::sys::{Listener, Process};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Most messages of all clients together that wait for the control task; then the clients wait.
const MAX_SAID: usize = 256;

/// What the control task is told.
#[derive(Debug)]
pub(super) enum Notice {
    // By clients, through a bounded channel:
    Connected {
        client: Client,
    },
    /// Whoever is next of that user is heard when the turn is dropped.
    Said {
        from: ClientId,
        request: Request,
        sender: Sender,
        turn: Turn,
    },
    Closed {
        from: ClientId,
    },
    // By tasks and threads of our own, each at most once for what was asked of it:
    Died {
        worker: WorkerId,
    },
    Answered {
        table: usize,
        answer: Result<Option<Candidate>, FindMeError>,
    },
    HoldersFound {
        table: usize,
        found: String,
    },
    /// As often as something comes of a checkpoint.
    Stored {
        table: usize,
    },
    Hydrated {
        result: Result<OnDisks, ManagerError>,
        not_kept: Option<NotifyError>,
    },
}

/// A worker, from its registration until it has no connection any more, and no table either.
#[derive(Debug)]
pub(super) struct Worker {
    /// Empty where it registered with an earlier manager only.
    pub(super) name: Arc<str>,
    /// Which client of its process it is.
    pub(super) number: u64,
    pub(super) process: Arc<Process>,
    /// Whether it leads a process group of its own, without us in it.
    pub(super) leads_group: bool,
    /// Its connection, while that lasts.
    pub(super) client: Option<ClientId>,
    /// The task that waits for its death; ends with this. None for a thread of this process.
    pub(super) _watch: Option<Watch>,
}

impl Worker {
    pub(super) fn new(
        name: Arc<str>,
        process: Arc<Process>,
        number: u64,
        client: Option<ClientId>,
        watch: Option<Watch>,
    ) -> Self {
        let leads_group = leads_group_without_us(process.pid());
        Self { name, number, process, leads_group, client, _watch: watch }
    }
}

/// Whether that process leads a process group that we are not in: then its children can be killed with it.
fn leads_group_without_us(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    rustix::process::getpgid(Some(pid)) == Ok(pid) && rustix::process::getpgrp() != pid
}

/// A task that is of use to one value only.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A reader that asked for a table before the tables were hydrated.
#[derive(Debug)]
pub(super) struct WaitingOpen {
    pub(super) client: ClientId,
    pub(super) request: u32,
    pub(super) table: String,
}

pub(super) struct Control {
    pub(super) tables: Vec<Table>,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) registry: RegistryWriter,
    pub(super) names: WorkerNames,
    pub(super) times: ManagerConfig,
    pub(super) children: Vec<ChildStatus>,
    pub(super) warnings: Vec<String>,
    /// Whether all tables are hydrated: before that none is offered or opened.
    pub(super) open: bool,
    pub(super) waiting_opens: Vec<WaitingOpen>,
    pub(super) started: Instant,
    /// How long it took until every table was there.
    pub(super) ready_after: Option<Duration>,
    /// When the tables' memory is looked at next.
    next_look: Instant,
    /// For the tasks of our own.
    pub(super) own: mpsc::UnboundedSender<Notice>,
    /// Where the workers are threads and tasks of this process.
    pub(super) embedded: bool,
    pub(super) supervision: Supervision,
    /// Signs of life come from this task itself, or they would say nothing of it.
    pings: Pings,
    said: mpsc::Sender<Notice>,
    connections: u64,
}

/// Where notices come in.
pub(super) struct Inputs {
    own: mpsc::UnboundedReceiver<Notice>,
    said: mpsc::Receiver<Notice>,
}

impl Control {
    /// Takes up the tables that outlived the last manager, creates the others, begins to hydrate those, and listens.
    pub(super) fn start(
        config: &Config,
        mut find_me: HashMap<String, Arc<dyn FindMe>>,
        listener: Listener,
        mut kept: Kept,
    ) -> Result<(Self, Inputs), ManagerError> {
        let started = Instant::now();
        let supervision = Supervision::from_env();
        let limits = Limits::within(start::descriptors(), config.tables.len());
        let mut warnings = start::warnings(limits);
        // The memory of each table, and the pidfd of its owner.
        warnings.extend(supervision.warning(2 * config.tables.len()));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        start::check_memory(config.tables.iter().map(|table| table.max_bytes))?;
        let names = WorkerNames::new(config)?;
        let tables = config
            .tables
            .iter()
            .map(|table| match kept.segments.remove(&table.id) {
                Some(memory) => start::adopt(table, find_me.remove(&table.id), memory),
                None => start::create(table, find_me.remove(&table.id)),
            })
            .collect::<Result<Vec<_>, _>>()?;

        let (own, own_inputs) = mpsc::unbounded_channel();
        let (said, said_inputs) = mpsc::channel(MAX_SAID);
        filling::fill(config, &tables, &supervision, own.clone())?;
        let accepting = said.clone();
        tokio::spawn(async move {
            if let Err(error) = client::accept(listener, Seats::new(limits), accepting).await {
                tracing::error!(%error, "no connection can be accepted any more");
            }
        });
        let mut control = Self {
            tables,
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            registry: RegistryWriter::default(),
            names,
            times: config.manager.clone(),
            children: Vec::new(),
            warnings,
            open: false,
            waiting_opens: Vec::new(),
            started,
            ready_after: None,
            next_look: Instant::now(),
            own,
            embedded: false,
            supervision,
            pings: Pings::from_env(),
            said,
            connections: 0,
        };
        control.supervision.status("hydrating");
        control.adopt(kept);
        Ok((control, Inputs { own: own_inputs, said: said_inputs }))
    }

    /// The same for workers that are threads and tasks of this process, with tables that are filled by now.
    pub(super) fn embedded(
        tables: Vec<Table>,
        times: ManagerConfig,
        supervision: Supervision,
        kept: Kept,
    ) -> Self {
        // It has no tasks, and no connections: nobody says anything there.
        let ((own, _), (said, _)) = (mpsc::unbounded_channel(), mpsc::channel(1));
        let mut control = Self {
            tables,
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            registry: RegistryWriter::default(),
            names: WorkerNames::any(),
            times,
            children: Vec::new(),
            warnings: Vec::new(),
            open: true,
            waiting_opens: Vec::new(),
            started: Instant::now(),
            ready_after: Some(Duration::ZERO),
            next_look: Instant::now(),
            own,
            embedded: true,
            supervision,
            // Whether the program works is for the program to say.
            pings: Pings::none(),
            said,
            connections: 0,
        };
        control.adopt(kept);
        control
    }

    /// Takes up a client of this process.
    pub(super) fn enters(&mut self, id: ClientId, client: Client) {
        self.clients.insert(id, client);
    }

    /// Takes one notice after the other until `stop` is done. Deaths and deadlines come before what
    /// clients say, however much they say.
    pub(super) async fn run(
        mut self,
        mut inputs: Inputs,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ManagerError> {
        tokio::pin!(stop);
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                Some(notice) = inputs.own.recv() => self.note(notice)?,
                () = &mut stop => {
                    self.last_checkpoints();
                    return Ok(());
                }
                () = wait_until(deadline) => {
                    if self.a_lease_runs_out() {
                        self.hear_first(&mut inputs).await?;
                    }
                    self.time_passes();
                }
                Some(notice) = inputs.said.recv() => self.note(notice)?,
            }
        }
    }

    fn a_lease_runs_out(&self) -> bool {
        let now = Instant::now();
        self.tables.iter().any(|table| table.lease.as_ref().is_some_and(|lease| lease.is_running_out(now)))
    }

    /// Takes note of what has been said until now: an owner that has given its table back, while the manager was stopped
    /// say, is not killed for its silence (rule H16). Nobody who goes on talking can put that off.
    async fn hear_first(&mut self, inputs: &mut Inputs) -> Result<(), ManagerError> {
        // The tasks that receive have a turn before this one has its next.
        tokio::task::yield_now().await;
        while let Ok(notice) = inputs.own.try_recv() {
            self.note(notice)?;
        }
        for _ in 0..MAX_SAID {
            let Ok(notice) = inputs.said.try_recv() else { break };
            self.note(notice)?;
        }
        Ok(())
    }

    /// When it next has to be looked at something.
    pub(super) fn next_deadline(&self) -> Instant {
        let tables = self.tables.iter().filter_map(Table::next_deadline);
        tables.chain(self.pings.next()).fold(self.next_look, Instant::min)
    }

    fn expire_pins(&mut self, table: usize, now: Instant) {
        let of = &mut self.tables[table];
        let unclaimed = of.claims.give_back_unclaimed(&of.region, claims::now_s());
        if unclaimed > 0 {
            tracing::info!(
                table = &*of.id,
                unclaimed,
                "snapshots and checkpoints of an earlier manager's time are nobody's"
            );
        }
        let expired = of.claims.expire(&of.region, now);
        if expired > 0 {
            let max_age_ms = of.claims.max_age().as_millis() as u64;
            tracing::warn!(table = &*of.id, expired, max_age_ms, "snapshots were held for too long");
        }
    }

    fn note(&mut self, notice: Notice) -> Result<(), ManagerError> {
        match notice {
            Notice::Connected { client } => self.connected(client),
            Notice::Said { from, request, sender, turn: _turn } => self.said(from, request, sender),
            Notice::Closed { from } => self.closed(from),
            Notice::Died { worker } => self.died(worker),
            Notice::Answered { table, answer } => self.find_me_answered(table, answer),
            Notice::HoldersFound { table, found } => {
                let holders = &mut self.tables[table].holders;
                holders.looking = false;
                // Shown with the next answer of the kernel, if that is the same again.
                if holders.refusals > 0 {
                    holders.found = Some(found);
                }
            }
            Notice::Stored { table } => self.settle_flushes(table),
            Notice::Hydrated { result, not_kept } => {
                for (table, on_disk) in self.tables.iter_mut().zip(result?) {
                    table.on_disk = on_disk;
                }
                let own = self.own.clone();
                self.begin_checkpoints(|table| {
                    let own = own.clone();
                    // The control task is gone only when the manager ends.
                    Arc::new(move || drop(own.send(Notice::Stored { table })))
                })?;
                if let Some(error) = not_kept {
                    let warning = format!(
                        "the supervisor does not keep all tables, which may end with this manager: {error}"
                    );
                    tracing::error!("{warning}");
                    self.warnings.push(warning);
                }
                self.hydrated();
            }
        }
        Ok(())
    }

    pub(super) fn time_passes(&mut self) {
        let now = Instant::now();
        for table in 0..self.tables.len() {
            while let Some((timer, epoch)) = self.tables[table].timers.take_elapsed(now) {
                self.feed(table, Input::Elapsed { timer, epoch });
            }
            if let Some(input) = self.tables[table].look_at_owner(now) {
                self.feed(table, input);
            }
            if self.tables[table].search.next_try().is_some_and(|at| at <= now) {
                self.ask_again(table);
            }
            self.wishes_over(table, now);
            self.expire_pins(table, now);
            self.settle_flushes(table);
        }
        if self.pings.is_due(now) {
            self.supervision.alive();
        }
        if self.next_look <= now {
            self.next_look = now + LOOK_EVERY;
            chatter::sum_up();
            for table in &mut self.tables {
                table.fullness.look(&table.id, &table.reader.info());
            }
        }
    }

    /// The last entry of the last table is there: READY, and only then the first offer and the first reader.
    fn hydrated(&mut self) {
        self.open = true;
        self.ready_after = Some(self.started.elapsed());
        self.supervision.ready();
        self.supervision.status("ready");
        tracing::info!(tables = self.tables.len(), "ready");
        for open in std::mem::take(&mut self.waiting_opens) {
            self.open_table(open.client, open.request, &open.table);
        }
        for table in 0..self.tables.len() {
            self.feed(table, Input::Wake);
        }
    }

    fn connected(&mut self, client: Client) {
        self.connections += 1;
        let id = ClientId(self.connections);
        if let Way::Socket(outbox) = &client.way {
            tokio::spawn(client::serve(id, Arc::clone(outbox), self.said.clone()));
        }
        self.clients.insert(id, client);
    }

    /// A connection has closed: its worker is no candidate any more, and what it owns it may own for the grace only.
    pub(super) fn closed(&mut self, from: ClientId) {
        let Some(client) = self.clients.remove(&from) else { return };
        client.way.end();
        self.waiting_opens.retain(|open| open.client != from);
        for table in &mut self.tables {
            table.claims.gone(&table.region, from);
            table.checkpoints.iter_mut().for_each(|checkpoints| checkpoints.gone(from));
            // A recall that the owner has been asked for goes on.
            table.wishes.retain(|wish| wish.by != from || wish.pursued);
        }
        let Some(id) = client.worker else { return };
        self.registry.remove(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.client = None;
        }
        self.feed_all(|| Input::Disconnected { worker: id });
        self.forget_the_gone();
    }

    /// The kernel says that a worker is dead. What it owned comes first.
    fn died(&mut self, id: WorkerId) {
        self.registry.remove(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let how = worker.process.how_it_ended();
        let client = worker.client.take();
        self.feed_all(|| Input::Died { worker: id, how: how.clone() });
        tracing::info!(worker = id.pid, how, "a worker has died");
        // A child that it forked may hold the connection.
        if let Some(client) = client.and_then(|client| self.clients.get(&client)) {
            client.way.end();
        }
        self.forget_the_gone();
    }

    /// Who has no connection is remembered while a table is its own or is being taken back from it: its death must be
    /// noticed, and its children may have to be killed.
    fn forget_the_gone(&mut self) {
        let tables = &self.tables;
        self.workers.retain(|id, worker| {
            let concerned = |table: &Table| match table.ownership.state() {
                State::Unowned { .. } => false,
                State::Offered { to, .. } => to == id,
                State::Owned { by, .. } => by == id,
                State::Reclaiming { from, .. } => from.as_ref() == Some(id),
            };
            worker.client.is_some() || tables.iter().any(concerned)
        });
    }

    fn feed_all(&mut self, input: impl Fn() -> Input) {
        for table in 0..self.tables.len() {
            self.feed(table, input());
        }
    }

    /// Waits for a worker's death, on a task of its own.
    pub(super) fn watch(&self, id: WorkerId, process: Arc<Process>) -> std::io::Result<Watch> {
        let pidfd = readiness::watch(process, Interest::READABLE)?;
        let own = self.own.clone();
        Ok(Watch(tokio::spawn(async move {
            match pidfd.readable().await {
                // The control task is gone only when the manager ends.
                Ok(_) => drop(own.send(Notice::Died { worker: id })),
                Err(error) => {
                    tracing::error!(%error, worker = id.pid, "the death of a worker cannot be waited for");
                }
            }
        })))
    }

    pub(super) fn client_of(&self, worker: WorkerId) -> Option<&Client> {
        self.clients.get(&self.workers.get(&worker)?.client?)
    }

    /// Sends a worker an event, if it has a connection.
    pub(super) fn tell(&self, worker: WorkerId, event: &Event) {
        if let Some(client) = self.client_of(worker) {
            client.way.send(event, None);
        }
    }

    /// Sends a client an event, if it is there still.
    pub(super) fn send(&self, client: ClientId, event: &Event) {
        if let Some(client) = self.clients.get(&client) {
            client.way.send(event, None);
        }
    }
}

async fn wait_until(deadline: Instant) {
    // At once where it is over: a sleep may look at the clock only after a rest.
    if deadline > Instant::now() {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
