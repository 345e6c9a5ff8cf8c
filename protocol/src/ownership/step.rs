//! The transitions: one function per state, each a match over every input.

use super::{
    Effect, Input, Link, Offer, Ownership, Recall, RecallEnd, Reclaim, State, Timer, WorkerId, Wrong,
};
use crate::message::TransferReason;

const STALE_OFFER: &str = "no such offer stands";
const STALE_OWNERSHIP: &str = "that ownership is over";

impl Ownership {
    /// One step. The effects are to be carried out in their order.
    #[must_use]
    pub fn step(self, input: Input) -> (Self, Vec<Effect>) {
        let highest = self.epoch;
        let (state, effects) = match self.state {
            State::Unowned { why } => unowned(why, highest, input),
            State::Offered { to, epoch, why, offer } => offered(to, epoch, why, offer, input),
            State::Owned { by, epoch, link, recall } => owned(Owned { by, epoch, link, recall }, input),
            State::Reclaiming { from, epoch, why, heir, reclaim } => {
                reclaiming(Reclaiming { from, epoch, why, heir, highest }, reclaim, input)
            }
        };
        // Only an offer has a new epoch, and that is used up whatever becomes of the offer.
        let epoch = match state {
            State::Offered { epoch, .. } => epoch,
            State::Unowned { .. } | State::Owned { .. } | State::Reclaiming { .. } => highest,
        };
        (Self { state, epoch }, effects)
    }
}

type Step = (State, Vec<Effect>);

/// Asks one worker whether it takes the table.
fn offer(to: WorkerId, epoch: u64, why: TransferReason) -> Step {
    let effects =
        vec![Effect::Offer { to, epoch, why: why.clone() }, Effect::Arm { timer: Timer::Offer, epoch }];
    (State::Offered { to, epoch, why, offer: Offer::Sent }, effects)
}

fn unowned(why: TransferReason, last_epoch: u64, input: Input) -> Step {
    match input {
        Input::Wake => (State::Unowned { why }, vec![Effect::AskFindMe]),
        Input::Found { worker } | Input::RecallWanted { recall: Recall { to: Some(worker), .. } } => {
            offer(worker, last_epoch + 1, why)
        }
        Input::Accepted { .. }
        | Input::Declined { .. }
        | Input::Released { .. }
        | Input::Holds { .. }
        | Input::RecallWanted { .. }
        | Input::Died { .. }
        | Input::Disconnected { .. }
        | Input::Unwritable
        | Input::StillWritable { .. }
        | Input::Recovered
        | Input::Unrecoverable { .. }
        | Input::Stored { .. }
        | Input::NotStored
        | Input::ShowsLife { .. }
        | Input::NotKilled { .. }
        | Input::Elapsed { .. } => (State::Unowned { why }, answer_stale(&input)),
    }
}

