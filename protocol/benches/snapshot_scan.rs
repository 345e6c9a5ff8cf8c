//! What a snapshot scan costs the owner, who commits at full speed beside it; and that the scan is exact.
//!
//! ```text
//! cargo bench -p heirloom-protocol --bench snapshot_scan            1,000,000 entries
//! HEIRLOOM_BENCH_ENTRIES=100000 cargo bench ...                     fewer
//! ```
//!
//! The owner overwrites entry after entry, one commit each, while another thread in turn spins, scans the table as it is,
//! and scans it as of one version after the other (pin, scan, unpin). What counts is the owner's commits for each
//! second that it had a processor: so neither the other thread nor another program takes any of its time. Each figure is
//! the median over some rounds, and the ratios are taken within a round.
//!
//! The thread spins right after the snapshot scans of the round before: so that row shows what snapshots leave behind, which
//! is memory to be given back.
//!
//! Exactness: write number n goes to key `n * STRIDE % entries`, so the last `entries` writes went to each key once. A
//! table as of one version has the numbers of just these, from n - entries + 1 to n, each under its key; and write n was
//! committed at or before that version, write n + 1 after it.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::segment::Segment;
use heirloom_protocol::table::{self, Kind, TableOptions, TableReader, TableWriter};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 7;
/// A prime that divides no number of entries in use.
const STRIDE: u64 = 2_654_435_761;
const VALUE_BYTES: usize = 64;

/// What the other thread does.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Spins,
    Scans,
    Snapshots,
}

/// What a scan as of a version found.
struct Seen {
    version: u64,
    first: u64,
    last: u64,
}

/// The owner, and what it has written.
struct Owner {
    writer: TableWriter<MappedRegion>,
    entries: u64,
    next: u64,
    /// The version of the table before write `first`, and after each write from there on.
    first: u64,
    versions: Vec<u64>,
}

