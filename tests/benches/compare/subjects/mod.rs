//! Who takes part, what each of them guarantees, and what it needs.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `heirloom` | a table in shared memory |
//! | `maps`, `shared_maps` | maps on the heap of one process |
//! | `lmdb`, `redb` | files in memory |
//! | `ets` | a table in an Erlang virtual machine |
//! | `redis` | a server on this machine |

mod ets;
pub(crate) mod heirloom;
mod lmdb;
mod maps;
mod redb;
mod redis;
mod shared_maps;

use crate::elsewhere::{alone, beside_writer};
use crate::figures::Figures;
use crate::turn::turn;
use crate::work::Work;
use heirloom::Heirloom;
use lmdb::Lmdb;
use maps::{BTreeBoxed, BTreeInline, HashbrownBoxed, HashbrownInline};
use redb::Redb;
use redis::Redis;
use shared_maps::{Dashmap, Papaya};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where files are memory.
const IN_MEMORY: &str = "/dev/shm";

/// One that takes part.
pub(crate) struct Entrant {
    /// Its name in `--only` and for programs.
    pub(crate) name: &'static str,
    /// Its name for people.
    pub(crate) title: &'static str,
    /// Whether it keeps its keys in order: those that do are compared with each other.
    pub(crate) ordered: bool,
    home: Home,
    /// Has it do its work once.
    pub(crate) turn: fn(&Work) -> Figures,
}

/// Where the data is.
#[derive(Clone, Copy)]
struct Home {
    /// What becomes of it when a process is killed.
    guarantee: &'static str,
    /// What it needs that not every machine has: a program, or a folder.
    needs: Option<&'static str>,
}

const OURS: Home = Home {
    guarantee: "survives `kill -9` of its owner, whole, and is handed to the next; processes read it in place",
    needs: None,
};
const HEAP: Home = Home { guarantee: "dies with its process", needs: None };
const LMDB: Home = Home {
    guarantee: "survives `kill -9`, whole; processes read it in place, in transactions; nobody is told to take over",
    needs: Some(IN_MEMORY),
};
const REDB: Home = Home {
    guarantee: "one process at a time; without a sync, what was written last dies with it",
    needs: Some(IN_MEMORY),
};
const ETS: Home =
    Home { guarantee: "dies with its Erlang VM; within it, an heir can be named", needs: Some("escript") };
const REDIS: Home = Home {
    guarantee: "dies with its server (no log, no snapshots); its clients may die",
    needs: Some("redis-server"),
};

/// All of them, those of each order together, and Heirloom first.
pub(crate) const ALL: [Entrant; 20] = [
    hashed("heirloom-set", "Heirloom `set`", OURS, turn::<Heirloom<false>>),
    hashed("heirloom-set-elsewhere", "Heirloom `set`, another process", OURS, alone::<false>),
    hashed("heirloom-set-beside", "the same, while its owner writes", OURS, beside_writer::<false>),
    hashed("hashbrown", "hashbrown, inline", HEAP, turn::<HashbrownInline>),
    hashed("hashbrown-boxed", "hashbrown, boxed", HEAP, turn::<HashbrownBoxed>),
    hashed("dashmap", "dashmap", HEAP, turn::<Dashmap>),
    hashed("papaya", "papaya", HEAP, turn::<Papaya>),
    hashed("ets", "ETS `set`", ETS, ets::turn::<false>),
    hashed("redis-pipelined", "Redis, 100 requests at once", REDIS, turn::<Redis<100>>),
    hashed("redis", "Redis, a round trip each", REDIS, turn::<Redis<1>>),
    ordered("heirloom-ordered", "Heirloom `ordered_set`", OURS, turn::<Heirloom<true>>),
    ordered("heirloom-ordered-elsewhere", "Heirloom `ordered_set`, another process", OURS, alone::<true>),
    ordered("heirloom-ordered-beside", "the same, while its owner writes", OURS, beside_writer::<true>),
    ordered("btree", "std BTreeMap, inline", HEAP, turn::<BTreeInline>),
    ordered("btree-boxed", "std BTreeMap, boxed", HEAP, turn::<BTreeBoxed>),
    ordered("lmdb-one", "LMDB, one transaction", LMDB, turn::<Lmdb<true>>),
    ordered("lmdb", "LMDB, a transaction each", LMDB, turn::<Lmdb<false>>),
    ordered("redb-one", "redb, one transaction", REDB, turn::<Redb<true>>),
    ordered("redb", "redb, a transaction each", REDB, turn::<Redb<false>>),
    ordered("ets-ordered", "ETS `ordered_set`", ETS, ets::turn::<true>),
];

const fn hashed(name: &'static str, title: &'static str, home: Home, turn: fn(&Work) -> Figures) -> Entrant {
    Entrant { name, title, ordered: false, home, turn }
}

const fn ordered(name: &'static str, title: &'static str, home: Home, turn: fn(&Work) -> Figures) -> Entrant {
    Entrant { name, title, ordered: true, home, turn }
}

impl Entrant {
    /// What becomes of its data when a process is killed.
    pub(crate) fn guarantee(&self) -> &'static str {
        self.home.guarantee
    }

    /// Whether the others of its order are compared with it.
    pub(crate) fn is_measure(&self) -> bool {
        matches!(self.name, "heirloom-set" | "heirloom-ordered")
    }

    /// Whether it is Heirloom in any form.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("heirloom")
    }

    /// What it needs and this machine does not have.
    pub(crate) fn misses(&self) -> Option<&'static str> {
        self.home.needs.filter(|needed| !is_there(needed))
    }
}

/// Whether there is such a folder, or a program of that name.
pub(crate) fn is_there(needed: &str) -> bool {
    if needed.starts_with('/') {
        return Path::new(needed).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(needed).is_file())
}

fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in(IN_MEMORY).expect("who misses it does not take part")
}

/// How much memory a file in such a folder has.
fn allocated_bytes(file: &Path) -> u64 {
    file.metadata().expect("the file is there").blocks() * 512
}