fn offered(to: WorkerId, epoch: u64, why: TransferReason, offer: Offer, input: Input) -> Step {
    // The candidate has nothing but a read-only descriptor yet: whatever becomes of it, the table is with us.
    let unowned = |why, mut effects: Vec<Effect>| {
        effects.push(Effect::AskFindMe);
        (State::Unowned { why }, effects)
    };
    match input {
        Input::Accepted { worker, epoch: of } if (worker, of, offer) == (to, epoch, Offer::Sent) => {
            (State::Offered { to, epoch, why, offer: Offer::Accepted }, vec![Effect::Prove])
        }
        Input::Declined { worker, epoch: of } if (worker, of, offer) == (to, epoch, Offer::Sent) => {
            unowned(why, vec![Effect::PassOver { worker: to }])
        }
        Input::Died { worker, .. } | Input::Disconnected { worker } if worker == to => unowned(why, vec![]),
        Input::Unwritable if offer == Offer::Accepted => {
            let stored = State::Offered { to, epoch, why, offer: Offer::Proven };
            (stored, vec![Effect::Store { worker: to, epoch }])
        }
        // Nobody could write when the table was taken back; now somebody that we do not know can, and may have. So
        // the taking back starts again, recovery included. There is nobody that may be killed for it.
        Input::StillWritable { .. } if offer == Offer::Accepted => {
            let writable = "somebody else can write to the table";
            let (state, mut effects) = reclaim(None, epoch, why, None);
            effects.insert(0, Effect::Withdraw { from: to, epoch, why: writable });
            (state, effects)
        }
        Input::Stored { epoch: of } if (of, offer) == (epoch, Offer::Proven) => {
            let owned = State::Owned { by: to, epoch, link: Link::Connected, recall: None };
            let lease = Effect::Arm { timer: Timer::Lease, epoch };
            (owned, vec![Effect::Grant { to, epoch, why }, lease])
        }
        Input::NotStored if offer == Offer::Proven => {
            let not_stored = "the manager could not make the write handle";
            let withdraw = Effect::Withdraw { from: to, epoch, why: not_stored };
            unowned(why, vec![withdraw, Effect::PassOver { worker: to }])
        }
        Input::Unrecoverable { why: wrong } if offer == Offer::Proven => {
            let withdraw = Effect::Withdraw { from: to, epoch, why: "the table is corrupt" };
            let reclaim = Reclaim::Broken { why: wrong };
            (State::Reclaiming { from: None, epoch, why, heir: None, reclaim }, vec![withdraw])
        }
        // Once it is accepted, what comes next is ours to do.
        Input::Elapsed { timer: Timer::Offer, epoch: of } if (of, offer) == (epoch, Offer::Sent) => {
            let too_slow = "the offer was not answered in its time";
            let withdraw = Effect::Withdraw { from: to, epoch, why: too_slow };
            unowned(why, vec![withdraw, Effect::PassOver { worker: to }])
        }
        Input::Wake
        | Input::Found { .. }
        | Input::Accepted { .. }
        | Input::Declined { .. }
        | Input::Released { .. }
        | Input::Holds { .. }
        | Input::RecallWanted { .. }
        | Input::Died { .. }
        | Input::Disconnected { .. }
        | Input::Unwritable
        | Input::StillWritable { .. }
        | Input::Recovered
        | Input::Unrecoverable { .. }
        | Input::Stored { .. }
        | Input::NotStored
        | Input::ShowsLife { .. }
        | Input::NotKilled { .. }
        | Input::Elapsed { .. } => (State::Offered { to, epoch, why, offer }, answer_stale(&input)),
    }
}

/// The parts of [`State::Owned`].
struct Owned {
    by: WorkerId,
    epoch: u64,
    link: Link,
    recall: Option<Recall>,
}

