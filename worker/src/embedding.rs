//! For a manager inside this process: the way between it and its workers. Programs use `heirloom_manager`'s `House`,
//! which stands on this.
//!
//! An embedded worker is the same client with the same session; only its messages go another way. There is no thread
//! between the two sides: whoever has something to say notes it ([`House::say`]) and then carries on what is noted
//! ([`House::carry_on`]), for others as well, unless another thread is doing that already. So from a dropped writer to
//! the heir's inbox it is one chain of calls on one thread, and no lock of one side is held in the other.

use std::sync::{Arc, Weak};
use std::time::Instant;

use heirloom_protocol::message::{Event, Request};

pub use crate::host::Memory;

use crate::client::{Client, ConnectError, Hub};
use crate::worker::Worker;

/// A manager in this process, as its clients see it.
pub trait House: Send + Sync + 'static {
    /// Notes what a client says. Called under the client's lock: nothing is carried out here.
    fn say(&self, client: u64, request: Request);

    /// Notes that a client is gone. Called with no lock held.
    fn leave(&self, client: u64);

    /// Carries out all that is noted, unless another thread does, which then does this too. Called with no lock held.
    fn carry_on(&self);

    /// Whether this very thread is carrying things out, further up its stack: then it must not wait for an answer.
    fn is_carrying_on_here(&self) -> bool;
}

/// A client, as the house sees it.
#[derive(Debug, Clone)]
pub struct Guest(Weak<Hub>);

impl Guest {
    /// Tells the client an event. Called with no lock held; heirs are called in here.
    pub fn hear(&self, event: Event, memory: Option<Memory>) {
        if let Some(hub) = self.0.upgrade() {
            hub.tell(|session| session.heard(event, memory, Instant::now()));
        }
    }

    /// Whether nobody has the client any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// A worker of that name in `house`, once the house agrees. `introduce` tells the house of it, before it says anything.
///
/// # Errors
/// [`ConnectError`] where the house refuses it, or this thread is inside an heir.
pub fn worker(
    house: &Arc<dyn House>,
    client: u64,
    name: &str,
    introduce: impl FnOnce(Guest),
) -> Result<Worker, ConnectError> {
    let connected = Client::embedded(house, client, Some(name.to_owned()), |hub| introduce(Guest(hub)))?;
    Ok(Worker::from_client(connected, name.to_owned()))
}

/// A client of `house` that only reads and asks.
///
/// # Errors
/// [`ConnectError`] where the house refuses it, or this thread is inside an heir.
pub fn client(
    house: &Arc<dyn House>,
    client: u64,
    introduce: impl FnOnce(Guest),
) -> Result<Client, ConnectError> {
    Client::embedded(house, client, None, |hub| introduce(Guest(hub)))
}
