//! What is said on the control socket: one enum per direction, one message per packet.
//!
//! ```text
//!  worker                                 manager
//!    │ Hello, Register{name, tables}         │
//!    │──────────────────────────────────────►│ Welcome, Registered
//!    │ Ready                                 │
//!    │──────────────────────────────────────►│ now a candidate of its tables
//!    │             Offered{epoch, gift} + ro │
//!    │◄──────────────────────────────────────│ find-me answered with this worker
//!    │ Accept{epoch}   (or Decline)          │
//!    │──────────────────────────────────────►│ nobody else can write (lease), epoch stored
//!    │                   Granted{epoch} + rw │
//!    │◄──────────────────────────────────────│ from here on only this worker's word or death moves it
//!    │ Release{epoch}                        │
//!    │──────────────────────────────────────►│ unmapped before it was said; the lease proves it
//! ```
//!
//! The encoding is postcard's; a message is at most [`MAX_MESSAGE_BYTES`] long, and one that does not decode, or has
//! bytes left over, ends the connection with an error that says so (contract 6).

use serde::{Deserialize, Serialize};

/// The version of this protocol; the first message of each side carries it.
pub const PROTOCOL_VERSION: u16 = 4;

/// No message is longer. The kernel's own limit for a packet is 212,960 bytes (rule H18).
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// Longest name of a table or a worker, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Most bytes of gift data, as JSON.
pub const MAX_GIFT_BYTES: usize = 64 * 1024;

/// Longest bequest that goes along with the offer of a private table, in bytes.
pub const MAX_OFFERED_BEQUEST_BYTES: usize = 48 * 1024;

/// The name under which `heirloom load` registers. No configuration can have it, find-me never chooses it, and
/// whoever may own a table may use it for that table: it is handed one by [`Request::Recall`] only.
pub const LOADER: &str = "heirloom load";

