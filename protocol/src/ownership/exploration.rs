//! The machine in a small world, through every sequence of inputs, and through long random ones.
//!
//! The world has two workers and one stranger (a forked child, say) and knows the truth about them: who lives and
//! who can write. The kernel's answers in it are true; everything else may arrive at any time, in any order, as often
//! as it likes: messages with any epoch, timers, answers to effects that nobody asked for.

use super::{Effect, Input, Link, Ownership, Recall, State, Timer, WorkerId};
use crate::message::TransferReason;
use proptest::prelude::*;
use std::collections::HashSet;

const WORKERS: [WorkerId; 2] =
    [WorkerId { registration: 1, pid: 101 }, WorkerId { registration: 2, pid: 102 }];

const TIMERS: [Timer; 6] =
    [Timer::Offer, Timer::Recall, Timer::Connection, Timer::Lease, Timer::Reclaim, Timer::ProveAgain];

/// What is true, whatever the machine believes.
#[derive(Debug, Clone, Default)]
struct World {
    dead: [bool; 2],
    /// The epoch that each worker holds a write handle of.
    holds: [Option<u64>; 2],
    /// Whether somebody that the manager does not know can write.
    stranger: bool,
    last_offer: u64,
    last_grant: u64,
    /// The offer that was accepted, by whom and of which epoch, and since when nobody could write.
    accepted: Option<(WorkerId, u64)>,
    proven: bool,
    /// The ownership of that epoch was ended by its owner's word or death.
    ended: u64,
    /// What the header and the descriptor store say: the last epoch that was stored, and for whom.
    stored: (u64, Option<WorkerId>),
    /// Somebody could write since the last recovery.
    unrecovered: bool,
    grants: u64,
}

/// One thing that can happen in this world.
#[derive(Debug, Clone)]
enum Happening {
    Said(Input),
    /// The kernel answers whether anybody can write, truthfully.
    Asked,
    StrangerMaps,
    StrangerGoes,
    /// The manager dies, and the next one takes the table up.
    ManagerDies,
}

impl World {
    fn writable(&self) -> bool {
        self.stranger || self.holds.iter().any(Option::is_some)
    }

    /// What happens to the world, and what the machine hears of it; nothing where it cannot happen.
    fn happens(&mut self, happening: &Happening) -> Option<Input> {
        match happening {
            Happening::Asked if self.writable() => {
                Some(Input::StillWritable { held_by: "somebody".to_owned() })
            }
            Happening::Asked => Some(Input::Unwritable),
            Happening::StrangerMaps => {
                // It can only copy what somebody has.
                self.stranger |= self.writable();
                None
            }
            Happening::StrangerGoes => {
                self.stranger = false;
                None
            }
            Happening::ManagerDies => None,
            Happening::Said(input) => {
                match *input {
                    Input::Died { worker, .. } => {
                        self.dead[index(worker)] = true;
                        self.holds[index(worker)] = None;
                    }
                    // The dead say nothing, and find-me's answer was alive when it was given.
                    Input::Found { worker }
                    | Input::RecallWanted { recall: Recall { to: Some(worker), .. } }
                    | Input::Accepted { worker, .. }
                    | Input::Declined { worker, .. }
                    | Input::Released { worker, .. }
                    | Input::Holds { worker, .. }
                        if self.dead[index(worker)] =>
                    {
                        return None;
                    }
                    _ => {}
                }
                Some(input.clone())
            }
        }
    }

