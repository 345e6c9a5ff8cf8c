//! A process that reads: for each table a thread that reads in every way there is, and one that watches. Both compare what
//! they find with the ledger, wherever that stood still meanwhile.

use super::content::Content;
use super::dice::Dice;
use super::notes::{Ledger, Line, Notes, Phase, Tally};
use super::owner::now_ms;
use super::tables::{SLOTS, TABLES, Table};
use super::value::{Entry, entry_of};
use super::watcher;
use heirloom_manager::chaos::{SharedRegion, open_writable};
use heirloom_worker::{Client, Order, ReadError, Reader, RequestError};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use std::{process, thread};

/// Between two reads of many entries: readers do not take the processors from the owners.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs as the reader of that number.
pub(super) fn run(socket: &Path, number: u64, notes: &Path) -> Result<(), Box<dyn Error>> {
    let notes = Notes::new(open_writable(notes)?);
    let client = Client::connect_within(socket, Duration::from_secs(30))?;
    let mut threads = Vec::new();
    for table in TABLES {
        for watches in [false, true] {
            let reader: Reader<u64, [u8]> = client.reader(table.id())?;
            let (notes, ledger) = (notes.clone(), notes.ledger(table));
            let line = notes.line(number, table, watches);
            line.set(Tally::Verdict, 0);
            threads.push(thread::spawn(move || match watches {
                true => watcher::watch(&reader, &ledger, &line, &notes),
                false => Reading::new(&reader, &ledger, &line).until_told(&notes),
            }));
        }
    }
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| "a thread that reads panicked".into()))
}

/// Why a read is no good.
pub(super) enum Bad {
    /// It gave an error.
    Failed(String),
    /// What it gave was never there, or not then.
    Torn(String),
}

impl From<ReadError> for Bad {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<RequestError> for Bad {
    fn from(error: RequestError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Counts a read, and says on standard error what is wrong with it.
pub(super) fn note(line: &Line<SharedRegion>, table: Table, read: Result<(), Bad>) {
    line.add(Tally::Reads);
    let (tally, what) = match read {
        Ok(()) => return,
        Err(Bad::Failed(what)) => (Tally::Failed, what),
        Err(Bad::Torn(what)) => (Tally::Torn, what),
    };
    line.add(tally);
    eprintln!("soak: reader {} of table {}: {what}", process::id(), table.id());
}

struct Reading<'a> {
    reader: &'a Reader<u64, [u8]>,
    ledger: &'a Ledger<SharedRegion>,
    line: &'a Line<SharedRegion>,
    table: Table,
    /// By key, the newest write that was read; it never goes back. In the sets only.
    newest: Vec<u64>,
    dice: Dice,
}

impl<'a> Reading<'a> {
    fn new(
        reader: &'a Reader<u64, [u8]>,
        ledger: &'a Ledger<SharedRegion>,
        line: &'a Line<SharedRegion>,
    ) -> Self {
        let dice = Dice::of([u64::from(process::id()), ledger.table.number(), 0]);
        Self { reader, ledger, line, table: ledger.table, newest: vec![0; SLOTS as usize], dice }
    }

    fn until_told(&mut self, notes: &Notes<SharedRegion>) {
        while notes.phase() != Phase::Stop {
            let read = match self.dice.below(8) {
                0..4 => self.keys(),
                4 => self.everything(None),
                5 => self.everything(Some(Order::Ascending)),
                6 => self.everything(Some(Order::Descending)),
                _ => self.snapshot(),
            };
            note(self.line, self.table, read);
            thread::sleep(PAUSE);
        }
    }

