//! How often an idle watch looks: at once, then ever more seldom.

use std::time::Duration;

/// So often it looks again at once, giving the processor to others in between.
const LOOKS_AT_ONCE: u32 = 32;
/// The first wait after that; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_micros(50);
/// The longest, unless the user says otherwise.
const LONGEST_WAIT: Duration = Duration::from_millis(2);

/// The waits of one watch.
#[derive(Debug)]
pub(super) struct Pace {
    looks: u32,
    wait: Duration,
    pub(super) longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { looks: 0, wait: FIRST_WAIT, longest: LONGEST_WAIT }
    }
}

impl Pace {
    /// Something was there: more of it may follow at once.
    pub(super) fn found(&mut self) {
        (self.looks, self.wait) = (0, FIRST_WAIT);
    }

    /// Nothing was there: how long to wait before the next look. Zero is a turn for others.
    pub(super) fn next_wait(&mut self) -> Duration {
        if self.looks < LOOKS_AT_ONCE {
            self.looks += 1;
            return Duration::ZERO;
        }
        let wait = self.wait.min(self.longest);
        self.wait = (self.wait * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_watch_looks_ever_more_seldom_and_a_busy_one_at_once() {
        let mut pace = Pace::default();
        let waits: Vec<Duration> = (0..50).map(|_| pace.next_wait()).collect();
        assert!(waits.iter().take(LOOKS_AT_ONCE as usize).all(Duration::is_zero));
        assert!(waits.is_sorted() && waits.last() == Some(&LONGEST_WAIT));
        pace.found();
        assert_eq!(pace.next_wait(), Duration::ZERO);
    }
}
