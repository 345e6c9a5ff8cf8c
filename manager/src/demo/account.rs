//! The account at the end: what was noted, what is in the table, and what should be.

use super::cars::{Car, Total};
use super::expectation::Expectation;
use super::notes::Ownership;
use std::collections::BTreeMap;

/// What the table holds in the end.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) totals: BTreeMap<Car, Total>,
    pub(super) version: u64,
    pub(super) position: u64,
}

/// What is wrong, in numbers; all zero when nothing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Commits that had returned and are not in the table, or counted events that are missing from it.
    pub(super) lost: u64,
    /// Events that are in the table more than once.
    pub(super) double_counted: u64,
    /// Totals that are not whole.
    pub(super) torn: u64,
}

impl Account {
    pub(super) fn settle(expectation: &Expectation, ownerships: &[Ownership], found: &Found) -> Self {
        let counted = compare(expectation, found);
        Self { lost: counted.lost.max(noted_and_missing(ownerships, found)), ..counted }
    }
}

/// What each worker noted must be what its heir found, and what the last one noted must be in the table now.
fn noted_and_missing(ownerships: &[Ownership], found: &Found) -> u64 {
    let heirs = ownerships.iter().skip(1).map(|heir| (heir.inherited_version, heir.inherited_position));
    let successors = heirs.chain([(found.version, found.position)]);
    ownerships
        .iter()
        .zip(successors)
        .map(|(noted, (version, position))| {
            let versions = noted.version.saturating_sub(version).min(noted.commits);
            versions.max(u64::from(noted.position > position))
        })
        .sum()
}

fn compare(expectation: &Expectation, found: &Found) -> Account {
    let mut account = Account::default();
    for (car, tally) in expectation.tallies() {
        let total = found.totals.get(car).copied().unwrap_or_default();
        account.lost += tally.count.saturating_sub(total.count);
        account.double_counted += total.count.saturating_sub(tally.count);
        if total.count == tally.count && total.cents != tally.cents {
            // As many sales, but others: one is missing, and another is there in its place.
            account.lost += 1;
            account.double_counted += 1;
        }
    }
    for (car, total) in &found.totals {
        if !expectation.tallies().contains_key(car) {
            account.double_counted += total.count;
        }
        account.torn += u64::from(!total.is_whole(car.stamp()));
    }
    account
}

#[cfg(test)]
mod tests {
    use super::super::stream::Stream;
    use super::*;

    /// What an honest worker leaves behind after these events of the standard stream.
    fn counted(events: u64) -> Found {
        let stream = Stream::standard(events);
        let exotic = Expectation::of(&stream);
        let mut found = Found { version: exotic.commits(), position: events, ..Found::default() };
        for index in stream.from(0) {
            let sale = &stream.lines()[index];
            if exotic.tallies().contains_key(&sale.car) {
                let total = found.totals.entry(sale.car.clone()).or_default();
                *total = total.and(sale.cents, sale.car.stamp());
            }
        }
        found
    }

    fn settle(ownerships: &[Ownership], found: &Found) -> Account {
        Account::settle(&Expectation::of(&Stream::standard(100)), ownerships, found)
    }

    #[test]
    fn nothing_is_wrong_where_nothing_is_wrong() {
        let first = Ownership { version: 20, position: 40, commits: 20, ..Ownership::default() };
        let heir = Ownership {
            inherited_version: 21,
            inherited_position: 43,
            version: 50,
            position: 100,
            commits: 29,
            ..Ownership::default()
        };
        assert_eq!(settle(&[first, heir], &counted(100)), Account::default());
    }

    #[test]
    fn a_noted_commit_that_the_heir_did_not_find_is_lost() {
        let first = Ownership { version: 20, position: 40, commits: 20, ..Ownership::default() };
        let heir = Ownership { inherited_version: 18, inherited_position: 38, ..Ownership::default() };
        assert_eq!(settle(&[first, heir], &counted(100)).lost, 2);
        let older_bequest = Ownership { inherited_version: 20, inherited_position: 39, ..heir };
        assert_eq!(settle(&[first, older_bequest], &counted(100)).lost, 1);
        let newer_than_the_table = Ownership { version: 51, position: 100, commits: 51, ..first };
        assert_eq!(settle(&[newer_than_the_table], &counted(100)).lost, 1);
    }

    #[test]
    fn missing_surplus_wrong_and_torn_totals_are_told_apart() {
        let account = |lost, double_counted, torn| Account { lost, double_counted, torn };
        assert_eq!(settle(&[], &counted(90)), account(5, 0, 0));
        assert_eq!(settle(&[], &counted(110)), account(0, 5, 0));

        let zonda = Car::new(2022, "Pagani", "Zonda");
        let mut other_price = counted(100);
        let total = (0..10).fold(Total::default(), |total, _| total.and(1, zonda.stamp()));
        other_price.totals.insert(zonda.clone(), total);
        assert_eq!(settle(&[], &other_price), account(1, 1, 0));

        let mut torn = counted(100);
        torn.totals.insert(zonda, (0..10).fold(Total::default(), |total, _| total.and(418_100_000, 0)));
        assert_eq!(settle(&[], &torn), account(0, 0, 1));

        let mut unknown = counted(100);
        unknown.totals.insert(Car::new(1, "A", "B"), Total::default().and(1, Car::new(1, "A", "B").stamp()));
        assert_eq!(settle(&[], &unknown), account(0, 1, 0));
    }
}
