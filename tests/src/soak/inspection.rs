//! The last look at a table, when nobody else has it any more: every byte of it, and every entry.

use super::content::Content;
use super::notes::{Count, Ledger};
use super::owner::{now_ms, settle};
use crate::role::transfers_of;
use heirloom_manager::chaos::SharedRegion;
use heirloom_protocol::message::LOADER;
use heirloom_worker::{HandOn, VerifyReport, Worker, Writer};
use std::error::Error;
use std::path::Path;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Commits after which whatever is not needed any more must have been found, some at each.
const SWEEPS: usize = 200_000;

/// Commits between two looks.
const SWEEPS_AT_ONCE: usize = 2_000;

/// What was found.
pub(super) struct Inspected {
    /// Blocks that nobody needs, and that are not free.
    pub(super) leaked_blocks: u64,
    /// What is wrong with the table.
    pub(super) corrupt: Option<String>,
}

/// Takes the table, checks every byte, and compares it with the ledger. Nobody reads it any more.
pub(super) fn inspect(socket: &Path, ledger: &Ledger<SharedRegion>) -> Outcome<Inspected> {
    let table = ledger.table;
    let worker = Worker::connect(socket, LOADER)?;
    let inbox = transfers_of(&worker, [table.id()])?.pop().ok_or("there is one table")?;
    worker.ready()?;
    let client = worker.client().clone();
    let asked = std::thread::spawn(move || client.hand_on(table.id(), HandOn::new().to(LOADER)));
    let transfer = inbox.recv()?;
    let bequest = transfer.bequest::<u64>()?.unwrap_or(0);
    let mut writer = transfer.accept::<[u8], [u8]>()?;
    asked.join().map_err(|_| "asking for a table panicked")??;

    // Bytes here, since only they can be verified; the content is read as what it is.
    let reader = worker.reader::<u64, [u8]>(table.id())?;
    let found = Content::of(table, &reader)?;
    ledger.add(Count::Torn, found.torn);
    settle(&found, bequest, ledger, now_ms())?;
    Ok(match sweep(&mut writer) {
        Ok(report) => {
            let left = report.retired + report.held + report.recalled;
            let corrupt = (left > 0).then(|| format!("{}: {report:?}", table.id()));
            Inspected { leaked_blocks: left, corrupt }
        }
        Err(error) => Inspected {
            // It stops at the first.
            leaked_blocks: u64::from(error.to_string().ends_with("is lost")),
            corrupt: Some(format!("{}: {error}", table.id())),
        },
    })
}

/// Lets the table find what is not needed any more, and says what there is then.
fn sweep(writer: &mut Writer<[u8], [u8]>) -> Outcome<VerifyReport> {
    let bequest = writer.bequest_bytes()?.unwrap_or_default();
    let mut report = writer.verify()?;
    for _ in 0..SWEEPS / SWEEPS_AT_ONCE {
        if report.retired + report.held + report.recalled == 0 {
            break;
        }
        for _ in 0..SWEEPS_AT_ONCE {
            writer.bequeath(bequest.as_slice())?;
        }
        report = writer.verify()?;
    }
    Ok(report)
}