/// What a client says to the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// The first message of a connection.
    Hello {
        /// [`PROTOCOL_VERSION`] of the sender.
        version: u16,
    },
    /// This connection is a worker of that name. Answered by [`Event::Registered`] or [`Event::Refused`].
    Register {
        /// The worker's name; several processes may share it.
        name: String,
        /// Tells apart the clients of one process, each of which may be a worker: chosen by the client, and the same when
        /// it comes back with a new connection.
        client: u64,
    },
    /// The worker owns that table still, since before this connection. Said before [`Request::Ready`], which says that it
    /// owns nothing else. Answered by [`Event::Fenced`] where it does not.
    Holds {
        /// The table's id.
        table: String,
        /// The epoch of its ownership.
        epoch: u64,
    },
    /// The worker has an heir for that table. May be said before and after [`Request::Ready`].
    Heir {
        /// The table's id.
        table: String,
    },
    /// The worker can take the tables it has heirs for, from now on.
    Ready,
    /// The worker takes the table that was offered.
    Accept {
        /// The table's id.
        table: String,
        /// The epoch of the offer.
        epoch: u64,
    },
    /// The worker does not take the table that was offered.
    Decline {
        /// The table's id.
        table: String,
        /// The epoch of the offer.
        epoch: u64,
        /// Why, for the log.
        reason: String,
    },
    /// The worker has unmapped the table and gives it back.
    Release {
        /// The table's id.
        table: String,
        /// The epoch of the ownership that ends.
        epoch: u64,
        /// Whether that is because the thread or task that wrote the table panicked, which dropped the write handle.
        panicked: bool,
    },
    /// A reader asks for a table. Answered by [`Event::Opened`] with a read-only descriptor.
    Open {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
    },
    /// Asks the owner, through the manager, to give a table up. Answered by [`Event::HandedOn`].
    Recall {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
        /// The name of the worker that shall have it next: the sender itself where that is its own name, and the owner
        /// is not asked before one of them is ready. Without a name, find-me says who is next.
        to: Option<String>,
        /// Whether the owner is killed where it has not answered in time. Otherwise the recall is withdrawn then, and
        /// the owner keeps the table.
        force: bool,
        /// How long that time is, in milliseconds; as the configuration says where it is not given.
        deadline_ms: Option<u64>,
    },
    /// Asks for the status of everything. Answered by one or more [`Event::Status`].
    Status {
        /// Chosen by the client, repeated in the answers.
        request: u32,
    },
    /// The supervisor (and nobody else) says how its children are.
    Children {
        /// All of them, in the order of the configuration.
        children: Vec<ChildStatus>,
    },
    /// Answered by [`Event::Done`] when everything that this client said before has been carried out or refused: so a
    /// client learns whether one of the requests without a number was.
    Sync {
        /// Chosen by the client, repeated in the answer.
        request: u32,
    },
    /// Asks for a snapshot of the table's newest version (rule R11). Answered by [`Event::Pinned`].
    Pin {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
    },
    /// The snapshot is not needed any more. The end of the connection says the same of all of them.
    Unpin {
        /// The table's id.
        table: String,
        /// Which pin, as [`Event::Pinned`] said.
        slot: u32,
        /// Its version.
        version: u64,
    },
    /// The client follows the table's changes, until it says [`Request::Unfollow`] as often, or its connection ends.
    /// Answered by [`Event::Done`]: every commit after that is in the change ring.
    Follow {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
    },
    /// The client follows the table's changes no more.
    Unfollow {
        /// The table's id.
        table: String,
    },
    /// Changes a table's limit while it lives: up to its reserve, down to what it uses. Answered by [`Event::Done`].
    SetLimit {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
        /// The new limit, in bytes.
        max_bytes: u64,
    },
    /// Asks for a table's commits up to a version, or to the newest, to be on disk. Answered by [`Event::Flushed`] when they
    /// are, and with [`Refusal::NotDurable`] where they cannot be.
    Flush {
        /// Chosen by the client, repeated in the answer.
        request: u32,
        /// The table's id.
        table: String,
        /// The version that is waited for; the newest where it is not given.
        version: Option<u64>,
    },
    /// The client has that snapshot still, since before this connection. What nobody says this of is given back, where the
    /// manager that granted it has died. A pin that does not stand any more is none.
    HoldsPin {
        /// The table's id.
        table: String,
        /// Which pin, as [`Event::Pinned`] said.
        slot: u32,
        /// Its version.
        version: u64,
    },
}

/// What the manager says to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// The answer to [`Request::Hello`].
    Welcome {
        /// [`PROTOCOL_VERSION`] of the manager.
        version: u16,
        /// The manager's process id, for messages to people.
        manager_pid: u32,
    },
    /// The answer to [`Request::Register`].
    Registered,
    /// A request was not carried out.
    Refused {
        /// The request's number, where it had one.
        request: Option<u32>,
        /// What kind of refusal this is, for programs.
        why: Refusal,
        /// What happened, to what, and what to do, for people.
        message: String,
    },
    /// The worker may have this table; a read-only descriptor comes along, unless the table is private.
    Offered {
        /// The table's id.
        table: String,
        /// The epoch it would own.
        epoch: u64,
        /// The gift data of the configuration, as JSON; empty where there is none.
        gift: String,
        /// Why the table changes hands.
        reason: TransferReason,
        /// How long the offer stands, in milliseconds.
        expires_in_ms: u64,
        /// What the last owner left.
        bequest: OfferedBequest,
    },
    /// The table is the worker's; a fresh read-write descriptor comes along.
    Granted {
        /// The table's id.
        table: String,
        /// The epoch it owns.
        epoch: u64,
    },
    /// The offer of that epoch does not stand any more.
    Withdrawn {
        /// The table's id.
        table: String,
        /// The epoch of the offer.
        epoch: u64,
        /// Why, for the log.
        reason: String,
    },
    /// The owner is asked to release the table.
    Recalled {
        /// The table's id.
        table: String,
        /// The epoch it owns.
        epoch: u64,
        /// When the recall is withdrawn, in milliseconds from now.
        deadline_ms: u64,
    },
    /// The worker's ownership is over: its handle writes nothing any more.
    Fenced {
        /// The table's id.
        table: String,
        /// The epoch that is over.
        epoch: u64,
        /// Why, for the log.
        reason: String,
    },
    /// The answer to [`Request::Open`]; a read-only descriptor comes along.
    Opened {
        /// The number of the request.
        request: u32,
        /// The table's id.
        table: String,
    },
    /// A request without another answer was carried out.
    Done {
        /// The number of the request.
        request: u32,
    },
    /// A piece of the answer to [`Request::Status`]: JSON of [`Status`], cut where a message would grow too long.
    Status {
        /// The number of the request.
        request: u32,
        /// The next piece of the JSON text.
        piece: String,
        /// Whether more pieces follow.
        more: bool,
    },
    /// The answer to [`Request::Recall`]: the table has changed hands.
    HandedOn {
        /// The number of the request.
        request: u32,
        /// Who has it now; nobody where no worker was there to take it, and the manager has it.
        owner: Option<OwnerStatus>,
        /// How it went, where somebody has it. Writes paused for [`HandoffStatus::granted_us`] at least: that is from the
        /// last owner's word, or death, to the write handle for the next one.
        handoff: Option<HandoffStatus>,
    },
    /// The answer to [`Request::Pin`].
    Pinned {
        /// The number of the request.
        request: u32,
        /// The table's id.
        table: String,
        /// Which pin it is.
        slot: u32,
        /// The version that it holds.
        version: u64,
    },
    /// The answer to [`Request::Flush`]: everything up to that version is on disk.
    Flushed {
        /// The number of the request.
        request: u32,
        /// The version that is on disk: the one that was asked for, or a later one.
        version: u64,
    },
}

