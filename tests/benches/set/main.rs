//! How fast a table of kind `set` is, beside maps that live in one process and die with it.
//!
//! ```text
//! cargo bench --workspace --bench set                    1,000,000 entries
//! HEIRLOOM_BENCH_ENTRIES=100000 cargo bench ...          fewer
//! ```
//!
//! Random keys of 8 bytes, values of 64. Every pass uses the keys in a random order of its own; every value that is
//! read is copied out, and its words are added up. All subjects take turns in one run on one machine: the ratios are
//! what counts. Each figure is the median of some passes, in nanoseconds per operation.

mod elsewhere;
mod subjects;
mod work;

use subjects::{Boxed, Heirloom, Inline, Papaya, Subject};
use work::Work;

const PASSES: usize = 5;

fn main() {
    if elsewhere::run_if_asked() {
        return;
    }
    let work = Work::new(entries());
    println!(
        "set: {} entries, keys of 8 bytes, values of {} bytes, one thread",
        work.len(),
        work::VALUE_BYTES
    );
    println!("{:<34} {:>8} {:>10} {:>8}   ns per operation", "", "get", "overwrite", "insert");
    row::<Heirloom>(&work, "heirloom");
    row::<Inline>(&work, "hashbrown, inline");
    row::<Boxed>(&work, "hashbrown, boxed");
    row::<Papaya>(&work, "papaya");
    let (alone, beside_writer) = elsewhere::measure(&work);
    println!("{:<34} {alone:>8.0}", "heirloom, from another process");
    println!("{:<34} {beside_writer:>8.0}", "  while the owner overwrites");
}

/// As many as the environment asks for; a handful where this runs as a test and not as a benchmark.
fn entries() -> usize {
    let asked = std::env::var("HEIRLOOM_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok());
    let default = if std::env::args().any(|word| word == "--bench") { 1_000_000 } else { 1000 };
    asked.unwrap_or(default)
}

fn row<S: Subject>(work: &Work, name: &str) {
    let mut inserts = Vec::new();
    let mut subject = None;
    for pass in 0..PASSES {
        drop(subject.take());
        let mut fresh = S::new(work.len());
        inserts.push(work.time(pass, |key, value| fresh.insert(key, value)));
        subject = Some(fresh);
    }
    let mut subject = subject.expect("there is at least one pass");
    let gets = (0..PASSES).map(|pass| work.time_gets(pass, |key, into| subject.get(key, into))).collect();
    let overwrites =
        (0..PASSES).map(|pass| work.time(pass, |key, value| subject.insert(key, value))).collect();
    let (get, overwrite, insert) = (median(gets), median(overwrites), median(inserts));
    println!("{name:<34} {get:>8.0} {overwrite:>10.0} {insert:>8.0}");
}

/// The middle of some measurements.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
