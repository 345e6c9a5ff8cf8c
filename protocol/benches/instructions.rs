//! How many instructions an operation takes: the same on a busy machine as on an idle one.
//!
//! ```text
//! cargo bench -p heirloom-protocol --bench instructions             needs valgrind
//! .ci/instructions                                                  fails where one of ours takes more than is recorded
//! .ci/instructions --record                                         what is measured now is what is recorded
//! ```
//!
//! `instructions.txt`, beside this file, has what is recorded. An operation that takes 5 % more is a slow-down that somebody
//! has to want; one that takes 5 % less is to be recorded, or the next slow-down hides behind it. Another compiler makes
//! another count, and is told so and not checked. So does another folder, where the same one inlines otherwise, unless all
//! is compiled as one unit, as that command does.
//!
//! Each figure is the mean over 20,000 operations, one commit each, in random order on a table of 20,000 entries (twice as
//! many after the inserts), with keys of 8 bytes and values of 64; a value that is read is copied out. Housekeeping, the
//! growth of the index and the loop around the operation are in it. `pinned` is an overwrite while there is a snapshot, a new one
//! for each 5,000 writes; `scan` is of a snapshot, for each entry. Beside them the same on std's maps, with keys and values
//! of any length as a table has them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use heirloom_protocol::region::{MappedRegion, OutOfMemory, Region};
use heirloom_protocol::sys::segment::Segment;
use heirloom_protocol::table::{self, Kind, Modify, Pin, TableOptions, TableWriter};

const OPERATIONS: [&str; 7] = ["get", "overwrite", "pinned", "insert", "remove", "add", "scan"];
const SUBJECTS: [&str; 4] = ["set", "ordered_set", "HashMap", "BTreeMap"];

/// Tells this program what to do once, under callgrind: a subject and an operation.
const ROLE: &str = "HEIRLOOM_BENCH_COUNT";

/// What is ours, of the subjects.
const OURS: usize = 2;
/// A count may differ by so many percent from what is recorded.
const TOLERANCE: u64 = 5;

fn main() -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        let (subject, operation) = role.split_once(' ').expect("the role is a subject and an operation");
        run(subject, operation, 20_000);
        return ExitCode::SUCCESS;
    }
    let is_asked = |word: &str| env::args().any(|given| given == word);
    if !is_asked("--bench") {
        // As a test: each once, and not counted.
        SUBJECTS
            .iter()
            .for_each(|subject| OPERATIONS.iter().for_each(|operation| run(subject, operation, 100)));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: instructions are not counted, since there is no valgrind");
        return ExitCode::SUCCESS;
    }
    if is_asked("--record") {
        fs::write(record(), format!("{}\n{}", compiler(), counts())).expect("the record can be written");
        return ExitCode::SUCCESS;
    }
    if is_asked("--check") {
        return check(&fs::read_to_string(record()).expect("there is a record"), counts);
    }
    println!(
        "{:<12} {}   instructions per operation",
        "",
        OPERATIONS.map(|name| format!("{name:>10}")).concat()
    );
    for subject in SUBJECTS {
        let counts = OPERATIONS.map(|operation| format!("{:>10}", count(subject, operation)));
        println!("{subject:<12} {}", counts.concat());
    }
    ExitCode::SUCCESS
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

fn compiler() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output().expect("there is a compiler");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What ours take, a line for each subject and operation.
fn counts() -> String {
    let mut lines = String::new();
    for subject in &SUBJECTS[..OURS] {
        for operation in OPERATIONS {
            writeln!(lines, "{subject} {operation} {}", count(subject, operation)).expect("into a string");
        }
    }
    lines
}

