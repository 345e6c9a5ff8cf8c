//! How long a table is without an owner: after a kill, a recall, a panic; and how long without a manager.

use super::stage::{Role, Stage, inbox};
use super::{Failure, PATIENCE, Report, median};
use crate::chaos::now_ns;
use crate::manager::Manager;
use crate::manager::embedded::{House, Table};
use crate::registry::Candidates;
use crossbeam_channel::{Receiver, Sender, bounded};
use heirloom_protocol::message::WorkerStatus;
use heirloom_protocol::sys::Process;
use heirloom_worker::{Client, HandOn, Status};
use rustix::process::Signal;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How much the owner of a large table has touched.
pub(super) const LARGE_BYTES: u64 = 1 << 30;

/// From `kill -9` of the owner to the first commit of a standby.
pub(super) fn after_kills(
    stage: &Stage,
    table: &str,
    bytes: u64,
    kills: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut owner = stage.owner(table, bytes, false)?;
    owner.wait_for("settled")?;
    let mut times = Vec::new();
    for _ in 0..kills {
        let standby = stage.owner(table, bytes, false)?;
        let killed_ns = now_ns();
        owner.kill()?;
        times.push(since(killed_ns, &standby)?);
        standby.wait_for("settled")?;
        owner = standby;
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    let [(key, what), (worst_key, worst_what)] = match bytes {
        0 => [
            ("handoff_us", "kill -9 to the heir's first commit, small table"),
            ("handoff_max_us", "the same: worst of 20"),
        ],
        _ => [
            ("handoff_1gib_us", "kill -9 to the heir's first commit, 1 GiB touched"),
            ("handoff_1gib_max_us", "the same: worst of 5"),
        ],
    };
    report.note(key, what, median(times));
    report.note(worst_key, worst_what, worst);
    Ok(())
}

/// Microseconds from then to the first commit of whoever has the table now.
fn since(then_ns: u64, heir: &Role) -> Result<f64, Failure> {
    let first_ns: u64 = heir.wait_for("first")?.parse()?;
    Ok(first_ns.saturating_sub(then_ns) as f64 / 1000.0)
}

/// From the last commit of an owner that writes as fast as it can to the first of the next, when an operator hands on.
pub(super) fn live(stage: &Stage, client: &Client, report: &mut Report) -> Result<(), Failure> {
    let mut owner = stage.owner("busy", 0, true)?;
    owner.wait_for("settled")?;
    let mut standby = stage.owner("busy", 0, true)?;
    let mut times = Vec::new();
    for _ in 0..20 {
        client.hand_on("busy", HandOn::new())?;
        let last_ns: u64 = owner.wait_for("last")?.parse()?;
        times.push(since(last_ns, &standby)?);
        standby.wait_for("settled")?;
        std::mem::swap(&mut owner, &mut standby);
    }
    report.note("handoff_live_us", "live handoff: last commit to the next owner's first", median(times));
    Ok(())
}

/// From the panic of an owner to the first commit of the next, as threads of one program.
pub(super) fn embedded(report: &mut Report) -> Result<(), Failure> {
    let table = Table::set("counts").find_me(|ready: &Candidates| ready.named("w"));
    let house = Manager::embedded().table(table).start()?;
    let mut owner = Life::begin(&house)?;
    owner.first_commit()?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let heir = Life::begin(&house)?;
        let died = owner.end()?;
        times.push(heir.first_commit()?.duration_since(died).as_nanos() as f64 / 1000.0);
        owner = heir;
    }
    report.note(
        "handoff_embedded_us",
        "a panic to the next owner's first commit, in one program",
        median(times),
    );
    owner.end().map(drop)
}

/// A thread that waits for the table, commits once, and dies when it is told to.
struct Life {
    thread: JoinHandle<Result<(), String>>,
    first_commit: Receiver<Instant>,
    go: Sender<()>,
}

impl Life {
    fn begin(house: &House) -> Result<Self, Failure> {
        let worker = house.worker("w")?;
        let inbox = inbox(&worker, "counts")?;
        let ((committed, first_commit), (go, told)) = (bounded(1), bounded(1));
        let live = move || {
            let _worker = worker;
            let transfer = inbox.recv_timeout(PATIENCE).map_err(|_| "no table is transferred")?;
            let mut counts = transfer.accept::<u64, u64>().map_err(|error| error.to_string())?;
            counts.add(&1, 1).map_err(|error| error.to_string())?;
            let _ = committed.send(Instant::now());
            let _ = told.recv_timeout(PATIENCE);
            // The writer is dropped as this unwinds.
            std::panic::resume_unwind(Box::new(Instant::now()))
        };
        Ok(Self { thread: thread::spawn(live), first_commit, go })
    }

    fn first_commit(&self) -> Result<Instant, Failure> {
        Ok(self.first_commit.recv_timeout(PATIENCE).map_err(|_| "no heir has committed")?)
    }

    /// When it panicked.
    fn end(self) -> Result<Instant, Failure> {
        let _ = self.go.send(());
        match self.thread.join() {
            Ok(outcome) => Err(outcome.err().unwrap_or_default().into()),
            Err(panic) => Ok(*panic.downcast().map_err(|_| "an owner panicked of itself")?),
        }
    }
}

/// From `kill -9` of the manager until the next one has every table again, and a living owner of a large one.
pub(super) fn manager_restart(stage: &Stage, client: &Client, report: &mut Report) -> Result<(), Failure> {
    let owner = stage.owner("large", LARGE_BYTES, false)?;
    owner.wait_for("settled")?;
    let is_back = |status: &Status| {
        let is_owner = |worker: &WorkerStatus| worker.pid == owner.pid() && worker.owns == ["large"];
        status.ready_us.is_some() && status.workers.iter().any(is_owner)
    };
    let (mut times, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = client.status()?.manager_pid;
        let manager = Process::open(before)?;
        let killed = Instant::now();
        manager.kill(Signal::KILL)?;
        let after = loop {
            match client.status() {
                Ok(now) if now.manager_pid != before && is_back(&now) => break now,
                _ if killed.elapsed() > PATIENCE => return Err("the manager does not come back".into()),
                _ => thread::sleep(Duration::from_micros(100)),
            }
        };
        times.push(killed.elapsed().as_secs_f64() * 1000.0);
        starts.extend(after.ready_us.map(|us| us as f64 / 1000.0));
    }
    report.note("manager_restart_ms", "kill -9 of the manager to all re-adopted, 1 GiB", median(times));
    report.note("manager_ready_ms", "of these the next manager's own, from its start", median(starts));
    Ok(())
}
