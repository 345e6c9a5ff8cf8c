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

use crate::elsewhere;
use crate::figures::Figures;
use crate::turn::turn;
use crate::work::Work;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where files are memory.
const IN_MEMORY: &str = "/dev/shm";

/// One that takes part.
pub(crate) struct Subject {
    /// Its name in `--only` and for programs.
    pub(crate) name: &'static str,
    /// Its name for people.
    pub(crate) title: &'static str,
    /// Whether it keeps its keys in order: those that do are compared with each other.
    pub(crate) ordered: bool,
    /// What it needs that not every machine has: a program, or a folder.
    needs: Option<&'static str>,
    /// What becomes of its data when a process is killed.
    pub(crate) guarantee: &'static str,
    /// Has it do its work once.
    pub(crate) turn: fn(&Work) -> Figures,
}

const OURS: &str =
    "survives `kill -9` of its owner, whole, and is handed to the next; all processes read it in place";
const HEAP: &str = "dies with its process";
const LMDB: &str =
    "survives `kill -9`, whole; processes read it in place, in transactions; nobody is told to take over";
const REDB: &str = "one process at a time; without a sync, what was written last dies with it";
const ETS: &str = "dies with its Erlang VM; within it, an heir can be named";
const REDIS: &str = "dies with its server (no log, no snapshots); its clients may die";

impl Subject {
    const fn new(
        name: &'static str,
        title: &'static str,
        guarantee: &'static str,
        turn: fn(&Work) -> Figures,
    ) -> Self {
        Self { name, title, ordered: false, needs: None, guarantee, turn }
    }

    const fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }

    const fn needs(self, what: &'static str) -> Self {
        Self { needs: Some(what), ..self }
    }

    /// Whether it is Heirloom itself, in which order the others are compared with it.
    pub(crate) fn is_measure(&self) -> bool {
        matches!(self.name, "heirloom-set" | "heirloom-ordered")
    }

    /// Whether it is Heirloom in any form.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("heirloom")
    }

    /// What it needs and this machine does not have.
    pub(crate) fn misses(&self) -> Option<&'static str> {
        self.needs.filter(|needed| !is_there(needed))
    }
}

/// All of them, those of each order together, and Heirloom first.
pub(crate) const ALL: [Subject; 20] = [
    Subject::new("heirloom-set", "Heirloom `set`", OURS, turn::<heirloom::Heirloom<false>>),
    Subject::new(
        "heirloom-set-elsewhere",
        "Heirloom `set`, from another process",
        OURS,
        elsewhere::alone::<false>,
    ),
    Subject::new(
        "heirloom-set-beside",
        "the same, while its owner overwrites",
        OURS,
        elsewhere::beside_writer::<false>,
    ),
    Subject::new("hashbrown", "hashbrown, inline", HEAP, turn::<maps::HashbrownInline>),
    Subject::new("hashbrown-boxed", "hashbrown, boxed", HEAP, turn::<maps::HashbrownBoxed>),
    Subject::new("dashmap", "dashmap", HEAP, turn::<shared_maps::Dashmap>),
    Subject::new("papaya", "papaya", HEAP, turn::<shared_maps::Papaya>),
    Subject::new("ets", "ETS `set`", ETS, ets::turn::<false>).needs("escript"),
    Subject::new("redis-pipelined", "Redis, 100 requests at once", REDIS, turn::<redis::Redis<100>>)
        .needs("redis-server"),
    Subject::new("redis", "Redis, a round trip each", REDIS, turn::<redis::Redis<1>>).needs("redis-server"),
    Subject::new("heirloom-ordered", "Heirloom `ordered_set`", OURS, turn::<heirloom::Heirloom<true>>)
        .ordered(),
    Subject::new(
        "heirloom-ordered-elsewhere",
        "Heirloom `ordered_set`, from another process",
        OURS,
        elsewhere::alone::<true>,
    )
    .ordered(),
    Subject::new(
        "heirloom-ordered-beside",
        "the same, while its owner overwrites",
        OURS,
        elsewhere::beside_writer::<true>,
    )
    .ordered(),
    Subject::new("btree", "std BTreeMap, inline", HEAP, turn::<maps::BTreeInline>).ordered(),
    Subject::new("btree-boxed", "std BTreeMap, boxed", HEAP, turn::<maps::BTreeBoxed>).ordered(),
    Subject::new("lmdb-one", "LMDB, one transaction", LMDB, turn::<lmdb::Lmdb<true>>)
        .ordered()
        .needs(IN_MEMORY),
    Subject::new("lmdb", "LMDB, a transaction each", LMDB, turn::<lmdb::Lmdb<false>>)
        .ordered()
        .needs(IN_MEMORY),
    Subject::new("redb-one", "redb, one transaction", REDB, turn::<redb::Redb<true>>)
        .ordered()
        .needs(IN_MEMORY),
    Subject::new("redb", "redb, a transaction each", REDB, turn::<redb::Redb<false>>)
        .ordered()
        .needs(IN_MEMORY),
    Subject::new("ets-ordered", "ETS `ordered_set`", ETS, ets::turn::<true>).ordered().needs("escript"),
];

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