fn owned(owned: Owned, input: Input) -> Step {
    let Owned { by, epoch, link, recall } = owned;
    let stays = |link, recall, effects| (State::Owned { by, epoch, link, recall }, effects);
    let withdrawn = |link, why, end| {
        let link = match link {
            Link::Unkillable { wrong: Wrong::Unwilling, .. } => Link::Connected,
            link => link,
        };
        let withdraw = Effect::Withdraw { from: by, epoch, why };
        stays(link, None, vec![withdraw, Effect::RecallOver { end }])
    };
    match input {
        // The two ways a table is taken back, and there is no third (rule H8).
        Input::Released { worker, epoch: of, panicked } if (worker, of) == (by, epoch) => {
            let why = match recall {
                _ if panicked => TransferReason::Panicked { pid: by.pid },
                Some(_) => TransferReason::Recalled { pid: by.pid },
                None => TransferReason::Released { pid: by.pid },
            };
            let (state, mut effects) = taken_back(by, epoch, why, recall);
            // It gave the table up: anybody else comes first.
            effects.push(Effect::PassOver { worker: by });
            (state, effects)
        }
        Input::Died { worker, how } if worker == by => {
            taken_back(by, epoch, TransferReason::Died { pid: by.pid, how }, recall)
        }
        // Back in its grace, or later where it could not be killed. What it was asked for meanwhile, it has not heard.
        Input::Holds { worker, epoch: of }
            if (worker, of) == (by, epoch)
                && matches!(link, Link::Lost | Link::Unkillable { wrong: Wrong::Absent, .. }) =>
        {
            let asked_again = recall.map(|_| Effect::Recall { from: by, epoch });
            // Nothing else has begun it anew where it was over.
            let lease = (link != Link::Lost).then_some(Effect::Arm { timer: Timer::Lease, epoch });
            stays(Link::Connected, recall, asked_again.into_iter().chain(lease).collect())
        }
        // Too late where it was killed for its absence; else said twice.
        Input::Holds { worker, epoch: of } if (worker, of) == (by, epoch) => stays(link, recall, vec![]),
        Input::RecallWanted { recall: Recall { to: Some(to), .. } } if to == by => {
            stays(link, recall, vec![Effect::RecallOver { end: RecallEnd::HeirGone }])
        }
        Input::RecallWanted { recall: wanted } => match recall {
            // For whom it was recalled first.
            Some(Recall { to, force }) => {
                stays(link, Some(Recall { to, force: force || wanted.force }), vec![])
            }
            None => {
                let recall = Effect::Recall { from: by, epoch };
                stays(link, Some(wanted), vec![recall, Effect::Arm { timer: Timer::Recall, epoch }])
            }
        },
        Input::Elapsed { timer: Timer::Recall, epoch: of } if of == epoch => match recall {
            None => stays(link, None, vec![]),
            Some(Recall { force: false, .. }) => {
                withdrawn(link, "the recall was not answered in its time", RecallEnd::Unanswered)
            }
            Some(Recall { force: true, .. }) => {
                let why = "it did not give up a table that was recalled by force";
                kill(Owned { by, epoch, link, recall }, Wrong::Unwilling, why)
            }
        },
        // Whoever it was wanted for cannot take it.
        Input::Died { worker, .. } | Input::Disconnected { worker }
            if recall.is_some_and(|recall| recall.to == Some(worker)) =>
        {
            withdrawn(link, "whoever should have it next is gone", RecallEnd::HeirGone)
        }
        Input::Disconnected { worker } if worker == by && link == Link::Connected => {
            stays(Link::Lost, recall, vec![Effect::Arm { timer: Timer::Connection, epoch }])
        }
        Input::Disconnected { worker } if worker == by => {
            let link = match link {
                Link::Unkillable { why, .. } => Link::Unkillable { wrong: Wrong::Absent, why },
                link => link,
            };
            stays(link, recall, vec![])
        }
        Input::Elapsed { timer: Timer::Connection, epoch: of } if of == epoch => match link {
            Link::Connected => stays(link, recall, vec![]),
            Link::Lost => {
                let why = "its connection closed while it owned a table";
                kill(Owned { by, epoch, link, recall }, Wrong::Absent, why)
            }
            Link::Killed { wrong, stuck } => {
                let why = "it has not been torn down since (frozen in its cgroup, or waiting for a disk)";
                let stuck = stuck.or(Some(why.to_owned()));
                stays(Link::Killed { wrong, stuck }, recall, vec![])
            }
            Link::Unkillable { wrong, .. } => {
                let why = "it broke the contract, and could not be killed before";
                kill(Owned { by, epoch, link, recall }, wrong, why)
            }
        },
        Input::Elapsed { timer: Timer::Lease, epoch: of } if of == epoch => match link {
            Link::Connected | Link::Lost => {
                let why = "it showed no sign of life for as long as its lease";
                kill(Owned { by, epoch, link, recall }, Wrong::Silent, why)
            }
            Link::Killed { .. } | Link::Unkillable { .. } => stays(link, recall, vec![]),
        },
        Input::ShowsLife { epoch: of } if of == epoch => match link {
            Link::Unkillable { wrong: Wrong::Silent, .. } => {
                stays(Link::Connected, recall, vec![Effect::Arm { timer: Timer::Lease, epoch }])
            }
            Link::Connected | Link::Lost | Link::Killed { .. } | Link::Unkillable { .. } => {
                stays(link, recall, vec![])
            }
        },
        Input::NotKilled { why } => match link {
            Link::Killed { wrong, .. } => stays(Link::Unkillable { wrong, why }, recall, vec![]),
            Link::Connected | Link::Lost | Link::Unkillable { .. } => stays(link, recall, vec![]),
        },
        Input::Wake
        | Input::Found { .. }
        | Input::Accepted { .. }
        | Input::Declined { .. }
        | Input::Released { .. }
        | Input::Holds { .. }
        | Input::Died { .. }
        | Input::Disconnected { .. }
        | Input::Unwritable
        | Input::StillWritable { .. }
        | Input::Recovered
        | Input::Unrecoverable { .. }
        | Input::Stored { .. }
        | Input::NotStored
        | Input::ShowsLife { .. }
        | Input::Elapsed { .. } => {
            let effects = match input {
                // Said twice: the grant answers both.
                Input::Accepted { worker, epoch: of } if (worker, of) == (by, epoch) => vec![],
                _ => answer_stale(&input),
            };
            stays(link, recall, effects)
        }
    }
}

