//! One test for each way in which the peers lose a table, or give it to two, and for each arrow of the diagram.

use super::{Effect, Input, Ownership, Recall, RecallEnd, State, Timer, WorkerId};
use crate::message::TransferReason;

const A: WorkerId = WorkerId { registration: 1, pid: 101 };
const B: WorkerId = WorkerId { registration: 2, pid: 102 };

/// The machine and all that it wanted done by the last input.
struct Run {
    table: Ownership,
    effects: Vec<Effect>,
}

impl Run {
    fn new() -> Self {
        Self { table: Ownership::new(0), effects: vec![] }
    }

    fn then(mut self, input: Input) -> Self {
        (self.table, self.effects) = self.table.step(input);
        self
    }

    /// Offered to the worker, accepted, proven, stored: granted.
    fn granted(self, worker: WorkerId, epoch: u64) -> Self {
        self.then(Input::Found { worker })
            .then(Input::Accepted { worker, epoch })
            .wants(&[Effect::Prove])
            .then(Input::Unwritable)
            .wants(&[Effect::Store { worker, epoch }])
            .then(Input::Stored { epoch })
            .grants(worker, epoch)
            .is("owned")
    }

    /// The state's word; panics with the whole state otherwise.
    fn is(self, word: &str) -> Self {
        assert_eq!(self.table.word(), word, "{:?}", self.table);
        self
    }

    fn grants(self, worker: WorkerId, of: u64) -> Self {
        let [Effect::Grant { to, epoch, .. }, Effect::Arm { timer: Timer::Lease, .. }] = self.effects[..]
        else {
            panic!("no grant, or no lease: {:?}", self.effects)
        };
        assert_eq!((to, epoch), (worker, of));
        self
    }

    fn wants(self, effects: &[Effect]) -> Self {
        assert_eq!(self.effects, effects, "{:?}", self.table);
        self
    }
}

const RECALL: Input = Input::RecallWanted { recall: Recall { to: None, force: false } };

fn recall_for(to: WorkerId, force: bool) -> Input {
    Input::RecallWanted { recall: Recall { to: Some(to), force } }
}

fn died(worker: WorkerId) -> Input {
    Input::Died { worker, how: None }
}

#[test]
fn a_killed_owner_is_followed_by_the_next() {
    let why = TransferReason::Died { pid: A.pid, how: None };
    Run::new()
        .granted(A, 1)
        .then(died(A))
        .wants(&[Effect::Arm { timer: Timer::Reclaim, epoch: 1 }, Effect::Prove])
        .then(Input::Unwritable)
        .wants(&[Effect::Recover])
        .then(Input::Recovered)
        .wants(&[Effect::AskFindMe])
        .is("unowned")
        .then(Input::Found { worker: B })
        .wants(&[Effect::Offer { to: B, epoch: 2, why }, Effect::Arm { timer: Timer::Offer, epoch: 2 }]);
}

#[test]
fn a_candidate_that_is_already_dying_costs_nothing() {
    Run::new()
        .then(Input::Found { worker: A })
        .then(died(A))
        .wants(&[Effect::AskFindMe])
        .is("unowned")
        .granted(B, 2);
}

#[test]
fn a_candidate_that_dies_after_accepting_costs_nothing() {
    let accepted =
        || Run::new().then(Input::Found { worker: A }).then(Input::Accepted { worker: A, epoch: 1 });
    accepted().then(died(A)).wants(&[Effect::AskFindMe]).granted(B, 2);
    accepted().then(Input::Unwritable).then(died(A)).wants(&[Effect::AskFindMe]).granted(B, 2);
}

#[test]
fn the_epoch_is_stored_before_the_grant_is_sent() {
    Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Accepted { worker: A, epoch: 1 })
        .then(Input::Stored { epoch: 1 })
        .wants(&[])
        .then(Input::Unwritable)
        .wants(&[Effect::Store { worker: A, epoch: 1 }]);
}

#[test]
fn who_does_not_take_the_table_is_passed_over() {
    Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Declined { worker: A, epoch: 1 })
        .wants(&[Effect::PassOver { worker: A }, Effect::AskFindMe])
        .is("unowned");
    let slow = "the offer was not answered in its time";
    Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Elapsed { timer: Timer::Offer, epoch: 1 })
        .wants(&[
            Effect::Withdraw { from: A, epoch: 1, why: slow },
            Effect::PassOver { worker: A },
            Effect::AskFindMe,
        ])
        .granted(B, 2);
}

