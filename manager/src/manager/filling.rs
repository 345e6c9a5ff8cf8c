//! What a table begins with, and what of it is on disk: before it is offered or opened.
//!
//! | table | source with "always" | a checkpoint on disk | then it begins with |
//! | --- | --- | --- | --- |
//! | has outlived the last manager | | | what it is |
//! | new, in memory only | | | its source, or nothing |
//! | new, durable | yes | | its source; what is on disk is replaced by the first checkpoint |
//! | new, durable | no | yes | its checkpoint |
//! | new, durable | no | no | its source, or nothing |

use super::ManagerError;
use super::control::Notice;
use super::notify::Supervision;
use super::table::Table;
use crate::config::{Config, Durability, Hydrate, HydrateWhen, TableConfig};
use crate::hydrate;
use crate::store::{self, Identity, Store, StoreError};
use heirloom_protocol::region::Region;
use heirloom_protocol::table::TableReader;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// The store of a durable table, until its checkpoints begin.
#[derive(Debug)]
pub(super) struct OnDisk {
    path: PathBuf,
    of: Identity,
    /// Open, where the table was filled; not yet, where it has outlived the last manager, which waits for no disk.
    opened: Option<Opened>,
}

/// A store, and what it has of its table.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    /// The version of the table that the store is: what came after is all that a checkpoint must write. Where none is
    /// known, it must write the whole table.
    pub(super) is_version: Option<u64>,
}

impl OnDisk {
    /// That of a table, if it is a durable one.
    pub(super) fn of(config: &TableConfig, folder: &Path) -> Option<Self> {
        let of = Identity { table: config.id.clone(), kind: config.kind };
        let durable = config.durability != Durability::Memory;
        durable.then(|| Self { path: store::path(folder, &config.id), of, opened: None })
    }

    #[allow(dead_code, reason = "checkpoints begin with it")]
    /// The store, opened now where that was not needed before. It blocks: for long where the last manager was killed, and the
    /// file is large.
    ///
    /// # Errors
    /// [`StoreError`], with which the same can be asked again later.
    pub(super) fn open<R: Region>(&mut self, table: &TableReader<R>) -> Result<Opened, StoreError> {
        if let Some(opened) = self.opened.take() {
            return Ok(opened);
        }
        let store = Store::open(&self.path, &self.of)?;
        let of_this_table = store.at().filter(|at| at.incarnation == table.incarnation());
        Ok(Opened { store, is_version: of_this_table.map(|at| at.version) })
    }

    /// Opens it, and fills the new table from it where there is a checkpoint, and the source does not come first.
    pub(super) fn fill<R: Region + Clone>(
        &mut self,
        region: &R,
        source_first: bool,
    ) -> Result<bool, StoreError> {
        let mut opened = Opened { store: Store::open(&self.path, &self.of)?, is_version: None };
        let at = opened.store.at();
        let (table, path) = (&*self.of.table, self.path.display());
        let fill = at.is_some() && !source_first;
        if fill {
            let started = Instant::now();
            let entries = opened.store.hydrate(region.clone())?;
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::info!(table, store = %path, entries, elapsed_ms, "hydrated from its checkpoint");
            opened.is_version = TableReader::open(region.clone()).ok().map(|table| table.version());
        } else if at.is_some() {
            tracing::warn!(table, store = %path, "its checkpoint is not read: its source says `when = \"always\"`");
        }
        self.opened = Some(opened);
        Ok(fill)
    }
}

/// A new table, and what it may begin with.
struct Filling<R> {
    id: String,
    source: Option<Hydrate>,
    on_disk: Option<OnDisk>,
    region: R,
}

impl<R: Region + Clone> Filling<R> {
    fn fill(&mut self) -> Result<(), ManagerError> {
        let filled = self.fill_from_where_it_is();
        // From here on its owner makes memory present.
        self.region.expect_growth(0);
        filled
    }

