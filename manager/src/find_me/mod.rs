//! find-me: which worker gets this table now, or none yet?
//!
//! | in the configuration | in Rust | asked |
//! | --- | --- | --- |
//! | `{ name = ".." }` | [`ByName`] | at once: the registry alone answers |
//! | `"any"` | [`AnyReady`] | at once |
//! | `{ command = [..] }` | [`ByCommand`] | on a thread of its own, with a timeout |
//! | `{ pid_file = ".." }` | [`ByPidFile`] | on a thread of its own |
//! | | a closure, or anything that implements [`FindMe`] | on a thread of its own, with a timeout |
//!
//! It is asked when the table is with the manager: when it has just come back, whenever a worker becomes a candidate,
//! and, where the answer does not come from the registry alone, now and then besides (`pace`).

mod by_command;
mod by_pid_file;
mod pace;

pub use by_command::ByCommand;
pub use by_pid_file::ByPidFile;
pub(crate) use pace::Pace;

use crate::config;
use crate::registry::{Candidate, Candidates};
use std::sync::Arc;
use std::time::Duration;

/// Answers which worker gets a table.
///
/// ```
/// use heirloom_manager::find_me::FindMe;
/// use heirloom_manager::registry::{Candidate, Candidates};
///
/// let web = |ready: &Candidates| ready.named("web");
/// assert_eq!(web.find(&Candidates::default())?, None::<Candidate>);
/// # Ok::<(), heirloom_manager::find_me::FindMeError>(())
/// ```
pub trait FindMe: Send + Sync {
    /// Chooses among the candidates; `None` means that none of them gets it yet.
    ///
    /// It may block and may panic: it is called on a thread of its own, and asked again later, a few times a second at
    /// most. The table waits meanwhile.
    ///
    /// # Errors
    /// [`FindMeError`]: goes to the log, and counts as `None`.
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError>;

    /// After how long an answer is not waited for any more.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Whether the candidates alone decide, and without blocking: then it is called where the answer is wanted, and
    /// only when the candidates have changed.
    fn is_immediate(&self) -> bool {
        false
    }
}

impl<F> FindMe for F
where
    F: Fn(&Candidates) -> Option<Candidate> + Send + Sync,
{
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        Ok(self(ready))
    }
}

/// The workers registered under a name, the longest ready first.
#[derive(Debug, Clone)]
pub struct ByName(
    /// The name.
    pub String,
);

impl FindMe for ByName {
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        Ok(ready.named(&self.0))
    }

    fn is_immediate(&self) -> bool {
        true
    }
}

/// Any worker that is ready, the longest ready first.
#[derive(Debug, Clone, Copy)]
pub struct AnyReady;

impl FindMe for AnyReady {
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        Ok(ready.first())
    }

    fn is_immediate(&self) -> bool {
        true
    }
}

/// What the configuration asks for.
#[must_use]
pub fn from_config(find_me: &config::FindMe) -> Arc<dyn FindMe> {
    match find_me.clone() {
        config::FindMe::Name(name) => Arc::new(ByName(name)),
        config::FindMe::Any => Arc::new(AnyReady),
        config::FindMe::Command { command, timeout } => Arc::new(ByCommand { command, timeout }),
        config::FindMe::PidFile(path) => Arc::new(ByPidFile { path }),
    }
}

/// find-me gave no answer, or one that is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindMeError {
    /// The command could not be run.
    #[error("`{command}` cannot be run: {error}")]
    NotRun {
        /// The command.
        command: String,
        /// The system's answer.
        error: std::io::Error,
    },
    /// The command failed.
    #[error("`{command}` ended with {status}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// No answer came in time.
    #[error("no answer within {} ms", after.as_millis())]
    TooSlow {
        /// The time it had.
        after: Duration,
    },
    /// It panicked.
    #[error("it panicked")]
    Panicked,
    /// The PID file could not be read.
    #[error("{path}: {error}")]
    NoPidFile {
        /// The file.
        path: String,
        /// The system's answer.
        error: std::io::Error,
    },
    /// What should be a process id is none.
    #[error("{from} says {said:?}, which is no process id")]
    NotAPid {
        /// The command or file.
        from: String,
        /// What it says, cut short.
        said: String,
    },
    /// The process is no candidate: it is dead, has not registered, is not ready, or has no heir for the table.
    #[error("{from} says {pid}, which is no worker that is ready for this table")]
    NoCandidate {
        /// The command or file.
        from: String,
        /// The process id.
        pid: u32,
    },
    /// The worker it answered with is dead, or no candidate any more.
    #[error("it answered with process {pid}, which is dead or not ready any more")]
    Gone {
        /// The process id.
        pid: u32,
    },
    /// Something else, of a [`FindMe`] of one's own.
    #[error("{0}")]
    Other(String),
}

/// The candidate that a text names by its process id; nothing where the text is blank ("none yet").
fn candidate_in(text: &[u8], from: &str, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let pid = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let Some(pid) = pid else {
        let said = String::from_utf8_lossy(text).chars().take(40).collect();
        return Err(FindMeError::NotAPid { from: from.to_owned(), said });
    };
    let candidate = ready.with_pid(pid);
    candidate.map(Some).ok_or_else(|| FindMeError::NoCandidate { from: from.to_owned(), pid })
}
