//! What a worker implements to be handed a table.

use std::time::Instant;

use crate::transfer::Transfer;

/// Takes tables over.
///
/// The methods are called one at a time, on the client's own thread, and everything is passed by value: keep a
/// transfer, send it to another thread, accept it there. They must not block, because the same thread hears everything
/// else the manager says; [`Transfer::accept`] waits for the manager, so it refuses to run inside them.
///
/// ```
/// use heirloom_worker::{Fenced, Recall, TableHeir, Transfer};
///
/// struct Tracker(crossbeam_channel::Sender<Transfer>);
///
/// impl TableHeir for Tracker {
///     fn transferred(&mut self, transfer: Transfer) {
///         let _ = self.0.send(transfer); // nobody listens any more: the transfer is dropped, which declines it
///     }
///     fn recalled(&mut self, recall: Recall) {
///         eprintln!("{} is wanted back", recall.table);
///     }
///     fn fenced(&mut self, fenced: Fenced) {
///         eprintln!("lost {}: {}", fenced.table, fenced.reason);
///     }
/// }
/// ```
pub trait TableHeir: Send + 'static {
    /// The worker may have the table now. Dropping the transfer declines it.
    fn transferred(&mut self, transfer: Transfer);

    /// The manager wants the table back: finish what is in hand, then release the writer.
    /// [`Writer::is_recalled`](crate::Writer::is_recalled) says the same to the thread that writes.
    fn recalled(&mut self, recall: Recall) {
        let _ = recall;
    }

    /// The table is the worker's no longer; its writer writes nothing any more.
    fn fenced(&mut self, fenced: Fenced) {
        let _ = fenced;
    }
}

/// The manager asks for a table back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recall {
    /// The table's id.
    pub table: String,
    /// The epoch of the ownership that should end.
    pub epoch: u64,
    /// When the recall is withdrawn; the table then stays with the worker.
    pub deadline: Instant,
}

/// An ownership ended without the worker's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fenced {
    /// The table's id.
    pub table: String,
    /// The epoch that is over.
    pub epoch: u64,
    /// Why, for the log.
    pub reason: String,
}
