//! Waiting until commits are on disk.

use std::sync::Arc;

use super::ownership::Tenure;
use super::{Answer, Client, Link, Question, RequestError};
use crate::writer::WriteError;

/// Waits until versions of a table are on disk. It outlives the lock that the table's writer lies behind, so that several
/// who wait share one checkpoint and one fsync.
#[derive(Clone)]
pub(crate) struct Disk {
    tenure: Arc<Tenure>,
    /// None in a test without a manager, where nothing is to be waited for.
    link: Option<Arc<Link>>,
}

impl Client {
    /// Has everything that was committed to a table so far written to disk, and says up to which version it is there.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where the table is one that lives in memory only, or cannot be written to disk now;
    /// otherwise as for every request.
    pub fn flush(&self, table: &str) -> Result<u64, RequestError> {
        flushed(&self.ask(Question::Flush { table: table.to_owned(), version: None })?)
    }
}

impl Disk {
    pub(super) fn new(tenure: Arc<Tenure>, link: Option<Arc<Link>>) -> Self {
        Self { tenure, link }
    }

    /// Waits, also while the manager is away, and says up to which version everything is on disk.
    ///
    /// # Errors
    /// [`WriteError::NotDurable`].
    pub(crate) fn wait(&self, version: u64) -> Result<u64, WriteError> {
        let Some(link) = &self.link else { return Ok(version) };
        let answer = link.put(&self.question(version)).and_then(|answer| flushed(&answer));
        answer.map_err(|error| self.not_durable(version, &error))
    }

    /// The same for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn awaited(&self, version: u64) -> Result<u64, WriteError> {
        let Some(link) = &self.link else { return Ok(version) };
        let answer = crate::tokio::put(link, self.question(version)).await;
        let answer = answer.and_then(|answer| flushed(&answer));
        answer.map_err(|error| self.not_durable(version, &error))
    }

    fn question(&self, version: u64) -> Question {
        Question::Flush { table: self.tenure.table().to_owned(), version: Some(version) }
    }

    fn not_durable(&self, version: u64, error: &RequestError) -> WriteError {
        WriteError::NotDurable { table: self.tenure.table().to_owned(), version, reason: error.to_string() }
    }
}

pub(crate) fn flushed(answer: &Answer) -> Result<u64, RequestError> {
    match answer {
        Answer::Flushed(version) => Ok(*version),
        _ => Err(RequestError::Unexpected),
    }
}
