//! What goes out: the effects of the machines become processes and signals, and people are told.

use super::Supervisor;
use crate::supervisor::machine::{Effect, Input, News};
use crate::supervisor::{SuperviseError, reap, spawn};
use heirloom_protocol::sys::notify::Notifier;
use rustix::process::Signal;
use std::os::fd::AsFd;
use std::time::Instant;
use tracing::{debug, error, info, warn};

/// From so many failures of the manager in a row on, people are told loudly.
const MANY_FAILURES: u32 = 3;

impl Supervisor<'_> {
    pub(super) fn drive_workers(&mut self, input: Input) {
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
                    Effect::AllStopped => {
                        self.drive_manager(Input::Stop);
                        self.conclude();
                    }
                }
            }
        }
    }

    pub(super) fn drive_manager(&mut self, input: Input) {
        for effect in self.manager.handle(self.now(), input) {
            match effect {
                Effect::Start(_) => self.start_manager(),
                Effect::Terminate(_) => self.signal_manager(Signal::TERM, false),
                Effect::Kill(_) => self.signal_manager(Signal::KILL, true),
                Effect::Tell(_, news) => {
                    tell("the manager", &news);
                    self.tell_of_failures();
                }
                Effect::AllStopped => self.conclude(),
            }
        }
    }

    /// A manager that fails again and again before it is ready will not get better by itself.
    fn tell_of_failures(&self) {
        let failures = self.manager.children()[0].failures_in_a_row();
        if failures >= MANY_FAILURES {
            let kept = self.store.len();
            error!(
                "the manager is in a CRASH LOOP: it has failed {failures} times in a row before it was ready, and its own \
                 message says why. The {kept} descriptors of its tables are kept, owners and readers go on, and no table \
                 is handed on. It is tried again by itself: mend the configuration, or its sources"
            );
            self.tell_above(format!(
                "STATUS=the manager has failed {failures} times in a row; its tables are kept"
            ));
        }
    }

    /// It is over when both have stopped; a kill ends the manager without waiting for the workers.
    fn conclude(&mut self) {
        if self.workers.has_ended() && self.manager.has_ended() {
            self.outcome = Some(Ok(()));
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
        let limit = self.store.limit();
        let mut descriptors = vec![("control", self.listener.as_fd())];
        descriptors.extend(self.store.hand_back());
        let kept = descriptors.len() - 1;
        let notify_socket = self.notify.path();
        let watchdog = self.watch.limit();
        match spawn::manager(self.options, &self.socket, notify_socket, limit, watchdog, &descriptors) {
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
    pub(super) fn publish(&mut self) {
        let children = self.family.status(&self.workers);
        if self.ever_ready && children != self.told {
            self.told.clone_from(&children);
            self.herald.tell(children);
        }
    }

    /// Tells the service manager above, where there is one.
    pub(super) fn tell_above(&self, words: String) {
        if let Some(relay) = &self.relay {
            relay.tell(words);
        }
    }

    /// Has it keep what is kept here.
    pub(super) fn keep_above(&self) {
        if let Some(relay) = &self.relay {
            relay.keep(self.store.entries().to_vec());
        }
    }

    /// Tells it that this loop goes on, where it wants to hear that.
    pub(super) fn show_life(&mut self) {
        if self.pings.is_due(Instant::now())
            && let Some(Err(error)) = self.above.as_ref().map(Notifier::alive)
        {
            debug!(%error, "the service manager above was not told that the supervisor is alive");
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