    /// Some keys, one by one.
    fn keys(&mut self) -> Result<(), Bad> {
        for _ in 0..200 {
            let key = self.dice.below(self.table.keys());
            let before = self.ledger.quiet();
            let values = match self.table.kind.is_bag() {
                true => self.reader.values(&key)?,
                false => self.reader.get(&key)?.into_iter().collect(),
            };
            let mut entries = values
                .iter()
                .map(|value| entry_of(self.table, key, value))
                .collect::<Option<Vec<Entry>>>()
                .ok_or_else(|| Bad::Torn(format!("a value of key {key} is not whole")))?;
            entries.sort_unstable();
            self.is_no_older(key, &entries)?;
            if before.is_some() {
                let model = self.ledger.slots_of(key);
                if self.ledger.quiet() == before {
                    self.line.add(Tally::Compared);
                    let gone = entries.is_empty() && model.may_be_gone(key, now_ms());
                    if entries != model.entries_of(key) && !gone {
                        let wanted = model.entries_of(key);
                        return Err(Bad::Torn(format!("key {key} has {entries:?} for {wanted:?}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// The whole table, in one of the ways.
    fn everything(&mut self, order: Option<Order>) -> Result<(), Bad> {
        let before = self.ledger.quiet();
        let content = Content::gather(self.table, |each| {
            let each = |key, value| {
                each(key, value);
                ControlFlow::<()>::Continue(())
            };
            match order.filter(|_| self.table.kind.is_ordered()) {
                Some(order) => self.reader.range::<u64, _>(.., order, each).map(drop),
                None => self.reader.scan(each).map(drop),
            }
        })?;
        is_whole(&content)?;
        for (key, entries) in (0..).zip(&content.keys) {
            self.is_no_older(key, entries)?;
        }
        compare(&content, self.ledger, self.line, before)
    }

    /// The table as of one version.
    fn snapshot(&mut self) -> Result<(), Bad> {
        let before = self.ledger.quiet();
        let snapshot = self.reader.snapshot()?;
        let gather = || {
            Content::gather(self.table, |each| {
                let scanned = snapshot.scan(|key, value| {
                    each(key, value);
                    ControlFlow::<()>::Continue(())
                });
                scanned.map(drop)
            })
        };
        let content = gather()?;
        is_whole(&content)?;
        if content.entries() > 0 && !content.is_conserved() {
            return Err(Bad::Torn(format!("version {} is of no commit", snapshot.version())));
        }
        compare(&content, self.ledger, self.line, before)?;
        // Some time later, and key by key, it is the same.
        thread::sleep(Duration::from_micros(self.dice.below(20_000)));
        for _ in 0..32 {
            let key = self.dice.below(self.table.keys());
            let values = match self.table.kind.is_bag() {
                true => snapshot.values(&key)?,
                false => snapshot.get(&key)?.into_iter().collect(),
            };
            let found =
                values.iter().map(|value| entry_of(self.table, key, value)).collect::<Option<Vec<_>>>();
            let mut found = found.ok_or_else(|| Bad::Torn(format!("a value of key {key} is not whole")))?;
            found.sort_unstable();
            if found != content.keys[key as usize] {
                return Err(Bad::Torn(format!("key {key} of a snapshot has changed")));
            }
        }
        if gather()? != content {
            return Err(Bad::Torn(format!("a snapshot of version {} has changed", snapshot.version())));
        }
        Ok(())
    }

    /// What is read of a key never goes back.
    fn is_no_older(&mut self, key: u64, entries: &[Entry]) -> Result<(), Bad> {
        let (false, Some(entry)) = (self.table.kind.is_bag(), entries.first()) else { return Ok(()) };
        let newest = &mut self.newest[key as usize];
        if entry.write < *newest {
            return Err(Bad::Torn(format!("key {key} has write {} after {newest}", entry.write)));
        }
        *newest = entry.write;
        Ok(())
    }
}

fn is_whole(content: &Content) -> Result<(), Bad> {
    match content.torn {
        0 => Ok(()),
        torn => Err(Bad::Torn(format!("{torn} values are not whole"))),
    }
}

/// Compares with the ledger, where that has stood still since `before`.
pub(super) fn compare(
    content: &Content,
    ledger: &Ledger<SharedRegion>,
    line: &Line<SharedRegion>,
    before: Option<u64>,
) -> Result<(), Bad> {
    if before.is_none() || ledger.quiet() != before {
        return Ok(());
    }
    let model = ledger.model();
    if ledger.quiet() != before {
        return Ok(());
    }
    line.add(Tally::Compared);
    let differences = content.differences(&model, now_ms());
    if differences.is_none() {
        return Ok(());
    }
    let key = differences.keys[0];
    let (found, wanted) = (content.entries_of(key), model.entries_of(key));
    Err(Bad::Torn(format!(
        "after commit {before:?}: {differences:?}; key {key} has {found:?} for {wanted:?}"
    )))
}