    /// Checks what the machine wants done against the list in the module's documentation, and does it.
    fn check(&mut self, before: &Ownership, input: &Input, after: &Ownership, effects: &[Effect]) {
        let told = format!("{before:?}\n  {input:?}\n  {effects:?}\n{after:?}\n{self:?}");
        self.note(before, input);
        assert!(after.epoch >= before.epoch, "the epoch fell: {told}");
        for effect in effects {
            match *effect {
                Effect::Offer { to, epoch, .. } => {
                    assert!(epoch > self.last_offer, "an epoch was offered twice: {told}");
                    assert!(!self.dead[index(to)], "offered to the dead: {told}");
                    assert!(!self.unrecovered, "offered without recovery: {told}");
                    self.last_offer = epoch;
                    (self.accepted, self.proven) = (None, false);
                }
                Effect::Grant { to, epoch, .. } => {
                    assert_eq!(self.accepted, Some((to, epoch)), "granted without acceptance: {told}");
                    assert!(self.proven, "granted without the kernel's word: {told}");
                    assert!(epoch > self.last_grant, "the epoch of grants did not rise: {told}");
                    assert_eq!(self.ended, self.last_grant, "the last ownership never ended: {told}");
                    assert!(self.holds.iter().all(Option::is_none), "two owners: {told}");
                    if !self.dead[index(to)] {
                        self.holds[index(to)] = Some(epoch);
                    }
                    self.last_grant = epoch;
                    self.unrecovered = true;
                    self.grants += 1;
                }
                Effect::Recover => {
                    assert!(!self.writable(), "recovered while somebody can write: {told}");
                    self.unrecovered = false;
                    // The manager has its descriptor forgotten.
                    self.stored.1 = None;
                }
                Effect::Store { worker, epoch } => self.stored = (epoch, Some(worker)),
                Effect::Kill { worker, .. } => {
                    let guilty = match before.state {
                        State::Owned { by, ref link, recall, .. } => {
                            let elapsed =
                                |timer| matches!(*input, Input::Elapsed { timer: of, .. } if of == timer);
                            let lost = *link == Link::Lost && elapsed(Timer::Connection);
                            let silent =
                                matches!(link, Link::Connected | Link::Lost) && elapsed(Timer::Lease);
                            let again = matches!(link, Link::Unkillable { .. }) && elapsed(Timer::Connection);
                            let forced = recall.is_some_and(|recall| recall.force) && elapsed(Timer::Recall);
                            let twice = matches!(link, Link::Killed { .. });
                            by == worker && !twice && (lost || silent || again || forced)
                        }
                        State::Reclaiming { from, .. } => from == Some(worker),
                        State::Unowned { .. } | State::Offered { .. } => false,
                    };
                    assert!(guilty, "an innocent is killed: {told}");
                }
                Effect::AskFindMe
                | Effect::PassOver { .. }
                | Effect::Prove
                | Effect::Withdraw { .. }
                | Effect::Recall { .. }
                | Effect::RecallOver { .. }
                | Effect::Fence { .. }
                | Effect::Arm { .. } => {}
            }
        }
        let recalled = |state: &State| matches!(state, State::Owned { recall: Some(_), .. });
        let over = effects.iter().filter(|effect| matches!(effect, Effect::RecallOver { .. })).count();
        let refused =
            matches!(input, Input::RecallWanted { .. }) && !matches!(after.state, State::Offered { .. });
        match (recalled(&before.state), recalled(&after.state)) {
            (true, false) => assert_eq!(over, 1, "nobody hears how the recall ended: {told}"),
            (false, false) if refused => assert_eq!(over, 1, "nobody hears that there is no recall: {told}"),
            (false, true) => assert_eq!(over, 0, "a recall that begins is not over: {told}"),
            _ => {}
        }
        if let (State::Owned { by, epoch, .. }, true) = (&before.state, before.state != after.state) {
            let moved = !matches!(after.state, State::Owned { .. });
            let word =
                matches!(input, Input::Released { worker, epoch: of, .. } if (worker, of) == (by, epoch));
            let death = matches!(input, Input::Died { worker, .. } if worker == by);
            assert!(!moved || word || death, "moved without the owner's word or death: {told}");
            let passed_over = effects.contains(&Effect::PassOver { worker: *by });
            assert_eq!(passed_over, word, "who gave it up comes last, and nobody else: {told}");
        }
    }

    /// The next manager takes the table up, with what it finds. What the last one offered is forgotten, and where it died
    /// between the header and the grant, the owner to be owns an epoch that it never heard of.
    fn next_manager(&mut self) -> Ownership {
        let (epoch, owner) = self.stored;
        let alive = owner.filter(|owner| !self.dead[index(*owner)]);
        (self.last_offer, self.accepted, self.proven) = (epoch, None, false);
        if self.last_grant < epoch {
            (self.last_grant, self.unrecovered) = (epoch, true);
        }
        if alive.is_none() {
            self.ended = epoch;
        }
        let (table, effects) = Ownership::adopted(epoch, alive, TransferReason::ManagerDied);
        let innocent = !effects.iter().any(|effect| matches!(effect, Effect::Kill { .. } | Effect::Recover));
        assert!(innocent, "nothing is done before the kernel was asked: {effects:?}");
        table
    }

