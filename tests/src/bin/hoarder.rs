//! Takes all the memory there is: `hoarder own TABLE RECORD` in a table, `hoarder eat PID` for itself.
//!
//! ```text
//! own   takes the table when it is handed it, checks all of it, fills it until a write is refused, says `full ERROR`,
//!       makes room, and overwrites until it is killed; what returned is in the record
//! eat   takes memory in small steps until process PID has died, and holds it
//! ```
//!
//! It says `ready` when it is, and an owner `owns WRITE` for the table it took.
#![forbid(unsafe_code)]

use heirloom_tests::ledger::Returned;
use heirloom_tests::role::{tell, transfers};
use heirloom_worker::{Worker, WriteError, Writer};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

type Outcome = Result<(), Box<dyn Error>>;

/// The value of a key after write number `write`: long, and all of it says which write it is of.
fn value_of(write: u64) -> Vec<u64> {
    vec![write; 4096 / 8]
}

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["own", table, record] => own(table, &Returned::open(Path::new(record))?),
        ["eat", process] => eat(process),
        _ => Err("usage: hoarder own TABLE RECORD | hoarder eat PID".into()),
    }
}

fn own(table: &str, returned: &Returned) -> Outcome {
    let worker = Worker::from_env("hoarder")?;
    let inbox = transfers(&worker, table)?;
    tell("ready")?;
    for transfer in inbox {
        let left = transfer.bequest::<u64>()?.unwrap_or(0);
        let mut writer = transfer.accept::<u64, Vec<u64>>()?;
        let last = returned.last()?;
        assert!(left == last || left == last + 1, "write {last} returned, and the table is of {left}");
        check(&writer, left)?;
        returned.note(left)?;
        tell(&format!("owns {left}"))?;
        hoard(&mut writer, left, returned)?;
    }
    Ok(())
}

/// Every value is whole, and there is none that was never written. One at a time: there is no memory for a copy.
fn check(writer: &Writer<u64, Vec<u64>>, left: u64) -> Outcome {
    writer.scan::<()>(|key, value| {
        assert!(value == value_of(value[0]) && value[0] <= left, "key {key} after write {left}");
        ControlFlow::Continue(())
    })?;
    Ok(())
}

fn hoard(writer: &mut Writer<u64, Vec<u64>>, left: u64, returned: &Returned) -> Outcome {
    let mut keys = writer.info().entries;
    let mut said = false;
    let mut write = left + 1;
    loop {
        // A new key while there is room; then the ones there are, one after the other.
        let key = if said { write % keys } else { keys };
        let mut transaction = writer.transaction();
        let done = transaction.insert(&key, &value_of(write)).and_then(|_| {
            transaction.bequeath(&write)?;
            transaction.commit()
        });
        match done {
            Ok(_) => {
                returned.note(write)?;
                write += 1;
                keys += u64::from(!said);
            }
            Err(error @ (WriteError::OutOfMemory { .. } | WriteError::TableFull { .. })) => {
                if !said {
                    tell(&format!("full {error}"))?;
                    said = true;
                }
                // Removing always works, and makes room.
                let first = keys - keys / 8;
                for key in first..keys {
                    writer.remove(&key)?;
                }
                keys = first.max(1);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn eat(process: &str) -> Outcome {
    const STEP: usize = 64 * 1024;
    tell("ready")?;
    let mut eaten = Vec::new();
    while is_running(process) {
        eaten.push(vec![1_u8; STEP]);
        thread::sleep(Duration::from_micros(100));
    }
    tell(&format!("ate {}", eaten.len() * STEP))?;
    loop {
        thread::park();
    }
}

/// Who is ending is not, though its memory is still to be torn down: what it leaves is for its heir.
fn is_running(process: &str) -> bool {
    const PF_EXITING: u64 = 4;
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<_> = rest.split_whitespace().collect();
    let flags = fields.get(6).and_then(|flags| flags.parse::<u64>().ok());
    !matches!(fields.first(), Some(&("Z" | "X")) | None) && flags.is_some_and(|flags| flags & PF_EXITING == 0)
}
