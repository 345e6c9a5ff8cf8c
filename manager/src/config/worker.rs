//! `[[worker]]`: who may own tables, and how the supervisor runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One worker: a name that one or more processes register under.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// Its name, unique in the file.
    pub name: String,
    /// The user it runs as, by name or number. The supervisor switches to it; a worker that registers under this
    /// name as somebody else (root excepted) is refused. `None`: the supervisor's own user.
    pub user: Option<String>,
    /// Who starts it.
    pub start: Start,
}

/// Who starts a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Somebody else (systemd, Kubernetes, a shell): it registers by its name.
    External,
    /// The supervisor.
    Child(ChildConfig),
}

/// How the supervisor runs a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildConfig {
    /// Program (absolute, or found by PATH) and arguments; never empty.
    pub command: Vec<String>,
    /// How many processes of it run at once; at least 1.
    pub instances: u32,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// How it is asked to stop.
    pub shutdown: Shutdown,
    /// How long the supervisor waits before it starts it again.
    pub back_off: BackOff,
    /// Environment variables added to the supervisor's own.
    pub env: BTreeMap<String, String>,
    /// Its working folder, absolute: that of the configuration file, where nothing else is said.
    pub folder: PathBuf,
}

/// Whether a child is started again when it ends (OTP's restart types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always.
    Permanent,
    /// When it ended by a signal or with another status than 0.
    Transient,
    /// Never, also not when the strategy restarts its neighbours.
    Temporary,
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// SIGTERM, then SIGKILL to its process group after this time.
    After(Duration),
    /// SIGKILL at once.
    BrutalKill,
}

/// The wait before a restart: `first`, doubled at each further failure up to `most`, plus or minus a fifth.
/// A child that ran longer than the supervisor's period starts anew with `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BackOff {
    /// Before the first restart.
    pub first: Duration,
    /// Never longer than this.
    pub most: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(10) }
    }
}
