//! The supervisor's loop: signals, deaths, notifications and deadlines go into the machines as inputs, and their
//! effects become processes and signals. It alone owns all of the state, and nothing in it waits but the loop itself.

use super::family::Family;
use super::herald::Herald;
use super::machine::{Effect, Exit, Input, Machine, News, Rule, Rules, Time};
use super::store::{self, Store};
use super::{Options, SuperviseError, reap, socket, spawn};
use crate::config::{BackOff, Config, Restart, Shutdown, Strategy};
use heirloom_protocol::message::ChildStatus;
use heirloom_protocol::sys::Listener;
use heirloom_protocol::sys::notify::{Notification, Notifier, NotifySocket};
use rustix::process::{Resource, Signal};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, error, info, warn};

/// Descriptors that the supervisor needs for itself, besides those it keeps for the manager.
const OWN_DESCRIPTORS: u64 = 64;

/// The manager's: it is started again for ever, first at once, then ever more rarely.
const MANAGER_BACK_OFF: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(5));

/// A manager that ran for that long has recovered.
const MANAGER_PERIOD: Duration = Duration::from_secs(10);

/// Runs the manager and the workers of a configuration until a signal says to stop; then all of them have ended.
///
/// The process should have no other children: as the first process of a container or as a subreaper, the supervisor
/// reaps whatever ends.
///
/// # Errors
/// [`SuperviseError`] where it cannot start, or where the manager ends before it is ready; no worker is started then.
pub fn run(config: &Config, options: &Options) -> Result<(), SuperviseError> {
    for worker in &config.workers {
        spawn::check_user(worker)?;
    }
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| SuperviseError::Host { what: "wait for events", source })?;
    runtime.block_on(async { Supervisor::start(config, options)?.serve().await })
}

struct Supervisor<'c> {
    options: &'c Options,
    socket: PathBuf,
    /// What the machines count time from.
    began: Instant,
    listener: Listener,
    notify: NotifySocket,
    /// A second handle on `notify`, which tells when there is something to read.
    notified: UnixDatagram,
    manager: Machine,
    manager_pid: Option<u32>,
    /// Whether a manager has ever been ready: before that, workers wait and its end is an error.
    ever_ready: bool,
    workers: Machine,
    family: Family<'c>,
    store: Store,
    herald: Herald,
    told: Vec<ChildStatus>,
    /// The service manager above, where there is one.
    above: Option<Notifier>,
    inherits_orphans: bool,
    outcome: Option<Result<(), SuperviseError>>,
}

impl<'c> Supervisor<'c> {
    fn start(config: &'c Config, options: &'c Options) -> Result<Self, SuperviseError> {
        let host = |what| move |source| SuperviseError::Host { what, source };
        let socket = options.socket.clone().or_else(|| config.supervisor.socket.clone());
        let socket = std::path::absolute(socket.unwrap_or_else(socket::default_socket))
            .map_err(host("find its working folder"))?;
        let listener = socket::listen(&socket, config.concerns_other_users())?;
        let (notify, notified) =
            bind_notify(&socket).map_err(host("make the socket for the manager's notifications"))?;
        let family = Family::of(config);
        Ok(Self {
            options,
            began: Instant::now(),
            listener,
            notify,
            notified,
            manager: Machine::new(manager_rules(), vec![manager_rule(config)], rand::random()),
            manager_pid: None,
            ever_ready: false,
            workers: Machine::new(worker_rules(config), family.rules(), rand::random()),
            family,
            store: Store::new(store_limit()),
            herald: Herald::start(&socket).map_err(host("start a thread"))?,
            told: Vec::new(),
            above: Notifier::from_env().unwrap_or_else(|error| {
                warn!(%error, "the service manager above cannot be notified");
                None
            }),
            inherits_orphans: reap::inherits_orphans(),
            outcome: None,
            socket,
        })
    }

    async fn serve(mut self) -> Result<(), SuperviseError> {
        let host = |source| SuperviseError::Host { what: "receive signals", source };
        let mut deaths = signal(SignalKind::child()).map_err(host)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(host)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(host)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(host)?;
        let mut quit = signal(SignalKind::quit()).map_err(host)?;
        info!(socket = %self.socket.display(), pid = std::process::id(), "the supervisor has started");
        self.drive_manager(Input::Begin);
        loop {
            self.publish();
            if let Some(outcome) = self.outcome.take() {
                info!("the supervisor has ended");
                return outcome;
            }
            let deadline = self.next_deadline();
            tokio::select! {
                _ = deaths.recv() => self.reap(),
                _ = terminate.recv() => self.stop("SIGTERM"),
                _ = hangup.recv() => self.stop("SIGHUP"),
                _ = interrupt.recv() => self.interrupt(),
                _ = quit.recv() => self.kill("SIGQUIT"),
                _ = self.notified.readable() => self.hear(),
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.drive_workers(Input::Tick);
                    self.drive_manager(Input::Tick);
                }
            }
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = self.manager.next_deadline().into_iter().chain(self.workers.next_deadline());
        // Far enough away where nothing is due: a signal or a notification comes first.
        self.began + deadlines.min().unwrap_or_else(|| self.now() + Duration::from_secs(3600))
    }
}