fn main() {
    let is_bench = env::args().any(|word| word == "--bench");
    let asked = env::var("HEIRLOOM_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries: u64 = asked.unwrap_or(if is_bench { 1_000_000 } else { 1000 });
    let (rounds, window) =
        if is_bench { (ROUNDS, Duration::from_secs(2)) } else { (1, Duration::from_millis(50)) };
    println!("{entries} entries, values of {VALUE_BYTES} bytes, {rounds} rounds of {window:?} each");
    for kind in [Kind::Set, Kind::OrderedSet] {
        measure(kind, entries, rounds, window);
    }
}

fn measure(kind: Kind, entries: u64, rounds: usize, window: Duration) {
    let max_bytes = (entries * 4096).max(64 << 20);
    let options = TableOptions { reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
    let segment =
        Segment::create("snapshot-scan", options.segment_bytes()).expect("a segment can be created");
    let writable = segment.fresh_writable().expect("a descriptor can be opened");
    let region = MappedRegion::writable(writable).expect("the segment can be mapped");
    table::create(&region, &options).expect("the table fits");
    let other = region.share();
    let mut owner = Owner::new(TableWriter::open(region, 0).expect("a new table can be written"), entries);
    let rows: Vec<[(f64, u64); 3]> = (0..rounds)
        .map(|_| {
            [Beside::Spins, Beside::Scans, Beside::Snapshots].map(|beside| owner.run(&other, beside, window))
        })
        .collect();
    let rate = |column: usize| median(rows.iter().map(|row| row[column].0).collect());
    let ratio = |column: usize| median(rows.iter().map(|row| row[2].0 / row[column].0).collect());
    let scans: u64 = rows.iter().map(|row| row[2].1).sum();
    println!("{}, the owner's commits for each second of its processor:", kind.name());
    println!("  beside a thread that spins      {:>12.0}   right after snapshots", rate(0));
    println!("  beside scans                    {:>12.0}", rate(1));
    println!("  beside snapshot scans           {:>12.0}   {scans} scans, each exact", rate(2));
    println!(
        "  snapshot scans cost it {:.1} % more than scans, {:.1} % more than spinning",
        100.0 - 100.0 * ratio(1),
        100.0 - 100.0 * ratio(0)
    );
}

impl Owner {
    fn new(writer: TableWriter<MappedRegion>, entries: u64) -> Self {
        let mut owner = Self { writer, entries, next: 0, first: 0, versions: Vec::new() };
        // Twice, so that there is memory to go round.
        (0..2 * entries).for_each(|_| owner.write());
        owner
    }

    fn write(&mut self) {
        let mut value = [0; VALUE_BYTES];
        value[..8].copy_from_slice(&self.next.to_be_bytes());
        self.writer.insert(&key_of(self.next, self.entries), &value).expect("the table is large enough");
        self.versions.push(self.writer.version());
        self.next += 1;
    }

    /// Writes beside another thread, and says how many commits there were for each second of the processor, and how many
    /// scans.
    fn run(&mut self, region: &MappedRegion, beside: Beside, window: Duration) -> (f64, u64) {
        self.first = self.next;
        self.versions = vec![self.writer.version()];
        self.versions.reserve(64 << 20);
        let stop = AtomicBool::new(false);
        let entries = self.entries;
        thread::scope(|scope| {
            let other = scope.spawn(|| beside.until(region, entries, &stop));
            let (start, from) = (Instant::now(), processor_time());
            while start.elapsed() < window {
                (0..1000).for_each(|_| self.write());
            }
            let rate = (self.next - self.first) as f64 / (processor_time() - from).as_secs_f64();
            stop.store(true, Ordering::Relaxed);
            let seen = other.join().expect("the other thread does not panic");
            seen.iter().for_each(|seen| self.check(seen));
            (rate, seen.len() as u64)
        })
    }

    /// Checks that a scan saw the writes up to one that is of its version, or of one before it, and that the next is not.
    fn check(&self, seen: &Seen) {
        assert_eq!(seen.last - seen.first, self.entries - 1, "the last writes of all keys follow each other");
        let number = (seen.last + 1 - self.first) as usize;
        assert!(number == 0 || self.versions[number - 1] < seen.version, "write {} is too new", seen.last);
        let next = self.versions.get(number + 1);
        assert!(next.is_none_or(|next| seen.version < *next), "write {} is missing", seen.last + 1);
    }
}

impl Beside {
    fn until(self, region: &MappedRegion, entries: u64, stop: &AtomicBool) -> Vec<Seen> {
        let reader = TableReader::open(region.share()).expect("there is a table");
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match self {
                Self::Spins => std::hint::spin_loop(),
                Self::Scans => {
                    let mut bytes = 0;
                    reader
                        .scan(&mut |key, value| {
                            bytes += key.len() + value.len();
                            !stop.load(Ordering::Relaxed)
                        })
                        .expect("the table is whole");
                    std::hint::black_box(bytes);
                }
                Self::Snapshots => seen.push(scan_snapshot(&reader, region, entries)),
            }
        }
        seen
    }
}

/// Scans the table as of one version, and checks that each write is under its key.
fn scan_snapshot(reader: &TableReader<MappedRegion>, region: &MappedRegion, entries: u64) -> Seen {
    let pin = table::pin(region).expect("there are no other pins");
    let mut seen = Seen { version: pin.version(), first: u64::MAX, last: 0 };
    let mut count = 0;
    let scanned = reader.snapshot(pin).scan(&mut |key, value| {
        let write = u64::from_be_bytes(value[..8].try_into().expect("values are longer"));
        assert_eq!(key, key_of(write, entries), "write {write} is not under its key");
        seen.first = seen.first.min(write);
        seen.last = seen.last.max(write);
        count += 1;
        true
    });
    scanned.expect("the pin stands");
    assert_eq!(count, entries);
    table::unpin(region, pin);
    seen
}

/// The key of a write: each once in `entries` writes, in the order of a shuffle.
fn key_of(write: u64, entries: u64) -> [u8; 8] {
    (write % entries * STRIDE % entries).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// How long this thread had a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
