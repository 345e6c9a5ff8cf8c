//! What checkpoints cost whoever writes: with a manager inside this program, so with no process between the two.

use crate::median;
use heirloom_manager::config::Durability;
use heirloom_manager::manager::Manager;
use heirloom_manager::manager::embedded::{House, Table};
use heirloom_manager::registry::Candidates;
use heirloom_worker::{Owned, Worker};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RATE: u64 = 100_000;
const BATCH: u64 = 1000;
const KEYS: u64 = 100_000;

pub(crate) fn measure(time: Duration) {
    let every_second = Durability::Interval { every: Duration::from_secs(1) };
    for (name, durability) in [("memory", Durability::Memory), ("interval of 1 s", every_second)] {
        paced(name, durability, time);
    }
    for writers in [1, 8] {
        waiting(writers, time);
    }
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

/// Commits at that rate, in batches: what one costs, and the worst batch.
fn paced(name: &str, durability: Durability, time: Duration) {
    let Stage { owned, house, .. } = &stage(durability);
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
        took.push(start.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
    }
    let rate = number as f64 / begun.elapsed().as_secs_f64();
    let worst = took.iter().copied().fold(0.0, f64::max) * BATCH as f64 / 1e6;
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    let status = &house.status().tables[0];
    println!(
        "{name:<18} {rate:>8.0} commits/s, {:>6.0} ns each at the median, {mean:>6.0} on average, worst batch of {BATCH} \
         {worst:.2} ms; {} checkpoints, the last in {} ms",
        median(took),
        status.checkpoints,
        status.last_checkpoint_ms.unwrap_or_default()
    );
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
