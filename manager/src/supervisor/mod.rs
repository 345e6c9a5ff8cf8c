//! The supervisor: starts the manager and the workers, restarts them, and keeps the tables' descriptors.
//!
//! ```text
//!                      ┌──────────────────────────── supervisor ────────────────────────────┐
//!  service manager ◄───┤ relay ◄── run: one loop; signals, deaths, notifications and        │
//!    keeps the store   │           deadlines become inputs of two machines, and their       │
//!    too               │           effects become processes                                 │
//!                      │                                                                    │
//!                      │ machine (manager)   machine (workers)   store       herald         │
//!                      └──┬───────────────────────┬────────────────▲────────────┬───────────┘
//!      control socket and │                       │                │ FDSTORE    │ how the
//!      stored descriptors ▼                       ▼                │            ▼ children are
//!                      manager                 workers          manager      manager
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | [`machine`] | who is started, stopped and restarted: pure |
//! | `run` | the loop around it |
//! | `family` | which process is which child, and how children are shown |
//! | `socket` | where the control socket is; one supervisor listens there (H20) |
//! | `store` | the descriptors that outlive the manager (H21) |
//! | `relay` | the same, and what people are told, for the service manager above (H24) |
//! | `watch` | whether the manager shows signs of life |
//! | `spawn`, `exec_child` | how processes are started (H23, H27) |
//! | `reap` | how their ends are noticed |
//! | `herald` | tells the manager how the children are |
//!
//! The order of things:
//!
//! 1. The control socket is taken, then the manager is started with it. No worker is started before the manager has
//!    said `READY=1`: all tables are hydrated then. A manager that ends before that ends the supervisor, with an error.
//! 2. The workers are started in the order of the configuration, and restarted by the strategy. A child that fails more
//!    often than `intensity` within `period` is in a crash loop: it is tried once more after each `crash_loop_retry`,
//!    and costs nobody else anything (H26).
//! 3. A manager that dies later is started again, for ever, and is handed back what it had stored: at once where it had
//!    been ready, with growing pauses where it was not, which is loud. The workers go on meanwhile; so do owners and
//!    readers.
//! 4. Where the supervisor itself dies, its manager and workers live on: tables are owned, read and handed on. The next
//!    supervisor at the same control socket says who they are, and touches nothing; once they have ended, it starts with
//!    the tables that the service manager above has kept, if there is one.
//! 5. SIGTERM, SIGINT or SIGHUP stops the workers in reverse order, then the manager. A second SIGINT, or SIGQUIT, kills
//!    them all at once.

mod exec_child;
mod family;
mod herald;
pub mod machine;
mod reap;
mod relay;
mod run;
mod socket;
mod spawn;
mod store;
mod watch;

pub use exec_child::{ExecChildError, exec_child};
pub use run::run;
pub use socket::default_socket;

use crate::config::Config;
use crate::config::users::UnknownName;
use heirloom_protocol::sys::ListenError;
use machine::Exit;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// What a supervisor is told besides its configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the control socket is: before what the configuration says.
    pub socket: Option<PathBuf>,
    /// Program and arguments of the manager.
    pub manager: Vec<OsString>,
    /// Program and arguments of the entry point that calls [`exec_child`]; what is to be started follows them.
    pub exec_child: Vec<OsString>,
}

impl Options {
    /// This same program, as `manager --config FILE` and as `exec-child`.
    ///
    /// # Errors
    /// Where the kernel does not tell which program this is.
    pub fn new(config: &Config) -> io::Result<Self> {
        let program = std::env::current_exe()?.into_os_string();
        Ok(Self {
            socket: None,
            manager: vec![program.clone(), "manager".into(), "--config".into(), config.path.clone().into()],
            exec_child: vec![program, "exec-child".into()],
        })
    }
}

/// The supervisor could not start, or has nothing left to supervise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// A second supervisor.
    #[error("a supervisor (process {pid}) already serves {}: stop it, or choose another socket (--socket)", path.display())]
    AlreadyRunning {
        /// The control socket.
        path: PathBuf,
        /// The other supervisor.
        pid: u32,
    },
    /// A supervisor died and left its processes behind.
    #[error(
        "the supervisor of {} (process {pid}) was killed, and its manager (process {manager}) still serves its tables, to \
         the workers {workers}. Nothing was touched: they go on, but nobody starts them again. To start anew, end the \
         workers, then the manager (kill PID), and run this again; the tables end with that manager, unless the service \
         manager above keeps them (heirloom dump saves one). Or choose another socket (--socket)",
        path.display()
    )]
    LeftBehind {
        /// The control socket.
        path: PathBuf,
        /// The supervisor that died.
        pid: u32,
        /// Its manager's process id, or `unknown`.
        manager: String,
        /// The names and process ids of the workers that are registered with it.
        workers: String,
    },
    /// The control socket cannot be had for another reason.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The path of the control socket is too long.
    #[error("the path of the control socket, {}, is {length} bytes long: at most 100 are possible", path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The folder of the control socket cannot be used.
    #[error("cannot use the folder {} for the control socket: {source}; choose another (--socket)", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A worker's user is not known here.
    #[error(transparent)]
    UnknownUser(#[from] UnknownName),
    /// A worker's user can be switched to by root only.
    #[error(
        "worker `{worker}` is to run as `{user}`, and only root can switch users: start the supervisor as root"
    )]
    NotRoot {
        /// The worker.
        worker: String,
        /// The user.
        user: String,
    },
    /// The manager's program could not be started.
    #[error("the manager cannot be started: {0}")]
    ManagerNotStarted(#[source] io::Error),
    /// The manager gave up before it was ready.
    #[error(
        "the manager ended before it was ready ({exit}); no worker was started. Its own message says why"
    )]
    ManagerNotReady {
        /// How it ended.
        exit: Exit,
    },
    /// Something the supervisor needs for itself is not to be had.
    #[error("the supervisor cannot {what}: {source}")]
    Host {
        /// What it needs.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}
