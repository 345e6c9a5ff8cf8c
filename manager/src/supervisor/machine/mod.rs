//! Who is started, stopped and started again: OTP's rules as a pure state machine.
//!
//! ```text
//!            Begin                  exits, and is to be restarted
//!  Stopped ────────► Waiting ◄──────────────────────────────────────┐
//!     ▲                 │ back-off over                              │
//!     │                 ▼                                            │
//!     │ exits,       Running ── a neighbour's failure, or Stop ──► Doomed ── its turn ──► Stopping
//!     │ is not to be    │                                                                     │ too slow
//!     └─────────────────┤ fails too often                                                     ▼
//!                       ▼                                                                   killed
//!                   CrashLoop ── after the pause, once more ──► Running
//! ```
//!
//! [`Machine::handle`] takes one [`Input`] and answers with [`Effect`]s; it does no I/O and knows no clock. Times are
//! counted from any fixed moment. What a machine promises, and its tests check for every sequence of inputs:
//!
//! - a child is started only while it is not alive, and asked to stop only while it is;
//! - children are started in order and stopped in reverse order, one after the other;
//! - a crash loop ends the restarts of that child and touches no other (rule H26);
//! - a child that served is started again without a wait;
//! - after [`Input::Stop`] nothing is started, and [`Effect::AllStopped`] comes once, when all have ended;
//! - left alone, every child that is to be running is running, or in a crash loop.

mod child;

pub use child::{AfterStop, Child, Exit, News, State};

use crate::config::{BackOff, Restart, Shutdown, Strategy};
use std::time::Duration;

/// A moment, as the time since any fixed one.
pub type Time = Duration;

/// The rules for all children of a machine.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which children are started again when one fails.
    pub strategy: Strategy,
    /// How many restarts of one child within `period` are accepted; `None` for any number.
    pub intensity: Option<u32>,
    /// The sliding window of `intensity`; a child that ran for longer counts as recovered.
    pub period: Duration,
    /// After how long a child in a crash loop is tried once more.
    pub crash_loop_retry: Option<Duration>,
}

/// The rules for one child.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Whether it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How long a restart waits.
    pub back_off: BackOff,
}

/// What has happened. Children are named by their place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The children are to be started now.
    Begin,
    /// A child has ended.
    Exited {
        /// Which.
        child: usize,
        /// How.
        exit: Exit,
    },
    /// A child that was to be started could not be.
    NotStarted {
        /// Which.
        child: usize,
    },
    /// A child has said that it serves. Not all children say that.
    Serves {
        /// Which.
        child: usize,
    },
    /// Time has passed: at the latest [`Machine::next_deadline`].
    Tick,
    /// All are to stop, in order.
    Stop,
    /// All are to be killed at once.
    Kill,
}

/// What is to be done. Effects are carried out in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the child. Answered by [`Input::NotStarted`] where that fails.
    Start(usize),
    /// Ask the child to end (SIGTERM).
    Terminate(usize),
    /// Kill the child (SIGKILL), with its process group.
    Kill(usize),
    /// Tell people about the child.
    Tell(usize, News),
    /// All have ended after a stop; the machine does nothing more.
    AllStopped,
}

/// The children of one supervisor, and what happens to them next.
#[derive(Debug, Clone)]
pub struct Machine {
    rules: Rules,
    children: Vec<Child>,
    phase: Phase,
    /// Of the small generator behind the jitter.
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before [`Input::Begin`].
    Idle,
    Running,
    Ending,
    Ended,
}

impl Machine {
    /// A machine whose children are all stopped, in the order of their start.
    #[must_use]
    pub fn new(rules: Rules, children: Vec<Rule>, seed: u64) -> Self {
        let children = children.into_iter().map(Child::new).collect();
        Self { rules, children, phase: Phase::Idle, seed }
    }

