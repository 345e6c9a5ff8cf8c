//! A model of the processes around a machine, which checks every effect against what the machine promises.

use super::super::{Effect, Exit, Input, Machine, News, Rule, Rules, State, Time};
use crate::config::{BackOff, Restart, Shutdown, Strategy};
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Time,
    pub(super) alive: Vec<bool>,
    pub(super) starts: Vec<u32>,
    /// Asked to end, or killed, and not yet ended.
    pub(super) asked: Vec<bool>,
    pub(super) all_stopped: bool,
    stop_wanted: bool,
    kill_wanted: bool,
    restarts: Vec<Restart>,
    strategy: Strategy,
}

pub(super) fn rules(strategy: Strategy) -> Rules {
    Rules { strategy, intensity: Some(2), period: 10 * SECOND, crash_loop_retry: Some(60 * SECOND) }
}

pub(super) fn rule(restart: Restart) -> Rule {
    let back_off = BackOff { first: Duration::from_millis(100), most: SECOND };
    Rule { restart, shutdown: Shutdown::After(5 * SECOND), back_off }
}

impl World {
    pub(super) fn new(strategy: Strategy, restarts: &[Restart]) -> Self {
        let count = restarts.len();
        Self {
            machine: Machine::new(rules(strategy), restarts.iter().copied().map(rule).collect(), 1),
            now: SECOND,
            alive: vec![false; count],
            starts: vec![0; count],
            asked: vec![false; count],
            all_stopped: false,
            stop_wanted: false,
            kill_wanted: false,
            restarts: restarts.to_vec(),
            strategy,
        }
    }

    /// A world in which everything runs.
    pub(super) fn begun(strategy: Strategy, restarts: &[Restart]) -> Self {
        let mut world = Self::new(strategy, restarts);
        world.input(Input::Begin);
        world
    }

    pub(super) fn exit(&mut self, child: usize, exit: Exit) -> Vec<Effect> {
        self.input(Input::Exited { child, exit })
    }

    pub(super) fn crash(&mut self, child: usize) -> Vec<Effect> {
        self.exit(child, Exit::Signal(9))
    }

    pub(super) fn tick_after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.input(Input::Tick)
    }

    /// Waits for the next thing that is due.
    pub(super) fn tick(&mut self) -> Vec<Effect> {
        let deadline = self.machine.next_deadline().expect("something is due");
        self.now = self.now.max(deadline);
        self.input(Input::Tick)
    }

    /// Hands the input over and checks the answer.
    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        match &input {
            Input::Exited { child, .. } | Input::NotStarted { child } => {
                assert!(self.alive[*child], "the model ends only what lives");
                self.alive[*child] = false;
                self.asked[*child] = false;
            }
            Input::Stop => self.stop_wanted = true,
            Input::Kill => (self.stop_wanted, self.kill_wanted) = (true, true),
            Input::Begin | Input::Tick | Input::Serves { .. } => {}
        }
        let effects = self.machine.handle(self.now, input.clone());
        let in_crash_loop =
            effects.iter().any(|effect| matches!(effect, Effect::Tell(_, News::InCrashLoop { .. })));
        let mut last_start = None;
        for effect in &effects {
            match *effect {
                Effect::Start(child) => {
                    assert!(!self.alive[child], "started twice: {input:?} -> {effects:?}");
                    assert!(!self.stop_wanted, "started after the stop: {input:?} -> {effects:?}");
                    let retried = effects.contains(&Effect::Tell(child, News::TriedOnceMore));
                    assert!(retried || last_start < Some(child), "out of order: {effects:?}");
                    if !retried {
                        last_start = Some(child);
                    }
                    self.alive[child] = true;
                    self.starts[child] += 1;
                    let most = if self.restarts[child] == Restart::Temporary { 1 } else { u32::MAX };
                    assert!(self.starts[child] <= most, "a temporary child came back");
                }
                Effect::Terminate(child) => {
                    assert!(self.alive[child] && !self.asked[child], "{input:?} -> {effects:?}");
                    assert!(!self.asked.contains(&true), "one after the other: {input:?} -> {effects:?}");
                    assert!(!in_crash_loop, "a crash loop touches no other child");
                    if self.stop_wanted {
                        assert_eq!(self.alive.iter().rposition(|alive| *alive), Some(child), "reverse order");
                    } else {
                        assert_ne!(self.strategy, Strategy::OneForOne, "{input:?} -> {effects:?}");
                    }
                    self.asked[child] = true;
                }
                Effect::Kill(child) => {
                    assert!(self.alive[child], "{input:?} -> {effects:?}");
                    assert!(self.asked[child] || self.kill_wanted, "killed unasked");
                    self.asked[child] = true;
                }
                Effect::Tell(..) => {}
                Effect::AllStopped => {
                    assert!(self.stop_wanted && !self.all_stopped && !self.alive.contains(&true));
                    self.all_stopped = true;
                }
            }
        }
        for (child, known) in self.machine.children().iter().enumerate() {
            assert_eq!(known.state().is_alive(), self.alive[child], "{input:?} -> {effects:?}");
        }
        if input == Input::Tick {
            let next = self.machine.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "due again at once: {next:?} {effects:?}");
        }
        effects
    }

    /// Lets everything run its course: what was asked to end ends, and time passes, except for the pauses of crash
    /// loops. Then what is to be running must be running.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            if let Some(child) = self.asked.iter().position(|asked| *asked) {
                self.exit(child, Exit::Signal(15));
                continue;
            }
            let waiting = |state| matches!(state, State::Waiting { .. } | State::Stopping { .. });
            if !self.machine.children().iter().any(|child| waiting(child.state())) {
                return self.check_settled();
            }
            self.tick();
        }
        panic!("does not come to rest: {:?}", self.machine);
    }

    fn check_settled(&self) {
        assert_eq!(self.all_stopped, self.stop_wanted, "{:?}", self.machine);
        for (child, known) in self.machine.children().iter().enumerate() {
            match (known.state(), self.restarts[child]) {
                (State::Running { .. } | State::CrashLoop { .. }, _) => assert!(!self.stop_wanted),
                (State::Stopped, Restart::Permanent) => assert!(self.stop_wanted || self.starts[child] == 0),
                (State::Stopped, _) => {}
                (other, _) => panic!("{child} came to rest as {other:?}"),
            }
        }
    }
}
