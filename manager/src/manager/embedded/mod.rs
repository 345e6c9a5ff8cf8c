//! The manager inside a program, whose workers are its threads and tasks.
//!
//! ```text
//!  thread or task ──► Worker, Writer, Reader (heirloom_worker, as everywhere)
//!                       │ say                                    ▲ hear: offers, grants, answers
//!                       ▼                                        │
//!                     House ── one thread at a time ──► the manager's control: tables, registry, ownership machine
//! ```
//!
//! It is the daemon's own code: the same ownership machine, the same registry and find-me, the same segments. What is
//! missing is what stands between processes. Messages are calls, made on the thread that has something to say. The
//! segment is mapped once, and shared. And a worker's death is that its writer is dropped: by a panic that unwinds, by
//! a task that is cancelled, or because it is done. Rust's ownership is the proof that it cannot write any more; then
//! what it had in flight is recovered, and the next candidate is offered the table before the dropping thread goes on.
//!
//! ```
//! use heirloom_manager::manager::{Manager, embedded::Table};
//! use heirloom_manager::registry::Candidates;
//!
//! let house = Manager::embedded()
//!     .table(Table::set("sessions").max_bytes(64 << 20)
//!         .find_me(|ready: &Candidates| ready.named("web"))
//!         .hydrate_with(|load| load.extend([(7_u64, "alice".to_owned())])))
//!     .start()?;
//!
//! let web = house.worker("web")?;
//! let sessions = web.own::<u64, String>("sessions")?;
//! web.ready()?;
//! sessions.write(|table| table.insert(&8, &"bob".to_owned()))?;
//! assert_eq!(sessions.get(&7)?.as_deref(), Some("alice"));
//! assert_eq!(sessions.get(&8)?.as_deref(), Some("bob"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On tokio, `heirloom_worker::tokio::Worker::from(house.worker("web")?)` is the same worker with `async` methods.
//!
//! Heirs and find-me are called on whichever thread carries the manager's work on at that moment: also inside the drop
//! of a writer. So they must not block, and must not take a lock that somebody holds while it drops a writer.

mod house;
mod hydration;
mod table;

pub use house::House;
pub use hydration::{Hydration, LoadError};
pub use table::Table;

use super::control::Control;
use super::{Manager, ManagerError, start};
use crate::config::ManagerConfig;
use std::time::Duration;

/// A manager that is about to start inside this program; made by [`Manager::embedded`].
#[derive(Debug, Default)]
#[must_use = "nothing happens before it is started"]
pub struct Embedded {
    tables: Vec<Table>,
    times: ManagerConfig,
}

impl Manager<'static> {
    /// A manager inside this program, whose workers are its threads and tasks; see [`embedded`](self).
    pub fn embedded() -> Embedded {
        Embedded::default()
    }
}

impl Embedded {
    /// One more table.
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// How long an offered table waits for its candidate's answer, before the next one is asked; 5 s where nothing is
    /// said.
    pub fn offer_timeout(mut self, time: Duration) -> Self {
        self.times.offer_timeout = time;
        self
    }

    /// How long an owner that is asked for its table has, before the recall is withdrawn; 30 s where nothing is said.
    pub fn recall_timeout(mut self, time: Duration) -> Self {
        self.times.recall_timeout = time;
        self
    }

    /// Creates the tables, fills them, one after the other and on this thread, and opens the house.
    ///
    /// # Errors
    /// [`ManagerError`] where there is no memory for them, two have one id, or one cannot be filled.
    pub fn start(self) -> Result<House, ManagerError> {
        start::check_memory(self.tables.iter().map(Table::limit))?;
        let mut tables = Vec::new();
        for table in self.tables {
            if tables.iter().any(|other: &super::table::Table| *other.id == *table.id()) {
                return Err(ManagerError::TwoTables { table: table.id().to_owned() });
            }
            tables.push(table.create()?);
        }
        House::open(Control::embedded(tables, self.times))
    }
}
