//! What a client has at the manager until it is dropped: a pin, or being a follower.

#![allow(dead_code)] // until snapshots and watch take them up

use std::sync::Arc;

use super::{Answer, Client, Link, Question, RequestError};

/// A snapshot's pin. Dropped, it is given back; so it is when the connection is lost, and by the manager when it is too
/// old (rule R13): the pin's word in the table says so.
#[must_use = "dropped, the pin is given back"]
pub(crate) struct Pinned {
    link: Arc<Link>,
    table: String,
    slot: u32,
    version: u64,
}

/// Keeps the owner writing a table's changes to its ring. Dropped, the owner need not; said again after a reconnection.
#[must_use = "dropped, the table is not followed"]
pub(crate) struct Followed {
    link: Arc<Link>,
    table: String,
}

impl Client {
    /// Pins the newest version of a table.
    pub(crate) fn pin(&self, table: &str) -> Result<Pinned, RequestError> {
        let answer = self.ask(Question::Pin { table: table.to_owned() })?;
        self.pinned(table, &answer)
    }

    /// What the answer to [`Question::Pin`] says.
    pub(crate) fn pinned(&self, table: &str, answer: &Answer) -> Result<Pinned, RequestError> {
        let Answer::Pinned { slot, version } = *answer else { return Err(RequestError::Unexpected) };
        Ok(Pinned { link: Arc::clone(self.link()), table: table.to_owned(), slot, version })
    }

    /// Follows a table's changes: every commit after this has returned is in the ring.
    pub(crate) fn follow(&self, table: &str) -> Result<Followed, RequestError> {
        self.ask(Question::Follow { table: table.to_owned() })?;
        Ok(self.followed(table))
    }

    /// The manager has agreed to [`Question::Follow`].
    pub(crate) fn followed(&self, table: &str) -> Followed {
        self.link().follows(table);
        Followed { link: Arc::clone(self.link()), table: table.to_owned() }
    }
}

impl Pinned {
    /// Where the pin's word is.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// The version that it holds.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.link.unpin(&self.table, self.slot, self.version);
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.link.unfollow(&self.table);
    }
}
