//! What comes in: signals, the ends of processes, and what the manager says.

use super::Supervisor;
use crate::supervisor::machine::{Exit, Input};
use crate::supervisor::{SuperviseError, reap};
use heirloom_protocol::sys::notify::Notification;
use rustix::process::Signal;
use std::io;
use std::time::Instant;
use tokio::io::Interest;
use tracing::{debug, error, info, warn};

impl Supervisor<'_> {
    pub(super) fn stop(&mut self, signal: &str) {
        info!("{signal}: stopping the workers in reverse order, then the manager");
        self.tell_above("STOPPING=1".to_owned());
        // When the last worker has ended, the manager's turn comes.
        self.drive_workers(Input::Stop);
    }

    pub(super) fn interrupt(&mut self) {
        if self.workers.is_ending() { self.kill("a second SIGINT") } else { self.stop("SIGINT") }
    }

    pub(super) fn kill(&mut self, signal: &str) {
        warn!("{signal}: killing everything at once");
        self.drive_workers(Input::Kill);
        self.drive_manager(Input::Kill);
    }

    /// Some children have ended; which, the kernel says one by one.
    pub(super) fn reap(&mut self) {
        for (child, pid) in self.family.processes() {
            if let Some(exit) = reap::ended(pid) {
                self.worker_ended(child, exit);
            }
        }
        if let Some(exit) = self.manager_pid.and_then(reap::ended) {
            self.manager_ended(exit);
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
        // What it said before it died counts, and now it has said everything.
        self.hear();
        self.manager_pid = None;
        self.watch.begin_anew();
        if !self.ever_ready && !self.workers.is_ending() {
            self.outcome = Some(Err(SuperviseError::ManagerNotReady { exit }));
            return;
        }
        self.drive_manager(Input::Exited { child: 0, exit });
    }

    /// Takes in all notifications there are.
    pub(super) fn hear(&mut self) {
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
            self.tell_above(format!("STATUS={status}"));
        }
        let name = notification.field("FDNAME").map(str::to_owned);
        if notification.field("FDSTOREREMOVE") == Some("1") {
            let forgotten = name.as_deref().map_or(0, |name| self.store.forget(name));
            debug!(name, forgotten, kept = self.store.len(), "descriptors are not kept any more");
            self.keep_above();
        } else if notification.field("FDSTORE") == Some("1") {
            let polled = notification.field("FDPOLL") != Some("0");
            match self.store.keep(name.as_deref(), std::mem::take(&mut notification.descriptors), polled) {
                Ok(()) => debug!(name, kept = self.store.len(), "a descriptor is kept for the manager"),
                Err(error) => error!(name, %error, "a descriptor of the manager's is NOT kept"),
            }
            self.keep_above();
        }
        if notification.field("WATCHDOG") == Some("1") {
            self.watch.sign(Instant::now());
        }
        if notification.field("READY") == Some("1") {
            self.manager_ready();
        }
        if notification.field("BARRIER") == Some("1")
            && let Some(relay) = &self.relay
        {
            relay.confirm(std::mem::take(&mut notification.descriptors));
        }
        // Where nobody is above, the descriptor of a barrier closes here, with the rest: that is the answer.
    }

    /// A manager that hangs is killed, and started again as any other that dies.
    pub(super) fn look_at_manager(&mut self) {
        // What it said while this loop was late counts.
        self.hear();
        if self.watch.is_silent(Instant::now())
            && let Some(pid) = self.manager_pid
        {
            let limit = self.watch.limit().unwrap_or_default();
            error!(
                pid,
                ?limit,
                "the manager shows no sign of life: it is killed, and started again with its tables"
            );
            reap::signal(pid, Signal::KILL, true);
        }
    }

    fn manager_ready(&mut self) {
        info!(pid = self.manager_pid, "the manager is ready: all tables are hydrated");
        self.drive_manager(Input::Serves { child: 0 });
        self.watch.sign(Instant::now());
        // A new manager knows nothing of the children.
        self.told.clear();
        if !self.ever_ready {
            self.ever_ready = true;
            self.drive_workers(Input::Begin);
            self.tell_above("READY=1".to_owned());
        }
    }
}
