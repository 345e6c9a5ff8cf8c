//! What is done first: checks, and the memory of each table. What comes then is `filling`.

use super::ManagerError;
use super::access::Allowed;
use super::checkpoint::{self, Checkpoints};
use super::claims::Claims;
use super::fullness::Fullness;
use super::lease::Lease;
use super::search::Search;
use super::seats::Limits;
use super::story::Story;
use super::table::{Counts, Holders, Table, Timers};
use crate::config::{Access, Config, Durability, TableConfig};
use crate::find_me::{self, FindMe};
use heirloom_protocol::ownership::Ownership;
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::{Features, Segment, limits};
use heirloom_protocol::table::{self, TableOptions, TableReader};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The mode of the control socket, where the manager makes it: for all users as soon as something is granted to others,
/// since the kernel's word on who they are decides the rest.
pub(super) fn socket_mode(config: &Config) -> u32 {
    if config.concerns_other_users() { 0o666 } else { 0o600 }
}

/// Fewer connections of one user than this are worth a warning.
const FEW_CONNECTIONS: usize = 48;

/// How many descriptors this process may have open, and under way: as many as it could be allowed (rule H19).
pub(super) fn descriptors() -> u64 {
    limits::raise_descriptor_limit().unwrap_or(u64::MAX)
}

/// What a person should know before something goes wrong.
pub(super) fn warnings(limits: Limits) -> Vec<String> {
    let mut warnings = Features::get().missing();
    let most = limits.of_one_other;
    if most < FEW_CONNECTIONS {
        warnings.push(format!(
            "few descriptors may be open (ulimit -Hn): another user than the manager's own may have {most} connections"
        ));
    }
    warnings
}

/// The sum of all limits must fit into memory, or the kernel kills somebody later (rule H5).
pub(super) fn check_memory(max_bytes: impl Iterator<Item = u64>) -> Result<(), ManagerError> {
    let wanted = max_bytes.fold(0_u64, u64::saturating_add);
    let limit = limits::memory_limit();
    if wanted > limit.bytes {
        return Err(ManagerError::Memory { wanted, limit: limit.limit });
    }
    Ok(())
}

/// Makes one table, empty.
pub(super) fn create(config: &TableConfig, find_me: Option<Arc<dyn FindMe>>) -> Result<Table, ManagerError> {
    let mut options = TableOptions::set(config.max_bytes);
    options.kind = config.kind;
    // Nobody can choose keys that collide, and no version is mistaken for one of an earlier creation (rule R6).
    options.seed = rand::random();
    options.incarnation = rand::random();
    let segment = Segment::create(&config.id, options.segment_bytes())?;
    let region = map(config, &segment)?;
    table::create(&region, &options)
        .map_err(|error| ManagerError::Create { table: config.id.clone(), error })?;
    take(config, find_me, segment, region)
}

/// Takes up a table that outlived an earlier manager. It stays what it is; how full it may become is in its header.
pub(super) fn adopt(
    config: &TableConfig,
    find_me: Option<Arc<dyn FindMe>>,
    memory: OwnedFd,
) -> Result<Table, ManagerError> {
    let refused = |why: String| ManagerError::Adopt { table: config.id.clone(), why };
    let segment = Segment::adopt(memory).map_err(|error| refused(error.to_string()))?;
    let region = map(config, &segment)?;
    let mut table = take(config, find_me, segment, region).map_err(|error| match error {
        ManagerError::Create { error, .. } => refused(error.to_string()),
        error => error,
    })?;
    let info = table.reader.info();
    if info.kind != config.kind {
        let (is, named) = (info.kind.name(), config.kind.name());
        return Err(refused(format!("it is of kind {is}, and the configuration says {named}")));
    }
    if info.max_bytes != config.max_bytes {
        tracing::warn!(
            table = config.id,
            max_bytes = info.max_bytes,
            configured = config.max_bytes,
            "a table that outlived the last manager keeps its limit; `heirloom limit` changes it"
        );
    }
    table.adopted = true;
    table.claims.adopt(&table.region);
    Ok(table)
}

fn map(config: &TableConfig, segment: &Segment) -> Result<Arc<MappedRegion>, ManagerError> {
    let region = segment.map().map_err(|error| ManagerError::Map { table: config.id.clone(), error })?;
    Ok(Arc::new(region))
}

/// Makes the manager's table of what is in that memory.
fn take(
    config: &TableConfig,
    find_me: Option<Arc<dyn FindMe>>,
    segment: Segment,
    region: Arc<MappedRegion>,
) -> Result<Table, ManagerError> {
    let named = || config.id.clone();
    let reader = TableReader::open(Arc::clone(&region))
        .map_err(|error| ManagerError::Create { table: named(), error })?;
    let allowed = |grant| Allowed::new(grant).map_err(|error| ManagerError::Access { table: named(), error });
    let mut claims = Claims::new(config.snapshot_max_age);
    // Before the first commit, so that none is missing in the ring.
    table::set_durability(&region, checkpoint::in_header(config.durability));
    let checkpoints = if config.durability == Durability::Memory {
        table::set_durable_version(&region, None);
        None
    } else {
        Checkpoints::new(config.durability, claims.make_durable(&region))
    };
    let find_me = find_me.or_else(|| config.find_me.as_ref().map(find_me::from_config));
    Ok(Table {
        id: config.id.as_str().into(),
        kind: config.kind,
        gift: config.gift_data.clone(),
        private: config.access == Access::Private,
        owners: allowed(&config.owner)?,
        readers: allowed(&config.readers)?,
        ownership: Ownership::new(reader.epoch()),
        segment: Arc::new(segment),
        adopted: false,
        on_disk: None,
        checkpoints,
        kept_owner: None,
        embedded: false,
        region,
        reader,
        timers: Timers::default(),
        lease: config.lease.map(Lease::new),
        search: Search::new(find_me),
        holders: Holders::default(),
        write_handle: None,
        story: Story::default(),
        last_handoff: None,
        wishes: Vec::new(),
        claims,
        fullness: Fullness::default(),
        counts: Counts::default(),
    })
}
