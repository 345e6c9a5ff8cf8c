//! Handoff times as numbers and as a small picture.

use serde::Serialize;
use std::fmt::Write;

/// The times of all handoffs, in microseconds; empty objects of statistics are `null` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Quantiles {
    /// Half of them took no longer.
    pub(super) p50: Option<u64>,
    /// All but one in a hundred took no longer.
    pub(super) p99: Option<u64>,
    /// None took longer.
    pub(super) max: Option<u64>,
}

impl Quantiles {
    pub(super) fn of(times_us: &[u64]) -> Self {
        let mut sorted = times_us.to_vec();
        sorted.sort_unstable();
        // The nearest rank: the smallest time that is not exceeded by more than the rest.
        let rank =
            |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { p50: rank(50), p99: rank(99), max: sorted.last().copied() }
    }
}

/// No bar is longer, in characters.
const WIDTH: usize = 40;

/// Bars for how many times lie between which bounds; each bound is about 1.4 times the one before.
pub(super) fn histogram(times_us: &[u64]) -> String {
    let (Some(&least), Some(&most)) = (times_us.iter().min(), times_us.iter().max()) else {
        return String::new();
    };
    let bounds = bounds(least, most);
    let counts: Vec<usize> = bounds
        .windows(2)
        .map(|pair| times_us.iter().filter(|time| (pair[0]..pair[1]).contains(*time)).count())
        .collect();
    let highest = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut picture = String::new();
    for (pair, count) in bounds.windows(2).zip(counts) {
        let bar = "█".repeat((count * WIDTH).div_ceil(highest));
        let count = if count == 0 { String::new() } else { format!(" {count}") };
        let _ = writeln!(picture, "  {:>8} to {:>8}  {bar}{count}", ms(pair[0]), ms(pair[1]));
    }
    picture
}

/// `1234` as `1.23 ms`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ms(time_us: u64) -> String {
    format!("{:.2} ms", time_us as f64 / 1000.0)
}

/// Bounds that hold all times between them.
fn bounds(least: u64, most: u64) -> Vec<u64> {
    let mut bounds = vec![50];
    while bounds.last().is_some_and(|last| *last <= most) {
        let last = bounds[bounds.len() - 1];
        bounds.push(last + last * 2 / 5 + 1);
    }
    let first = bounds.iter().rposition(|bound| *bound <= least).unwrap_or(0);
    if least < bounds[0] {
        bounds.insert(0, 0);
    }
    bounds.split_off(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_nearest_ranks() {
        assert_eq!(Quantiles::of(&[]), Quantiles { p50: None, p99: None, max: None });
        assert_eq!(Quantiles::of(&[7]), Quantiles { p50: Some(7), p99: Some(7), max: Some(7) });
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(Quantiles::of(&hundred), Quantiles { p50: Some(50), p99: Some(99), max: Some(100) });
    }

    #[test]
    fn every_time_is_in_the_picture() {
        assert_eq!(histogram(&[]), "");
        for times in [vec![0], vec![49, 50, 51], vec![300, 310, 320, 90_000], vec![1_000_000]] {
            let picture = histogram(&times);
            let shown: usize =
                picture.lines().filter_map(|line| line.rsplit_once("█ ")?.1.parse::<usize>().ok()).sum();
            assert_eq!(shown, times.len(), "{times:?}:\n{picture}");
        }
    }
}
