//! No worker is started before every table is hydrated, and none at all where one cannot be.

use heirloom_tests::{House, eventually};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A source that takes its time between two entries, and a worker that notes when it was started.
fn configuration(folder: &Path, source: &str) -> String {
    let folder = folder.display();
    format!(
        r#"
[[table]]
id = "prices"
type = "set"
max_bytes = "1MiB"
hydrate = {source}

[[worker]]
name = "shop"
command = ["sh", "-c", "date +%s%N >> {folder}/started; exec sleep 600"]
"#
    )
}

fn slow_source(folder: &Path, seconds: f32) -> String {
    let folder = folder.display();
    let script = format!(
        "echo key,value; echo zonda,1; sleep {seconds}; echo huracan,2; date +%s%N > {folder}/last-entry"
    );
    format!(r#"{{ command = ["sh", "-c", "{script}"], format = "csv" }}"#)
}

fn check_order(seconds: f32) {
    let house = House::start(|folder| configuration(folder, &slow_source(folder, seconds)));
    let noted = |name: &str| {
        let text = fs::read_to_string(house.folder().join(name)).ok()?;
        text.lines().next()?.parse::<u128>().ok()
    };
    let started = eventually("the worker to be started", || noted("started"));
    let last_entry = noted("last-entry").expect("the source has come to its end before a worker is started");
    assert!(started > last_entry, "the worker was started {} ns too early", last_entry - started);
    let logged = |words: &str| {
        eventually(format!("{words:?} in the log"), || {
            house.log().lines().find(|line| line.contains(words)).map(time_of_day)
        })
    };
    let (ready, worker) = (logged("the manager is ready"), logged("worker shop"));
    assert!(is_later(ready, last_entry % DAY_NS), "readiness at {ready}, the last entry at {last_entry}");
    assert!(is_later(worker, ready), "the worker at {worker}, readiness at {ready}");
    let client = house.client();
    assert_eq!(house.table(&client, "prices").entries, 2);
    let prices = client.reader::<[u8], [u8]>("prices").expect("the table can be read");
    assert_eq!(prices.get(b"huracan".as_slice()).expect("it is whole").as_deref(), Some(b"2".as_slice()));
}

const DAY_NS: u128 = 24 * 60 * 60 * 1_000_000_000;

/// When a line was logged, in nanoseconds since midnight (UTC): `2026-01-31T12:34:56.789012Z  INFO ...`.
fn time_of_day(line: &str) -> u128 {
    let (_, time) = line.split_once('T').expect("a line begins with a date");
    let (time, _) = time.split_once('Z').expect("times are UTC");
    let (time, micros) = time.split_once('.').expect("times have microseconds");
    let number = |text: &str| text.parse::<u128>().expect("this is a number");
    let seconds = time.split(':').map(number).fold(0, |seconds, part| seconds * 60 + part);
    (seconds * 1_000_000 + number(micros)) * 1_000
}

/// Whether a time of day is no earlier than another; midnight may lie between them. The log's times are cut to
/// microseconds.
fn is_later(time: u128, than: u128) -> bool {
    (time + 1_000 + DAY_NS - than) % DAY_NS < DAY_NS / 2
}

#[test]
fn workers_start_after_readiness_and_readiness_after_the_last_entry() {
    check_order(0.0);
}

#[test]
fn also_where_hydration_takes_two_seconds() {
    check_order(2.0);
}

/// The supervisor ends with an error that names the source, and has started no worker.
fn check_failure(source: impl FnOnce(&Path) -> String, named: &str) {
    let mut house = House::start(|folder| {
        let source = source(folder);
        configuration(folder, &source)
    });
    let status = house.wait_for_end();
    let log = house.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(named), "the log does not name {named:?}:\n{log}");
    assert!(!house.folder().join("started").exists(), "a worker was started:\n{log}");
}

#[test]
fn a_source_that_is_missing_is_named() {
    check_failure(|_| r#"{ file = "nowhere.redb" }"#.into(), "nowhere.redb");
    check_failure(|_| r#"{ command = ["./no-such-exporter"] }"#.into(), "no-such-exporter");
}

#[test]
fn a_source_that_is_corrupt_is_named() {
    let corrupt = |folder: &Path| {
        fs::write(folder.join("corrupt.redb"), [0x5a; 4096]).expect("the file can be written");
        r#"{ file = "corrupt.redb" }"#.into()
    };
    check_failure(corrupt, "corrupt.redb");
}

#[test]
fn a_source_that_can_be_read_by_half_is_named() {
    let half = |folder: &Path| {
        fs::write(folder.join("half.csv"), "key,value\nzonda,1\nhuracan\n").expect("the file can be written");
        r#"{ file = "half.csv" }"#.into()
    };
    check_failure(half, "half.csv");
    check_failure(|_| r#"{ command = ["sh", "-c", "echo key,value; echo a,1; exit 3"] }"#.into(), "exit 3");
}

#[test]
fn slowness_alone_is_no_failure() {
    let house = House::start(|folder| configuration(folder, &slow_source(folder, 1.0)));
    let client = house.client();
    let status = client.status().expect("the manager answers, hydrating or not");
    assert_eq!(status.tables.len(), 1);
    assert!(Duration::from_millis(status.uptime_ms) < Duration::from_secs(60));
}
