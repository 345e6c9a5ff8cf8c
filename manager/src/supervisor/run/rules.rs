//! The rules of the two machines: the workers' are the configuration's, the manager's are ours.

use crate::config::{BackOff, Config, Restart, Shutdown, Strategy};
use crate::supervisor::machine::{Rule, Rules};
use std::time::Duration;

/// The manager's: it is started again for ever, first at once, then ever more rarely.
const MANAGER_BACK_OFF: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// A manager that ran for that long has recovered.
const MANAGER_PERIOD: Duration = Duration::from_secs(1);

/// The manager is outside the strategies (rule H26).
pub(super) fn manager_rules() -> Rules {
    Rules { strategy: Strategy::OneForOne, intensity: None, period: MANAGER_PERIOD, crash_loop_retry: None }
}

pub(super) fn manager_rule(config: &Config) -> Rule {
    let (first, most) = MANAGER_BACK_OFF;
    let shutdown = Shutdown::After(config.manager.shutdown);
    Rule { restart: Restart::Permanent, shutdown, back_off: BackOff { first, most } }
}

pub(super) fn worker_rules(config: &Config) -> Rules {
    let supervisor = &config.supervisor;
    Rules {
        strategy: supervisor.strategy,
        intensity: Some(supervisor.intensity),
        period: supervisor.period,
        crash_loop_retry: supervisor.crash_loop_retry,
    }
}
