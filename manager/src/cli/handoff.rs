//! `heirloom handoff TABLE`: another worker takes over, without a failed read.

use super::connect::{self, Bytes};
use super::{Outcome, print};
use crate::config;
use crate::manager::now_ns;
use heirloom_protocol::message::HandoffStatus;
use heirloom_worker::{HandOn, HandedOn};
use serde_json::json;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Hand a table on to another worker: the way to deploy a new version
///
/// The owner is asked to give the table up; it finishes what it has in hand and releases it, and the next worker has it.
/// Reads go on throughout. Printed are who has it now and how long writes paused: from the last commit of the one to the
/// first of the other, where both were seen to commit (long where they commit seldom), at least and at most, since this
/// command looks at the table from outside, and not always in time on a busy machine; and how much of that it took from the
/// release to the new write handle.
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
    let (handed_on, looks) = thread::scope(|scope| {
        let watch = writing.map(|commits| scope.spawn(|| commits.until_the_next_owners(&done)));
        let handed_on = client.hand_on(&args.table, how);
        done.store(true, Ordering::Relaxed);
        (handed_on, watch.and_then(|watch| watch.join().unwrap_or_default()))
    });
    let handed_on = handed_on?;
    let paused = looks.zip(handed_on.handoff.as_ref()).map(|(looks, handoff)| looks.pause(handoff));
    print(&describe(args, &handed_on, paused))?;
    Ok(())
}

fn describe(args: &Args, handed_on: &HandedOn, paused: Option<RangeInclusive<Duration>>) -> String {
    let table = &args.table;
    let granted_us = handed_on.handoff.as_ref().map(|handoff| handoff.granted_us);
    if args.json {
        return json!({
            "table": table,
            "owner": handed_on.owner,
            "paused_us": paused.map(|paused| [paused.start().as_micros() as u64, paused.end().as_micros() as u64]),
            "granted_us": granted_us,
        })
        .to_string();
    }
    let Some(owner) = &handed_on.owner else {
        return format!("table `{table}` is with the manager: no other worker was ready to take it");
    };
    let mut text = format!("table `{table}` is owned by {} (process {}) now", owner.name, owner.pid);
    if let Some(paused) = paused {
        let (least, most) = (milliseconds(*paused.start()), milliseconds(*paused.end()));
        text += &format!("; writes paused for {least} to {most} ms");
    }
    if let Some(granted_us) = granted_us {
        let granted = milliseconds(Duration::from_micros(granted_us));
        text += &format!("; from the release to the new write handle: {granted} ms");
    }
    text
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// How long a commit is waited for: of the owner, to see whether it writes at all, and of the next one.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often the version is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// The commits of an owner that writes, as they are seen by looking at the version.
struct Commits<'r> {
    reader: &'r Bytes,
    epoch: u64,
    version: u64,
    came: Between,
    /// When the last look began: what it did not see came later.
    looked_ns: u64,
}

/// Between two looks, in nanoseconds: something was not there yet at the one, and was there at the other.
type Between = RangeInclusive<u64>;

/// When the last commit of the one owner came, and the first of the next.
#[derive(Debug, PartialEq, Eq)]
struct Looks {
    last: Between,
    first: Between,
}

impl<'r> Commits<'r> {
    /// Waits for one; none where the owner is not writing.
    fn seen(reader: &'r Bytes) -> Option<Self> {
        let start = Instant::now();
        let (mut before_ns, (_, first)) = (now_ns(), look(reader));
        while start.elapsed() < PATIENCE {
            thread::sleep(LOOK_EVERY);
            let (look_ns, (epoch, version)) = (now_ns(), look(reader));
            if version != first {
                let came = before_ns..=now_ns();
                return Some(Self { reader, epoch, version, came, looked_ns: look_ns });
            }
            before_ns = look_ns;
        }
        None
    }

    /// Follows them until the next owner has committed; nothing where it commits nothing.
    fn until_the_next_owners(mut self, done: &AtomicBool) -> Option<Looks> {
        // Or each look would be some 50 microseconds late. Where that cannot be had, it is.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let (mut give_up, mut was_there) = (None::<Instant>, None);
        let mut before_ns = self.looked_ns;
        loop {
            let (look_ns, (epoch, version)) = (now_ns(), look(self.reader));
            let is_new = std::mem::replace(&mut self.version, version) != version;
            match was_there {
                None if epoch != self.epoch => was_there = Some(!is_new),
                None if is_new => self.came = before_ns..=now_ns(),
                None => {}
                // What had come when the new epoch was first seen may have been of either owner; this is the next one's.
                Some(was_there) if is_new => {
                    let latest = if was_there { *self.came.end() } else { u64::MAX };
                    let earliest = if was_there { before_ns } else { 0 };
                    let last = *self.came.start()..=latest;
                    return Some(Looks { last, first: earliest..=now_ns() });
                }
                Some(_) => {}
            }
            before_ns = look_ns;
            let now = Instant::now();
            if done.load(Ordering::Relaxed) && now > *give_up.get_or_insert(now + PATIENCE) {
                return None;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// The epoch, and the last version in it so far.
fn look(reader: &Bytes) -> (u64, u64) {
    loop {
        let (epoch, version) = (reader.epoch(), reader.version());
        if reader.epoch() == epoch {
            return (epoch, version);
        }
    }
}

impl Looks {
    /// How long there was no commit, at least and at most. The manager's clock is the same: the last commit came before the
    /// release, and the first one after the grant.
    fn pause(&self, handoff: &HandoffStatus) -> RangeInclusive<Duration> {
        let granted_ns = handoff.noticed_ns + handoff.granted_us * 1000;
        let last_at_latest = *self.last.end().min(&handoff.noticed_ns);
        let first_at_earliest = *self.first.start().max(&granted_ns);
        let least = first_at_earliest.saturating_sub(last_at_latest);
        let most = self.first.end().saturating_sub(*self.last.start());
        Duration::from_nanos(least)..=Duration::from_nanos(most.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_lies_between_what_was_seen_and_what_the_manager_knows() {
        let handoff = HandoffStatus { noticed_ns: 1_000_000, granted_us: 200, ..HandoffStatus::default() };
        let pause = |last, first| {
            let pause = Looks { last, first }.pause(&handoff);
            (pause.start().as_micros(), pause.end().as_micros())
        };
        // All looks were in time.
        assert_eq!(pause(900_000..=950_000, 1_250_000..=1_300_000), (300, 400));
        // None was between the last commit and the first.
        assert_eq!(pause(500_000..=u64::MAX, 600_000..=5_000_000), (200, 4_500));
        assert_eq!(pause(0..=1_100_000, 1_100_000..=1_300_000), (200, 1_300));
    }
}
