//! Filling a whole table from a file, as a manager does at its start.

use super::stage::Stage;
use super::work::{Work, fill};
use super::{Failure, Report, median};
use crate::config::{Hydrate, HydrateFormat, HydrateSource, HydrateWhen};
use crate::hydrate::hydrate;
use heirloom_protocol::sys::Segment;
use heirloom_protocol::table::{self, TableOptions};
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