/// What an offer says of the last owner's bequest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OfferedBequest {
    /// It is read in the segment, whose read-only descriptor comes along.
    InSegment,
    /// The table is private, which none but its owner has mapped: here it is, if there is one.
    Here(Option<Vec<u8>>),
    /// The table is private, and the bequest longer than [`MAX_OFFERED_BEQUEST_BYTES`]: only its owner can read it.
    TooLong {
        /// Its length, in bytes.
        bytes: u64,
    },
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The two sides speak different versions of the protocol.
    Version,
    /// A message that is malformed, too long, or makes no sense in this state.
    Malformed,
    /// The configuration does not grant this to the sender's user.
    NotPermitted,
    /// The configuration knows no such table.
    UnknownTable,
    /// The configuration knows no such worker.
    UnknownWorker,
    /// The epoch is not that of the offer or ownership that the manager knows.
    StaleEpoch,
    /// The table is not in a state for this.
    NotNow,
    /// A limit of the manager is reached.
    TooMany,
    /// It cannot be written to disk now. The table is as it was, in memory, and it is tried again.
    NotDurable,
}

/// Why a table changes hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferReason {
    /// The table has had no owner since it was created (or the manager started).
    First,
    /// The last owner died.
    Died {
        /// Its process id.
        pid: u32,
        /// How, where the kernel or the supervisor has said so.
        how: Option<String>,
    },
    /// The last owner gave it back.
    Released {
        /// Its process id.
        pid: u32,
    },
    /// What wrote the table, a thread or a task of the last owner, panicked. It was whole commits up to there.
    Panicked {
        /// The owner's process id.
        pid: u32,
    },
    /// The last owner gave it back because it was asked to.
    Recalled {
        /// Its process id.
        pid: u32,
    },
    /// The manager died, and its successor found no owner.
    ManagerDied,
}

/// Everything that `heirloom status` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The manager's process id.
    pub manager_pid: u32,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// How long it took from its start until every table was there, in microseconds; none before that.
    pub ready_us: Option<u64>,
    /// All tables, in the order of the configuration.
    pub tables: Vec<TableStatus>,
    /// The registered workers.
    pub workers: Vec<WorkerStatus>,
    /// The supervisor's children, in the order of the configuration; empty without a supervisor.
    pub children: Vec<ChildStatus>,
    /// What the machine lacks, and other things a person should know.
    pub warnings: Vec<String>,
}

