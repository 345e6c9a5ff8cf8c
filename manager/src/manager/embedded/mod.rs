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
use super::kept::Kept;
use super::notify::Supervision;
use super::{Manager, ManagerError, filling, start};
use crate::config::ManagerConfig;
use heirloom_protocol::sys::Process;
use heirloom_protocol::sys::inherit::{self, NamedDescriptor};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// A manager that is about to start inside this program; made by [`Manager::embedded`].
#[derive(Debug, Default)]
#[must_use = "nothing happens before it is started"]
pub struct Embedded {
    tables: Vec<Table>,
    times: ManagerConfig,
    /// What the supervisor handed down, where the tables are to outlive the program.
    received: Option<io::Result<Vec<NamedDescriptor>>>,
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

    /// The folder of the stores of durable tables (see [`Table::durability`]); where nothing is said,
    /// [`store::default_folder`](crate::store::default_folder).
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.times.store = Some(folder.into());
        self
    }

    /// The tables outlive this program: whoever supervises it keeps their memory, by systemd's own convention, and hands it
    /// back when the program is started again. A table that comes back is not hydrated: it is as it was, up to the last
    /// commit that returned. Without a supervisor that listens, the tables end with the program.
    ///
    /// Two lines in the unit of a service make systemd such a supervisor:
    ///
    /// ```ini
    /// [Service]
    /// FileDescriptorStoreMax=64
    /// NotifyAccess=main
    /// ```
    ///
    /// Call it first in `main`: descriptors that were handed down would be inherited by every command that is started
    /// before (rule H22). It takes all of them; a program that is handed others too takes them itself, with
    /// [`inherit::received_descriptors`], and passes on what is left to [`Embedded::descriptor_store`].
    pub fn descriptor_store_from_env(mut self) -> Self {
        self.received = Some(inherit::received_descriptors());
        self
    }

    /// The same, with what was handed down.
    pub fn descriptor_store(mut self, received: Vec<NamedDescriptor>) -> Self {
        self.received = Some(Ok(received));
        self
    }

    /// Takes up the tables that come back, creates and fills the others, one after the other and on this thread, and
    /// opens the house.
    ///
    /// # Errors
    /// [`ManagerError`] where there is no memory for them, two have one id, one cannot be filled or taken up, or the program
    /// that had them before is still alive.
    pub fn start(self) -> Result<House, ManagerError> {
        let (supervision, mut kept) = match self.received {
            None => (Supervision::none(), Kept::default()),
            Some(received) => {
                (Supervision::from_env(), Kept::sort(received.map_err(ManagerError::Inherited)?))
            }
        };
        take_over(&supervision, &mut kept)?;
        start::check_memory(self.tables.iter().map(Table::limit))?;
        let folder = self.times.store_folder();
        filling::prepare(&folder, self.tables.iter().map(Table::config))?;
        let mut tables = Vec::new();
        for table in self.tables {
            if tables.iter().any(|other: &super::table::Table| *other.id == *table.id()) {
                return Err(ManagerError::TwoTables { table: table.id().to_owned() });
            }
            let memory = kept.segments.remove(table.id());
            tables.push(table.create_or_adopt(memory, &folder)?);
        }
        supervision.keep_tables(tables.iter().map(|table| (&*table.id, &*table.segment as &dyn AsFd)))?;
        House::open(Control::embedded(tables, self.times, supervision, kept))
    }
}

/// Makes sure that the program which had the tables is dead, and says that it is this one now. Its threads wrote through the
/// original descriptor, which the kernel does not count as a writer (rule H7): so its death is the proof that they do not
/// any more.
fn take_over(supervision: &Supervision, kept: &mut Kept) -> Result<(), ManagerError> {
    let ourselves = Process::current().map_err(ManagerError::Runtime)?;
    for (pid, pidfd) in kept.houses.drain(..) {
        let before = Process::from_pidfd_of(pidfd, pid).map_err(ManagerError::Inherited)?;
        // The same where a program has replaced itself by exec.
        if !before.has_exited() && before.identity() != ourselves.identity() {
            return Err(ManagerError::StillRunning { pid });
        }
        supervision.forget_house(pid);
    }
    Ok(supervision.keep_house(&ourselves)?)
}
