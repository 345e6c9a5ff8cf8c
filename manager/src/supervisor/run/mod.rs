//! The supervisor's loop: signals, deaths, notifications and deadlines go into the machines as inputs, and their
//! effects become processes and signals. It alone owns all of the state, and nothing in it waits but the loop itself.

mod incoming;
mod outgoing;
mod rules;

use super::family::Family;
use super::herald::Herald;
use super::machine::{Input, Machine, Time};
use super::store::{self, Store};
use super::{Options, SuperviseError, reap, socket, spawn};
use crate::config::Config;
use heirloom_protocol::message::ChildStatus;
use heirloom_protocol::sys::notify::{Notifier, NotifySocket};
use heirloom_protocol::sys::{Listener, inherit};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Runs the manager and the workers of a configuration until a signal says to stop; then all of them have ended.
///
/// The process should have no other children: as the first process of a container or as a subreaper, the supervisor
/// reaps whatever ends.
///
/// # Errors
/// [`SuperviseError`] where it cannot start, or where the manager ends before it is ready; no worker is started then.
pub fn run(config: &Config, options: &Options) -> Result<(), SuperviseError> {
    refuse_descriptors()
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
            manager: Machine::new(rules::manager_rules(), vec![rules::manager_rule(config)], rand::random()),
            manager_pid: None,
            ever_ready: false,
            workers: Machine::new(rules::worker_rules(config), family.rules(), rand::random()),
            family,
            store: Store::new(store::limit()),
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

/// Nobody hands the supervisor anything yet. What it is handed all the same must not reach every child (rule H22).
fn refuse_descriptors() -> io::Result<()> {
    for handed in inherit::received_descriptors()? {
        warn!(name = handed.name, "a descriptor in LISTEN_FDS is not used, and closed");
    }
    Ok(())
}

/// Beside the control socket, which is ours alone by now.
fn bind_notify(control: &Path) -> io::Result<(NotifySocket, UnixDatagram)> {
    let mut path = control.as_os_str().to_owned();
    path.push(".notify");
    let notify = NotifySocket::bind(Path::new(&path))?;
    let second_handle = std::os::unix::net::UnixDatagram::from(notify.as_fd().try_clone_to_owned()?);
    Ok((notify, UnixDatagram::from_std(second_handle)?))
}
