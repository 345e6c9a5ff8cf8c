//! Which process is which child, and how the children are shown to people.

use super::machine::{Child, Machine, Rule, State};
use crate::config::{ChildConfig, Config, Start, WorkerConfig};
use heirloom_protocol::message::ChildStatus;
use std::fmt;

/// The workers' processes, in the order of the configuration: the numbers by which the machine knows them.
#[derive(Debug)]
pub(super) struct Family<'c> {
    members: Vec<Member<'c>>,
}

/// One process of a worker: one that runs, ran, or is to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'c> {
    pub(super) worker: &'c WorkerConfig,
    pub(super) child: &'c ChildConfig,
    /// Which of the worker's instances, from 1.
    pub(super) instance: u32,
    /// The process, while there is one.
    pub(super) pid: Option<u32>,
}

impl<'c> Family<'c> {
    /// All instances of all workers that are started here.
    pub(super) fn of(config: &'c Config) -> Self {
        let children = config.workers.iter().filter_map(|worker| match &worker.start {
            Start::Child(child) => Some((worker, child)),
            Start::External => None,
        });
        let members = children.flat_map(|(worker, child)| {
            (1..=child.instances).map(move |instance| Member { worker, child, instance, pid: None })
        });
        Self { members: members.collect() }
    }

    /// The rules for each, in order.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let rule = |member: &Member<'_>| {
            let ChildConfig { restart, shutdown, back_off, .. } = *member.child;
            Rule { restart, shutdown, back_off }
        };
        self.members.iter().map(rule).collect()
    }

    pub(super) fn member(&self, index: usize) -> Member<'c> {
        self.members[index]
    }

    pub(super) fn set_pid(&mut self, index: usize, pid: Option<u32>) {
        self.members[index].pid = pid;
    }

    /// The processes that there are, with their numbers.
    pub(super) fn processes(&self) -> Vec<(usize, u32)> {
        self.members.iter().enumerate().filter_map(|(index, member)| Some((index, member.pid?))).collect()
    }

    /// How all of them are.
    pub(super) fn status(&self, machine: &Machine) -> Vec<ChildStatus> {
        self.members.iter().zip(machine.children()).map(|(member, child)| member.status(child)).collect()
    }
}

impl Member<'_> {
    fn status(&self, child: &Child) -> ChildStatus {
        let state = match child.state() {
            State::Stopped => "stopped",
            State::Waiting { .. } if child.last_exit().is_none() => "starting",
            State::Waiting { .. } => "backing_off",
            State::Running { .. } => "running",
            State::Doomed { .. } | State::Stopping { .. } => "stopping",
            State::CrashLoop { .. } => "crash_loop",
        };
        ChildStatus {
            name: self.worker.name.clone(),
            instance: self.instance,
            pid: self.pid,
            restarts: child.restarts(),
            state: state.to_owned(),
            last_exit: child.last_exit().map(ToString::to_string),
        }
    }
}

/// `sale_tracker`, or `sale_tracker#2` where there are several.
impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.child.instances == 1 {
            f.write_str(&self.worker.name)
        } else {
            write!(f, "{}#{}", self.worker.name, self.instance)
        }
    }
}