    /// The children, in order.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// Whether all are to stop, or have.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Ended)
    }

    /// Whether all have stopped, as they were to.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// When [`Input::Tick`] is due; `None` where time alone changes nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let waiting = self.group_may_start().then(|| self.waiting().map(|(_, until)| until));
        let own = self.children.iter().filter_map(|child| match child.state {
            State::Stopping { kill_at, .. } => kill_at,
            State::CrashLoop { retry_at } if self.phase == Phase::Running => retry_at,
            _ => None,
        });
        match waiting {
            // A group starts together, when the last of its waits is over.
            Some(untils) if self.rules.strategy != Strategy::OneForOne => {
                untils.max().into_iter().chain(own).min()
            }
            Some(untils) => untils.chain(own).min(),
            None => own.min(),
        }
    }

    /// Takes in what has happened and says what is to be done.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Begin if self.phase == Phase::Idle => {
                self.phase = Phase::Running;
                for child in &mut self.children {
                    child.state = State::Waiting { until: now };
                }
            }
            Input::Exited { child, exit } => self.exited(now, child, exit, &mut effects),
            Input::NotStarted { child } => self.exited(now, child, Exit::NotStarted, &mut effects),
            Input::Serves { child } => self.children[child].serves(),
            Input::Stop => self.stop(now),
            Input::Kill => {
                self.stop(now);
                self.kill_all(&mut effects);
            }
            Input::Begin | Input::Tick => {}
        }
        self.advance(now, &mut effects);
        effects
    }

    fn stop(&mut self, now: Time) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Ending;
        for child in &mut self.children {
            child.doom(now, AfterStop::Stay);
        }
    }

    fn kill_all(&mut self, effects: &mut Vec<Effect>) {
        for (index, child) in self.children.iter_mut().enumerate().rev() {
            if child.state.is_alive() {
                child.state = State::Stopping { kill_at: None, after: AfterStop::Stay };
                effects.push(Effect::Kill(index));
            }
        }
    }

    /// One child has ended: the heart of the strategies.
    fn exited(&mut self, now: Time, index: usize, exit: Exit, effects: &mut Vec<Effect>) {
        let ran_for = match self.children[index].state {
            State::Running { since } => now.saturating_sub(since),
            State::Doomed { after, .. } | State::Stopping { after, .. } => {
                let child = &mut self.children[index];
                child.last_exit = Some(exit.clone());
                child.state = after.state(now);
                effects.push(Effect::Tell(index, News::StoppedAsAsked { exit }));
                return;
            }
            // Nobody was there to end.
            State::Stopped | State::Waiting { .. } | State::CrashLoop { .. } => return,
        };
        self.seed = splitmix(self.seed);
        let news = self.children[index].ended(now, ran_for, exit, &self.rules, self.seed);
        if let News::WillRestart { .. } = news {
            self.doom_neighbours(now, index);
        }
        effects.push(Effect::Tell(index, news));
    }

    /// The children that the strategy restarts together with one that failed.
    fn doom_neighbours(&mut self, now: Time, failed: usize) {
        let first = match self.rules.strategy {
            Strategy::OneForOne => return,
            Strategy::RestForOne => failed + 1,
            Strategy::OneForAll => 0,
        };
        for child in self.children[first..].iter_mut() {
            let stay = child.rule.restart == Restart::Temporary;
            child.doom(now, if stay { AfterStop::Stay } else { AfterStop::Restart });
        }
    }

    /// Does whatever is due: stops in reverse order, one after the other, then starts in order.
    fn advance(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for (index, child) in self.children.iter_mut().enumerate() {
            if child.is_overdue(now) {
                effects.push(Effect::Tell(index, News::KilledForSlowness));
                effects.push(Effect::Kill(index));
            }
        }
        let stopping = self.children.iter().any(|child| matches!(child.state, State::Stopping { .. }));
        if !stopping
            && let Some(last) =
                self.children.iter().rposition(|child| matches!(child.state, State::Doomed { .. }))
        {
            effects.push(self.children[last].begin_stop(now, last));
        }
        match self.phase {
            Phase::Running => self.start_due(now, effects),
            Phase::Ending if !self.children.iter().any(|child| child.state.is_alive()) => {
                self.phase = Phase::Ended;
                effects.push(Effect::AllStopped);
            }
            Phase::Idle | Phase::Ending | Phase::Ended => {}
        }
    }

    fn start_due(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let alone = self.rules.strategy == Strategy::OneForOne;
        let all_due = self.waiting().all(|(_, until)| until <= now);
        if self.group_may_start() && (alone || all_due) {
            let due: Vec<usize> =
                self.waiting().filter(|(_, until)| *until <= now).map(|(index, _)| index).collect();
            for index in due {
                effects.push(self.children[index].start(now, index));
            }
        }
        for (index, child) in self.children.iter_mut().enumerate() {
            if matches!(child.state, State::CrashLoop { retry_at: Some(at) } if at <= now) {
                effects.push(Effect::Tell(index, News::TriedOnceMore));
                effects.push(child.start(now, index));
            }
        }
    }

    /// A group is started when none of it is still being stopped; a child alone, whenever its wait is over.
    fn group_may_start(&self) -> bool {
        let stopping = |child: &Child| matches!(child.state, State::Doomed { .. } | State::Stopping { .. });
        self.phase == Phase::Running
            && (self.rules.strategy == Strategy::OneForOne || !self.children.iter().any(stopping))
    }

    fn waiting(&self) -> impl Iterator<Item = (usize, Time)> + '_ {
        self.children.iter().enumerate().filter_map(|(index, child)| match child.state {
            State::Waiting { until } => Some((index, until)),
            _ => None,
        })
    }
}

/// The next state of a generator that is good enough for jitter, and the same in every test (Steele, Lea and Flood).
fn splitmix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
