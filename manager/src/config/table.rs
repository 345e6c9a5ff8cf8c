//! `[[table]]`: what a table is, who gets it, and what it starts from.

use heirloom_protocol::table::Kind;
use std::path::PathBuf;
use std::time::Duration;

/// One table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableConfig {
    /// Its name, unique in the file.
    pub id: String,
    /// `type`: which kind of table.
    pub kind: Kind,
    /// Limit of the memory it uses, in bytes; at least [`MIN_BYTES`](heirloom_protocol::table::MIN_BYTES).
    pub max_bytes: u64,
    /// Which worker gets it; `None` where it stays with the manager, readable by all that may.
    pub find_me: Option<FindMe>,
    /// What every new owner is given, as JSON text of at most
    /// [`MAX_GIFT_BYTES`](heirloom_protocol::message::MAX_GIFT_BYTES); empty where there is none.
    pub gift_data: String,
    /// What it is filled from before anyone sees it.
    pub hydrate: Option<Hydrate>,
    /// What survives the host.
    pub durability: Durability,
    /// How long an owner may neither commit nor renew before it is killed and replaced; `None` where it may for ever.
    pub lease: Option<Duration>,
    /// Who maps it.
    pub access: Access,
    /// How long a reader may hold a snapshot: then it is taken back, and what it held may be reused.
    pub snapshot_max_age: Duration,
    /// Which users may be handed it, besides root and the manager's own.
    pub owner: Grant,
    /// Which users may read it, besides root, the manager's own and those that may own it.
    pub readers: Grant,
}

/// How the worker that gets a table is found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindMe {
    /// `{ name = "w" }`: the workers registered under this name, the longest ready first.
    Name(String),
    /// `"any"`: any worker that is ready and has an heir for the table.
    Any,
    /// `{ command = [..], timeout = "1s" }`: a command that prints the process id of a registered worker.
    Command {
        /// Program (absolute, or found by PATH) and arguments; never empty.
        command: Vec<String>,
        /// How long it may run.
        timeout: Duration,
    },
    /// `{ pid_file = ".." }`: a file that holds the process id of a registered worker. Absolute.
    PidFile(PathBuf),
}

/// What a table is filled from, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hydrate {
    /// Where the entries come from.
    pub source: HydrateSource,
    /// Whether the source or an earlier checkpoint counts.
    pub when: HydrateWhen,
}

/// Where a table's first entries come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HydrateSource {
    /// `{ file = ".." }`.
    File {
        /// Absolute path.
        path: PathBuf,
        /// By `format`, else by the file's extension.
        format: HydrateFormat,
    },
    /// `{ command = [..] }`: what a command prints.
    Command {
        /// Program (absolute, or found by PATH) and arguments; never empty.
        command: Vec<String>,
        /// By `format`, else CSV.
        format: HydrateFormat,
    },
}

/// How entries are written down in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HydrateFormat {
    /// A redb file (`.redb`).
    Redb {
        /// Name of the table in that file: `table`, else the id of ours.
        table: String,
    },
    /// Comma-separated values with a header line (`.csv`).
    Csv {
        /// Column of the keys: `key`, else the first.
        key: Option<String>,
        /// Column of the values: `value`, else the second.
        value: Option<String>,
    },
    /// One JSON object a line (`.jsonl`, `.ndjson`).
    JsonLines {
        /// Field of the keys: `key`, else `"key"`.
        key: String,
        /// Field of the values: `value`, else `"value"`.
        value: String,
    },
    /// What `heirloom dump` writes (`.dump`).
    Dump,
}

/// When the source of a table counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HydrateWhen {
    /// Each time the table is created (reference data shipped with the code); what is on disk of it is not read.
    Always,
    /// Only where there is no checkpoint: with one, the table is as it was then.
    IfEmpty,
}

/// What of a table survives a crash of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it outlives every process, not the host.
    Memory,
    /// All but the last interval.
    Interval {
        /// Time between checkpoints.
        every: Duration,
    },
    /// Every commit that returned.
    Commit,
}

/// Who maps a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// The owner writes, readers read.
    Protected,
    /// The owner alone has it mapped.
    Private,
}

/// Users beyond root and the manager's own to whom something is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// `"anyone"`: every user of the machine.
    pub anyone: bool,
    /// Names or numbers of users.
    pub users: Vec<String>,
    /// Names or numbers of groups.
    pub groups: Vec<String>,
}

impl Grant {
    /// Whether nobody is granted anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.anyone && self.users.is_empty() && self.groups.is_empty()
    }
}