#[test]
fn a_write_handle_that_cannot_be_made_costs_nothing() {
    let run = Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Accepted { worker: A, epoch: 1 })
        .then(Input::Unwritable)
        .then(Input::NotStored);
    assert!(matches!(
        run.effects[..],
        [Effect::Withdraw { from: A, epoch: 1, .. }, Effect::PassOver { worker: A }, Effect::AskFindMe]
    ));
    run.is("unowned").granted(B, 2);
}

#[test]
fn an_acceptance_that_comes_too_late_is_refused() {
    let run = Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Elapsed { timer: Timer::Offer, epoch: 1 })
        .then(Input::Found { worker: B })
        .then(Input::Accepted { worker: A, epoch: 1 });
    assert!(matches!(run.effects[..], [Effect::Withdraw { from: A, epoch: 1, .. }]), "{:?}", run.effects);
    run.is("offered").then(Input::Accepted { worker: B, epoch: 2 }).wants(&[Effect::Prove]);
}

#[test]
fn a_panic_is_a_release_that_says_so() {
    let run = Run::new().granted(A, 1).then(Input::Released { worker: A, epoch: 1, panicked: true });
    assert!(run.effects.contains(&Effect::PassOver { worker: A }), "{:?}", run.effects);
    let why = TransferReason::Panicked { pid: A.pid };
    assert!(matches!(run.table.state(), State::Reclaiming { why: w, .. } if *w == why));
}

#[test]
fn a_release_of_an_older_epoch_or_by_another_changes_nothing() {
    for (worker, epoch) in [(A, 0), (A, 2), (B, 1)] {
        let run = Run::new().granted(A, 1).then(Input::Released { worker, epoch, panicked: false });
        assert!(matches!(run.effects[..], [Effect::Fence { .. }]), "{:?}", run.effects);
        run.is("owned");
    }
}

#[test]
fn a_release_moves_the_table_only_when_nobody_can_write() {
    Run::new()
        .granted(A, 1)
        .then(Input::Released { worker: A, epoch: 1, panicked: false })
        .wants(&[
            Effect::Arm { timer: Timer::Reclaim, epoch: 1 },
            Effect::Prove,
            Effect::PassOver { worker: A },
        ])
        .then(Input::StillWritable { held_by: "process 101".to_owned() })
        .wants(&[Effect::Arm { timer: Timer::ProveAgain, epoch: 1 }])
        .is("reclaiming")
        .then(Input::Found { worker: B })
        .wants(&[])
        .then(Input::Elapsed { timer: Timer::ProveAgain, epoch: 1 })
        .wants(&[Effect::Prove])
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .granted(B, 2);
}

#[test]
fn who_stays_mapped_after_a_release_is_killed_after_the_grace() {
    let run = Run::new()
        .granted(A, 1)
        .then(Input::Released { worker: A, epoch: 1, panicked: false })
        .then(Input::StillWritable { held_by: "process 101".to_owned() })
        .then(Input::Elapsed { timer: Timer::Reclaim, epoch: 1 });
    assert!(matches!(run.effects[..], [Effect::Fence { .. }, Effect::Kill { worker: A, .. }]));
    let run = run.is("stuck").then(Input::NotKilled { why: "not permitted".to_owned() }).is("stuck");
    let detail = run.table.detail().unwrap();
    assert!(detail.contains("process 101") && detail.contains("not permitted"), "{detail}");
    run.then(died(A)).wants(&[Effect::Prove]).then(Input::Unwritable).wants(&[Effect::Recover]);
}

#[test]
fn a_closed_connection_kills_after_the_grace_and_moves_nothing() {
    let run = Run::new()
        .granted(A, 1)
        .then(Input::Disconnected { worker: A })
        .wants(&[Effect::Arm { timer: Timer::Connection, epoch: 1 }])
        .is("owned")
        .then(Input::Found { worker: B })
        .wants(&[])
        .then(Input::Elapsed { timer: Timer::Connection, epoch: 1 });
    assert!(matches!(run.effects[..], [Effect::Arm { .. }, Effect::Kill { worker: A, .. }]));
    run.is("owned")
        .then(Input::Elapsed { timer: Timer::Connection, epoch: 1 })
        .is("stuck")
        .then(died(A))
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .granted(B, 2);
}

const LEASE_OVER: Input = Input::Elapsed { timer: Timer::Lease, epoch: 1 };
const GRACE_OVER: Input = Input::Elapsed { timer: Timer::Connection, epoch: 1 };
const LEASE: Effect = Effect::Arm { timer: Timer::Lease, epoch: 1 };

