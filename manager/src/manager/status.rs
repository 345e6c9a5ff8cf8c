//! What `heirloom status` shows, as of one moment. It is read off, and waits for nobody.

use super::control::Control;
use super::table::Table;
use crate::registry::Worker;
use heirloom_protocol::message::{OwnerStatus, Status, TableStatus, WorkerStatus};
use heirloom_protocol::ownership::State;
use heirloom_protocol::sys::KillError;

pub(super) fn of(control: &Control) -> Status {
    Status {
        manager_pid: std::process::id(),
        uptime_ms: control.started.elapsed().as_millis() as u64,
        ready_us: control.ready_after.map(|time| time.as_micros() as u64),
        tables: control.tables.iter().map(|table| of_table(control, table)).collect(),
        workers: of_workers(control),
        children: control.children.clone(),
        warnings: control.warnings.clone(),
    }
}

fn of_table(control: &Control, table: &Table) -> TableStatus {
    let info = table.reader.info();
    let held = heirloom_protocol::table::held(&table.region);
    // A killed owner is the owner until the table is taken back.
    let owner = table.ownership.owner().map(|id| OwnerStatus {
        name: control.workers.get(&id).map(|worker| worker.name.to_string()).unwrap_or_default(),
        pid: id.pid,
    });
    let mut status = TableStatus {
        id: table.id.to_string(),
        kind: table.kind.name().to_owned(),
        entries: info.entries,
        bytes: info.used_bytes,
        max_bytes: info.max_bytes,
        version: info.version,
        epoch: info.epoch,
        state: if control.open { table.ownership.word() } else { "hydrating" }.to_owned(),
        detail: table.ownership.detail(),
        owner,
        lease_ms: table.lease.as_ref().map(|lease| lease.length().as_millis() as u64),
        handoffs: table.counts.handoffs,
        recoveries: table.counts.recoveries,
        recovered_mid_commit: table.counts.recovered_mid_commit,
        last_handoff: table.last_handoff.clone(),
        nearly_full: table.fullness.is_nearly_full(),
        adopted: table.adopted,
        access: if table.private { "private" } else { "protected" }.to_owned(),
        pins: held.pins,
        oldest_pin_version: held.oldest,
        oldest_pin_age_ms: table.claims.oldest_age().map(|age| age.as_millis() as u64),
        held_entries: held.entries,
        held_bytes: held.bytes,
        followers: table.claims.followers() as u64,
        durability: info.durability.name().to_owned(),
        ..TableStatus::default()
    };
    if let Some(checkpoints) = &table.checkpoints {
        checkpoints.describe(&mut status);
    }
    status
}

/// Asked anew each time: it may change.
fn unkillable(worker: &Worker) -> Option<String> {
    match worker.process.may_kill() {
        Ok(()) | Err(KillError::Gone) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn of_workers(control: &Control) -> Vec<WorkerStatus> {
    let owned_by = |id| {
        let owns = |table: &&Table| matches!(table.ownership.state(), State::Owned { by, .. } if *by == id);
        control.tables.iter().filter(owns).map(|table| table.id.to_string()).collect()
    };
    let registry = control.registry.now();
    let workers = registry.workers().map(|worker| WorkerStatus {
        name: worker.name.to_string(),
        pid: worker.id.pid,
        ready: worker.ready.is_some(),
        heirs: worker.heirs.keys().map(ToString::to_string).collect(),
        owns: owned_by(worker.id),
        unkillable: unkillable(worker),
    });
    workers.collect()
}
