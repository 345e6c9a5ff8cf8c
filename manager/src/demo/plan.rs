//! When to kill: random moments, chosen so that every heir has something left to commit.
//!
//! The stream is released piece by piece, so that the whole of it is not over before a standby is back:
//!
//! ```text
//!   ───────────┬──────────────┬──────────────┬──────────┬──────►  position in the stream
//!           kill here   released before   released    next kill
//!                        the kill        after it
//! ```
//!
//! Between the releases the owner runs at full speed, so the kill hits it wherever it happens to be.

use super::expectation::Expectation;
use rand::Rng;
use rand::seq::index;

/// One kill. All three are positions in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    /// The owner is killed once it has noted this position.
    pub(super) kill_at: u64,
    /// How far the stream is released before the kill.
    pub(super) released_before: u64,
    /// How far it is released directly after the kill: there is at least one counted event in between.
    pub(super) released_after: u64,
}

/// Chooses that many kills, or says how many there can be.
pub(super) fn rounds(expectation: &Expectation, kills: u64, rng: &mut impl Rng) -> Result<Vec<Round>, u64> {
    // A kill comes after the first commit at the earliest, and before the last one.
    let moments = expectation.commits().saturating_sub(1);
    if kills > moments {
        return Err(moments);
    }
    let as_length = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut after_commits: Vec<u64> = index::sample(rng, as_length(moments), as_length(kills))
        .into_iter()
        .map(|moment| moment as u64 + 1)
        .collect();
    after_commits.sort_unstable();
    let nexts = after_commits.iter().copied().skip(1).chain([expectation.commits()]);
    let round = |(this, next): (u64, u64)| {
        let before = this + (next - this) / 2;
        let after = before + (next - before).div_ceil(2);
        Round {
            kill_at: expectation.position_after(this),
            released_before: expectation.position_after(before),
            released_after: expectation.position_after(after),
        }
    };
    Ok(after_commits.iter().copied().zip(nexts).map(round).collect())
}

#[cfg(test)]
mod tests {
    use super::super::stream::Stream;
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn every_heir_has_an_event_to_count_and_no_kill_is_overrun() {
        for (events, kills) in [(10, 4), (20, 9), (1000, 50), (1000, 499), (1_000_000, 50)] {
            let expectation = Expectation::of(&Stream::standard(events));
            for seed in 0..20 {
                let mut rng = StdRng::seed_from_u64(seed);
                let rounds = rounds(&expectation, kills, &mut rng).expect("there are enough commits");
                assert_eq!(rounds.len() as u64, kills);
                for round in &rounds {
                    assert!(round.kill_at <= round.released_before, "{round:?}");
                    assert!(round.released_before < round.released_after, "{round:?}");
                }
                for pair in rounds.windows(2) {
                    assert!(pair[0].kill_at < pair[1].kill_at);
                    assert!(pair[0].released_after <= pair[1].kill_at);
                }
                let last = rounds.last().expect("there are kills");
                assert!(last.released_after <= expectation.position_after(expectation.commits()));
            }
        }
    }

    #[test]
    fn more_kills_than_moments_are_refused() {
        let expectation = Expectation::of(&Stream::standard(10));
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(rounds(&expectation, 5, &mut rng), Err(4));
        assert_eq!(rounds(&Expectation::of(&Stream::standard(0)), 1, &mut rng), Err(0));
        assert_eq!(rounds(&expectation, 0, &mut rng), Ok(Vec::new()));
    }

    #[test]
    fn a_seed_chooses_the_moments() {
        let expectation = Expectation::of(&Stream::standard(1000));
        let rounds = |seed| rounds(&expectation, 10, &mut StdRng::seed_from_u64(seed));
        assert_eq!(rounds(3), rounds(3));
        assert_ne!(rounds(3), rounds(4));
    }
}
