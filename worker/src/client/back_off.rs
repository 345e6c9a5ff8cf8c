//! How long to wait before the next try to reach the manager.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the first try that failed. Before that one there is none: a manager that dies leaves its socket with its
/// supervisor, where whoever connects is the next manager's from its first moment (rule H20).
const FIRST: Duration = Duration::from_millis(5);

/// The longest wait: well below the manager's grace for a worker whose connection has closed.
const LONGEST: Duration = Duration::from_secs(1);

/// Nothing at first, then a time that doubles from try to try. Each wait is a random part of that, at least half, so that
/// the clients of a manager that was restarted do not come all at once, again and again.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    tries: u32,
}

impl BackOff {
    /// The next wait.
    pub(super) fn next_wait(&mut self) -> Duration {
        let tries = self.tries;
        self.tries = tries.saturating_add(1);
        let Some(doublings) = tries.checked_sub(1) else { return Duration::ZERO };
        let longest = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        longest.mul_f64(0.5 + random_part() / 2.0)
    }

    /// The manager served: begin anew.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The manager agreed, and was gone soon after: begin anew, but for the try at once.
    pub(super) fn reset_to_first(&mut self) {
        self.tries = 1;
    }
}

/// In `0.0 ..= 1.0`, from the seed that the standard library takes for each hash map.
fn random_part() -> f64 {
    let random = RandomState::new().hash_one(());
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.next_wait(), Duration::ZERO);
        let mut expected = FIRST;
        for _ in 0..100 {
            let wait = back_off.next_wait();
            assert!(wait <= expected && wait >= expected / 2, "{wait:?} for {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        back_off.reset();
        assert_eq!(back_off.next_wait(), Duration::ZERO);
        back_off.reset_to_first();
        let wait = back_off.next_wait();
        assert!(wait <= FIRST && wait >= FIRST / 2, "{wait:?}");
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| BackOff { tries: 1 }.next_wait()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
