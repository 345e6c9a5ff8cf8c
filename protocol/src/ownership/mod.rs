//! Who owns a table: a pure state machine, `(state, input) -> (state, effects)`.
//!
//! ```text
//!              Found{w}                              Stored: Grant
//!  Unowned ───────────────► Offered{w, epoch+1} ─────────────────────► Owned{w, epoch}
//!   ▲  ▲                     │ Sent ─Accepted─► Accepted ─Unwritable─► Proven   │
//!   │  │ declined, died,     │                    │                             │ Released or Died,
//!   │  │ disconnected,       │                    │ StillWritable:              │ and nothing else
//!   │  └──── too slow ───────┘                    │ by somebody unknown         │
//!   │ Recovered                                   ▼                             ▼
//!   └─────────────────────────────────── Reclaiming{Proving ─Unwritable─► Recovering}
//! ```
//!
//! What always holds (the tests beside this file check exactly this list, over every sequence of inputs to a depth
//! that covers several whole handoffs):
//!
//! - One owner: after a grant, no further grant before the owner released or died, *and* the kernel said after that
//!   that nobody can write (rule H8). A closed connection or a timeout alone never moves a table.
//! - A grant follows the acceptance of just that offer by just that worker.
//! - Epochs rise with each offer and are never reused; what names an older one changes nothing.
//! - An offer that comes to nothing costs nothing: the table is with the manager as before.
//! - The manager's death changes nothing of this: its successor begins with what the header and the descriptor store say
//!   (rule H13), and a living owner stays the owner.
//! - A lease that is over kills and moves nothing by itself; nor does a kill, before the death it brings is noticed. An
//!   owner that cannot be killed keeps the table, stuck, until it dies, can be killed, or keeps the contract again.
//! - A recall costs an owner its table only by its own word, or by its death: one that is not answered in its time, or
//!   whose heir is gone, is withdrawn. Forced, it kills, and waits for the kernel's word like any other death.
//! - Nothing waits for an answer that can fail to come: each wait ends with a timer, a death, or the kernel's word.
//!
//! A recall names its heir, but nothing is offered to it before the table is back: the offer shows the bequest, which is
//! not the last one as long as the owner writes.
//!
//! The machine does no input or output and reads no clock. Whoever runs it carries the effects out *in order*, and
//! says what came of them as further inputs. The daemon and the embedded manager run the same one.

mod step;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod exploration;

use crate::message::TransferReason;

/// One registered worker: never its process id alone, which the kernel gives to others later (rule H10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId {
    /// Counted up by the manager at each registration; never reused.
    pub registration: u64,
    /// Its process id, for people.
    pub pid: u32,
}

/// The ownership of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    state: State,
    /// The highest epoch that was ever offered or stored.
    epoch: u64,
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// With the manager, recovered; nobody can write.
    Unowned {
        /// Why it will change hands next.
        why: TransferReason,
    },
    /// With the manager still; one worker has been asked whether it takes it.
    Offered {
        /// The candidate.
        to: WorkerId,
        /// The epoch it would own.
        epoch: u64,
        /// Why it changes hands.
        why: TransferReason,
        /// How far the offer has come.
        offer: Offer,
    },
    /// One worker can write.
    Owned {
        /// The owner.
        by: WorkerId,
        /// Its epoch.
        epoch: u64,
        /// Whether it keeps the contract.
        link: Link,
        /// What it has been asked for, where it has been asked to release the table.
        recall: Option<Recall>,
    },
    /// The ownership is over; nobody gets the table before the kernel says that nobody can write.
    Reclaiming {
        /// The last owner; none where an offer was withdrawn because somebody unknown can write.
        from: Option<WorkerId>,
        /// The epoch that is over.
        epoch: u64,
        /// Why it changes hands.
        why: TransferReason,
        /// Who shall be offered it first, where it was recalled for somebody who is still there.
        heir: Option<WorkerId>,
        /// How far that has come.
        reclaim: Reclaim,
    },
}

/// What an owner has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// For whom; find-me says it where there is nobody.
    pub to: Option<WorkerId>,
    /// Whether the owner is killed where it does not answer in time.
    pub force: bool,
}

/// How far an offer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// The candidate has not answered.
    Sent,
    /// It has accepted; the kernel is asked once more whether anybody can write.
    Accepted,
    /// Nobody can write; the epoch and the worker's pidfd are being stored (rule H13).
    Proven,
}

/// Whether an owner keeps the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Connected,
    /// Its connection closed while it lives; the grace is running.
    Lost,
    /// It has been killed, and its death has not been noticed.
    Killed {
        /// For what.
        wrong: Wrong,
        /// Why it may be alive for long, once that is known.
        stuck: Option<String>,
    },
    /// It was to be killed and cannot be (rule H15). That is tried again after each grace, unless it keeps the contract
    /// before.
    Unkillable {
        /// For what.
        wrong: Wrong,
        /// Why it cannot be killed.
        why: String,
    },
}

