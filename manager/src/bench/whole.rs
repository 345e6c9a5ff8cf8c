//! Whole tables: filled from a file, as a manager does at its start, and written to disk.

use super::stage::Stage;
use super::work::{Work, fill};
use super::{Failure, Report, median};
use crate::config::{Hydrate, HydrateFormat, HydrateSource, HydrateWhen};
use crate::hydrate::hydrate;
use heirloom_protocol::sys::Segment;
use heirloom_protocol::table::{self, TableOptions};
use heirloom_worker::Writer;
use redb::{Database, TableDefinition};
use std::sync::Arc;
use std::time::Instant;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

pub(super) fn hydration(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let path = stage.folder().join("bench.redb");
    let database = Database::create(&path)?;
    let transaction = database.begin_write()?;
    {
        let (mut entries, mut value) = (transaction.open_table(TABLE)?, work.value());
        let mut keys = work.keys().to_vec();
        keys.sort_unstable();
        for key in keys {
            fill(&mut value, key, 0);
            entries.insert(key.to_be_bytes().as_slice(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    drop(database);
    let source = Hydrate {
        source: HydrateSource::File { path, format: HydrateFormat::Redb { table: "bench".to_owned() } },
        when: HydrateWhen::Always,
    };
    let options = TableOptions::set(stage.bytes_of_a_table());
    let once = || -> Result<f64, Failure> {
        let segment = Segment::create("bench", options.segment_bytes())?;
        let region = Arc::new(segment.map()?);
        table::create(&region, &options)?;
        let start = Instant::now();
        hydrate("bench", &source, region)?;
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    };
    let times = (0..3).map(|_| once()).collect::<Result<_, _>>()?;
    report.note("hydrate_ms", "all entries from a redb file into a table", median(times));
    Ok(())
}

/// How long an owner waits for the disk: for a table of which nothing is there yet, and for one of which a tenth has changed.
/// The folder for temporary files is the disk (`TMPDIR`).
pub(super) fn checkpoints(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let (mut writer, _worker): (Writer<u64, [u8]>, _) = stage.own("durable")?;
    let mut write = |keys: &[u64], pass| -> Result<f64, Failure> {
        let mut value = work.value();
        for key in keys {
            fill(&mut value, *key, pass);
            writer.insert(key, &value)?;
        }
        let start = Instant::now();
        writer.flush()?;
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    };
    let order = work.order(0);
    report.note("checkpoint_ms", "all entries of a table to disk", write(&order, 0)?);
    let some = &order[..order.len().div_ceil(10)];
    let changed = (1..=3).map(|pass| write(some, pass)).collect::<Result<_, _>>()?;
    report.note("checkpoint_changes_ms", "the same where a tenth of them has changed", median(changed));
    Ok(())
}
