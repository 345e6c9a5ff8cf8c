//! What is done to a whole table at once: how long it takes, kind by kind.
//!
//! ```text
//! cargo bench -p heirloom-protocol --bench whole_table              1,000,000 entries
//! HEIRLOOM_BENCH_ENTRIES=100000 cargo bench ...                     fewer
//! ```
//!
//! Keys of 8 bytes in no order, values of 64 bytes; bags have ten values to a key. Each figure is the median of some tables, in
//! milliseconds of a processor: what other programs take of the machine meanwhile is not in it.

use std::env;
use std::hint::black_box;

use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::segment::Segment;
use heirloom_protocol::table::{self, Kind, TableOptions, TableWriter};
use rustix::time::{ClockId, clock_gettime};

const TABLES: usize = 5;
const STEPS: [&str; 6] = ["extend", "scan", "verify", "clear", "verify", "refill"];

fn main() {
    let is_bench = env::args().any(|word| word == "--bench");
    let asked = env::var("HEIRLOOM_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries: u64 = asked.unwrap_or(if is_bench { 1_000_000 } else { 1000 });
    println!("{entries} entries, milliseconds of a processor");
    println!("{:<14}{}", "", STEPS.map(|step| format!("{step:>8}")).concat());
    for kind in [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag] {
        let tables: Vec<_> = (0..if is_bench { TABLES } else { 1 }).map(|_| measure(kind, entries)).collect();
        let medians = (0..STEPS.len()).map(|step| median(tables.iter().map(|times| times[step]).collect()));
        println!("{:<14}{}", kind.name(), medians.map(|time| format!("{time:>8.0}")).collect::<String>());
    }
}

fn measure(kind: Kind, entries: u64) -> [f64; STEPS.len()] {
    let options = TableOptions::new(kind, (entries * 512).max(16 << 20));
    let segment = Segment::create("whole-table", options.segment_bytes()).expect("a segment can be created");
    let writable = segment.fresh_writable().expect("a descriptor can be opened");
    let region = MappedRegion::writable(writable).expect("the segment can be mapped");
    table::create(&region, &options).expect("the table fits");
    let shared = region.share();
    let mut writer = TableWriter::open(region, 0).expect("a new table can be written");
    let verify = |expected: u64| {
        let report = table::verify(&shared).expect("the table is whole");
        assert_eq!(report.entries, expected);
    };
    [
        time(|| assert_eq!(writer.extend(all(kind, entries)).expect("they fit"), entries)),
        time(|| {
            let mut bytes = 0;
            let sum = &mut |key: &[u8], value: &[u8]| {
                bytes += key.len() + value.len();
                true
            };
            writer.reader().scan(sum).expect("the table is whole");
            black_box(bytes);
        }),
        time(|| verify(entries)),
        time(|| assert_eq!(writer.clear().expect("clearing always works"), entries)),
        time(|| verify(0)),
        time(|| assert_eq!(writer.extend(all(kind, entries)).expect("they fit"), entries)),
    ]
}

/// Keys and values.
fn all(kind: Kind, entries: u64) -> impl Iterator<Item = ([u8; 8], [u8; 64])> {
    let values_of_a_key = if kind.is_bag() { 10 } else { 1 };
    (0..entries).map(move |number| {
        let mut value = [7; 64];
        value[..8].copy_from_slice(&number.to_be_bytes());
        ((number / values_of_a_key).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), value)
    })
}

/// How long something takes, in milliseconds of the processor.
fn time(work: impl FnOnce()) -> f64 {
    let start = processor_ms();
    work();
    processor_ms() - start
}

fn processor_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
