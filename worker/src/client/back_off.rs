//! How long to wait before the next try to reach the manager.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait. A manager that was restarted is there again in milliseconds, and its socket was there all along
/// (rule H20), so this is short.
const FIRST: Duration = Duration::from_millis(5);

/// The longest wait: well below the manager's grace for a worker whose connection has closed.
const LONGEST: Duration = Duration::from_secs(1);

/// Doubles from try to try. Each wait is a random part of that, at least half, so that the clients of a manager that was
/// restarted do not come all at once, again and again.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    tries: u32,
}

impl BackOff {
    /// The next wait.
    pub(super) fn next_wait(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        longest.mul_f64(0.5 + random_part() / 2.0)
    }

    /// The manager answered: begin anew.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
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
        let mut expected = FIRST;
        for _ in 0..100 {
            let wait = back_off.next_wait();
            assert!(wait <= expected && wait >= expected / 2, "{wait:?} for {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        back_off.reset();
        assert!(back_off.next_wait() <= FIRST);
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| BackOff::default().next_wait()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
