//! What checkpoints cost whoever writes: with a manager inside this program, so with no process between the two.

use crate::median;
use heirloom_manager::config::Durability;
use heirloom_manager::manager::Manager;
use heirloom_manager::manager::embedded::{House, Table};
use heirloom_manager::registry::Candidates;
use heirloom_worker::{Owned, Worker};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RATE: u64 = 100_000;
const BATCH: u64 = 1000;
const KEYS: u64 = 100_000;

/// Rounds in which a table in memory and two on disk take turns, each for so long a time. Many short ones: from one second to the
/// next a virtual machine's memory may be half as fast, and within a round that is the same for both.
pub(crate) fn measure(time: Duration, rounds: usize) {
    let every = |seconds| Durability::Interval { every: Duration::from_secs(seconds) };
    // The last one has its changes noted for a checkpoint that does not come.
    let stages = [Durability::Memory, every(1), every(3600)].map(stage);
    stay_on_one_processor();
    let rows: Vec<[Paced; 3]> =
        (0..rounds).map(|_| stages.each_ref().map(|stage| paced(stage, time))).collect();
    for (place, name) in ["memory", "interval of 1 s", "interval of 1 h"].into_iter().enumerate() {
        let of = |figure: fn(&Paced) -> f64| median(rows.iter().map(|row| figure(&row[place])).collect());
        let status = &stages[place].house.status().tables[0];
        println!(
            "{name:<18} {:>8.0} commits/s, {:>6.0} ns each on average, worst batch of {BATCH} {:.2} ms; {} checkpoints, \
             the last in {} ms",
            of(|paced| paced.rate),
            of(|paced| paced.mean_ns),
            of(|paced| paced.worst_ms),
            status.checkpoints,
            status.last_checkpoint_ms.unwrap_or_default()
        );
    }
    let cost = |place: usize| {
        100.0 * median(rows.iter().map(|row| row[place].mean_ns / row[0].mean_ns).collect()) - 100.0
    };
    println!("checkpoints cost a commit {:.1} %; of that, that changes are noted: {:.1} %", cost(1), cost(2));
    drop(stages);
    for writers in [1, 8] {
        waiting(writers, 4 * time);
    }
}

/// How commits at a rate went.
struct Paced {
    rate: f64,
    mean_ns: f64,
    worst_ms: f64,
}

/// Whoever writes stays where it is; all other threads, which are there already, go where they like. So what is compared
/// is what checkpoints cost, and not which processor's cache a sleeping thread wakes up to.
fn stay_on_one_processor() {
    let mut first = CpuSet::new();
    first.set(0);
    // Where it may not have that one, it is measured all the same.
    let _ = sched_setaffinity(None, &first);
}

struct Stage {
    owned: Owned<u64, [u8; 32]>,
    _worker: Worker,
    house: House,
    _folder: TempDir,
}

fn stage(durability: Durability) -> Stage {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let table = Table::set("sales").max_bytes(256 << 20).durability(durability);
    let table = table.find_me(|ready: &Candidates| ready.named("w"));
    let house = Manager::embedded().store(folder.path()).table(table).start().expect("the house opens");
    let worker = house.worker("w").expect("it is let in");
    let owned = worker.own("sales").expect("it may own the table");
    worker.ready().expect("it is ready");
    Stage { owned, _worker: worker, house, _folder: folder }
}

/// Commits at that rate, in batches, of which the first fifth is not counted.
fn paced(Stage { owned, .. }: &Stage, time: Duration) -> Paced {
    let (begun, pause) = (Instant::now(), Duration::from_secs(1) * BATCH as u32 / RATE as u32);
    let mut took = Vec::new();
    let mut number = 0_u64;
    while begun.elapsed() < time {
        let due = begun + pause * took.len() as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        for _ in 0..BATCH {
            number += 1;
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
            owned.write(|table| table.insert(&key, &[number as u8; 32])).expect("it owns the table");
        }
        took.push(start.elapsed().as_secs_f64());
    }
    // A virtual machine's memory is slow to come back to whoever did not touch it for some seconds.
    let counted = &took[took.len() / 5..];
    Paced {
        rate: number as f64 / begun.elapsed().as_secs_f64(),
        mean_ns: counted.iter().sum::<f64>() * 1e9 / (counted.len() as u64 * BATCH) as f64,
        worst_ms: counted.iter().copied().fold(0.0, f64::max) * 1e3,
    }
}

/// Commits that wait for the disk, of so many threads.
fn waiting(writers: u64, time: Duration) {
    let Stage { owned, house, .. } = &stage(Durability::Commit);
    let begun = Instant::now();
    let mut took: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn(move || {
                    let mut took = Vec::new();
                    while begun.elapsed() < time {
                        let start = Instant::now();
                        let key = took.len() as u64 * writers + writer;
                        owned.write(|table| table.insert(&key, &[1; 32])).expect("there is room");
                        took.push(start.elapsed().as_secs_f64() * 1e3);
                    }
                    took
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it only writes")).collect()
    });
    took.sort_by(f64::total_cmp);
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "mode commit, {writers} writing  {rate:>8.0} commits/s, {:.2} ms each at the median, {:.2} ms at the 99th percentile; {} \
         checkpoints",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        house.status().tables[0].checkpoints
    );
}
