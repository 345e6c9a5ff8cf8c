//! From the file into an empty table.
//!
//! Two threads: one reads blocks and checks them, the other decodes their entries and inserts them. The second has most to
//! do, so that hydration takes as long as the engine's own inserts.

use super::about::{About, BLOCKS, Counts};
use super::block::{Rows, check};
use super::error::from_redb;
use super::{Opened, Store, StoreError, failed_before, guarded};
use crossbeam_channel::{Sender, bounded};
use heirloom_protocol::region::Region;
use heirloom_protocol::table::{OpenError, TableReader, TableWriter, WriteError};
use redb::{Database, ReadableDatabase, ReadableTable};
use std::path::Path;
use std::thread;

/// Blocks go from thread to thread by so many.
const BATCH_BLOCKS: usize = 64;

/// So many batches may be under way.
const BATCHES: usize = 16;

/// Some blocks of the file: their rows, one after the other.
type Batch = Vec<u8>;

impl Store {
    /// Fills an empty table with the store's version: entries with their deadlines and schema versions, the schema, the
    /// bequest. The number of entries; zero where there is no checkpoint yet.
    ///
    /// # Errors
    /// [`StoreError`]: what is in the table is of no use then. The file is not touched.
    pub fn hydrate<R: Region + Clone>(&self, region: R) -> Result<u64, StoreError> {
        let no_table = |error| StoreError::Table { path: self.path.clone(), error };
        let info = TableReader::open(region.clone()).map_err(no_table)?.info();
        if info.entries != 0 {
            return Err(no_table(OpenError::Options("it is not empty".to_owned())));
        }
        // The manager writes as the owner of the epoch that the header has: nobody else owns the table yet.
        let mut filling = Filling {
            path: &self.path,
            writer: TableWriter::open(region, info.epoch).map_err(no_table)?,
            entries: 0,
        };
        let About { schema, bequest, .. } = &self.about;
        if let Some(schema) = schema {
            let taken = filling.writer.set_schema(&schema.name, schema.base_version).map(drop);
            taken.map_err(|error| filling.not_written("the schema".to_owned(), error))?;
        }
        self.visit(|rows| filling.insert(rows))?;
        if let Some(bequest) = bequest {
            let left = filling.writer.bequeath(bequest);
            left.map_err(|error| filling.not_written("the bequest".to_owned(), error))?;
        }
        Ok(filling.entries)
    }

    /// Hands on all rows, checked, some blocks at a time, while a thread reads ahead.
    pub(super) fn visit(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (path, counts) = (self.path.as_path(), self.about.counts);
        let database = match &self.database {
            Opened::ToRead(database) | Opened::ToWrite(database) => database,
            Opened::Not => return Err(failed_before(path)),
        };
        let (sender, batches) = bounded::<Batch>(BATCHES);
        thread::scope(|scope| {
            let reading = scope.spawn(move || guarded(path, || read(database, path, counts, &sender)));
            let taken = batches.iter().try_for_each(|batch| each(&batch));
            // Where the entries are not wanted any more, the reader is told so by the end of the channel.
            drop(batches);
            let read = reading.join().expect("what it does is guarded");
            taken.and(read)
        })
    }
}

/// Reads all blocks, and checks that they are those which the record names.
fn read(database: &Database, path: &Path, wanted: Counts, sender: &Sender<Batch>) -> Result<(), StoreError> {
    let failed = |error: redb::Error| from_redb(path, error);
    let damaged = |what: String| StoreError::Damaged { path: path.to_owned(), what };
    let reading = database.begin_read().map_err(|error| failed(error.into()))?;
    let blocks = reading.open_table(BLOCKS).map_err(|error| failed(error.into()))?;
    let mut found = Counts { entries: wanted.entries, ..Counts::default() };
    let mut batch = Batch::new();
    for block in blocks.iter().map_err(|error| failed(error.into()))? {
        let (name, block) = block.map_err(|error| failed(error.into()))?;
        let (rows, sum) = check(name.value(), block.value())
            .ok_or_else(|| damaged(format!("the checksum of its block {} does not fit", found.blocks + 1)))?;
        found.blocks += 1;
        found.sum = found.sum.wrapping_add(sum);
        batch.extend_from_slice(rows);
        if found.blocks.is_multiple_of(BATCH_BLOCKS as u64) {
            let size = batch.len();
            if sender.send(std::mem::replace(&mut batch, Vec::with_capacity(size))).is_err() {
                return Ok(());
            }
        }
    }
    // Nobody waits for it where the entries are not wanted any more.
    let _ = sender.send(batch);
    if found != wanted {
        let (blocks, wanted) = (found.blocks, wanted.blocks);
        return Err(damaged(format!("its {blocks} blocks are not the {wanted} of its last checkpoint")));
    }
    Ok(())
}

struct Filling<'p, R> {
    path: &'p Path,
    writer: TableWriter<R>,
    entries: u64,
}

impl<R: Region + Clone> Filling<'_, R> {
    fn insert(&mut self, rows: &[u8]) -> Result<(), StoreError> {
        let mut rows = Rows::of(rows);
        for (entry, _) in &mut rows {
            self.entries += 1;
            self.writer.write_schema_version(entry.attributes.schema_version);
            let inserted = match entry.attributes.deadline_ms {
                None => self.writer.insert(entry.key, entry.value),
                Some(deadline_ms) => self.writer.insert_expiring(entry.key, entry.value, deadline_ms),
            };
            if let Err(error) = inserted {
                return Err(self.not_written(format!("entry {}", self.entries), error));
            }
        }
        match rows.is_at_end() {
            true => Ok(()),
            false => Err(StoreError::Damaged {
                path: self.path.to_owned(),
                what: "a block holds what is no entry".to_owned(),
            }),
        }
    }

    fn not_written(&self, place: String, error: WriteError) -> StoreError {
        StoreError::NotWritten { path: self.path.to_owned(), place, error }
    }
}
