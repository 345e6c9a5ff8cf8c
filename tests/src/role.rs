//! What the programs that tests start have in common.

use crossbeam_channel::{Receiver, Sender};
use heirloom_worker::{TableHeir, Transfer, Worker};
use std::error::Error;
use std::io::{self, Write};

/// Says a line on standard output, now: the test waits for it.
///
/// # Errors
/// Where nobody listens any more.
pub fn tell(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Makes the worker an heir of the table, and ready: what it is handed comes one after the other.
///
/// # Errors
/// Where the manager does not agree.
pub fn transfers(
    worker: &Worker,
    table: &str,
) -> Result<impl Iterator<Item = Transfer> + use<>, Box<dyn Error>> {
    let inbox = transfers_of(worker, [table])?.pop().expect("there is one for each table");
    worker.ready()?;
    Ok(inbox.into_iter())
}

/// Makes the worker an heir of the tables: what it is handed comes in the inbox of each, once it is ready.
///
/// # Errors
/// Where the manager does not agree.
pub fn transfers_of<'t>(
    worker: &Worker,
    tables: impl IntoIterator<Item = &'t str>,
) -> Result<Vec<Receiver<Transfer>>, Box<dyn Error>> {
    struct Inbox(Sender<Transfer>);
    impl TableHeir for Inbox {
        fn transferred(&mut self, transfer: Transfer) {
            let _ = self.0.send(transfer);
        }
    }
    let inbox = |table| {
        let (sender, inbox) = crossbeam_channel::unbounded();
        worker.heir(table, Inbox(sender))?;
        Ok(inbox)
    };
    tables.into_iter().map(inbox).collect()
}
