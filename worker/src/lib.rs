//! What a program links to own, inherit and read Heirloom tables.
//!
//! A table lives in shared memory, under a manager's care. One worker at a time writes it; when that worker dies, the
//! next one is handed the table whole, with the bequest that the dead one committed last. Any process reads it in
//! place.
//!
//! # A worker
//!
//! ```no_run
//! use heirloom_worker::{Reader, TableHeir, Transfer, Worker};
//! # use serde::Deserialize;
//! # #[derive(Deserialize)] struct Gift { currency: String }
//!
//! /// Sends each transfer to the thread that does the work.
//! struct Tracker(crossbeam_channel::Sender<Transfer>);
//! impl TableHeir for Tracker {
//!     fn transferred(&mut self, transfer: Transfer) { let _ = self.0.send(transfer); }
//! }
//!
//! # fn events_from(position: u64) -> Vec<(String, u64)> { Vec::new() }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let worker = Worker::from_env("sale_tracker")?;              // HEIRLOOM_SOCKET; reconnects by itself
//!     let cars: Reader<String, Vec<String>> = worker.reader("exotic_cars")?;
//!     let (sender, inbox) = crossbeam_channel::unbounded();
//!     worker.heir("sales", Tracker(sender))?;                      // again for each further table
//!     worker.ready()?;
//!     for transfer in inbox {
//!         let gift: Gift = transfer.gift()?;
//!         let mut position: u64 = transfer.bequest()?.unwrap_or(0);
//!         let mut sales = transfer.accept::<String, u64>()?;
//!         for (car, price) in events_from(position) {
//!             if sales.is_recalled() { break; }                    // one relaxed load
//!             position += 1;
//!             if !cars.contains(&car)? { continue; }
//!             let mut txn = sales.transaction();                   // dropped = abandoned
//!             txn.update(&car, |total| Some(total.unwrap_or_default() + price))?;
//!             txn.bequeath(&position)?;
//!             txn.commit()?;
//!         }
//!         sales.release()?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # The parts
//!
//! | | |
//! | --- | --- |
//! | [`Worker`], [`Client`] | the connection: with a name that tables can be handed to, or for reading only |
//! | [`TableHeir`] | what a worker implements to be handed a table |
//! | [`Transfer`] | the offer of a table: look at the gift and the bequest, then accept or decline |
//! | [`Writer`], [`Transaction`] | the one handle that writes; several writes that survive together |
//! | [`Owned`] | the ready-made heir of a service whose request handlers write |
//! | [`Reader`] | reads in place; never waits, not even for a dead manager |
//! | [`Watch`] | follows the changes as they commit |
//! | [`Key`], [`Value`] | Rust types as keys (in order) and values, or plain bytes |
//! | [`Snapshot`] | reads a table as of one version |
//! | [`Schema`], [`Versioned`] | value types with a name and versions, for two builds that share a table |
//! | [`ets`] | each function of Erlang's `ets`, and what one writes here |
//! | [`testing`] | a table on the heap, for one's own tests: no daemon, no shared memory |
//!
//! Several tables of one worker commit separately: a program that keeps its position in a stream keeps one for each
//! table it writes.
#![cfg_attr(feature = "tokio", doc = "\nFor programs on tokio: [`mod@tokio`].")]
#![forbid(unsafe_code)]

mod client;
mod codec;
pub mod embedding;
mod engine;
pub mod ets;
mod heir;
mod host;
pub mod key;
mod operations;
mod owned;
mod raw;
mod reader;
mod reads;
mod schema;
mod scratch;
mod snapshot;
pub mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transaction;
mod transfer;
mod watch;
mod worker;
mod writer;

pub use client::{Client, ConnectError, HandOn, HandedOn, RequestError};
pub use codec::{CodecError, Key, Value};
pub use heir::{Fenced, Recall, TableHeir};
pub use heirloom_protocol::message::{HandoffStatus, OwnerStatus, Status, TransferReason};
pub use heirloom_protocol::table::{
    Attributes, Clock, Kind, Order, Step, Swap, TableInfo, TableSchema, VerifyReport,
};
pub use host::{MapError, SocketError};
pub use operations::Counter;
pub use owned::{Owned, OwnedError};
pub use reader::{Entry, ReadError, Reader};
pub use schema::{Schema, ValueSchema, Versioned};
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use transfer::{AcceptError, BequestError, GiftError, Transfer};
pub use watch::{Change, Changes, Watch, WatchError, Watched};
pub use worker::{HeirError, Worker};
pub use writer::{WriteError, Writer};
