//! What must be in the table in the end, worked out by arithmetic on the stream and not by counting along.

use super::cars::{Car, every_exotic_car};
use super::stream::Stream;
use std::collections::{BTreeMap, BTreeSet};

/// The counts and sums that a stream must lead to, and where in it each commit is.
#[derive(Debug)]
pub(super) struct Expectation {
    tallies: BTreeMap<Car, Tally>,
    /// Indices of the stream's lines that are counted, in order.
    counted: Vec<u64>,
    lines: u64,
    commits: u64,
}

/// How many, for how many cents altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) cents: u64,
}

impl Expectation {
    pub(super) fn of(stream: &Stream) -> Self {
        let exotic: BTreeSet<Car> = every_exotic_car().collect();
        let lines = stream.lines().len() as u64;
        let (rounds, rest) = (stream.events() / lines.max(1), stream.events() % lines.max(1));
        let mut tallies = BTreeMap::<Car, Tally>::new();
        let mut counted = Vec::new();
        for (index, sale) in (0..).zip(stream.lines()) {
            if !exotic.contains(&sale.car) {
                continue;
            }
            counted.push(index);
            let times = rounds + u64::from(index < rest);
            if times > 0 {
                let tally = tallies.entry(sale.car.clone()).or_default();
                tally.count += times;
                tally.cents += times * sale.cents;
            }
        }
        let commits = tallies.values().map(|tally| tally.count).sum();
        Self { tallies, counted, lines, commits }
    }

    /// How many commits the whole stream takes: one for each counted event.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// What each car must come to.
    pub(super) fn tallies(&self) -> &BTreeMap<Car, Tally> {
        &self.tallies
    }

    /// The position in the stream directly after its `n`th counted event; 0 for none.
    pub(super) fn position_after(&self, n: u64) -> u64 {
        let Some(before) = n.checked_sub(1) else { return 0 };
        let in_a_round = self.counted.len().max(1) as u64;
        let index = usize::try_from(before % in_a_round).ok();
        let line = index.and_then(|index| self.counted.get(index)).copied().unwrap_or(0);
        before / in_a_round * self.lines + line + 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::cars::exotic_cars;
    use super::*;

    /// The same, by going through the stream event by event.
    fn by_counting(stream: &Stream) -> (BTreeMap<Car, Tally>, Vec<u64>) {
        let mut tallies = BTreeMap::<Car, Tally>::new();
        let mut positions = vec![0];
        for (position, index) in (1..).zip(stream.from(0)) {
            let sale = &stream.lines()[index];
            let key = sale.car.make_of_year();
            let is_exotic = exotic_cars()
                .any(|(make, models)| make == key && models.lines().any(|model| model == sale.car.model));
            if is_exotic {
                let tally = tallies.entry(sale.car.clone()).or_default();
                tally.count += 1;
                tally.cents += sale.cents;
                positions.push(position);
            }
        }
        (tallies, positions)
    }

    #[test]
    fn arithmetic_and_counting_agree() {
        for events in [0, 1, 2, 3, 9, 10, 11, 47, 1000, 1003] {
            let stream = Stream::standard(events);
            let expectation = Expectation::of(&stream);
            let (tallies, positions) = by_counting(&stream);
            assert_eq!(expectation.tallies(), &tallies, "{events} events");
            assert_eq!(expectation.commits() + 1, positions.len() as u64, "{events} events");
            for (n, position) in (0..).zip(positions) {
                assert_eq!(expectation.position_after(n), position, "commit {n} of {events} events");
            }
        }
    }

    #[test]
    fn a_million_events() {
        let expectation = Expectation::of(&Stream::standard(1_000_000));
        assert_eq!(expectation.commits(), 500_000);
        let ferrari = expectation.tallies()[&Car::new(2022, "Ferrari", "488")];
        assert_eq!(ferrari, Tally { count: 200_000, cents: 200_000 * 47_130_000 });
    }
}
