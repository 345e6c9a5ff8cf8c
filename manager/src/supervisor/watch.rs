//! Whether the manager shows signs of life, where the configuration asks that of it.
//!
//! A manager that hangs keeps its tables from moving on, and no death tells. It says `WATCHDOG=1` from the loop that does
//! its work; one that has begun to say so and falls silent is killed and started again, which costs no table.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Watch {
    limit: Option<Duration>,
    /// None before the first sign: whatever a manager does before its loop is not watched.
    last_sign: Option<Instant>,
}

impl Watch {
    /// Watches for signs that are at most `limit` apart; for none where there is no limit.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, last_sign: None }
    }

    /// The time after which a silent manager is killed.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// There is a new manager, or none.
    pub(super) fn begin_anew(&mut self) {
        self.last_sign = None;
    }

    pub(super) fn sign(&mut self, now: Instant) {
        self.last_sign = Some(now);
    }

    /// When a manager that says nothing more has been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.last_sign? + self.limit?)
    }

    /// Whether it has been; true once.
    pub(super) fn is_silent(&mut self, now: Instant) -> bool {
        let silent = self.deadline().is_some_and(|deadline| deadline <= now);
        if silent {
            self.begin_anew();
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn silence_counts_from_the_last_sign_and_is_told_once() {
        let mut watch = Watch::new(Some(LIMIT));
        let start = Instant::now();
        assert!(!watch.is_silent(start + 100 * LIMIT), "it has not begun");
        watch.sign(start);
        watch.sign(start + LIMIT / 2);
        assert_eq!(watch.deadline(), Some(start + LIMIT / 2 + LIMIT));
        assert!(!watch.is_silent(start + LIMIT));
        assert!(watch.is_silent(start + 2 * LIMIT));
        assert!(!watch.is_silent(start + 3 * LIMIT), "that one is being killed");
    }

    #[test]
    fn nobody_is_watched_without_a_limit() {
        let mut watch = Watch::new(None);
        watch.sign(Instant::now());
        assert_eq!(watch.deadline(), None);
        assert!(!watch.is_silent(Instant::now() + LIMIT));
    }
}