/// How an owner has broken the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It closed its connection.
    Absent,
    /// It showed no sign of life for as long as its lease.
    Silent,
    /// It did not give up what was recalled by force.
    Unwilling,
}

/// How far the taking back of a table has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaim {
    /// The kernel is asked whether anybody can write.
    Proving {
        /// Who can, as far as that is known, once the kernel has said so.
        held_by: Option<String>,
        /// Whether the grace is over: then it is stuck.
        overdue: bool,
    },
    /// The commit in flight is being recovered.
    Recovering,
    /// The segment cannot be recovered: it stays with the manager for good.
    Broken {
        /// What is wrong with it.
        why: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A worker became a candidate, or it is time for the next try: who gets the table?
    Wake,
    /// find-me answered with this worker, which is alive, connected and ready.
    Found {
        /// The candidate.
        worker: WorkerId,
    },
    /// A worker takes what it was offered.
    Accepted {
        /// Who says so.
        worker: WorkerId,
        /// The epoch of the offer.
        epoch: u64,
    },
    /// A worker does not take what it was offered.
    Declined {
        /// Who says so.
        worker: WorkerId,
        /// The epoch of the offer.
        epoch: u64,
    },
    /// An owner has unmapped the table and gives it back.
    Released {
        /// Who says so.
        worker: WorkerId,
        /// The epoch it owned.
        epoch: u64,
        /// Whether a panic was the reason.
        panicked: bool,
    },
    /// A worker that has come back, to this manager or to the next one, says that it still owns the table.
    Holds {
        /// Who says so.
        worker: WorkerId,
        /// The epoch it owns.
        epoch: u64,
    },
    /// Somebody wants the table back from its owner: for a worker that is alive, connected and ready, or for whomever
    /// find-me says.
    RecallWanted {
        /// How.
        recall: Recall,
    },
    /// The kernel says that a worker is dead: its pidfd fired.
    Died {
        /// Who died.
        worker: WorkerId,
        /// How, where that is known already.
        how: Option<String>,
    },
    /// A worker's connection closed. That says nothing about its life.
    Disconnected {
        /// Whose connection.
        worker: WorkerId,
    },
    /// Came of [`Effect::Prove`]: nobody can write.
    Unwritable,
    /// Came of [`Effect::Prove`]: somebody can write.
    StillWritable {
        /// Who, as far as that is known.
        held_by: String,
    },
    /// Came of [`Effect::Recover`]: what the last owner had in flight is wholly done or wholly gone.
    Recovered,
    /// Came of [`Effect::Recover`] or [`Effect::Store`]: the segment is corrupt.
    Unrecoverable {
        /// What is wrong with it.
        why: String,
    },
    /// Came of [`Effect::Store`]: done.
    Stored {
        /// The epoch that was stored.
        epoch: u64,
    },
    /// Came of [`Effect::Store`]: the manager lacks something (descriptors, say); nothing was given away.
    NotStored,
    /// The owner shows signs of life again, after its lease was over.
    ShowsLife {
        /// The epoch it owns.
        epoch: u64,
    },
    /// Came of [`Effect::Kill`]: not permitted, or not possible (rule H15).
    NotKilled {
        /// Why.
        why: String,
    },
    /// The time that [`Effect::Arm`] asked for is over.
    Elapsed {
        /// Which timer.
        timer: Timer,
        /// The epoch it was armed for; that of another is late and changes nothing.
        epoch: u64,
    },
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask find-me, now or as soon as its pace permits; answer with [`Input::Found`].
    AskFindMe,
    /// Rank this worker behind the others: it did not take the table, or gave it up.
    PassOver {
        /// The worker.
        worker: WorkerId,
    },
    /// Send the offer, with a read-only descriptor.
    Offer {
        /// The candidate.
        to: WorkerId,
        /// The epoch it would own.
        epoch: u64,
        /// Why the table changes hands.
        why: TransferReason,
    },
    /// Ask the kernel whether anybody can write; answer with [`Input::Unwritable`] or [`Input::StillWritable`].
    Prove,
    /// Recover the commit in flight; answer with [`Input::Recovered`] or [`Input::Unrecoverable`].
    Recover,
    /// Store the epoch in the header, and see that the worker's pidfd is in the descriptor store (rule H13); answer
    /// with [`Input::Stored`], [`Input::NotStored`] or [`Input::Unrecoverable`].
    Store {
        /// The owner to be.
        worker: WorkerId,
        /// Its epoch.
        epoch: u64,
    },
    /// Send the write handle: a fresh read-write descriptor, the only one.
    Grant {
        /// The owner.
        to: WorkerId,
        /// Its epoch.
        epoch: u64,
        /// Why the table changed hands.
        why: TransferReason,
    },
    /// Say that the offer of that epoch does not stand, or to its owner: that the recall does not.
    Withdraw {
        /// The worker.
        from: WorkerId,
        /// The epoch.
        epoch: u64,
        /// Why.
        why: &'static str,
    },
    /// Ask the owner to release the table.
    Recall {
        /// The owner.
        from: WorkerId,
        /// Its epoch.
        epoch: u64,
    },
    /// Tell who wanted the table back what came of it.
    RecallOver {
        /// How it ended.
        end: RecallEnd,
    },
    /// Say that the ownership of that epoch is over.
    Fence {
        /// The worker.
        worker: WorkerId,
        /// The epoch.
        epoch: u64,
        /// Why.
        why: &'static str,
    },
    /// Kill the worker and the process group that it leads, if it leads one; answer with [`Input::NotKilled`] where
    /// that fails.
    Kill {
        /// The worker.
        worker: WorkerId,
        /// Why.
        why: &'static str,
    },
    /// Say [`Input::Elapsed`] in a while. A timer of that kind that runs already is replaced.
    Arm {
        /// Which.
        timer: Timer,
        /// The epoch to repeat then.
        epoch: u64,
    },
}