fn not_killed() -> Input {
    Input::NotKilled { why: "not permitted".to_owned() }
}

#[test]
fn a_lease_that_is_over_kills_and_moves_nothing_before_the_death() {
    let run = Run::new().granted(A, 1).then(LEASE_OVER);
    assert!(matches!(run.effects[..], [Effect::Arm { .. }, Effect::Kill { worker: A, .. }]));
    run.is("owned")
        .then(LEASE_OVER)
        .wants(&[])
        // The kernel's answer to another question, or a sign that is older than the kill.
        .then(Input::Unwritable)
        .wants(&[])
        .then(Input::ShowsLife { epoch: 1 })
        .wants(&[])
        .then(GRACE_OVER)
        .wants(&[])
        .is("stuck")
        .then(died(A))
        .wants(&[Effect::Arm { timer: Timer::Reclaim, epoch: 1 }, Effect::Prove])
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .granted(B, 2);
    // Of an ownership that is over.
    let other = Input::Elapsed { timer: Timer::Lease, epoch: 0 };
    Run::new().granted(A, 1).then(other).wants(&[]).is("owned");
}

#[test]
fn who_cannot_be_killed_for_its_silence_is_stuck_until_it_shows_life() {
    let stuck = || Run::new().granted(A, 1).then(LEASE_OVER).then(not_killed()).is("stuck");
    let detail = stuck().table.detail().unwrap();
    assert!(detail.contains("no sign of life") && detail.contains("not permitted"), "{detail}");
    // It is its own again, with a lease that begins anew, and nothing is left of the kill.
    stuck().then(Input::ShowsLife { epoch: 1 }).wants(&[LEASE]).is("owned").then(GRACE_OVER).wants(&[]);
    stuck().then(Input::ShowsLife { epoch: 0 }).wants(&[]).is("stuck");
    stuck().then(Input::Holds { worker: A, epoch: 1 }).wants(&[]).is("stuck");
    // Its connection is gone as well: only its word that it is back makes that good.
    stuck()
        .then(Input::Disconnected { worker: A })
        .then(Input::ShowsLife { epoch: 1 })
        .wants(&[])
        .is("stuck")
        .then(Input::Holds { worker: A, epoch: 1 })
        .wants(&[LEASE])
        .is("owned");
}

#[test]
fn who_cannot_be_killed_is_tried_again_after_each_grace() {
    let mut run = Run::new().granted(A, 1).then(Input::Disconnected { worker: A });
    for _ in 0..3 {
        run = run.then(GRACE_OVER);
        assert!(matches!(run.effects[..], [Effect::Arm { .. }, Effect::Kill { worker: A, .. }]));
        run = run.then(not_killed()).is("stuck").then(Input::Unwritable).then(Input::Recovered).is("stuck");
    }
    // At last it can be.
    run.then(GRACE_OVER)
        .is("owned")
        .then(died(A))
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .granted(B, 2);
}

#[test]
fn who_cannot_be_killed_by_a_forced_recall_keeps_the_table_when_that_is_withdrawn() {
    let unwilling = || {
        let recalled = Run::new().granted(A, 1).then(recall_for(B, true));
        recalled.then(Input::Elapsed { timer: Timer::Recall, epoch: 1 }).then(not_killed()).is("stuck")
    };
    unwilling().then(died(B)).is("owned");
    unwilling().then(Input::ShowsLife { epoch: 1 }).is("stuck");
    let released = Input::Released { worker: A, epoch: 1, panicked: false };
    unwilling().then(released).then(Input::Unwritable).then(Input::Recovered).is("offered");
}

#[test]
fn who_was_killed_is_not_killed_twice() {
    let recalled = Run::new().granted(A, 1).then(recall_for(B, true)).then(LEASE_OVER);
    recalled.then(Input::Elapsed { timer: Timer::Recall, epoch: 1 }).wants(&[]).is("owned");
}

#[test]
fn a_forked_child_that_can_write_keeps_the_table_from_everybody() {
    Run::new()
        .granted(A, 1)
        .then(died(A))
        .then(Input::StillWritable { held_by: "process 103".to_owned() })
        .then(Input::Recovered)
        .is("reclaiming")
        .then(Input::Elapsed { timer: Timer::Reclaim, epoch: 1 })
        .is("stuck")
        .then(Input::Elapsed { timer: Timer::ProveAgain, epoch: 1 })
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .is("unowned");
}

