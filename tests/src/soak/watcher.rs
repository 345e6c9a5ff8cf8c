//! A thread that keeps a copy of a table by following its changes.

use super::content::Content;
use super::notes::{Ledger, Line, Notes, Phase, Tally};
use super::reader::{Bad, compare, note};
use heirloom_manager::chaos::SharedRegion;
use heirloom_worker::{Reader, Watch, WatchError, Watched};
use std::time::Duration;

/// How long nothing may be told before the copy is compared with the table.
const MOMENT: Duration = Duration::from_millis(2);

impl From<WatchError> for Bad {
    fn from(error: WatchError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Watches until it is told to stop, and says at last whether its copy is what the table must be.
pub(super) fn watch(
    reader: &Reader<u64, [u8]>,
    ledger: &Ledger<SharedRegion>,
    line: &Line<SharedRegion>,
    notes: &Notes<SharedRegion>,
) {
    let mut copy = loop {
        match Copy::of(reader, ledger) {
            Ok(copy) => break copy,
            Err(bad) => note(line, ledger.table, Err(bad)),
        }
        if notes.phase() == Phase::Stop {
            return;
        }
    };
    while notes.phase() != Phase::Stop {
        let before = ledger.quiet();
        let told = copy.look(line);
        let nothing_was_told = matches!(told, Ok(false));
        let mut read = told.map(drop);
        if nothing_was_told && copy.watch.version() == reader.version() {
            read = compare(&copy.content, ledger, line, before);
            if notes.phase() == Phase::Rest && ledger.rests() && before.is_some() && ledger.quiet() == before
            {
                line.set(Tally::Verdict, if read.is_ok() { 1 } else { 2 });
            }
        }
        note(line, ledger.table, read);
    }
}

struct Copy {
    watch: Watch<u64, [u8]>,
    content: Content,
}

impl Copy {
    fn of(reader: &Reader<u64, [u8]>, ledger: &Ledger<SharedRegion>) -> Result<Self, Bad> {
        let mut copy = Self { watch: reader.watch()?, content: Content::empty(ledger.table) };
        copy.start_over()?;
        Ok(copy)
    }

    fn start_over(&mut self) -> Result<(), Bad> {
        self.content = Content::empty(self.content.table);
        let content = &mut self.content;
        self.watch.start_over(|key, value| content.add(key, &value))?;
        self.is_of_one_commit()
    }

    /// Takes what is told next; whether there was anything.
    fn look(&mut self, line: &Line<SharedRegion>) -> Result<bool, Bad> {
        match self.watch.next_within(MOMENT)? {
            None => return Ok(false),
            Some(Watched::Changes(changes)) => {
                if changes.is_cleared() {
                    self.content.keys.iter_mut().for_each(Vec::clear);
                }
                for change in &changes {
                    let (key, value) = change?;
                    if !self.content.table.kind.is_bag() || value.is_none() {
                        self.content.forget(key);
                    }
                    if let Some(value) = value {
                        self.content.add(key, &value);
                    }
                }
                self.is_of_one_commit()?;
            }
            Some(_) => {
                line.add(Tally::Overtaken);
                self.start_over()?;
            }
        }
        Ok(true)
    }

    fn is_of_one_commit(&mut self) -> Result<(), Bad> {
        match std::mem::take(&mut self.content.torn) {
            0 => {}
            torn => return Err(Bad::Torn(format!("{torn} values that were told are not whole"))),
        }
        if self.content.entries() > 0 && !self.content.is_conserved() {
            return Err(Bad::Torn(format!(
                "what was told up to version {} is of no commit",
                self.watch.version()
            )));
        }
        Ok(())
    }
}
