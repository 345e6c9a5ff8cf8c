//! What an embedded manager's table is to be.

use super::hydration::{Hydration, LoadError};
use crate::config::{Access, Durability, Grant, TableConfig};
use crate::find_me::{FindMe, FindMeError};
use crate::manager::filling::OnDisk;
use crate::manager::table::Table as Created;
use crate::manager::{ManagerError, start};
use crate::registry::{Candidate, Candidates};
use heirloom_protocol::table::Kind;
use serde::Serialize;
use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Hydrate = Box<dyn FnOnce(&mut Hydration<'_>) -> Result<(), LoadError> + Send>;

/// One table of an embedded manager.
///
/// ```
/// use heirloom_manager::manager::embedded::Table;
/// let sales = Table::ordered_set("sales").max_bytes(1 << 30).gift(&"USD");
/// ```
#[must_use = "give it to Embedded::table"]
pub struct Table {
    config: TableConfig,
    find_me: Option<Arc<dyn FindMe>>,
    hydrate: Option<Hydrate>,
}

impl Table {
    /// One value for each key, in no order.
    pub fn set(id: &str) -> Self {
        Self::new(id, Kind::Set)
    }

    /// One value for each key, in the keys' order.
    pub fn ordered_set(id: &str) -> Self {
        Self::new(id, Kind::OrderedSet)
    }

    /// Several different values for each key.
    pub fn bag(id: &str) -> Self {
        Self::new(id, Kind::Bag)
    }

    /// Several values for each key, equal ones too, in the order in which they were inserted.
    pub fn duplicate_bag(id: &str) -> Self {
        Self::new(id, Kind::DuplicateBag)
    }

    fn new(id: &str, kind: Kind) -> Self {
        let config = TableConfig {
            id: id.to_owned(),
            kind,
            max_bytes: 64 << 20,
            find_me: None,
            gift_data: String::new(),
            hydrate: None,
            durability: Durability::Memory,
            // A thread cannot be killed.
            lease: None,
            access: Access::Protected,
            snapshot_max_age: Duration::from_secs(60),
            owner: Grant::default(),
            readers: Grant::default(),
        };
        Self { config, find_me: None, hydrate: None }
    }

    /// Its limit, in bytes; 64 MiB where nothing is said.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.config.max_bytes = max_bytes;
        self
    }

    /// How long a snapshot of it may be held; 60 s where nothing is said.
    pub fn snapshot_max_age(mut self, time: Duration) -> Self {
        self.config.snapshot_max_age = time;
        self
    }

    /// Which worker gets it: asked on the spot whenever the table is free and a candidate appears, so it must not block.
    /// Without it, the table stays with the manager, for readers.
    pub fn find_me(
        mut self,
        find_me: impl Fn(&Candidates) -> Option<Candidate> + Send + Sync + 'static,
    ) -> Self {
        self.find_me = Some(Arc::new(OnTheSpot(find_me)));
        self
    }

    /// What every new owner is given.
    ///
    /// # Panics
    /// Where `gift` cannot be JSON.
    pub fn gift(mut self, gift: &impl Serialize) -> Self {
        self.config.gift_data = serde_json::to_string(gift).expect("gift data is JSON");
        self
    }

    /// What of it survives a crash of the host, in the folder that [`Embedded::store`](super::Embedded::store) names;
    /// nothing where nothing is said.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// Fills it before anybody sees it. One that is on disk begins with what it was there, and is filled where there is
    /// nothing yet.
    pub fn hydrate_with(
        mut self,
        hydrate: impl FnOnce(&mut Hydration<'_>) -> Result<(), LoadError> + Send + 'static,
    ) -> Self {
        self.hydrate = Some(Box::new(hydrate));
        self
    }

    pub(super) fn config(&self) -> &TableConfig {
        &self.config
    }

    pub(super) fn id(&self) -> &str {
        &self.config.id
    }

    pub(super) fn limit(&self) -> u64 {
        self.config.max_bytes
    }

    /// Takes up what came back, or makes an empty one and fills it.
    pub(super) fn create_or_adopt(
        self,
        memory: Option<OwnedFd>,
        folder: &Path,
    ) -> Result<Created, ManagerError> {
        let mut table = match memory {
            Some(memory) => start::adopt(&self.config, self.find_me, memory)?,
            None => start::create(&self.config, self.find_me)?,
        };
        table.embedded = true;
        table.on_disk = OnDisk::of(&self.config, folder);
        if table.adopted {
            return Ok(table);
        }
        if let Some(on_disk) = &mut table.on_disk {
            let filled = on_disk.fill(&table.region, false);
            let not_filled = |error| ManagerError::OnDisk { table: self.config.id.clone(), error };
            if filled.map_err(not_filled)? {
                return Ok(table);
            }
        }
        if let Some(hydrate) = self.hydrate {
            Hydration::run(&table, hydrate)
                .map_err(|error| ManagerError::Load { table: self.config.id, error })?;
        }
        Ok(table)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A find-me that answers where it is asked.
struct OnTheSpot<F>(F);

impl<F> FindMe for OnTheSpot<F>
where
    F: Fn(&Candidates) -> Option<Candidate> + Send + Sync,
{
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(ready))).map_err(|_| FindMeError::Panicked)
    }

    fn is_immediate(&self) -> bool {
        true
    }
}
