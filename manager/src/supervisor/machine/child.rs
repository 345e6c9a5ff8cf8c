//! One child in the machine: its state, how it fails, and when it has failed too often.

use super::{Effect, Rule, Rules, Time};
use crate::config::{BackOff, Restart, Shutdown};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// One child, as the machine knows it.
#[derive(Debug, Clone)]
pub struct Child {
    pub(super) rule: Rule,
    pub(super) state: State,
    pub(super) last_exit: Option<Exit>,
    starts: u64,
    /// When it failed within the period, the oldest first.
    failures: VecDeque<Time>,
    /// How often it failed without having run for the period in between.
    failures_in_a_row: u32,
    /// It was in a crash loop, and has not run for the period since.
    on_probation: bool,
    /// It has served since it was started last.
    served: bool,
}

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not running, and not to be.
    Stopped,
    /// To be started, not before that time.
    Waiting {
        /// The end of the back-off.
        until: Time,
    },
    /// Running.
    Running {
        /// When it was started.
        since: Time,
    },
    /// Running, to be stopped when its turn comes.
    Doomed {
        /// What comes then.
        after: AfterStop,
    },
    /// Asked to end, or killed.
    Stopping {
        /// When it is killed; `None` where it has been.
        kill_at: Option<Time>,
        /// What comes then.
        after: AfterStop,
    },
    /// Failed too often.
    CrashLoop {
        /// When it is tried once more.
        retry_at: Option<Time>,
    },
}

impl State {
    /// Whether there is a process.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Doomed { .. } | Self::Stopping { .. })
    }
}

/// What becomes of a child that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStop {
    /// It is started again, with its group.
    Restart,
    /// It stays stopped.
    Stay,
}

impl AfterStop {
    pub(super) fn state(self, now: Time) -> State {
        match self {
            Self::Restart => State::Waiting { until: now },
            Self::Stay => State::Stopped,
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It never began: its program could not be started.
    NotStarted,
}

impl Exit {
    /// Whether a transient child counts this as the end of its work.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::NotStarted => write!(f, "could not be started"),
        }
    }
}

/// What people are told about a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It ended, and is not to be started again.
    EndedForGood {
        /// How.
        exit: Exit,
    },
    /// It ended, and is started again.
    WillRestart {
        /// How.
        exit: Exit,
        /// After this time.
        wait: Duration,
    },
    /// It ended, once more than is accepted.
    InCrashLoop {
        /// How.
        exit: Exit,
        /// After how long it is tried once more.
        retry_after: Option<Duration>,
    },
    /// It ended because it was to.
    StoppedAsAsked {
        /// How.
        exit: Exit,
    },
    /// It did not end in the time it had.
    KilledForSlowness,
    /// It is in a crash loop, and tried once more.
    TriedOnceMore,
}

