//! What is killed in each round, and when: chosen by the seed.

use super::tables::{TABLES, Table};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The owner of some tables.
    Worker,
    /// The manager.
    Manager,
    /// Both, one directly after the other.
    Both {
        /// Which of the two.
        manager_first: bool,
        /// How much later the other.
        apart: Duration,
    },
}

/// One round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) kind: Kind,
    /// Whose owner, where one is killed.
    pub(super) table: Table,
    /// Whether the owner is stopped in the middle of a commit first.
    pub(super) aimed: bool,
    /// Whether it is not waited for until all is as it should be after the round before.
    pub(super) hasty: bool,
    /// How long everything runs before.
    pub(super) after: Duration,
    /// Whether a reader is killed as well.
    pub(super) reader_too: bool,
}

/// The rounds that a seed chooses.
#[derive(Debug)]
pub(super) struct Rounds(StdRng);

impl Rounds {
    pub(super) fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }
}

impl Iterator for Rounds {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let rng = &mut self.0;
        let kind = match rng.random_range(0..10) {
            0..5 => Kind::Worker,
            5..8 => Kind::Manager,
            _ => Kind::Both {
                manager_first: rng.random(),
                // As long as a handoff takes.
                apart: Duration::from_micros(rng.random_range(0..1000)),
            },
        };
        Some(Round {
            kind,
            table: TABLES[rng.random_range(0..TABLES.len())],
            aimed: rng.random_range(0..32) == 0,
            hasty: rng.random_range(0..8) == 0,
            after: Duration::from_micros(rng.random_range(0..4000)),
            reader_too: rng.random_range(0..16) == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_the_rounds_and_all_kinds_come() {
        let rounds = |seed| Rounds::of(seed).take(100).collect::<Vec<_>>();
        assert_eq!(rounds(3), rounds(3));
        assert_ne!(rounds(3), rounds(4));
        let count = |is: fn(&Round) -> bool| rounds(3).iter().filter(|round| is(round)).count();
        assert!(count(|round| round.kind == Kind::Worker) > 30);
        assert!(count(|round| round.kind == Kind::Manager) > 15);
        assert!(count(|round| matches!(round.kind, Kind::Both { .. })) > 8);
    }
}