/// Says how what was counted now differs from what is recorded, and fails where that is too much.
fn check(recorded: &str, now: impl FnOnce() -> String) -> ExitCode {
    let (compiled_by, recorded) = recorded.split_once('\n').expect("the record begins with its compiler");
    if compiled_by != compiler() {
        println!("SKIPPED: instructions were recorded with {compiled_by}, and this is {}", compiler());
        return ExitCode::SUCCESS;
    }
    let rows = |text: &str| -> BTreeMap<String, u64> {
        let row = |line: &str| {
            let (name, count) = line.rsplit_once(' ').expect("a row is a name and a number");
            (name.to_owned(), count.parse().expect("a row ends with a number"))
        };
        text.lines().map(row).collect()
    };
    let (recorded, now) = (rows(recorded), rows(&now()));
    let missing: Vec<_> = recorded.keys().filter(|name| !now.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are recorded, and not measured any more");
    let mut differing = 0;
    for (name, now) in &now {
        // What is not recorded differs from it.
        let before = recorded.get(name).copied().unwrap_or(0);
        let differs = now.abs_diff(before) * 100 > before * TOLERANCE;
        differing += usize::from(differs);
        let verdict = if differs { "   DIFFERS" } else { "" };
        println!("{name:<24}{now:>8} instructions, {before:>8} recorded{verdict}");
    }
    if differing == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "{differing} differ by more than {TOLERANCE} %: what is meant to be so is recorded with --record"
    );
    ExitCode::FAILURE
}

/// Instructions per operation.
fn count(subject: &str, operation: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*measured*", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("this program has a path"))
        .env(ROLE, format!("{subject} {operation}"))
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{subject} {operation} ended with {}: {text}", output.status);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let count: u64 =
        collected.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(count > 0, "nothing was counted of {subject} {operation}: {text}");
    count / 20_000
}

/// What is counted.
#[inline(never)]
fn measured<T>(keys: &[u64], mut each: impl FnMut(u64) -> T) {
    keys.iter().for_each(|key| _ = each(*key));
}

fn run(subject: &str, operation: &str, entries: u64) {
    match subject {
        "set" => run_on(&mut Table::new(Kind::Set), operation, entries),
        "ordered_set" => run_on(&mut Table::new(Kind::OrderedSet), operation, entries),
        "HashMap" => run_on(&mut Hashed::default(), operation, entries),
        "BTreeMap" => run_on(&mut Ordered::default(), operation, entries),
        other => panic!("{other} is no subject"),
    }
}

fn run_on(subject: &mut impl Subject, operation: &str, entries: u64) {
    let keys: Vec<u64> = (0..2 * entries).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let (there, new) = keys.split_at(entries as usize);
    if operation == "add" {
        there.iter().for_each(|key| subject.add(*key));
    } else {
        there.iter().for_each(|key| subject.put(*key, &[7; 64]));
    }
    // Once more, so that memory is found as in a table that is in use for some time.
    let mut shuffled = there.to_vec();
    shuffled.sort_by_key(|key| key.swap_bytes());
    if operation != "add" {
        shuffled.iter().for_each(|key| subject.put(*key, &[8; 64]));
    }
    let mut value = Vec::new();
    match operation {
        "get" => measured(&shuffled, |key| {
            value.clear();
            assert!(subject.get(key, &mut value));
            black_box(&value);
        }),
        "overwrite" => measured(&shuffled, |key| subject.put(key, &[9; 64])),
        "pinned" => {
            let mut left = 0;
            measured(&shuffled, |key| {
                if left == 0 {
                    subject.pin_anew();
                    left = 5000;
                }
                left -= 1;
                subject.put(key, &[9; 64]);
            });
        }
        "insert" => measured(new, |key| subject.put(key, &[9; 64])),
        "remove" => measured(&shuffled, |key| subject.remove(key)),
        "add" => measured(&shuffled, |key| subject.add(key)),
        "scan" => measured(&[0], |_| black_box(subject.scan(black_box(0)))),
        other => panic!("{other} is no operation"),
    }
}

trait Subject {
    fn get(&self, key: u64, value: &mut Vec<u8>) -> bool;
    fn put(&mut self, key: u64, value: &[u8]);
    fn remove(&mut self, key: u64);
    fn add(&mut self, key: u64);
    /// Adds up all values' first bytes.
    fn scan(&mut self, sum: u64) -> u64;
    /// Takes a snapshot instead of the one before.
    fn pin_anew(&mut self) {}
}

/// A mapped region whose time stands still: what is given back, and when, depends on how long a run takes.
struct Timeless(MappedRegion);

impl Region for Timeless {
    #[inline]
    fn words(&self) -> u64 {
        self.0.words()
    }

