//! The supervisor's loop: signals, deaths, notifications and deadlines go into the machines as inputs, and their
//! effects become processes and signals. It alone owns all of the state, and nothing in it waits but the loop itself.

mod incoming;
mod outgoing;
mod rules;

use super::family::Family;
use super::herald::Herald;
use super::machine::{Input, Machine, Time};
use super::relay::Relay;
use super::store::{self, Store};
use super::watch::Watch;
use super::{Options, SuperviseError, reap, socket, spawn};
use crate::config::Config;
use crate::manager::CONTROL_SOCKET;
use heirloom_protocol::message::ChildStatus;
use heirloom_protocol::sys::Listener;
use heirloom_protocol::sys::inherit::{self, NamedDescriptor};
use heirloom_protocol::sys::notify::{Notifier, NotifySocket, Pings};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// Runs the manager and the workers of a configuration until a signal says to stop; then all of them have ended.
///
/// The process should have no other children: as the first process of a container or as a subreaper, the supervisor
/// reaps whatever ends.
///
/// # Errors
/// [`SuperviseError`] where it cannot start, or where the manager ends before it is ready; no worker is started then.
pub fn run(config: &Config, options: &Options) -> Result<(), SuperviseError> {
    // Before any child is started, which would inherit them (rule H22).
    let handed_down = inherit::received_descriptors()
        .map_err(|source| SuperviseError::Host { what: "take what it was handed", source })?;
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
    let outcome = runtime.block_on(async { Supervisor::start(config, options, handed_down)?.serve().await });
    if let Err(error) = &outcome {
        tell_above_why(error);
    }
    outcome
}

/// Says to the service manager above why there is no supervisor, and waits until that is read: who says it is known for as
/// long as this process lives.
fn tell_above_why(error: &SuperviseError) {
    let Ok(Some(above)) = Notifier::from_env() else { return };
    let why = error.to_string().replace('\n', " ");
    let told = above.status(&why).and_then(|()| above.barrier(Duration::from_secs(1)));
    if let Err(error) = told {
        warn!(%error, "the service manager above was not told why");
    }
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
    watch: Watch,
    herald: Herald,
    told: Vec<ChildStatus>,
    /// To the service manager above, where there is one.
    relay: Option<Relay>,
    /// To the same, for signs of life: they come from the loop itself, or they would say nothing of it.
    above: Option<Notifier>,
    pings: Pings,
    inherits_orphans: bool,
    outcome: Option<Result<(), SuperviseError>>,
}

impl<'c> Supervisor<'c> {
    fn start(
        config: &'c Config,
        options: &'c Options,
        handed_down: Vec<NamedDescriptor>,
    ) -> Result<Self, SuperviseError> {
        let host = |what| move |source| SuperviseError::Host { what, source };
        let socket = options.socket.clone().or_else(|| config.supervisor.socket.clone());
        let socket = std::path::absolute(socket.unwrap_or_else(socket::default_socket))
            .map_err(host("find its working folder"))?;
        let listener = socket::listen(&socket, config.concerns_other_users())?;
        let (notify, notified) =
            bind_notify(&socket).map_err(host("make the socket for the manager's notifications"))?;
        let family = Family::of(config);
        let store = keep(handed_down);
        // The memory of each table, and the pidfd of its owner.
        let needed = 2 * config.tables.len();
        Ok(Self {
            options,
            began: Instant::now(),
            listener,
            notify,
            notified,
            manager: Machine::new(rules::manager_rules(), vec![rules::manager_rule(config)], rand::random()),
            manager_pid: None,
            ever_ready: false,
            workers: Machine::new(rules::worker_rules(config), family.rules(), rand::random()),
            family,
            relay: Relay::start(store.entries().to_vec(), needed).map_err(host("start a thread"))?,
            store,
            watch: Watch::new(config.manager.watchdog),
            herald: Herald::start(&socket).map_err(host("start a thread"))?,
            told: Vec::new(),
            above: Notifier::from_env().unwrap_or_default(),
            pings: Pings::from_env(),
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
            self.show_life();
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
                    self.look_at_manager();
                }
            }
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = self.manager.next_deadline().into_iter().chain(self.workers.next_deadline());
        let deadlines = deadlines.map(|deadline| self.began + deadline);
        let signs_of_life = self.watch.deadline().into_iter().chain(self.pings.next());
        // Far enough away where nothing is due: a signal or a notification comes first.
        deadlines.chain(signs_of_life).min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}

/// What an earlier supervisor had the service manager above keep, for the manager. Not a listening socket: the manager of a
/// supervisor that was killed may still serve that one, and its path says so (rule H20).
fn keep(handed_down: Vec<NamedDescriptor>) -> Store {
    let mut store = Store::new(store::limit());
    for NamedDescriptor { name, descriptor } in handed_down {
        if name == CONTROL_SOCKET {
            warn!("a control socket was handed down; it is closed, since the supervisor makes its own");
        } else if let Err(error) = store.keep(Some(&name), vec![descriptor], false) {
            error!(name, %error, "a descriptor that the service manager above has kept is lost");
        }
    }
    if store.len() > 0 {
        info!(
            descriptors = store.len(),
            "the service manager above has kept what an earlier supervisor stored"
        );
    }
    store
}

/// Beside the control socket, which is ours alone by now.
fn bind_notify(control: &Path) -> io::Result<(NotifySocket, UnixDatagram)> {
    let mut path = control.as_os_str().to_owned();
    path.push(".notify");
    let notify = NotifySocket::bind(Path::new(&path))?;
    let second_handle = std::os::unix::net::UnixDatagram::from(notify.as_fd().try_clone_to_owned()?);
    Ok((notify, UnixDatagram::from_std(second_handle)?))
}
