//! `heirloom status`: tables, workers and children, as a page for people or as JSON for programs.

use super::{Outcome, connect, print};
use heirloom_protocol::message::{ChildStatus, HandoffStatus, Status, TableStatus, WorkerStatus};
use std::fmt::Write;
use std::path::PathBuf;

/// Show tables, their owners and last handoffs, workers and children
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let status = connect::client(socket)?.status()?;
    print(&if args.json { serde_json::to_string(&status)? } else { page(&status) })?;
    Ok(())
}

fn page(status: &Status) -> String {
    let mut page = String::new();
    let seconds = status.uptime_ms / 1000;
    let _ = writeln!(page, "manager {}, up {}", status.manager_pid, duration(seconds));
    for warning in &status.warnings {
        let _ = writeln!(page, "warning: {warning}");
    }
    let rows = status.tables.iter().map(table_row).collect();
    section(&mut page, ["table", "kind", "entries", "memory", "version", "epoch", "state", "owner"], rows);
    for table in &status.tables {
        write_details(&mut page, table);
    }
    let rows = status.workers.iter().map(worker_row).collect();
    section(&mut page, ["worker", "pid", "ready", "owns", "heir of"], rows);
    for worker in &status.workers {
        if let Some(why) = &worker.unkillable {
            let _ = writeln!(page, "  {}: cannot be killed if it has to be: {why}", worker.name);
        }
    }
    let rows = status.children.iter().map(child_row).collect();
    section(&mut page, ["child", "pid", "state", "restarts", "last exit"], rows);
    page.truncate(page.trim_end().len());
    page
}

fn table_row(table: &TableStatus) -> [String; 8] {
    let TableStatus { id, kind, entries, version, epoch, state, .. } = table;
    let owner =
        table.owner.as_ref().map_or_else(|| "-".into(), |owner| format!("{} ({})", owner.name, owner.pid));
    [
        id.clone(),
        kind.clone(),
        entries.to_string(),
        format!("{} of {}", bytes(table.bytes), bytes(table.max_bytes)),
        version.to_string(),
        epoch.to_string(),
        state.clone(),
        owner,
    ]
}

/// What does not fit into a row: why a table is stuck, and how its last handoff went.
fn write_details(page: &mut String, table: &TableStatus) {
    if let Some(detail) = &table.detail {
        let _ = writeln!(page, "  {}: {detail}", table.id);
    }
    if table.nearly_full {
        let _ = writeln!(page, "  {}: nearly full (heirloom limit raises its limit)", table.id);
    }
    if let Some(disk) = disk(table) {
        let _ = writeln!(page, "  {}: {disk}", table.id);
    }
    if let Some(readers) = readers(table) {
        let _ = writeln!(page, "  {}: {readers}", table.id);
    }
    if let Some(handoff) = &table.last_handoff {
        let (id, handoffs) = (&table.id, table.handoffs);
        let _ = writeln!(
            page,
            "  {id}: {handoffs} handoffs, the last one ({}) {}",
            handoff.reason,
            stages(handoff)
        );
    }
}

/// How much of it is on disk; nothing where it lives in memory only.
fn disk(table: &TableStatus) -> Option<String> {
    let TableStatus { durability, durable_version, durable_age_ms, version, disk_error, .. } = table;
    if durability.is_empty() || durability == "memory" {
        return None;
    }
    let age = duration(durable_age_ms.unwrap_or_default() / 1000);
    let on_disk = match durable_version {
        None => "nothing is on disk yet".to_owned(),
        Some(durable) if durable == version => "all of it is on disk".to_owned(),
        Some(durable) => format!("on disk is version {durable}, as it was {age} ago"),
    };
    let error = disk_error.as_ref().map_or_else(String::new, |error| format!("; NOT WRITTEN: {error}"));
    Some(format!("durability {durability}, {on_disk}{error}"))
}

/// What readers have of it besides its mapping, and what that holds back; nothing where that is nothing.
fn readers(table: &TableStatus) -> Option<String> {
    let TableStatus { access, pins, oldest_pin_age_ms, held_entries, held_bytes, followers, .. } = table;
    let mut said = Vec::new();
    if access == "private" {
        said.push("private".to_owned());
    }
    if *pins > 0 {
        let oldest = oldest_pin_age_ms
            .map_or_else(String::new, |age| format!(", the oldest for {}", duration(age / 1000)));
        said.push(format!("{pins} snapshots{oldest}"));
    }
    if *held_entries > 0 {
        said.push(format!("{held_entries} entries ({}) held for snapshots", bytes(*held_bytes)));
    }
    if *followers > 0 {
        said.push(format!("{followers} followers"));
    }
    (!said.is_empty()).then(|| said.join(", "))
}