    fn fill_from_where_it_is(&mut self) -> Result<(), ManagerError> {
        let always = self.source.as_ref().is_some_and(|source| source.when == HydrateWhen::Always);
        if let Some(on_disk) = &mut self.on_disk {
            let filled = on_disk.fill(&self.region, always);
            if filled.map_err(|error| ManagerError::OnDisk { table: self.id.clone(), error })? {
                return Ok(());
            }
        }
        let Some(source) = &self.source else { return Ok(()) };
        let hydrated = hydrate::hydrate(&self.id, source, self.region.clone());
        hydrated.map(drop).map_err(|error| ManagerError::Hydrate { table: self.id.clone(), error })
    }
}

/// What of each table is on disk, in the order of the tables.
pub(super) type OnDisks = Vec<Option<OnDisk>>;

/// Fills all new tables, one after the other, on a thread, and has them kept. One notice says how it ended.
pub(super) fn fill(
    config: &Config,
    tables: &[Table],
    supervision: &Supervision,
    notices: mpsc::UnboundedSender<Notice>,
) -> Result<(), ManagerError> {
    let folder = config.manager.store_folder();
    let durable = |config: &TableConfig| OnDisk::of(config, &folder);
    prepare(&folder, &config.tables)?;
    let mut on_disks: OnDisks = config.tables.iter().map(durable).collect();
    let mut work: Vec<_> = config
        .tables
        .iter()
        .zip(tables)
        .zip(&mut on_disks)
        .enumerate()
        .filter(|(_, ((_, table), _))| !table.adopted)
        .map(|(number, ((config, table), on_disk))| {
            let region = Arc::clone(&table.region);
            let (id, source) = (config.id.clone(), config.hydrate.clone());
            (number, Filling { id, source, on_disk: on_disk.take(), region })
        })
        .collect();
    let memory: Vec<_> =
        tables.iter().map(|table| (Arc::clone(&table.id), Arc::clone(&table.segment))).collect();
    let supervision = supervision.clone();
    tokio::task::spawn_blocking(move || {
        let filled = work.iter_mut().try_for_each(|(_, filling)| filling.fill());
        let result = filled.map(|()| {
            work.into_iter().for_each(|(number, filling)| on_disks[number] = filling.on_disk);
            on_disks
        });
        // Filled first: what is found by the next manager is whole. One that was kept before is kept once (rule H24).
        let tables = memory.iter().map(|(id, segment)| (&**id, &**segment as &dyn AsFd));
        let not_kept = supervision.keep_tables(tables).err();
        // The control task is gone only when the manager ends.
        let _ = notices.send(Notice::Hydrated { result, not_kept });
    });
    Ok(())
}

/// Sees that durable tables have a folder.
pub(super) fn prepare<'t>(
    folder: &Path,
    tables: impl IntoIterator<Item = &'t TableConfig>,
) -> Result<(), ManagerError> {
    match tables.into_iter().find(|table| table.durability != Durability::Memory) {
        Some(table) => store::prepare_folder(folder)
            .map_err(|error| ManagerError::OnDisk { table: table.id.clone(), error }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stamp;
    use heirloom_protocol::region::HeapRegion;
    use heirloom_protocol::table::{self, Attributes, Kind, TableOptions};

    #[test]
    fn a_checkpoint_comes_before_a_source_unless_that_says_always() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let of = Identity { table: "sales".to_owned(), kind: Kind::Set };
        let path = store::path(folder.path(), &of.table);
        let mut store = Store::open(&path, &of).expect("a store can be made");
        let mut checkpoint = store.checkpoint().expect("it can be written");
        checkpoint.replace(b"key", [(&b"value"[..], Attributes::default())]).expect("it is taken");
        checkpoint.commit(Stamp { incarnation: 1, version: 8 }).expect("there is room");
        drop(store);
        for always in [true, false] {
            let options = TableOptions::set(4 << 20);
            let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
            table::create(&region, &options).expect("the table fits");
            let mut on_disk = OnDisk { path: path.clone(), of: of.clone(), opened: None };
            assert_eq!(on_disk.fill(&region, always).expect("it is whole"), !always);
            let table = TableReader::open(region).expect("it is a table");
            assert_eq!(table.len(), u64::from(!always));
            // What is not from the store must be written whole: it may be anything.
            let opened = on_disk.open(&table).expect("it is open");
            assert_eq!(opened.is_version, (!always).then(|| table.version()));
        }
    }
}
