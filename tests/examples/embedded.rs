//! The README's second example: a manager inside the program, and a thread of it that dies.
#![forbid(unsafe_code)]

use heirloom_manager::manager::{Manager, embedded::Table};
use heirloom_manager::registry::Candidates;
use heirloom_worker::{Reader, TableHeir, Transfer, TransferReason, Worker};
use std::{error::Error, thread};

struct Inbox(crossbeam_channel::Sender<Transfer>);

impl TableHeir for Inbox {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(transfer);
    }
}

/// Counts ten orders; the first who tries dies of the seventh.
fn count_orders(worker: &Worker) -> Result<(), Box<dyn Error>> {
    let (sender, inbox) = crossbeam_channel::unbounded();
    worker.heir("counts", Inbox(sender))?;
    worker.ready()?;
    let transfer = inbox.recv()?;
    let first = *transfer.reason() == TransferReason::First;
    let mut order = transfer.bequest::<u64>()?.unwrap_or(0); // where the one before stopped
    let mut counts = transfer.accept::<str, u64>()?;
    while order < 10 {
        order += 1;
        let mut transaction = counts.transaction();
        transaction.update("orders", |count| Some(count.unwrap_or(0) + 1))?;
        transaction.bequeath(&order)?;
        assert!(!first || order != 7, "the seventh order is too much");
        transaction.commit()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let counts = Table::set("counts").find_me(|ready: &Candidates| ready.named("counter"));
    let house = Manager::embedded().table(counts).start()?;
    for _ in 0..2 {
        let worker = house.worker("counter")?;
        // The writer is dropped as the panic unwinds: that is all it takes to hand the table on.
        let died =
            thread::spawn(move || count_orders(&worker).map_err(|error| error.to_string())).join().is_err();
        println!("{}", if died { "one has died" } else { "the next has finished" });
    }
    let counts: Reader<str, u64> = house.client()?.reader("counts")?;
    assert_eq!(counts.get("orders")?, Some(10));
    Ok(())
}
