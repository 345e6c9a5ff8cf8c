//! The slowest writes: a table grows from nothing, and each single write is timed.

use super::stage::Stage;
use super::work::{Work, fill};
use super::{Failure, Report};
use std::time::Instant;

/// How many times the entries of the other tables this one gets.
pub(super) const TIMES: usize = 10;

pub(super) fn of_growth(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let (mut writer, _worker) = stage.own::<u64, [u8]>("growing")?;
    let mut value = work.value();
    let mut times = Vec::with_capacity(work.len() * TIMES);
    for round in 0..TIMES as u64 {
        for key in work.keys() {
            // Other keys in each round, as random as the first.
            let key = (key ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            fill(&mut value, key, round);
            let start = Instant::now();
            writer.insert(&key, &value)?;
            times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }
    times.sort_unstable();
    let at = |part: f64| f64::from(times[((times.len() - 1) as f64 * part) as usize]) / 1000.0;
    report.note("write_p99_us", "a single write while growing tenfold: p99", at(0.99));
    report.note("write_p99999_us", "a single write while growing tenfold: p99.999", at(0.99999));
    report.note("write_max_us", "a single write while growing tenfold: worst", at(1.0));
    report.note("idle_max_us", "an idle loop on this machine for a second: worst", idle());
    Ok(())
}

/// What the machine itself does to a loop that only looks at the clock.
fn idle() -> f64 {
    let (start, mut last, mut worst) = (Instant::now(), Instant::now(), 0);
    while start.elapsed().as_secs() < 1 {
        let now = Instant::now();
        worst = worst.max(now.duration_since(last).as_nanos());
        last = now;
    }
    worst as f64 / 1000.0
}