/// What comes in.
impl Supervisor<'_> {
    fn stop(&mut self, signal: &str) {
        info!("{signal}: stopping the workers in reverse order, then the manager");
        self.tell_above("STOPPING=1");
        // When the last worker has ended, the manager's turn comes.
        self.drive_workers(Input::Stop);
    }

    fn interrupt(&mut self) {
        if self.workers.is_ending() { self.kill("a second SIGINT") } else { self.stop("SIGINT") }
    }

    fn kill(&mut self, signal: &str) {
        warn!("{signal}: killing everything at once");
        self.drive_workers(Input::Kill);
        self.drive_manager(Input::Kill);
    }

    /// Some children have ended; which, the kernel says one by one.
    fn reap(&mut self) {
        for (child, pid) in self.family.processes() {
            if let Some(exit) = reap::ended(pid) {
                self.worker_ended(child, exit);
            }
        }
        if let Some(pid) = self.manager_pid {
            // What it said before it died counts, and its number is good until it is reaped.
            self.hear();
            if let Some(exit) = reap::ended(pid) {
                self.manager_ended(exit);
            }
        }
        if self.inherits_orphans {
            let mut known = Vec::new();
            reap::orphans(|pid, exit| known.push((pid, exit)));
            for (pid, exit) in known {
                let worker = self.family.processes().into_iter().find(|(_, worker)| *worker == pid);
                match worker {
                    Some((child, _)) => self.worker_ended(child, exit),
                    None if self.manager_pid == Some(pid) => self.manager_ended(exit),
                    None => {}
                }
            }
        }
    }

    fn worker_ended(&mut self, child: usize, exit: Exit) {
        self.family.set_pid(child, None);
        self.drive_workers(Input::Exited { child, exit });
    }

    fn manager_ended(&mut self, exit: Exit) {
        self.manager_pid = None;
        if !self.ever_ready && !self.workers.is_ending() {
            self.outcome = Some(Err(SuperviseError::ManagerNotReady { exit }));
            return;
        }
        self.drive_manager(Input::Exited { child: 0, exit });
    }

    /// Takes in all notifications there are.
    fn hear(&mut self) {
        // Not readable any more, as far as the loop knows; what comes while this reads wakes it again.
        let _ = self.notified.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        loop {
            match self.notify.recv() {
                Ok(Some(notification)) => self.heard(notification),
                Ok(None) => return,
                Err(error) => return warn!(%error, "a notification was lost"),
            }
        }
    }

    /// The manager has said something; anybody else is not listened to (rule H24).
    fn heard(&mut self, mut notification: Notification) {
        let sender = notification.sender.map(|sender| sender.pid);
        if sender.is_none() || sender != self.manager_pid {
            warn!(?sender, "somebody who is not the manager sent a notification; it is ignored");
            return;
        }
        if let Some(status) = notification.field("STATUS") {
            debug!(status, "the manager says what it is doing");
            self.tell_above(&format!("STATUS={status}"));
        }
        let name = notification.field("FDNAME").map(str::to_owned);
        if notification.field("FDSTOREREMOVE") == Some("1") {
            let forgotten = name.as_deref().map_or(0, |name| self.store.forget(name));
            debug!(name, forgotten, kept = self.store.len(), "descriptors are not kept any more");
        } else if notification.field("FDSTORE") == Some("1") {
            let polled = notification.field("FDPOLL") != Some("0");
            match self.store.keep(name.as_deref(), std::mem::take(&mut notification.descriptors), polled) {
                Ok(()) => debug!(name, kept = self.store.len(), "a descriptor is kept for the manager"),
                Err(error) => error!(name, %error, "a descriptor of the manager's is NOT kept"),
            }
        }
        if notification.field("READY") == Some("1") {
            self.manager_ready();
        }
        // The descriptor of BARRIER=1 closes here, with the rest: that is the answer.
    }

    fn manager_ready(&mut self) {
        info!(pid = self.manager_pid, "the manager is ready: all tables are hydrated");
        // A new manager knows nothing of the children.
        self.told.clear();
        if !self.ever_ready {
            self.ever_ready = true;
            self.drive_workers(Input::Begin);
            self.tell_above("READY=1");
        }
    }
}

