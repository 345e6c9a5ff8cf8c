//! The tables of the soak: one of each kind, and two groups of workers that own two each, so that a death hands on two
//! tables at once while the others live on.

use heirloom_worker::Kind;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

/// Places for entries of a table, numbered from 0. In the sets each is a key of its own; in the bags four share a key.
pub(super) const SLOTS: u64 = 2048;

/// Keys whose values belong together: whatever one loses, another gains in the same commit.
pub(super) const CONSERVED_KEYS: u64 = 16;

/// The amounts of all accounts of a set together.
pub(super) const TOTAL: u64 = 1000 * CONSERVED_KEYS;

/// What moves between the conserved keys of a bag: these writes, each there exactly once.
pub(super) const MOVERS: Range<u64> = 1..17;

/// Other writes are numbered from here on.
pub(super) const FIRST_WRITE: u64 = 1000;

/// Keys of the sets whose entries expire.
const EXPIRING_KEYS: Range<u64> = CONSERVED_KEYS..256;

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// Its id, which is the name of its kind.
    pub(super) kind: Kind,
    /// The name of the workers that may own it.
    pub(super) worker: &'static str,
    /// Whether it is on disk too.
    pub(super) is_durable: bool,
}

/// All of them.
pub(super) const TABLES: [Table; 4] = [
    Table { kind: Kind::Set, worker: "left", is_durable: true },
    Table { kind: Kind::OrderedSet, worker: "right", is_durable: false },
    Table { kind: Kind::Bag, worker: "left", is_durable: false },
    Table { kind: Kind::DuplicateBag, worker: "right", is_durable: true },
];

/// The groups of workers.
pub(super) const WORKERS: [&str; 2] = ["left", "right"];

impl Table {
    /// Its id.
    pub(super) fn id(self) -> &'static str {
        self.kind.name()
    }

    /// Which of the tables it is, from 0.
    pub(super) fn number(self) -> u64 {
        TABLES.iter().position(|table| *table == self).expect("there are no others") as u64
    }

    /// The slots of one key.
    pub(super) fn slots_per_key(self) -> u64 {
        if self.kind.is_bag() { 4 } else { 1 }
    }

    /// The number of keys.
    pub(super) fn keys(self) -> u64 {
        SLOTS / self.slots_per_key()
    }

    /// The key that a slot is of.
    pub(super) fn key_of(self, slot: u64) -> u64 {
        slot / self.slots_per_key()
    }

    /// The slots of a key.
    pub(super) fn slots_of(self, key: u64) -> Range<u64> {
        key * self.slots_per_key()..(key + 1) * self.slots_per_key()
    }

    /// Whether a key has an amount.
    pub(super) fn is_account(self, key: u64) -> bool {
        !self.kind.is_bag() && key < CONSERVED_KEYS
    }

    /// Whether the entries of a key expire.
    pub(super) fn expires(self, key: u64) -> bool {
        !self.kind.is_bag() && EXPIRING_KEYS.contains(&key)
    }

    /// The slots that are neither conserved nor expire.
    pub(super) fn plain_slots(self) -> Range<u64> {
        if self.kind.is_bag() { CONSERVED_KEYS * 4..SLOTS } else { EXPIRING_KEYS.end..SLOTS }
    }

    /// The slots of entries that expire; none in a bag.
    pub(super) fn expiring_slots(self) -> Range<u64> {
        if self.kind.is_bag() { 0..0 } else { EXPIRING_KEYS }
    }
}

/// The configuration: every worker is `command`, followed by its name and the path of the notes; what is durable is in that
/// folder, and written so often that the manager is often killed at it.
pub(super) fn configuration(command: &[&str], notes: &str, store: &Path) -> String {
    // Each kill is a restart on purpose, and no crash loop.
    let mut text = format!("[supervisor]\nintensity = 1000000\n\n[manager]\nstore = {store:?}\n");
    for table in TABLES {
        let durability =
            if table.is_durable { r#"{ mode = "interval", every = "20ms" }"# } else { r#""memory""# };
        let _ = write!(
            text,
            "\n[[table]]\nid = \"{}\"\ntype = \"{}\"\nmax_bytes = \"64MiB\"\nfind_me = {{ name = \"{}\" }}\n\
             durability = {durability}\n",
            table.id(),
            table.id(),
            table.worker
        );
    }
    for worker in WORKERS {
        let command: Vec<&str> = command.iter().copied().chain([worker, notes]).collect();
        let _ = write!(
            text,
            "\n[[worker]]\nname = \"{worker}\"\ncommand = {command:?}\ninstances = 2\nback_off = {{ first = \"1ms\", most = \"5ms\" }}\n"
        );
    }
    text
}
