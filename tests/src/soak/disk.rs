//! A crash of the host in the end: every process is killed at once, and what was flushed is on disk.

use super::content::Content;
use super::notes::{Count, Ledger};
use super::owner::{now_ms, settle};
use super::stage::{STORE, Stage};
use heirloom_manager::chaos::SharedRegion;
use heirloom_manager::config::Durability;
use heirloom_manager::manager::Manager;
use heirloom_manager::manager::embedded::Table;
use heirloom_worker::{Kind, Reader};
use std::error::Error;
use std::time::Duration;

/// Flushes what is durable, kills everything, and compares what another manager finds on disk with the ledgers. Nobody
/// commits any more. How many entries there were.
pub(super) fn look(stage: &mut Stage, ledgers: &[Ledger<SharedRegion>]) -> Result<u64, Box<dyn Error>> {
    let durable = || ledgers.iter().filter(|ledger| ledger.table.is_durable);
    let client = stage.house.client();
    for ledger in durable() {
        client.flush(ledger.table.id())?;
    }
    stage.house.crash();
    let manager =
        durable().fold(Manager::embedded().store(stage.house.folder().join(STORE)), |manager, ledger| {
            let id = ledger.table.id();
            let table = match ledger.table.kind {
                Kind::Set => Table::set(id),
                Kind::OrderedSet => Table::ordered_set(id),
                Kind::Bag => Table::bag(id),
                Kind::DuplicateBag => Table::duplicate_bag(id),
                kind => unreachable!("the soak has no table of kind {kind:?}"),
            };
            manager.table(table.durability(Durability::Interval { every: Duration::from_secs(1) }))
        });
    let house = manager.start()?;
    let client = house.client()?;
    let mut entries = 0;
    for ledger in durable() {
        let reader: Reader<u64, [u8]> = client.reader(ledger.table.id())?;
        let found = Content::of(ledger.table, &reader)?;
        entries += found.entries();
        ledger.add(Count::Torn, found.torn);
        settle(&found, reader.snapshot()?.bequest::<u64>()?.unwrap_or(0), ledger, now_ms())?;
    }
    Ok(entries)
}
