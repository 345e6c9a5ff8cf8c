//! What the programs that tests start have in common.

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
    struct Sender(crossbeam_channel::Sender<Transfer>);
    impl TableHeir for Sender {
        fn transferred(&mut self, transfer: Transfer) {
            let _ = self.0.send(transfer);
        }
    }
    let (sender, inbox) = crossbeam_channel::unbounded();
    worker.heir(table, Sender(sender))?;
    worker.ready()?;
    Ok(inbox.into_iter())
}
