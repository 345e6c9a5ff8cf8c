//! What goes out: the effects of the machines become processes and signals, and people are told.

use super::Supervisor;
use crate::supervisor::machine::{Effect, Input, News};
use crate::supervisor::{SuperviseError, reap, spawn};
use rustix::process::Signal;
use std::os::fd::AsFd;
use tracing::{debug, error, info, warn};

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
                Effect::Tell(_, news) => tell("the manager", &news),
                Effect::AllStopped => self.conclude(),
            }
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
        match spawn::manager(self.options, &self.socket, notify_socket, limit, &descriptors) {
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

    pub(super) fn tell_above(&self, text: &str) {
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
