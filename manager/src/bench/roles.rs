//! What the processes beside `heirloom bench` do. Each says a line when something has happened, and reads lines that say
//! what to do.

use super::work::Work;
use super::{Failure, Options, PASSES, median};
use crate::chaos::now_ns;
use heirloom_worker::{Client, Recall, TableHeir, Transfer, Worker, Writer};
use std::io::{Write, stdin, stdout};
use std::ops::ControlFlow;
use std::path::Path;

/// The name under which [`own`] registers.
pub(super) const OWNER: &str = "bench_owner";

/// How large the values are that fill a table.
const FILLER_BYTES: usize = 4000;

/// Reads all entries of a table in random order, once more for each line that it is sent; says nanoseconds per get.
pub(crate) fn read(socket: &Path, table: &str, options: Options) -> Result<(), Failure> {
    let work = Work::new(options);
    let client = Client::connect(socket)?;
    let reader = client.reader::<u64, [u8]>(table)?;
    say("ready")?;
    for line in stdin().lines() {
        line?;
        let passes = (0..PASSES)
            .map(|pass| work.time_gets(pass, |key, value| Ok(reader.get_bytes(&key, value)?)))
            .collect::<Result<_, _>>()?;
        say(&format!("ns {}", median(passes)))?;
    }
    Ok(())
}

enum News {
    Transferred(Transfer),
    Recalled,
}

struct Heir(crossbeam_channel::Sender<News>);

impl TableHeir for Heir {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(News::Transferred(transfer));
    }

    fn recalled(&mut self, _: Recall) {
        let _ = self.0.send(News::Recalled);
    }
}

/// Owns a table whenever it is handed it, and says when it has committed: once, or (`busy`) as often as it can until it is
/// recalled. A table that is to have `bytes` is filled by its first owner, and touched by each.
pub(crate) fn own(socket: &Path, table: &str, bytes: u64, busy: bool) -> Result<(), Failure> {
    let worker = Worker::connect(socket, OWNER)?;
    let (sender, inbox) = crossbeam_channel::unbounded();
    worker.heir(table, Heir(sender))?;
    worker.ready()?;
    say("ready")?;
    let mut owned: Option<Writer<u64, [u8]>> = None;
    for news in inbox {
        match news {
            News::Transferred(transfer) => {
                let mut writer = transfer.accept::<u64, [u8]>()?;
                writer.insert(&u64::MAX, b"here")?;
                say(&format!("first {}", now_ns()))?;
                touch(&mut writer, bytes)?;
                say("settled")?;
                match busy {
                    true => {
                        let last = write_until_recalled(&mut writer)?;
                        writer.release()?;
                        say(&format!("last {last}"))?;
                    }
                    false => owned = Some(writer),
                }
            }
            News::Recalled => drop(owned.take()),
        }
    }
    Ok(())
}

/// Fills the table up, and then looks at each entry: so this process has all of it in its page tables.
fn touch(writer: &mut Writer<u64, [u8]>, bytes: u64) -> Result<(), Failure> {
    let mut key = writer.info().entries;
    while writer.info().used_bytes < bytes {
        writer.insert(&key, &[7; FILLER_BYTES])?;
        key += 1;
    }
    if bytes > 0 {
        writer.scan(|_, _| ControlFlow::<()>::Continue(()))?;
    }
    Ok(())
}

/// When the last commit returned.
fn write_until_recalled(writer: &mut Writer<u64, [u8]>) -> Result<u64, Failure> {
    let mut number = 0_u64;
    while !writer.is_recalled() {
        writer.insert(&(number % 10_000), &number.to_le_bytes())?;
        number += 1;
    }
    Ok(now_ns())
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
