//! Entries into the table, with progress in the log.

use super::HydrateError;
use crate::formats::{Entry, Head, Item};
use heirloom_protocol::region::Region;
use heirloom_protocol::table::{TableReader, TableSchema, TableWriter};
use std::time::{Duration, Instant};

/// How often the log tells of the progress.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How many entries go by between two looks at the clock.
const LOOK_EVERY: u64 = 1024;

/// Writes entries into one table.
pub(super) struct Loader<'n, R> {
    table: &'n str,
    source_name: &'n str,
    writer: TableWriter<R>,
    entries: u64,
    bytes: u64,
    started: Instant,
    reported: Instant,
}

impl<'n, R: Region + Clone> Loader<'n, R> {
    pub(super) fn open(table: &'n str, source_name: &'n str, region: R) -> Result<Self, HydrateError> {
        let wrong = |error| HydrateError::Table { table: table.to_owned(), error };
        // The manager writes as the owner of the epoch that the header has: nobody else owns the table yet.
        let epoch = TableReader::open(region.clone()).map_err(wrong)?.info().epoch;
        let writer = TableWriter::open(region, epoch).map_err(wrong)?;
        let now = Instant::now();
        tracing::info!(table, source = source_name, "hydrating");
        Ok(Self { table, source_name, writer, entries: 0, bytes: 0, started: now, reported: now })
    }

    pub(super) fn load(&mut self, item: Item<'_>) -> Result<(), HydrateError> {
        match item {
            Item::Head(head) => return self.check(head),
            Item::Schema(schema) => return self.take_schema(schema),
            Item::Bequest(bequest) => return self.bequeath(bequest),
            Item::Entry(entry) => self.insert(entry)?,
        }
        self.entries += 1;
        if self.entries.is_multiple_of(LOOK_EVERY) {
            self.report();
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry<'_>) -> Result<(), HydrateError> {
        let Entry { key, value, attributes, .. } = entry;
        self.bytes += (key.len() + value.len()) as u64;
        self.writer.write_schema_version(attributes.schema_version);
        let inserted = match attributes.deadline_ms {
            None => self.writer.insert(key, value),
            Some(deadline_ms) => self.writer.insert_expiring(key, value, deadline_ms),
        };
        inserted.map(drop).map_err(|error| {
            let place = match entry.line {
                Some(line) => format!("{}:{line}", self.source_name),
                None => format!("{}, entry {}", self.source_name, self.entries + 1),
            };
            HydrateError::NotWritten { place, error }
        })
    }

    fn bequeath(&mut self, bequest: &[u8]) -> Result<(), HydrateError> {
        let place = || format!("{}, the bequest", self.source_name);
        self.writer.bequeath(bequest).map_err(|error| HydrateError::NotWritten { place: place(), error })
    }

    /// The table is new, so its schema becomes that of the dump, base version included.
    fn take_schema(&mut self, schema: &TableSchema) -> Result<(), HydrateError> {
        let place = || format!("{}, the schema", self.source_name);
        let taken = self.writer.set_schema(&schema.name, schema.base_version);
        taken.map(drop).map_err(|error| HydrateError::NotWritten { place: place(), error })
    }

    fn check(&self, head: Head) -> Result<(), HydrateError> {
        let kind = self.writer.reader().info().kind;
        if head.fits(kind) {
            return Ok(());
        }
        let source_name = self.source_name.to_owned();
        Err(HydrateError::OtherKind { source_name, from: head.kind.name(), to: kind.name() })
    }

    fn report(&mut self) {
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let (table, entries, bytes) = (self.table, self.entries, self.bytes);
            tracing::info!(table, entries, bytes, "hydrating");
        }
    }

    /// The number of entries that were read.
    pub(super) fn finish(self) -> u64 {
        let (table, entries, bytes) = (self.table, self.entries, self.bytes);
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        tracing::info!(table, entries, bytes, elapsed_ms, "hydrated");
        entries
    }
}
