//! How often find-me is asked: at once where there is reason to hope, and never more than ten times a second in vain.

use rand::RngExt;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most tries in vain within [`WINDOW`].
const MOST_IN_WINDOW: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The tries in vain of one table.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last ones began.
    recent: VecDeque<Instant>,
    /// When the next one is due if nothing happens.
    next: Option<Instant>,
    in_a_row: u32,
}

impl Pace {
    /// When it may be asked next. `urgent`: something has happened that may change the answer, so no pause is kept;
    /// only the ten a second are.
    pub(crate) fn next_try(&self, now: Instant, urgent: bool) -> Instant {
        let by_pause = if urgent { now } else { self.next.unwrap_or(now).max(now) };
        let by_window = match self.recent.len() {
            MOST_IN_WINDOW => self.recent[0] + WINDOW,
            _ => now,
        };
        by_pause.max(by_window)
    }

    /// It is asked now. In vain, unless [`Pace::found`] follows.
    pub(crate) fn asked(&mut self, now: Instant) {
        if self.recent.len() == MOST_IN_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    /// There was no answer, or none of use: the next pause is twice as long, give or take a fifth, so that the
    /// managers of many hosts do not ask in step.
    pub(crate) fn in_vain(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_a_row.min(16)).min(LONGEST_PAUSE);
        self.in_a_row += 1;
        self.next = Some(now + pause.mul_f64(rand::rng().random_range(0.8..1.2)));
    }

    /// The table went to somebody who was found. The tries of the last second still count: it may come back at once.
    pub(crate) fn found(&mut self) {
        (self.next, self.in_a_row) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_ten_a_second_however_urgent() {
        let start = Instant::now();
        let (mut pace, mut now, mut tries) = (Pace::default(), start, vec![]);
        while now < start + Duration::from_secs(20) {
            if pace.next_try(now, true) <= now {
                pace.asked(now);
                pace.in_vain(now);
                tries.push(now);
            }
            now += Duration::from_millis(1);
        }
        for window in tries.windows(MOST_IN_WINDOW + 1) {
            assert!(window[MOST_IN_WINDOW] - window[0] >= WINDOW);
        }
        assert!(tries.len() >= 190, "urgent tries are kept waiting: {}", tries.len());
    }

    #[test]
    fn a_table_that_comes_back_at_once_is_given_away_ten_times_a_second_at_most() {
        let start = Instant::now();
        let (mut pace, mut now, mut tries) = (Pace::default(), start, vec![]);
        while now < start + Duration::from_secs(5) {
            if pace.next_try(now, true) <= now {
                pace.found();
                pace.asked(now);
                pace.in_vain(now);
                tries.push(now);
            }
            now += Duration::from_millis(1);
        }
        assert!((40..=50).contains(&tries.len()), "{} tries", tries.len());
    }

    #[test]
    fn pauses_double_and_something_new_cuts_them_short() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let pauses: Vec<_> = (0..9)
            .map(|_| {
                pace.in_vain(now);
                pace.next_try(now, false) - now
            })
            .collect();
        assert!(pauses[0] >= FIRST_PAUSE.mul_f64(0.8) && pauses[0] <= FIRST_PAUSE.mul_f64(1.2));
        assert!(pauses[8] >= LONGEST_PAUSE.mul_f64(0.8) && pauses[8] <= LONGEST_PAUSE.mul_f64(1.2));
        assert!(pauses.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert_eq!(pace.next_try(now, true), now);
        pace.found();
        assert_eq!(pace.next_try(now, false), now);
    }
}