    /// What the input says about the offer and the ownership, as an observer outside understands it.
    fn note(&mut self, before: &Ownership, input: &Input) {
        match (input, &before.state) {
            (Input::Accepted { worker, epoch }, State::Offered { to, epoch: of, .. })
                if (worker, epoch) == (to, of) =>
            {
                self.accepted = Some((*worker, *epoch));
            }
            (Input::Unwritable, _) => self.proven = self.accepted.is_some(),
            // It may lie and stay mapped: then `holds` stays, and the kernel says so.
            (Input::Released { worker, epoch, .. }, _)
                if *epoch == self.last_grant && before.owner() == Some(*worker) =>
            {
                self.ended = *epoch;
            }
            (Input::Died { worker, .. }, _) if before.owner() == Some(*worker) => {
                self.ended = self.last_grant
            }
            _ => {}
        }
    }
}

fn index(worker: WorkerId) -> usize {
    worker.registration as usize - 1
}

/// Everything that can happen next; epochs are the current one and its neighbours.
fn happenings(epoch: u64) -> Vec<Happening> {
    let epochs = [epoch.saturating_sub(1), epoch, epoch + 1];
    let mut all =
        vec![Happening::Asked, Happening::StrangerMaps, Happening::StrangerGoes, Happening::ManagerDies];
    let mut said = |input| all.push(Happening::Said(input));
    said(Input::Wake);
    for force in [false, true] {
        for to in [None, Some(WORKERS[0]), Some(WORKERS[1])] {
            said(Input::RecallWanted { recall: Recall { to, force } });
        }
    }
    said(Input::Recovered);
    said(Input::NotStored);
    said(Input::Unrecoverable { why: "garbage".to_owned() });
    said(Input::NotKilled { why: "not permitted".to_owned() });
    for worker in WORKERS {
        said(Input::Found { worker });
        said(Input::Died { worker, how: None });
        said(Input::Disconnected { worker });
        for epoch in epochs {
            said(Input::Accepted { worker, epoch });
            said(Input::Declined { worker, epoch });
            said(Input::Released { worker, epoch, panicked: epoch % 2 == 1 });
            said(Input::Holds { worker, epoch });
        }
    }
    for epoch in epochs {
        said(Input::Stored { epoch });
        said(Input::ShowsLife { epoch });
        for timer in TIMERS {
            said(Input::Elapsed { timer, epoch });
        }
    }
    all
}

/// A release that is the truth: the worker unmaps before it says so. (That it lies is [`Happening::Said`].)
fn honest(world: &mut World, input: &Input) {
    if let Input::Released { worker, epoch, .. } = *input
        && world.holds[index(worker)] == Some(epoch)
    {
        world.holds[index(worker)] = None;
    }
}

/// The machine and the world after one thing more, checked.
fn after(table: &Ownership, world: &World, happening: &Happening, lie: bool) -> (Ownership, World) {
    let mut world = world.clone();
    if matches!(happening, Happening::ManagerDies) {
        return (world.next_manager(), world);
    }
    let Some(input) = world.happens(happening) else { return (table.clone(), world) };
    if !lie {
        honest(&mut world, &input);
    }
    let (next, effects) = table.clone().step(input.clone());
    world.check(table, &input, &next, &effects);
    (next, world)
}

#[test]
fn every_sequence_of_inputs_keeps_the_list() {
    // Equal pairs of machine and world have equal futures, so each is followed once: this covers every sequence of
    // this length, with a liar and a stranger among them.
    const DEPTH: usize = 24;
    const OFFERS: u64 = 4;
    let mut seen = HashSet::new();
    let mut level = vec![(Ownership::new(0), World::default())];
    let (mut pairs, mut most_grants) = (0_u64, 0);
    for _ in 0..DEPTH {
        let mut next_level = Vec::new();
        for (table, world) in &level {
            for happening in happenings(table.epoch) {
                for lie in [false, true] {
                    let (next, world) = after(table, world, &happening, lie);
                    most_grants = most_grants.max(world.grants);
                    if next.epoch <= OFFERS && seen.insert(format!("{next:?}{world:?}")) {
                        next_level.push((next, world));
                    }
                }
            }
        }
        pairs += next_level.len() as u64;
        level = next_level;
    }
    println!("{pairs} distinct pairs within {DEPTH} inputs, up to {most_grants} grants in one sequence");
    assert!(pairs > 5_000 && most_grants >= 3, "the exploration reaches too little");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn long_random_histories_keep_the_list(
        choices in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..400)
    ) {
        let (mut table, mut world) = (Ownership::new(0), World::default());
        for (choice, lie) in choices {
            let all = happenings(table.epoch);
            (table, world) = after(&table, &world, &all[choice.index(all.len())], lie);
            // Replaced by a fresh process of the same role, so that histories are long.
            if world.dead == [true, true] {
                world.dead = [false, false];
            }
        }
    }
}