/// What goes out.
impl Supervisor<'_> {
    fn drive_workers(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.workers.handle(self.now(), input) {
                match effect {
                    Effect::Start(child) => inputs.extend(self.start_worker(child)),
                    Effect::Terminate(child) => self.signal_worker(child, Signal::TERM, false),
                    Effect::Kill(child) => self.signal_worker(child, Signal::KILL, true),
                    Effect::Tell(child, news) => {
                        tell(&format!("worker {}", self.family.member(child)), &news);
                    }
                    Effect::AllStopped => self.drive_manager(Input::Stop),
                }
            }
        }
    }

    fn drive_manager(&mut self, input: Input) {
        for effect in self.manager.handle(self.now(), input) {
            match effect {
                Effect::Start(_) => self.start_manager(),
                Effect::Terminate(_) => self.signal_manager(Signal::TERM, false),
                Effect::Kill(_) => self.signal_manager(Signal::KILL, true),
                Effect::Tell(_, news) => tell("the manager", &news),
                Effect::AllStopped => self.outcome = Some(Ok(())),
            }
        }
    }

    /// What came of it, where it failed.
    fn start_worker(&mut self, child: usize) -> Option<Input> {
        let member = self.family.member(child);
        match spawn::worker(self.options, &self.socket, member.worker, member.child, member.instance) {
            Ok(pid) => {
                info!(pid, "worker {member} has started");
                self.family.set_pid(child, Some(pid));
                None
            }
            Err(error) => {
                let program = &member.child.command[0];
                error!(%error, "worker {member} cannot be started: {program}");
                Some(Input::NotStarted { child })
            }
        }
    }

    fn start_manager(&mut self) {
        let mut descriptors = vec![("control", self.listener.as_fd())];
        descriptors.extend(self.store.hand_back());
        let kept = descriptors.len() - 1;
        let notify_socket = self.notify.path();
        match spawn::manager(self.options, &self.socket, notify_socket, store_limit(), &descriptors) {
            Ok(pid) => {
                info!(pid, descriptors = kept, "the manager has started");
                self.manager_pid = Some(pid);
            }
            Err(error) if !self.ever_ready => {
                self.outcome = Some(Err(SuperviseError::ManagerNotStarted(error)));
            }
            Err(error) => {
                error!(%error, "the manager cannot be started again");
                self.drive_manager(Input::NotStarted { child: 0 });
            }
        }
    }

    fn signal_worker(&self, child: usize, signal: Signal, group: bool) {
        if let Some(pid) = self.family.member(child).pid {
            reap::signal(pid, signal, group);
        }
    }

    fn signal_manager(&self, signal: Signal, group: bool) {
        if let Some(pid) = self.manager_pid {
            reap::signal(pid, signal, group);
        }
    }

    /// Tells the manager how the children are, where that has changed.
    fn publish(&mut self) {
        let children = self.family.status(&self.workers);
        if self.ever_ready && children != self.told {
            self.told.clone_from(&children);
            self.herald.tell(children);
        }
    }

    fn tell_above(&self, text: &str) {
        if let Some(above) = &self.above
            && let Err(error) = above.send(text, &[])
        {
            debug!(%error, text, "the service manager above was not notified");
        }
    }
}

fn tell(whom: &str, news: &News) {
    match news {
        News::EndedForGood { exit } if exit.is_normal() => info!("{whom} has ended: {exit}"),
        News::EndedForGood { exit } => warn!("{whom} has ended: {exit}; it is not started again"),
        News::WillRestart { exit, wait } => {
            warn!("{whom} has ended: {exit}; it is started again in {wait:?}")
        }
        News::InCrashLoop { exit, retry_after } => {
            let then = retry_after.map_or_else(
                || "it is not started again".to_owned(),
                |pause| format!("it is tried once more in {pause:?}"),
            );
            error!("{whom} is in a CRASH LOOP: {exit}, too often; {then}. All others go on");
        }
        News::StoppedAsAsked { exit } => info!("{whom} has stopped: {exit}"),
        News::KilledForSlowness => warn!("{whom} did not stop in its time: killed"),
        News::TriedOnceMore => warn!("{whom} was in a crash loop: it is tried once more"),
    }
}

fn manager_rules() -> Rules {
    Rules { strategy: Strategy::OneForOne, intensity: None, period: MANAGER_PERIOD, crash_loop_retry: None }
}

fn manager_rule(config: &Config) -> Rule {
    let (first, most) = MANAGER_BACK_OFF;
    let shutdown = Shutdown::After(config.manager.shutdown);
    Rule { restart: Restart::Permanent, shutdown, back_off: BackOff { first, most } }
}

fn worker_rules(config: &Config) -> Rules {
    let supervisor = &config.supervisor;
    Rules {
        strategy: supervisor.strategy,
        intensity: Some(supervisor.intensity),
        period: supervisor.period,
        crash_loop_retry: supervisor.crash_loop_retry,
    }
}

/// Beside the control socket, which is ours alone by now.
fn bind_notify(control: &Path) -> io::Result<(NotifySocket, UnixDatagram)> {
    let mut path = control.as_os_str().to_owned();
    path.push(".notify");
    let notify = NotifySocket::bind(Path::new(&path))?;
    let second_handle = std::os::unix::net::UnixDatagram::from(notify.as_fd().try_clone_to_owned()?);
    Ok((notify, UnixDatagram::from_std(second_handle)?))
}

/// As many as this process may hold open, and not more than make sense.
fn store_limit() -> usize {
    let open = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(open.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX).min(store::MAX_DESCRIPTORS)
}
