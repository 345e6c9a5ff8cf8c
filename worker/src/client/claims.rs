//! What a client has at the manager until it is dropped: a pin, or being a follower.

use std::sync::Arc;

use heirloom_protocol::message::Refusal;
use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{self, Pin};

use super::{Answer, Client, Link, Question, RequestError};

/// A snapshot's pin. Dropped, it is given back; so it is when the connection is lost, and by the manager when it is too
/// old (rule R13): the pin's word in the table says so.
#[must_use = "dropped, the pin is given back"]
pub(crate) struct Pinned {
    pin: Pin,
    giver: Giver,
}

/// Who gave a pin.
enum Giver {
    Manager {
        link: Arc<Link>,
        table: String,
    },
    /// Nobody but us, in a test.
    Heap(Arc<HeapRegion>),
}

/// Keeps the owner writing a table's changes to its ring. Dropped, the owner need not; said again after a reconnection.
#[must_use = "dropped, the table is not followed"]
pub(crate) struct Followed {
    /// None in a test, whose table is followed for good.
    at_manager: Option<(Arc<Link>, String)>,
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
        let giver = Giver::Manager { link: Arc::clone(self.link()), table: table.to_owned() };
        Ok(Pinned { pin: Pin::from_parts(slot, version), giver })
    }

    /// Follows a table's changes: every commit after this has returned is in the ring.
    pub(crate) fn follow(&self, table: &str) -> Result<Followed, RequestError> {
        self.ask(Question::Follow { table: table.to_owned() })?;
        Ok(self.followed(table))
    }

    /// The manager has agreed to [`Question::Follow`].
    pub(crate) fn followed(&self, table: &str) -> Followed {
        self.link().follows(table);
        Followed { at_manager: Some((Arc::clone(self.link()), table.to_owned())) }
    }
}

impl Pinned {
    /// Pins the newest version of a table on the heap, as a manager would.
    pub(crate) fn on_heap(region: &Arc<HeapRegion>) -> Result<Self, RequestError> {
        let refused = |error: table::PinError| RequestError::Refused {
            why: Refusal::TooMany,
            message: error.to_string(),
        };
        let pin = table::pin(region).map_err(refused)?;
        Ok(Self { pin, giver: Giver::Heap(Arc::clone(region)) })
    }

    /// What reads the version that is pinned.
    pub(crate) fn pin(&self) -> Pin {
        self.pin
    }
}

impl Followed {
    /// Has a table on the heap followed, as a manager would.
    pub(crate) fn on_heap(region: &Arc<HeapRegion>) -> Self {
        table::set_followed(region, true);
        Self { at_manager: None }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        match &self.giver {
            Giver::Manager { link, table } => link.unpin(table, self.pin.slot(), self.pin.version()),
            Giver::Heap(region) => table::unpin(region, self.pin),
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some((link, table)) = &self.at_manager {
            link.unfollow(table);
        }
    }
}
