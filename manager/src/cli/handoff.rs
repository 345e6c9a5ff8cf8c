//! `heirloom handoff TABLE`: another worker takes over, without a failed read.

use super::connect::{self, Bytes};
use super::{Outcome, print};
use crate::config;
use heirloom_worker::{HandOn, HandedOn};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Hand a table on to another worker: the way to deploy a new version
///
/// The owner is asked to give the table up; it finishes what it has in hand and releases it, and the next worker has it.
/// Reads go on throughout. Printed are who has it now and how long writes paused: from the last commit of the one to the
/// first of the other, where both were seen to commit (long where they commit seldom), and how much of that it took from
/// the release to the new write handle.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// The name of the worker that shall have it; by default, find-me says
    #[arg(long, value_name = "WORKER")]
    to: Option<String>,

    /// How long the owner has, as in 5s or 500ms; then it keeps the table [default: what the configuration says]
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    deadline: Option<Duration>,

    /// Kill an owner that has not released the table by then
    #[arg(long)]
    force: bool,

    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  heirloom handoff sales
  heirloom handoff sales --to sale_tracker --deadline 5s --force";

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let client = connect::client(socket)?;
    let mut how = HandOn::new();
    if let Some(worker) = &args.to {
        how = how.to(worker);
    }
    if let Some(deadline) = args.deadline {
        how = how.within(deadline);
    }
    if args.force {
        how = how.force();
    }
    // A private table cannot be watched; then what the manager says has to do.
    let reader = client.reader::<[u8], [u8]>(&args.table).ok();
    let done = AtomicBool::new(false);
    let writing = reader.as_ref().and_then(Commits::seen);
    let (handed_on, paused) = thread::scope(|scope| {
        let watch = writing.map(|commits| scope.spawn(|| commits.until_the_next_owners(&done)));
        let handed_on = client.hand_on(&args.table, how);
        done.store(true, Ordering::Relaxed);
        (handed_on, watch.and_then(|watch| watch.join().unwrap_or_default()))
    });
    print(&describe(args, &handed_on?, paused))?;
    Ok(())
}

fn describe(args: &Args, handed_on: &HandedOn, paused: Option<Duration>) -> String {
    let table = &args.table;
    let granted_us = handed_on.handoff.as_ref().map(|handoff| handoff.granted_us);
    if args.json {
        return json!({
            "table": table,
            "owner": handed_on.owner,
            "paused_us": paused.map(|paused| paused.as_micros() as u64),
            "granted_us": granted_us,
        })
        .to_string();
    }
    let Some(owner) = &handed_on.owner else {
        return format!("table `{table}` is with the manager: no other worker was ready to take it");
    };
    let mut text = format!("table `{table}` is owned by {} (process {}) now", owner.name, owner.pid);
    if let Some(paused) = paused {
        text += &format!("; writes paused for {}", milliseconds(paused));
    }
    if let Some(granted_us) = granted_us {
        let granted = milliseconds(Duration::from_micros(granted_us));
        text += &format!("; from the release to the new write handle: {granted}");
    }
    text
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// How long a commit is waited for: of the owner, to see whether it writes at all, and of the next one.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often the version is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// The commits of an owner that writes.
struct Commits<'r> {
    reader: &'r Bytes,
    epoch: u64,
    version: u64,
    last: Instant,
}

impl<'r> Commits<'r> {
    /// Waits for one; none where the owner is not writing.
    fn seen(reader: &'r Bytes) -> Option<Self> {
        let (first, start) = (reader.info(), Instant::now());
        while start.elapsed() < PATIENCE {
            let (info, last) = (reader.info(), Instant::now());
            if info.version != first.version {
                return Some(Self { reader, epoch: info.epoch, version: info.version, last });
            }
            thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// Follows them until the next owner has committed, and says how long no commit was made before that; nothing where
    /// it commits nothing.
    fn until_the_next_owners(mut self, done: &AtomicBool) -> Option<Duration> {
        let mut give_up = None::<Instant>;
        loop {
            let (info, now) = (self.reader.info(), Instant::now());
            if info.version != self.version {
                if info.epoch != self.epoch {
                    return Some(now - self.last);
                }
                (self.version, self.last) = (info.version, now);
            }
            if done.load(Ordering::Relaxed) && now > *give_up.get_or_insert(now + PATIENCE) {
                return None;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}
