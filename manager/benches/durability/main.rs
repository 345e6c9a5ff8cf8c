//! What it costs to have tables on disk.
//!
//! ```text
//! cargo bench -p heirloom-manager --bench durability                1,000,000 entries
//! HEIRLOOM_BENCH_ENTRIES=100000 cargo bench ...                     fewer
//! ```
//!
//! Keys of 8 bytes in no order, values of 64 bytes; medians of some runs, in the folder for temporary files (`TMPDIR`).

mod store;
mod writer;

use std::env;
use std::time::{Duration, Instant};

fn main() {
    let is_bench = env::args().any(|word| word == "--bench");
    let asked = env::var("HEIRLOOM_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries: u64 = asked.unwrap_or(if is_bench { 1_000_000 } else { 1000 });
    let runs = if is_bench { 5 } else { 1 };
    let (time, turns) = if is_bench { (Duration::from_secs(1), 30) } else { (Duration::from_millis(50), 3) };
    println!("{entries} entries in {}", env::temp_dir().display());
    store::measure(entries, runs);
    writer::measure(time, turns);
}

/// How long something takes, in milliseconds.
fn time<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_secs_f64() * 1e3, done)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
