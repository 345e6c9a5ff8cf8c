//! Which commit comes next: chosen by its number, of everything that a table can do. The table grows for some thousands of
//! commits, and shrinks for as many.

use super::dice::Dice;
use super::model::{Change, Commit, Model, Slot};
use super::tables::{CONSERVED_KEYS, FIRST_WRITE, MOVERS, TOTAL};
use heirloom_worker::Kind;

/// So many commits of growth, then of shrinking.
const TIDE: u64 = 4096;

/// One of so many commits clears the table.
const CLEARS: u64 = 20_000;

/// Chooses the commit of that number. `attempt` counts those of the same number that the table had no room for.
pub(super) fn next(model: &Model, number: u64, attempt: u64, seed: u64, now_ms: u64) -> Commit {
    let mut dice = Dice::of([seed ^ (model.table.number() << 56), number, attempt]);
    if number == FIRST_WRITE {
        return begin(model, number, false);
    }
    if dice.below(CLEARS) == 0 {
        return begin(model, number, true);
    }
    let mut planned = Planned { model, number, now_ms, dice, changes: Vec::new() };
    let what = planned.dice.below(100);
    match what {
        0..15 => planned.expiring(),
        15..40 => planned.conserved(),
        40..70 => planned.several(),
        _ => planned.plain(),
    }
    if planned.changes.is_empty() {
        planned.plain();
    }
    let bequeaths = (15..70).contains(&what);
    Commit { number, clears: false, bequeaths, changes: planned.changes }
}

/// What the conserved keys begin with; after a clear, what they had.
fn begin(model: &Model, number: u64, clears: bool) -> Commit {
    let write = |slot: u64| match (model.table.kind.is_bag(), clears) {
        (true, false) => Slot { write: slot + MOVERS.start, extra: 0 },
        (true, true) => model.slot(slot),
        (false, false) => Slot { write: number, extra: TOTAL / CONSERVED_KEYS },
        (false, true) => Slot { write: number, extra: model.slot(slot).extra },
    };
    let slots = match (model.table.kind.is_bag(), clears) {
        (true, true) => 0..CONSERVED_KEYS * model.table.slots_per_key(),
        _ => 0..CONSERVED_KEYS,
    };
    let changes = slots.map(|slot| Change { slot, to: write(slot) }).filter(|change| change.to.is_used());
    Commit { number, clears, bequeaths: true, changes: changes.collect() }
}

struct Planned<'a> {
    model: &'a Model,
    number: u64,
    now_ms: u64,
    dice: Dice,
    changes: Vec<Change>,
}

impl Planned<'_> {
    fn change(&mut self, slot: u64, to: Slot) {
        if !self.changes.iter().any(|change| change.slot == slot) {
            self.changes.push(Change { slot, to });
        }
    }

    fn among(&mut self, slots: std::ops::Range<u64>) -> u64 {
        slots.start + self.dice.below(slots.end - slots.start)
    }

    /// Whether it is ebb.
    fn shrinks(&self) -> bool {
        self.number / TIDE % 2 == 1
    }

    /// An entry that expires, soon or some time later, or its removal.
    fn expiring(&mut self) {
        let slots = self.model.table.expiring_slots();
        if slots.is_empty() {
            return self.plain();
        }
        let slot = self.among(slots);
        let gone = self.model.slot(slot).is_used() && self.dice.below(4) == 0;
        let for_ms = if self.dice.below(4) == 0 { 3000 } else { 1 + self.dice.below(200) };
        let to = Slot { write: self.number, extra: self.now_ms + for_ms };
        self.change(slot, if gone { Slot::EMPTY } else { to });
    }

    /// One account to another; or one mover to a place that is free.
    fn conserved(&mut self) {
        let table = self.model.table;
        let slots = 0..CONSERVED_KEYS * table.slots_per_key();
        let (from, to) = (self.among(slots.clone()), self.among(slots));
        let [source, target] = [from, to].map(|slot| self.model.slot(slot));
        if table.kind.is_bag() {
            if source.is_used() && !target.is_used() && table.key_of(from) != table.key_of(to) {
                self.change(from, Slot::EMPTY);
                self.change(to, source);
            }
        } else if from != to && source.extra > 0 {
            let amount = 1 + self.dice.below(source.extra);
            self.change(from, Slot { write: self.number, extra: source.extra - amount });
            self.change(to, Slot { write: self.number, extra: target.extra + amount });
        }
    }

    /// A few plain ones at once.
    fn several(&mut self) {
        for _ in 0..2 + self.dice.below(7) {
            self.plain();
        }
    }

    /// One entry, inserted, overwritten or removed.
    fn plain(&mut self) {
        let table = self.model.table;
        let slot = self.among(table.plain_slots());
        let key = table.key_of(slot);
        if self.changes.iter().any(|change| table.key_of(change.slot) == key) {
            return;
        }
        let found = self.model.slot(slot);
        let write = Slot { write: self.number, extra: 0 };
        let removes = self.dice.below(4) < if self.shrinks() { 3 } else { 1 };
        // Where there is nothing to remove, or nothing free, another is looked for.
        let fits = found.is_used() == removes || (found.is_used() && !table.kind.is_bag());
        if !fits && self.dice.below(8) > 0 {
            return self.plain();
        }
        if !table.kind.is_bag() {
            let empties = found.is_used() && removes;
            self.change(slot, if empties { Slot::EMPTY } else { write });
        } else if !found.is_used() {
            let copied = self.among(table.slots_of(key));
            let copied = self.model.slot(copied);
            let copies = table.kind == Kind::DuplicateBag && copied.is_used();
            self.change(slot, if copies { copied } else { write });
        } else if self.dice.below(4) == 0 {
            // All values of the key.
            for slot in table.slots_of(key).filter(|slot| self.model.slot(*slot).is_used()) {
                self.change(slot, Slot::EMPTY);
            }
        } else {
            // In a duplicate bag, the equal ones with it.
            for slot in table.slots_of(key).filter(|slot| self.model.slot(*slot) == found) {
                self.change(slot, Slot::EMPTY);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{MOST_CHANGES, is_conserved};
    use super::super::tables::TABLES;
    use super::*;

    #[test]
    fn commits_keep_what_is_conserved_and_tables_grow_and_shrink() {
        for table in TABLES {
            let mut model = Model::empty(table);
            let (mut most, mut least_after) = (0, usize::MAX);
            for number in FIRST_WRITE..FIRST_WRITE + 6 * TIDE {
                let commit = next(&model, number, 0, 7, 1_000_000 + number);
                assert!((1..=MOST_CHANGES).contains(&(commit.changes.len() as u64)), "{commit:?}");
                let before = model.clone();
                model.apply(&commit);
                assert_ne!(before.slots, model.slots, "{commit:?}");
                assert!(is_conserved(table, |key| model.entries_of(key)), "{commit:?}");
                let entries = model.slots.iter().filter(|slot| slot.is_used()).count();
                most = entries.max(most);
                if entries < most / 2 {
                    least_after = entries.min(least_after);
                }
            }
            assert!(most > 500 && least_after < most / 2, "{table:?}: {least_after} to {most}");
        }
    }

    #[test]
    fn a_seed_chooses_the_commits() {
        let model = Model::empty(TABLES[0]);
        let commit = |seed| next(&model, FIRST_WRITE + 5, 0, seed, 9);
        assert_eq!(commit(3), commit(3));
        assert_ne!(commit(3), commit(4));
    }
}