/// Kills an owner, once. The table waits for its death, and for what the kernel says then.
fn kill(owned: Owned, wrong: Wrong, why: &'static str) -> Step {
    let Owned { by, epoch, link, recall } = owned;
    let wrong = match link {
        Link::Killed { .. } => return (State::Owned { by, epoch, link, recall }, vec![]),
        // Only its word that it is back makes that good, whatever else it did.
        Link::Lost | Link::Unkillable { wrong: Wrong::Absent, .. } => Wrong::Absent,
        Link::Connected | Link::Unkillable { .. } => wrong,
    };
    let effects = vec![Effect::Arm { timer: Timer::Connection, epoch }, Effect::Kill { worker: by, why }];
    (State::Owned { by, epoch, link: Link::Killed { wrong, stuck: None }, recall }, effects)
}

/// The parts of [`State::Reclaiming`] that stay, and the highest epoch there was.
struct Reclaiming {
    from: Option<WorkerId>,
    epoch: u64,
    why: TransferReason,
    heir: Option<WorkerId>,
    highest: u64,
}

fn reclaiming(table: Reclaiming, reclaim: Reclaim, input: Input) -> Step {
    let Reclaiming { from, epoch, why, mut heir, highest } = table;
    if let Input::Died { worker, .. } | Input::Disconnected { worker } = input
        && heir == Some(worker)
    {
        heir = None;
    }
    let stays = |why, reclaim, effects| (State::Reclaiming { from, epoch, why, heir, reclaim }, effects);
    match (input, reclaim) {
        (Input::Unwritable, Reclaim::Proving { .. }) => {
            stays(why, Reclaim::Recovering, vec![Effect::Recover])
        }
        (Input::StillWritable { held_by }, Reclaim::Proving { overdue, .. }) => {
            let proving = Reclaim::Proving { held_by: Some(held_by), overdue };
            stays(why, proving, vec![Effect::Arm { timer: Timer::ProveAgain, epoch }])
        }
        (Input::Elapsed { timer: Timer::ProveAgain, epoch: of }, reclaim @ Reclaim::Proving { .. })
            if of == epoch =>
        {
            stays(why, reclaim, vec![Effect::Prove])
        }
        // What it held goes with it: no need to wait for the next try.
        (Input::Died { worker, .. }, reclaim @ Reclaim::Proving { .. }) if from == Some(worker) => {
            stays(why, reclaim, vec![Effect::Prove])
        }
        (
            Input::Elapsed { timer: Timer::Reclaim, epoch: of },
            Reclaim::Proving { held_by, overdue: false },
        ) if of == epoch => {
            let still_mapped = "the table was given up and is still writable";
            let effects = match from {
                Some(worker) => vec![
                    Effect::Fence { worker, epoch, why: still_mapped },
                    Effect::Kill { worker, why: still_mapped },
                ],
                None => vec![],
            };
            stays(why, Reclaim::Proving { held_by, overdue: true }, effects)
        }
        (Input::NotKilled { why: not }, Reclaim::Proving { held_by, overdue: true }) => {
            let held_by = held_by.map(|who| match who.contains(&not) {
                true => who,
                false => format!("{who}; its last owner cannot be killed: {not}"),
            });
            stays(why, Reclaim::Proving { held_by, overdue: true }, vec![])
        }
        (Input::Recovered, Reclaim::Recovering) => match heir {
            Some(heir) => offer(heir, highest + 1, why),
            None => (State::Unowned { why }, vec![Effect::AskFindMe]),
        },
        (Input::Unrecoverable { why: wrong }, Reclaim::Recovering) => {
            stays(why, Reclaim::Broken { why: wrong }, vec![])
        }
        (
            input @ (Input::Wake
            | Input::Found { .. }
            | Input::Accepted { .. }
            | Input::Declined { .. }
            | Input::Released { .. }
            | Input::Holds { .. }
            | Input::RecallWanted { .. }
            | Input::Died { .. }
            | Input::Disconnected { .. }
            | Input::Unwritable
            | Input::StillWritable { .. }
            | Input::Recovered
            | Input::Unrecoverable { .. }
            | Input::Stored { .. }
            | Input::NotStored
            | Input::ShowsLife { .. }
            | Input::NotKilled { .. }
            | Input::Elapsed { .. }),
            reclaim,
        ) => stays(why, reclaim, answer_stale(&input)),
    }
}