    #[inline]
    fn load(&self, word: u64) -> u64 {
        self.0.load(word)
    }

    #[inline]
    fn store(&self, word: u64, value: u64) {
        self.0.store(word, value);
    }

    #[inline]
    fn store_words(&self, word: u64, values: &[u64]) {
        self.0.store_words(word, values);
    }

    #[inline]
    fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        self.0.copy_out(word, bytes, into)
    }

    #[inline]
    fn equals(&self, word: u64, expected: &[u8]) -> bool {
        self.0.equals(word, expected)
    }

    #[inline]
    fn copy_in(&self, word: u64, bytes: &[u8]) {
        self.0.copy_in(word, bytes);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.0.make_present(words)
    }

    fn give_back(&self, words: Range<u64>) {
        self.0.give_back(words);
    }

    #[inline]
    fn prefetch(&self, word: u64) {
        self.0.prefetch(word);
    }

    fn clock(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn expect_growth(&self, bytes: u64) {
        self.0.expect_growth(bytes);
    }
}

struct Table(TableWriter<Timeless>, Option<Pin>);

impl Table {
    fn new(kind: Kind) -> Self {
        let options = TableOptions { reserve_bytes: 16 << 20, ..TableOptions::new(kind, 16 << 20) };
        let segment =
            Segment::create("instructions", options.segment_bytes()).expect("a segment can be created");
        let writable = segment.fresh_writable().expect("a descriptor can be opened");
        let region = Timeless(MappedRegion::writable(writable).expect("the segment can be mapped"));
        table::create(&region, &options).expect("the table fits");
        Self(TableWriter::open(region, 0).expect("a new table can be written"), None)
    }
}

impl Subject for Table {
    fn get(&self, key: u64, value: &mut Vec<u8>) -> bool {
        self.0.reader().get_into(&key.to_be_bytes(), value).expect("the table is whole")
    }

    fn put(&mut self, key: u64, value: &[u8]) {
        self.0.insert(&key.to_be_bytes(), value).expect("the table is large enough");
    }

    fn remove(&mut self, key: u64) {
        assert!(self.0.remove(&key.to_be_bytes()).expect("removing always works"));
    }

    fn add(&mut self, key: u64) {
        self.0.add(&key.to_be_bytes(), 1).expect("it is a counter");
    }

    fn scan(&mut self, mut sum: u64) -> u64 {
        let region = self.0.reader().region();
        let pin = table::pin(region).expect("there is no other pin");
        let scanned = self.0.reader().snapshot(pin).scan(&mut |_, value| {
            sum += u64::from(value[0]);
            true
        });
        scanned.expect("the pin stands");
        table::unpin(region, pin);
        sum
    }

    fn pin_anew(&mut self) {
        let region = self.0.reader().region();
        if let Some(pin) = self.1.take() {
            table::unpin(region, pin);
        }
        self.1 = Some(table::pin(region).expect("there is no other pin"));
    }
}

macro_rules! map_subject {
    ($name:ident, $map:ident) => {
        #[derive(Default)]
        struct $name($map<Vec<u8>, Vec<u8>>);

        impl Subject for $name {
            fn get(&self, key: u64, value: &mut Vec<u8>) -> bool {
                self.0.get(key.to_be_bytes().as_slice()).is_some_and(|found| {
                    value.extend_from_slice(found);
                    true
                })
            }

            fn put(&mut self, key: u64, value: &[u8]) {
                self.0.insert(key.to_be_bytes().to_vec(), value.to_vec());
            }

            fn remove(&mut self, key: u64) {
                assert!(self.0.remove(key.to_be_bytes().as_slice()).is_some());
            }

            fn add(&mut self, key: u64) {
                let counter = self.0.entry(key.to_be_bytes().to_vec()).or_insert_with(|| vec![0; 8]);
                let count = i64::from_le_bytes(counter[..].try_into().expect("8 bytes")) + 1;
                counter.copy_from_slice(&count.to_le_bytes());
            }

            fn scan(&mut self, sum: u64) -> u64 {
                self.0.values().fold(sum, |sum, value| sum + u64::from(value[0]))
            }
        }
    };
}

map_subject!(Hashed, HashMap);
map_subject!(Ordered, BTreeMap);
