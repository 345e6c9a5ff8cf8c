//! `[supervisor]` and `[manager]`: the settings of the two processes of our own.

use std::path::PathBuf;
use std::time::Duration;

/// Longest path of the control socket, in bytes: the kernel's 107 for any socket, less `.notify`, which the name of
/// the socket beside it ends in.
pub const MAX_SOCKET_PATH_BYTES: usize = 100;

/// How the supervisor treats its children.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupervisorConfig {
    /// Which children are started again when one ends.
    pub strategy: Strategy,
    /// How many restarts of one child within [`period`](Self::period) are accepted; one more is a crash loop.
    pub intensity: u32,
    /// The sliding window that [`intensity`](Self::intensity) counts in.
    pub period: Duration,
    /// After how long a child in a crash loop is tried once more; `None` where only an operator's restart does.
    pub crash_loop_retry: Option<Duration>,
    /// Where the control socket is, as an absolute path; `None` for the default place.
    pub socket: Option<PathBuf>,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            intensity: 5,
            period: Duration::from_secs(10),
            crash_loop_retry: Some(Duration::from_secs(60)),
            socket: None,
        }
    }
}

/// Which children are started again when one of them ends and is to be restarted (OTP's strategies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// That child alone.
    OneForOne,
    /// That child and all that were started after it.
    RestForOne,
    /// All of them.
    OneForAll,
}

/// How long the manager waits for others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerConfig {
    /// How long a worker that broke the contract (connection closed while it lives, table released but still
    /// mapped) is left alone before it is killed.
    pub grace: Duration,
    /// How long an offered table waits for the worker's answer.
    pub offer_timeout: Duration,
    /// How long an owner that was asked for its table has before the recall is withdrawn.
    pub recall_timeout: Duration,
    /// How long the supervisor waits for the manager to stop before it kills it.
    pub shutdown: Duration,
    /// How long the manager may show no sign of life before the supervisor kills it, to be started again; `None` where
    /// it is not watched.
    pub watchdog: Option<Duration>,
    /// The folder of the stores of durable tables, as an absolute path; `None` for the default one,
    /// [`store::default_folder`](crate::store::default_folder).
    pub store: Option<PathBuf>,
}

impl ManagerConfig {
    /// The folder of the stores of durable tables.
    #[must_use]
    pub fn store_folder(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(crate::store::default_folder)
    }
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            offer_timeout: Duration::from_secs(5),
            recall_timeout: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            watchdog: None,
            store: None,
        }
    }
}