#[test]
fn a_table_that_became_writable_during_an_offer_is_recovered_again() {
    let run = Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Accepted { worker: A, epoch: 1 })
        .then(Input::StillWritable { held_by: "process 103".to_owned() });
    assert!(matches!(
        run.effects[..],
        [Effect::Withdraw { from: A, epoch: 1, .. }, Effect::Arm { .. }, Effect::Prove]
    ));
    run.then(Input::Unwritable).wants(&[Effect::Recover]).then(Input::Recovered).granted(A, 2);
}

#[test]
fn a_recall_ends_with_the_release_or_with_its_time() {
    let recalled = || Run::new().granted(A, 1).then(RECALL);
    let run = recalled()
        .wants(&[Effect::Recall { from: A, epoch: 1 }, Effect::Arm { timer: Timer::Recall, epoch: 1 }])
        .then(Input::Released { worker: A, epoch: 1, panicked: false });
    assert!(run.effects.contains(&Effect::RecallOver { end: RecallEnd::TakenBack }));
    assert!(run.effects.contains(&Effect::PassOver { worker: A }));
    let why = TransferReason::Recalled { pid: A.pid };
    assert!(matches!(run.table.state(), State::Reclaiming { why: w, .. } if *w == why));

    recalled()
        .then(Input::Elapsed { timer: Timer::Recall, epoch: 1 })
        .wants(&[
            Effect::Withdraw { from: A, epoch: 1, why: "the recall was not answered in its time" },
            Effect::RecallOver { end: RecallEnd::Unanswered },
        ])
        .is("owned");
    Run::new().then(RECALL).wants(&[Effect::RecallOver { end: RecallEnd::NobodyOwns }]);
}

#[test]
fn a_recall_for_somebody_is_offered_to_it_and_find_me_is_not_asked() {
    let why = TransferReason::Recalled { pid: A.pid };
    let run = Run::new()
        .granted(A, 1)
        .then(recall_for(B, false))
        .wants(&[Effect::Recall { from: A, epoch: 1 }, Effect::Arm { timer: Timer::Recall, epoch: 1 }])
        .then(Input::Released { worker: A, epoch: 1, panicked: false })
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .wants(&[Effect::Offer { to: B, epoch: 2, why }, Effect::Arm { timer: Timer::Offer, epoch: 2 }]);
    // And where it does not take it after all, anybody may.
    run.then(Input::Declined { worker: B, epoch: 2 })
        .wants(&[Effect::PassOver { worker: B }, Effect::AskFindMe])
        .granted(A, 3);
    Run::new().then(recall_for(B, false)).is("offered");
}

#[test]
fn a_recall_is_withdrawn_when_its_heir_is_gone() {
    let gone = "whoever should have it next is gone";
    for end in [died(B), Input::Disconnected { worker: B }] {
        Run::new()
            .granted(A, 1)
            .then(recall_for(B, true))
            .then(end.clone())
            .wants(&[
                Effect::Withdraw { from: A, epoch: 1, why: gone },
                Effect::RecallOver { end: RecallEnd::HeirGone },
            ])
            .is("owned")
            .then(Input::Elapsed { timer: Timer::Recall, epoch: 1 })
            .wants(&[]);
        // The release was on its way: then find-me says who is next.
        Run::new()
            .granted(A, 1)
            .then(recall_for(B, false))
            .then(Input::Released { worker: A, epoch: 1, panicked: false })
            .then(end)
            .then(Input::Unwritable)
            .then(Input::Recovered)
            .wants(&[Effect::AskFindMe]);
    }
    Run::new()
        .granted(A, 1)
        .then(recall_for(A, false))
        .wants(&[Effect::RecallOver { end: RecallEnd::HeirGone }])
        .then(Input::Elapsed { timer: Timer::Recall, epoch: 1 })
        .wants(&[]);
}

#[test]
fn a_forced_recall_kills_and_waits_for_the_death() {
    let run = Run::new()
        .granted(A, 1)
        .then(recall_for(B, false))
        .then(Input::RecallWanted { recall: Recall { to: None, force: true } })
        .then(Input::Elapsed { timer: Timer::Recall, epoch: 1 });
    assert!(matches!(run.effects[..], [Effect::Arm { .. }, Effect::Kill { worker: A, .. }]));
    let why = TransferReason::Died { pid: A.pid, how: None };
    run.is("owned")
        .then(Input::NotKilled { why: "not permitted".to_owned() })
        .is("stuck")
        .then(died(A))
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .wants(&[Effect::Offer { to: B, epoch: 2, why }, Effect::Arm { timer: Timer::Offer, epoch: 2 }]);
}