impl Child {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            state: State::Stopped,
            last_exit: None,
            starts: 0,
            failures: VecDeque::new(),
            failures_in_a_row: 0,
            on_probation: false,
            served: false,
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How it ended last.
    #[must_use]
    pub fn last_exit(&self) -> Option<&Exit> {
        self.last_exit.as_ref()
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// How often it has failed without having recovered in between.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// It says that it serves: whatever made it fail before is over.
    pub(super) fn serves(&mut self) {
        self.served = self.state.is_alive();
    }

    pub(super) fn start(&mut self, now: Time, index: usize) -> Effect {
        self.on_probation |= matches!(self.state, State::CrashLoop { .. });
        self.starts += 1;
        self.served = false;
        self.state = State::Running { since: now };
        Effect::Start(index)
    }

    /// Marks it to be stopped when its turn comes. One that is not running gets what comes after at once; one that
    /// waits for its back-off, or is in a crash loop, stays so unless all are to stop.
    pub(super) fn doom(&mut self, now: Time, wanted: AfterStop) {
        self.state = match (self.state, wanted) {
            (State::Running { .. } | State::Doomed { .. }, after) => State::Doomed { after },
            (State::Stopping { kill_at, .. }, AfterStop::Stay) => {
                State::Stopping { kill_at, after: AfterStop::Stay }
            }
            (_, AfterStop::Stay) => AfterStop::Stay.state(now),
            (state, AfterStop::Restart) => state,
        };
    }

    pub(super) fn begin_stop(&mut self, now: Time, index: usize) -> Effect {
        let after = match self.state {
            State::Doomed { after } => after,
            _ => AfterStop::Stay,
        };
        let (kill_at, effect) = match self.rule.shutdown {
            Shutdown::After(patience) => (Some(now + patience), Effect::Terminate(index)),
            Shutdown::BrutalKill => (None, Effect::Kill(index)),
        };
        self.state = State::Stopping { kill_at, after };
        effect
    }

    /// Whether it was asked to end, and has had its time. True once.
    pub(super) fn is_overdue(&mut self, now: Time) -> bool {
        match &mut self.state {
            State::Stopping { kill_at, .. } => kill_at.take_if(|at| *at <= now).is_some(),
            _ => false,
        }
    }

    /// It ended by itself: decides what comes next.
    pub(super) fn ended(
        &mut self,
        now: Time,
        ran_for: Duration,
        exit: Exit,
        rules: &Rules,
        random: u64,
    ) -> News {
        self.last_exit = Some(exit.clone());
        let restart = match self.rule.restart {
            Restart::Permanent => true,
            Restart::Transient => !exit.is_normal(),
            Restart::Temporary => false,
        };
        if !restart {
            self.state = State::Stopped;
            return News::EndedForGood { exit };
        }
        if ran_for >= rules.period || self.served {
            self.failures_in_a_row = 0;
            self.on_probation = false;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.on_probation || self.failed_too_often(now, rules) {
            self.state = State::CrashLoop { retry_at: rules.crash_loop_retry.map(|pause| now + pause) };
            return News::InCrashLoop { exit, retry_after: rules.crash_loop_retry };
        }
        // One that served has died of something that happened, not of how it starts: it is missed now.
        let wait = match self.served {
            true => Duration::ZERO,
            false => back_off(self.rule.back_off, self.failures_in_a_row, random),
        };
        self.state = State::Waiting { until: now + wait };
        News::WillRestart { exit, wait }
    }

    /// Notes the failure, and whether there were more within the period than are accepted.
    fn failed_too_often(&mut self, now: Time, rules: &Rules) -> bool {
        let Some(intensity) = rules.intensity else { return false };
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|failure| now.saturating_sub(*failure) > rules.period) {
            self.failures.pop_front();
        }
        self.failures.len() > intensity as usize
    }
}

/// The wait before the restart that follows the given number of failures in a row: doubled each time, bounded, and
/// spread by a fifth to either side, so that children that failed together do not come back together.
fn back_off(rule: BackOff, failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let wait = rule.first.saturating_mul(1 << doublings).min(rule.most);
    let spread = (random % 4001) as f64 / 10_000.0;
    wait.mul_f64(0.8 + spread).min(rule.most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_are_spread() {
        let rule = BackOff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
        for (failures, nominal_ms) in
            [(1, 100_u64), (2, 200), (3, 400), (4, 800), (5, 1000), (4_000_000, 1000)]
        {
            let waits: Vec<_> =
                (0..500).map(|seed| back_off(rule, failures, super::super::splitmix(seed))).collect();
            let nominal = Duration::from_millis(nominal_ms);
            assert!(waits.iter().all(|wait| *wait >= nominal.mul_f64(0.799)), "{failures}");
            assert!(waits.iter().all(|wait| *wait <= nominal.mul_f64(1.201).min(rule.most)), "{failures}");
            assert!(waits.iter().min() < waits.iter().max(), "{failures}: spread");
        }
    }

    #[test]
    fn no_back_off_is_no_wait() {
        let rule = BackOff { first: Duration::ZERO, most: Duration::ZERO };
        assert_eq!(back_off(rule, 7, 12345), Duration::ZERO);
    }
}