/// Where the time of a handoff went, stage by stage.
fn stages(handoff: &HandoffStatus) -> String {
    let HandoffStatus { unwritable_us, recovered_us, offered_us, accepted_us, granted_us, recovery, .. } =
        handoff;
    let took = |end: &u64, start: &u64| end.saturating_sub(*start);
    format!(
        "in {granted_us} µs: proof that nobody can write {unwritable_us}, recovery ({recovery}) {}, find-me and offer {}, \
         the worker's answer {}, grant {}",
        took(recovered_us, unwritable_us),
        took(offered_us, recovered_us),
        took(accepted_us, offered_us),
        took(granted_us, accepted_us)
    )
}

fn worker_row(worker: &WorkerStatus) -> [String; 5] {
    let WorkerStatus { name, pid, ready, heirs, owns, .. } = worker;
    [name.clone(), pid.to_string(), if *ready { "yes" } else { "no" }.into(), list(owns), list(heirs)]
}

fn child_row(child: &ChildStatus) -> [String; 5] {
    let ChildStatus { name, instance, pid, restarts, state, last_exit, .. } = child;
    [
        format!("{name} #{instance}"),
        pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        state.clone(),
        restarts.to_string(),
        last_exit.clone().unwrap_or_else(|| "-".into()),
    ]
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

/// A heading and rows under it, in columns as wide as they need to be; nothing where there are no rows.
fn section<const COLUMNS: usize>(page: &mut String, heading: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) {
    if rows.is_empty() {
        return;
    }
    let heading = heading.map(str::to_uppercase);
    let width = |column: usize| {
        rows.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    page.push('\n');
    for row in [&heading].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(page, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// `1234567` as `1.2 MiB`.
#[allow(clippy::cast_precision_loss)]
fn bytes(bytes: u64) -> String {
    let (mut amount, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    let decimals = usize::from(unit != "B" && amount.fract() > 0.05 && amount < 100.0);
    format!("{amount:.decimals$} {unit}")
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_protocol::message::OwnerStatus;

    #[test]
    fn a_page_shows_tables_owners_handoffs_and_children() {
        let handoff = HandoffStatus { reason: "owner 7 died".into(), granted_us: 321, ..Default::default() };
        let sales = TableStatus {
            id: "sales".into(),
            kind: "set".into(),
            entries: 3,
            bytes: 1_300_000,
            max_bytes: 64 << 20,
            state: "owned".into(),
            owner: Some(OwnerStatus { name: "sale_tracker".into(), pid: 8 }),
            nearly_full: true,
            pins: 2,
            oldest_pin_age_ms: Some(3_000),
            held_entries: 5,
            held_bytes: 2048,
            followers: 1,
            version: 9,
            durability: "interval".into(),
            durable_version: Some(7),
            durable_age_ms: Some(2_000),
            disk_error: Some("no room".into()),
            last_handoff: Some(handoff),
            ..Default::default()
        };
        let child = ChildStatus { name: "sale_tracker".into(), instance: 2, ..Default::default() };
        let unkillable = Some("another user".to_owned());
        let worker = WorkerStatus { name: "tracker".into(), unkillable, ..Default::default() };
        let (tables, children) = (vec![sales], vec![child]);
        let page = page(&Status { tables, children, workers: vec![worker], ..Default::default() });
        for part in [
            "sale_tracker (8)",
            "1.2 MiB of 64 MiB",
            "in 321 µs",
            "owner 7 died",
            "sale_tracker #2",
            "nearly full",
            "2 snapshots, the oldest for 3 s, 5 entries (2 KiB) held",
            "1 followers",
            "durability interval, on disk is version 7, as it was 2 s ago; NOT WRITTEN: no room",
            "tracker: cannot be killed if it has to be: another user",
        ] {
            assert!(page.contains(part), "{part} is missing in:\n{page}");
        }
        let empty = self::page(&Status::default());
        assert!(!empty.contains("WORKER"), "no heading without rows:\n{empty}");
    }

    #[test]
    fn units_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1 << 30), "1 GiB");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3600 * 25), "1 d 1 h");
    }
}
