//! This command as a worker: it owns a table for as long as it works on it.
//!
//! It registers under the name [`LOADER`] and asks for the table by itself: find-me never chooses it, and needs none. Whatever
//! ends the command, the table goes back to the manager, as from any worker.

use super::connect;
use crossbeam_channel::{Sender, bounded, select};
use heirloom_protocol::message::LOADER;
use heirloom_worker::{HandOn, TableHeir, Transfer, Worker, Writer};
use std::error::Error;
use std::path::PathBuf;

/// How a table is taken from another owner, where that is wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Take {
    /// Ask the owner of the table, if there is one, to give it up; it may have it back afterwards
    #[arg(long)]
    handoff: bool,
}

/// Sends the transfer to the thread that works.
struct Inbox(Sender<Transfer>);

impl TableHeir for Inbox {
    fn transferred(&mut self, transfer: Transfer) {
        // Nobody waits any more: dropped, the transfer is declined.
        let _ = self.0.send(transfer);
    }
}

/// Takes a table. It is given back when the writer is dropped.
pub(super) fn take(
    socket: Option<PathBuf>,
    table: &str,
    how: Take,
) -> Result<Writer<[u8], [u8]>, Box<dyn Error>> {
    let worker = Worker::connect(connect::socket(socket)?, LOADER)?;
    let (sender, inbox) = bounded(1);
    worker.heir(table, Inbox(sender))?;
    worker.ready()?;
    if !how.handoff {
        check_unowned(&worker, table)?;
    }
    // The answer comes when the table has changed hands, which it does not before this thread accepts it.
    let (answered, refused) = bounded(1);
    let (client, id) = (worker.client().clone(), table.to_owned());
    std::thread::spawn(move || drop(answered.send(client.hand_on(&id, HandOn::new().to(LOADER)))));
    select! {
        recv(inbox) -> transfer => Ok(transfer?.accept()?),
        recv(refused) -> answer => match answer? {
            Err(error) => Err(error.into()),
            // Both have come, and the transfer lies there.
            Ok(_) => Ok(inbox.recv()?.accept()?),
        },
    }
}

fn check_unowned(worker: &Worker, table: &str) -> Result<(), Box<dyn Error>> {
    let tables = worker.client().status()?.tables;
    let owner = tables.into_iter().find(|known| known.id == table).and_then(|known| known.owner);
    match owner {
        None => Ok(()),
        Some(owner) => Err(format!(
            "table `{table}` is owned by {} (process {}): stop that, or add --handoff, which asks it to give the table up",
            owner.name, owner.pid
        )
        .into()),
    }
}