/// How a recall ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecallEnd {
    /// The owner gave the table back, or died.
    TakenBack,
    /// The owner did not answer in its time, and keeps the table.
    Unanswered,
    /// Whom the table was recalled for is gone, or owns it already; the owner keeps it.
    HeirGone,
    /// Nobody owns it.
    NobodyOwns,
}

/// What may take too long. How long that is, the one who runs the machine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// An offer stands.
    Offer,
    /// A recall stands.
    Recall,
    /// A living owner without connection, or a killed one without notice of its death, or one that cannot be killed, is
    /// waited for.
    Connection,
    /// The owner shows no sign of life. Only where the table has a lease; whoever runs the machine begins it anew at each
    /// sign, and once it is over says the next sign (rule H16).
    Lease,
    /// A table that is to be taken back is still writable.
    Reclaim,
    /// The kernel is asked again whether anybody can write: soon, and later each time.
    ProveAgain,
}

impl Ownership {
    /// A table that the manager has just created, hydrated or recovered, whose header says `epoch`.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { state: State::Unowned { why: TransferReason::First }, epoch }
    }

    /// A table that has outlived its manager, whose header says `epoch`, and what is to be done about it. Its owner of
    /// that epoch, where it is known and lives, owns it as before, and has the grace to come back. Otherwise the table is
    /// taken back, like after a death, for the reason `why`.
    #[must_use]
    pub fn adopted(epoch: u64, owner: Option<WorkerId>, why: TransferReason) -> (Self, Vec<Effect>) {
        let (state, effects) = step::adopted(epoch, owner, why);
        (Self { state, epoch }, effects)
    }

    /// Where the table is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Who owns the table now. After its death or release nobody does.
    #[must_use]
    pub fn owner(&self) -> Option<WorkerId> {
        match self.state {
            State::Owned { by, .. } => Some(by),
            State::Unowned { .. } | State::Offered { .. } | State::Reclaiming { .. } => None,
        }
    }

    /// The state in one word, as `status` shows it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.state {
            State::Unowned { .. } => "unowned",
            State::Offered { .. } => "offered",
            State::Owned { link: Link::Killed { stuck: Some(_), .. } | Link::Unkillable { .. }, .. } => {
                "stuck"
            }
            State::Owned { .. } => "owned",
            State::Reclaiming { reclaim: Reclaim::Proving { overdue: true, .. }, .. }
            | State::Reclaiming { reclaim: Reclaim::Broken { .. }, .. } => "stuck",
            State::Reclaiming { .. } => "reclaiming",
        }
    }

    /// Why it is in that state, where that needs a word.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match &self.state {
            State::Unowned { .. } | State::Offered { .. } => None,
            State::Owned { link: Link::Connected, recall, .. } => recall.map(|recall| match recall.to {
                Some(to) => format!("the owner has been asked to release it, for process {}", to.pid),
                None => "the owner has been asked to release it".to_owned(),
            }),
            State::Owned { by, link: Link::Lost, .. } => {
                Some(format!("the owner, process {}, lives but has closed its connection", by.pid))
            }
            State::Owned { by, link: Link::Killed { stuck, .. }, .. } => Some(match stuck {
                Some(why) => format!("the owner, process {}, does not die: {why}", by.pid),
                None => format!("the owner, process {}, was killed and is not dead yet", by.pid),
            }),
            State::Owned { by, link: Link::Unkillable { wrong, why }, .. } => {
                let wrong = match wrong {
                    Wrong::Absent => "has closed its connection",
                    Wrong::Silent => "shows no sign of life",
                    Wrong::Unwilling => "does not give it up",
                };
                Some(format!("the owner, process {}, {wrong} and cannot be killed: {why}", by.pid))
            }
            State::Reclaiming { reclaim: Reclaim::Proving { held_by, .. }, .. } => {
                held_by.as_ref().map(|who| format!("still writable by {who}"))
            }
            State::Reclaiming { reclaim: Reclaim::Recovering, .. } => None,
            State::Reclaiming { reclaim: Reclaim::Broken { why }, .. } => {
                Some(format!("it cannot be recovered: {why}"))
            }
        }
    }
}