/// The owner's word or death has been noted.
fn taken_back(by: WorkerId, epoch: u64, why: TransferReason, recall: Option<Recall>) -> Step {
    let (state, mut effects) = reclaim(Some(by), epoch, why, recall.and_then(|recall| recall.to));
    if recall.is_some() {
        effects.push(Effect::RecallOver { end: RecallEnd::TakenBack });
    }
    (state, effects)
}

/// See [`Ownership::adopted`].
pub(super) fn adopted(epoch: u64, owner: Option<WorkerId>, why: TransferReason) -> Step {
    match owner {
        Some(by) => {
            let owned = State::Owned { by, epoch, link: Link::Lost, recall: None };
            let effects = [Timer::Connection, Timer::Lease].map(|timer| Effect::Arm { timer, epoch });
            (owned, effects.into())
        }
        None => reclaim(None, epoch, why, None),
    }
}

fn reclaim(from: Option<WorkerId>, epoch: u64, why: TransferReason, heir: Option<WorkerId>) -> Step {
    let reclaim = Reclaim::Proving { held_by: None, overdue: false };
    let effects = vec![Effect::Arm { timer: Timer::Reclaim, epoch }, Effect::Prove];
    (State::Reclaiming { from, epoch, why, heir, reclaim }, effects)
}

/// What the sender of something that does not fit the state is told; the state stays as it is.
fn answer_stale(input: &Input) -> Vec<Effect> {
    match *input {
        Input::Accepted { worker, epoch } => {
            vec![Effect::Withdraw { from: worker, epoch, why: STALE_OFFER }]
        }
        Input::Released { worker, epoch, .. } | Input::Holds { worker, epoch } => {
            vec![Effect::Fence { worker, epoch, why: STALE_OWNERSHIP }]
        }
        Input::RecallWanted { .. } => vec![Effect::RecallOver { end: RecallEnd::NobodyOwns }],
        // Late, repeated, or about somebody else: nothing to say.
        Input::Wake
        | Input::Found { .. }
        | Input::Declined { .. }
        | Input::Died { .. }
        | Input::Disconnected { .. }
        | Input::Unwritable
        | Input::StillWritable { .. }
        | Input::Recovered
        | Input::Unrecoverable { .. }
        | Input::Stored { .. }
        | Input::NotStored
        | Input::ShowsLife { .. }
        | Input::NotKilled { .. }
        | Input::Elapsed { .. } => vec![],
    }
}
