//! The store by itself: checkpoints, hydration, and how large the file becomes.

use crate::{median, time};
use heirloom_manager::store::{Identity, Stamp, Store};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::Segment;
use heirloom_protocol::table::{self, Attributes, Kind, TableOptions, TableWriter};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const STEPS: [&str; 8] = [
    "a checkpoint of new entries",
    "one of changes, a tenth of them",
    "one of a single change",
    "a whole one, all of it new",
    "a whole one, nothing of it new",
    "opening the store",
    "hydration",
    "the engine's inserts alone",
];

pub(crate) fn measure(entries: u64, runs: usize) {
    let mut sizes = Vec::new();
    let all: Vec<_> = (0..runs).map(|_| run(entries, &mut sizes)).collect();
    for (step, name) in STEPS.iter().enumerate() {
        println!("{name:<34}{:>10.1} ms", median(all.iter().map(|times| times[step]).collect()));
    }
    for (when, length, blocks) in sizes.iter().take(sizes.len() / runs) {
        let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
        println!("file {when:<29}{:>10.1} MiB on disk, {:.1} MiB long", mib(blocks), mib(length));
    }
}

type Sizes = Vec<(&'static str, u64, u64)>;

fn run(entries: u64, sizes: &mut Sizes) -> [f64; STEPS.len()] {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let of = Identity { table: "sales".to_owned(), kind: Kind::Set };
    let path = heirloom_manager::store::path(folder.path(), &of.table);
    let mut store = Store::open(&path, &of).expect("a store can be made");
    let mut size = |when| {
        let file = Path::metadata(&path).expect("it is there");
        sizes.push((when, file.len(), file.blocks() * 512));
    };
    let random = &mut SmallRng::seed_from_u64(7);
    let new = time(|| checkpoint(&mut store, (0..entries).map(|number| (number, 1))));
    size("after the first");
    let changes: Vec<_> = (0..entries / 10).map(|_| (random.random_range(0..entries), 2)).collect();
    let changed = time(|| checkpoint(&mut store, changes.into_iter()));
    size("after the changes");
    let single = time(|| checkpoint(&mut store, [(entries / 2, 3)].into_iter()));
    let whole = time(|| all(&mut store, entries, 4));
    size("after a whole one");
    let same = time(|| all(&mut store, entries, 4));
    size("after another whole one");
    drop(store);
    size("closed");
    let (opened, store) = time(|| Store::open(&path, &of).expect("it is whole"));
    assert_eq!(store.entries(), entries);
    let region = Arc::new(region(entries));
    let hydrated = time(|| assert_eq!(store.hydrate(Arc::clone(&region)).expect("it is whole"), entries));
    [new.0, changed.0, single.0, whole.0, same.0, opened, hydrated.0, engine(entries)]
}

fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn value(number: u64, round: u8) -> [u8; 64] {
    let mut value = [round; 64];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

fn checkpoint(store: &mut Store, changes: impl Iterator<Item = (u64, u8)>) {
    let mut checkpoint = store.checkpoint().expect("the store can be written");
    for (number, round) in changes {
        let value = value(number, round);
        checkpoint.replace(&key(number), [(&value[..], Attributes::default())]).expect("it is taken");
    }
    checkpoint.commit(Stamp { incarnation: 1, version: 1 }).expect("there is room");
}

fn all(store: &mut Store, entries: u64, round: u8) {
    let mut whole = store.whole().expect("the store can be written");
    for number in 0..entries {
        whole.append(&key(number), &value(number, round), Attributes::default()).expect("it is taken");
    }
    whole.commit(Stamp { incarnation: 1, version: 2 }).expect("there is room");
}

fn region(entries: u64) -> MappedRegion {
    let options = TableOptions::new(Kind::Set, (entries * 256).max(16 << 20));
    let segment = Segment::create("durability", options.segment_bytes()).expect("a segment can be created");
    let writable = segment.fresh_writable().expect("a descriptor can be opened");
    let region = MappedRegion::writable(writable).expect("the segment can be mapped");
    table::create(&region, &options).expect("the table fits");
    region
}

/// What hydration cannot take less than.
fn engine(entries: u64) -> f64 {
    let mut writer = TableWriter::open(region(entries), 0).expect("a new table can be written");
    let inserts = || {
        for number in 0..entries {
            black_box(writer.insert(&key(number), &value(number, 1)).expect("it fits"));
        }
    };
    time(inserts).0
}
