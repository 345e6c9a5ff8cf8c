//! A worker of the soak: it owns whichever of its tables it is handed, checks the whole of each against the ledger, and
//! commits until it is killed.

use super::content::Content;
use super::dice::Dice;
use super::model::{Commit, Model};
use super::notes::{Count, Ledger, Notes, Phase};
use super::perform::{Failure, perform};
use super::plan;
use super::tables::{FIRST_WRITE, TABLES, Table};
use crate::role::transfers_of;
use heirloom_manager::chaos::{SharedRegion, now_ns, open_writable};
use heirloom_worker::{AcceptError, BequestError, Transfer, Worker, Writer};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{process, thread};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Between two looks at the phase while there is nothing to do.
const NAP: Duration = Duration::from_millis(1);

/// Runs as a worker of that name.
pub(super) fn run(name: &str, notes: &Path, seed: u64) -> Outcome {
    let notes = Notes::new(open_writable(notes)?);
    let worker = Worker::from_env(name)?;
    let tables: Vec<Table> = TABLES.into_iter().filter(|table| table.worker == name).collect();
    let inboxes = transfers_of(&worker, tables.iter().map(|table| table.id()))?;
    worker.ready()?;
    let threads = tables.into_iter().zip(inboxes).map(|(table, inbox)| {
        let (ledger, notes) = (notes.ledger(table), notes.clone());
        thread::spawn(move || {
            for transfer in inbox {
                if let Err(error) = own(transfer, &ledger, &notes, seed) {
                    // Nothing may go wrong here: the director sees that a worker has ended by itself.
                    eprintln!("soak: owner {} of table {}: {error}", process::id(), table.id());
                    process::exit(1);
                }
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().map_err(|_| "an owner's thread panicked")?;
    }
    Ok(())
}

/// One ownership.
fn own(transfer: Transfer, ledger: &Ledger<SharedRegion>, notes: &Notes<SharedRegion>, seed: u64) -> Outcome {
    // Where the manager dies meanwhile, the next one offers it again.
    let bequest = match transfer.bequest::<u64>() {
        Err(BequestError::Withdrawn { .. }) => return Ok(()),
        bequest => bequest?.unwrap_or(0),
    };
    let mut writer = match transfer.accept::<u64, [u8]>() {
        Err(AcceptError::Withdrawn { .. }) => return Ok(()),
        writer => writer?,
    };
    // A commit that changes nothing, so that it is known how soon there could be one.
    match writer.bequeath(&bequest).map_err(Failure::from) {
        Ok(()) | Err(Failure::Full) => {}
        Err(Failure::Over) => return Ok(()),
        Err(error) => return Err(error.to_string().into()),
    }
    ledger.begin(process::id(), now_ns());
    let model = take_up(&writer, bequest, ledger)?;
    match commit(&mut writer, model, ledger, notes, seed) {
        Ok(()) => writer.release().or(Ok(())),
        Err(Failure::Over) => Ok(()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Compares what the last owner left with what it noted, and what is there now.
fn take_up(writer: &Writer<u64, [u8]>, bequest: u64, ledger: &Ledger<SharedRegion>) -> Outcome<Model> {
    let found = Content::gather(ledger.table, |each| {
        let scanned = writer.scan(|key, value| {
            each(key, value);
            ControlFlow::<()>::Continue(())
        });
        scanned.map(drop)
    })?;
    ledger.add(Count::Torn, found.torn);
    settle(&found, bequest, ledger, now_ms())
}

/// The same, for what was found.
pub(super) fn settle<R: heirloom_protocol::region::Region>(
    found: &Content,
    bequest: u64,
    ledger: &Ledger<R>,
    now_ms: u64,
) -> Outcome<Model> {
    let is_as = |model: &Model| found.differences(model, now_ms).is_none() && bequest == model.bequeathed;
    let before = ledger.model();
    let noted = ledger.noted();
    let mut after = before.clone();
    after.apply(&noted);
    let (returned, settled) = (ledger.returned(), ledger.settled());
    let in_flight = noted.number > returned;
    ledger.add(Count::InFlight, u64::from(in_flight));
    let is_made = noted.number > settled && (!in_flight || is_as(&after));
    // One that changed nothing that still shows may have been made or not.
    let is_made = is_made && !(in_flight && is_as(&before));
    let mut model = if is_made { after } else { before.clone() };
    // What its changes are to be in the ledger: none, where that takes what was found.
    let mut made = noted.clone();
    if !is_as(&model) {
        let mut half = model.clone();
        half.apply(&noted);
        if in_flight && found.is_between(&before, &half, now_ms) {
            eprintln!("soak: table {}: half of a commit is there: {noted:?}", ledger.table.id());
            ledger.add(Count::Half, 1);
        } else {
            let wrong = found.differences(&model, now_ms);
            eprintln!(
                "soak: table {}: after {returned}, {settled}, {noted:?}, bequest {bequest} for {}: {wrong:?}",
                ledger.table.id(),
                model.bequeathed
            );
            for key in wrong.keys.iter().take(4) {
                let (found, wanted) = (found.entries_of(*key), model.entries_of(*key));
                eprintln!("soak: key {key} has {found:?} for {wanted:?}");
            }
            ledger.add(Count::Lost, wrong.lost + u64::from(bequest < model.bequeathed));
            ledger.add(Count::Duplicated, wrong.duplicated + u64::from(bequest > model.bequeathed));
        }
        model = found.as_model(bequest, now_ms);
        ledger.correct(&model);
        made = Commit { number: noted.number, ..Commit::default() };
    }
    if is_made {
        ledger.add(Count::InFlightStood, u64::from(in_flight));
        ledger.returns(&made);
        ledger.settle(&made);
    } else {
        ledger.give_up();
    }
    Ok(model)
}

/// Commits until it is recalled.
fn commit(
    writer: &mut Writer<u64, [u8]>,
    mut model: Model,
    ledger: &Ledger<SharedRegion>,
    notes: &Notes<SharedRegion>,
    seed: u64,
) -> Result<(), Failure> {
    let mut dice = Dice::of([seed, u64::from(process::id()), ledger.returned()]);
    let mut attempt = 0;
    while !writer.is_recalled() {
        ledger.set_rests(notes.phase() != Phase::Run);
        if ledger.rests() {
            thread::sleep(NAP);
            continue;
        }
        // At full speed for some commits, then not at all for a moment, in which whoever reads can compare everything, and
        // the processors are there for those who restart what was killed.
        for _ in 0..20 + dice.below(400) {
            let now_ms = now_ms();
            let commit = plan::next(&model, ledger.returned() + 1, attempt, seed, now_ms);
            ledger.intend(&commit);
            match perform(writer, &model, &commit, now_ms) {
                Ok(()) => {
                    ledger.returns(&commit);
                    model.apply(&commit);
                    ledger.settle(&commit);
                    attempt = 0;
                }
                Err(Failure::Full) => {
                    ledger.give_up();
                    ledger.add(Count::Full, 1);
                    attempt += 1;
                    break;
                }
                Err(Failure::Wrong(what)) => {
                    eprintln!("soak: table {}: {commit:?}: {what}", ledger.table.id());
                    ledger.add(Count::Lost, 1);
                    return Err(Failure::Wrong(what));
                }
                Err(error) => return Err(error),
            }
        }
        if dice.below(4) == 0 {
            writer.remove_expired(64).map_err(Failure::from)?;
        }
        thread::sleep(Duration::from_micros(dice.below(6000)));
    }
    Ok(())
}

/// Milliseconds of UNIX time, as entries expire by.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The number of commits that returned.
pub(super) fn commits<R: heirloom_protocol::region::Region>(ledger: &Ledger<R>) -> u64 {
    ledger.returned() + 1 - FIRST_WRITE
}