#[test]
fn a_corrupt_segment_stays_with_the_manager() {
    let run = Run::new()
        .granted(A, 1)
        .then(died(A))
        .then(Input::Unwritable)
        .then(Input::Unrecoverable { why: "the log is cut".to_owned() })
        .is("stuck")
        .then(Input::Found { worker: B })
        .wants(&[]);
    assert_eq!(run.table.detail().as_deref(), Some("it cannot be recovered: the log is cut"));
    Run::new()
        .then(Input::Found { worker: A })
        .then(Input::Accepted { worker: A, epoch: 1 })
        .then(Input::Unwritable)
        .then(Input::Unrecoverable { why: "no header".to_owned() })
        .wants(&[Effect::Withdraw { from: A, epoch: 1, why: "the table is corrupt" }])
        .is("stuck");
}

#[test]
fn a_restarted_manager_goes_on_above_the_epoch_of_the_header() {
    let (table, effects) = Ownership::new(7).step(Input::Found { worker: A });
    assert!(matches!(table.state(), State::Offered { epoch: 8, .. }), "{effects:?}");
}

#[test]
fn an_owner_that_comes_back_within_its_grace_keeps_the_table() {
    let back = Run::new()
        .granted(A, 1)
        .then(Input::Disconnected { worker: A })
        .wants(&[Effect::Arm { timer: Timer::Connection, epoch: 1 }])
        .then(Input::Holds { worker: A, epoch: 1 })
        .wants(&[])
        .then(Input::Elapsed { timer: Timer::Connection, epoch: 1 })
        .wants(&[])
        .is("owned");
    assert_eq!(back.table.owner(), Some(A));
    // Of another epoch, or by another: it is told that it does not.
    back.then(Input::Holds { worker: B, epoch: 1 })
        .wants(&[Effect::Fence { worker: B, epoch: 1, why: "that ownership is over" }])
        .then(Input::Holds { worker: A, epoch: 2 })
        .wants(&[Effect::Fence { worker: A, epoch: 2, why: "that ownership is over" }])
        .is("owned");
}

#[test]
fn an_owner_that_comes_back_too_late_was_killed() {
    Run::new()
        .granted(A, 1)
        .then(Input::Disconnected { worker: A })
        .then(Input::Elapsed { timer: Timer::Connection, epoch: 1 })
        .then(Input::Holds { worker: A, epoch: 1 })
        .wants(&[])
        .then(died(A))
        .wants(&[Effect::Arm { timer: Timer::Reclaim, epoch: 1 }, Effect::Prove]);
}

#[test]
fn an_owner_that_comes_back_is_asked_again_for_what_it_was_asked_for() {
    Run::new()
        .granted(A, 1)
        .then(RECALL)
        .then(Input::Disconnected { worker: A })
        .then(Input::Holds { worker: A, epoch: 1 })
        .wants(&[Effect::Recall { from: A, epoch: 1 }]);
}

#[test]
fn the_next_manager_leaves_a_living_owner_its_table() {
    let (table, effects) = Ownership::adopted(7, Some(A), TransferReason::ManagerDied);
    Run { table, effects }
        .wants(&[
            Effect::Arm { timer: Timer::Connection, epoch: 7 },
            Effect::Arm { timer: Timer::Lease, epoch: 7 },
        ])
        .is("owned")
        .then(Input::Holds { worker: A, epoch: 7 })
        .wants(&[])
        .then(Input::Elapsed { timer: Timer::Connection, epoch: 7 })
        .wants(&[])
        .then(died(A))
        .then(Input::Unwritable)
        .then(Input::Recovered)
        .granted(B, 8);
}

#[test]
fn the_next_manager_takes_a_table_back_whose_owner_is_gone() {
    let (table, effects) = Ownership::adopted(7, None, TransferReason::ManagerDied);
    Run { table, effects }
        .wants(&[Effect::Arm { timer: Timer::Reclaim, epoch: 7 }, Effect::Prove])
        .then(Input::StillWritable { held_by: "a process that nobody knows".to_owned() })
        .then(Input::Elapsed { timer: Timer::Reclaim, epoch: 7 })
        .wants(&[])
        .is("stuck")
        .then(Input::Elapsed { timer: Timer::ProveAgain, epoch: 7 })
        .wants(&[Effect::Prove])
        .then(Input::Unwritable)
        .wants(&[Effect::Recover])
        .then(Input::Recovered)
        .granted(A, 8);
}