/// One table in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// The table's id.
    pub id: String,
    /// `set`, ...
    pub kind: String,
    /// Number of entries.
    pub entries: u64,
    /// Memory in use, in bytes.
    pub bytes: u64,
    /// The table's limit, in bytes.
    pub max_bytes: u64,
    /// Whether it has used more than 80 percent of its limit, and not been below 70 since.
    pub nearly_full: bool,
    /// `protected` or `private`.
    pub access: String,
    /// Whether it has outlived an earlier manager.
    pub adopted: bool,
    /// The last commit.
    pub version: u64,
    /// The last ownership.
    pub epoch: u64,
    /// `unowned`, `offered`, `owned`, `reclaiming`, `stuck`.
    pub state: String,
    /// Why it is in that state, where that needs a word.
    pub detail: Option<String>,
    /// Who has it.
    pub owner: Option<OwnerStatus>,
    /// How long its owner may show no sign of life, in milliseconds, where the table has a lease.
    pub lease_ms: Option<u64>,
    /// Number of transfers since the manager started.
    pub handoffs: u64,
    /// How often it was taken back, and recovery run, since the manager started.
    pub recoveries: u64,
    /// How many of these found a commit in flight: its log being written, or being applied.
    pub recovered_mid_commit: u64,
    /// The last transfer, stage by stage.
    pub last_handoff: Option<HandoffStatus>,
    /// Number of snapshots that readers hold.
    pub pins: u64,
    /// The version of the oldest of them.
    pub oldest_pin_version: Option<u64>,
    /// How long that one has been held, in milliseconds.
    pub oldest_pin_age_ms: Option<u64>,
    /// Entries that are kept for snapshots only.
    pub held_entries: u64,
    /// Their memory, in bytes.
    pub held_bytes: u64,
    /// Number of connections that follow the table's changes.
    pub followers: u64,
    /// What of it survives a crash of the host: `memory`, `interval`, `commit`.
    pub durability: String,
    /// The last version that is on disk; none where nothing is.
    pub durable_version: Option<u64>,
    /// For how long that has been everything there was, in milliseconds: what was committed later is at risk.
    pub durable_age_ms: Option<u64>,
    /// Number of checkpoints since the manager started.
    pub checkpoints: u64,
    /// How long the last one took, in milliseconds.
    pub last_checkpoint_ms: Option<u64>,
    /// Why nothing can be written to disk now, as long as that is so.
    pub disk_error: Option<String>,
}

/// The owner in [`TableStatus`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerStatus {
    /// The worker's name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// The stages of a transfer, in microseconds from the notice of the last owner's death or release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffStatus {
    /// Why the table changed hands, in words.
    pub reason: String,
    /// When the notice came: `CLOCK_MONOTONIC` in nanoseconds, for comparing with clocks of other processes.
    pub noticed_ns: u64,
    /// Until the kernel confirmed that nobody can write.
    pub unwritable_us: u64,
    /// Until the commit in flight was recovered.
    pub recovered_us: u64,
    /// Until find-me had answered with the worker that took it.
    pub found_us: u64,
    /// Until the offer was sent.
    pub offered_us: u64,
    /// Until it was accepted.
    pub accepted_us: u64,
    /// Until the write handle was sent.
    pub granted_us: u64,
    /// What recovery found: `clean`, `log_discarded` or `reapplied`.
    pub recovery: String,
}

/// One registered worker in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Whether it has said that it is ready.
    pub ready: bool,
    /// The tables it has heirs for.
    pub heirs: Vec<String>,
    /// The tables it owns.
    pub owns: Vec<String>,
    /// Why the manager cannot kill it, where that is so: then neither the grace nor a lease can be enforced, and a table
    /// that it keeps against the contract is stuck.
    pub unkillable: Option<String>,
}

/// One child of the supervisor in [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStatus {
    /// Name in the configuration.
    pub name: String,
    /// Which of its instances, from 1.
    pub instance: u32,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// `starting`, `running`, `backing_off`, `crash_loop`, `stopping`, `stopped`.
    pub state: String,
    /// How it ended last, where it has.
    pub last_exit: Option<String>,
}
