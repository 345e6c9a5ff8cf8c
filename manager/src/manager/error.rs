//! Why a manager cannot start.

use super::embedded::LoadError;
use crate::config::users::UnknownName;
use crate::hydrate::HydrateError;
use crate::store::StoreError;
use heirloom_protocol::region::MapError;
use heirloom_protocol::sys::notify::NotifyError;
use heirloom_protocol::sys::{ListenError, SegmentError};
use heirloom_protocol::table::OpenError;
use std::io;

/// The manager cannot start. Nothing has been offered to any worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// What was passed down through `LISTEN_FDS` is of no use.
    #[error("the inherited descriptors cannot be used: {0}")]
    Inherited(#[source] io::Error),
    /// The control socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The event loop cannot be had.
    #[error("the event loop cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The tables may grow larger than the memory (rule H5).
    #[error(
        "the tables may take {wanted} bytes together (the sum of max_bytes), and {limit}: lower max_bytes or raise the limit"
    )]
    Memory {
        /// The sum of `max_bytes`.
        wanted: u64,
        /// What stands against it, in words.
        limit: String,
    },
    /// The memory of a table cannot be had.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The memory of a table cannot be mapped.
    #[error("table `{table}`: {error}")]
    Map {
        /// The table's id.
        table: String,
        /// Why.
        error: MapError,
    },
    /// A table cannot be laid out in its memory.
    #[error("table `{table}`: {error}")]
    Create {
        /// The table's id.
        table: String,
        /// Why.
        error: OpenError,
    },
    /// The memory of a table that outlived the last manager is not what the configuration says. It stays with the
    /// supervisor, as it is.
    #[error(
        "table `{table}` has outlived the last manager, and cannot be taken up: {why}. Nothing of it is lost: mend the \
         configuration, or go back to the version of heirloom that made it; stopping the supervisor gives it up"
    )]
    Adopt {
        /// The table's id.
        table: String,
        /// Why.
        why: String,
    },
    /// What was in the descriptor store cannot be taken up, or no more be put there.
    #[error("the descriptor store cannot be used: {0}")]
    Store(#[from] NotifyError),
    /// The program that had these tables before is alive, and may write to them.
    #[error("process {pid} has these tables, and is alive: end it first")]
    StillRunning {
        /// The process.
        pid: u32,
    },
    /// A user or group in `owner` or `readers` is not known here.
    #[error("table `{table}`: {error}")]
    Access {
        /// The table's id.
        table: String,
        /// Who.
        error: UnknownName,
    },
    /// The user of a worker is not known here.
    #[error("worker `{worker}`: {error}")]
    WorkerUser {
        /// The worker's name.
        worker: String,
        /// Who.
        error: UnknownName,
    },
    /// Two embedded tables have one id.
    #[error("there are two tables `{table}`: an id names one")]
    TwoTables {
        /// The id.
        table: String,
    },
    /// An embedded table was not filled.
    #[error("table `{table}` cannot be hydrated: {error}")]
    Load {
        /// The table's id.
        table: String,
        /// Why.
        error: LoadError,
    },
    /// What is on disk of a durable table is of no use, or cannot be there.
    #[error("table `{table}`: {error}")]
    OnDisk {
        /// The table's id.
        table: String,
        /// Why.
        error: StoreError,
    },
    /// A table's source is of no use.
    #[error("table `{table}` cannot be hydrated: {error}")]
    Hydrate {
        /// The table's id.
        table: String,
        /// Why.
        error: HydrateError,
    },
}
