//! `watch`: changes as lines, while they commit.

use super::reading::table;
use heirloom_tests::{House, eventually, program};
use heirloom_worker::{Owned, Worker};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

fn house(kind: &str) -> (House, Worker, Owned<str, str>) {
    let house = House::start(|_| {
        table("sales", kind, "find_me = { name = \"shop\" }")
            + "[[worker]]\nname = \"shop\"\nexternal = true\n"
    });
    drop(house.client());
    let worker = Worker::connect(house.socket(), "shop").expect("there is a manager");
    let sales = worker.own::<str, str>("sales").expect("the table is known");
    worker.ready().expect("the manager listens");
    eventually("the table to be ours", || sales.is_owner().then_some(()));
    (house, worker, sales)
}

fn watch(house: &House, options: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(program("heirloom-under-test"))
        .args(["watch", "sales"])
        .args(options)
        .env("HEIRLOOM_SOCKET", house.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let lines = BufReader::new(command.stdout.take().expect("it was asked for"));
    (command, lines)
}

fn next(lines: &mut impl BufRead) -> serde_json::Value {
    let mut line = String::new();
    lines.read_line(&mut line).expect("it prints text");
    serde_json::from_str(&line).expect("a line is JSON")
}

#[test]
fn changes_follow_what_was_there() {
    let (house, _worker, sales) = house("set");
    sales.write(|table| table.insert("a", "before")).expect("it is ours");
    let (mut command, mut lines) = watch(&house, &["--all", "--limit", "4"]);
    assert_eq!(next(&mut lines), serde_json::json!({ "key": "a", "value": "before" }));
    let version = next(&mut lines)["version"].as_u64().expect("all of it was of one version");
    sales
        .write(|table| {
            let mut transaction = table.transaction();
            transaction.insert("a", "after")?;
            transaction.insert("b", "\u{1}")?;
            transaction.commit()
        })
        .expect("it is ours");
    let (one, other) = (next(&mut lines), next(&mut lines));
    assert_eq!(one["version"], other["version"], "a transaction comes whole");
    assert!(one["version"].as_u64() > Some(version));
    let values = [&one, &other].map(|line| (line["key"].clone(), line["value"].clone()));
    let bytes = serde_json::json!({ "base64": "AQ==" });
    assert!(
        values.contains(&("a".into(), "after".into())) && values.contains(&("b".into(), bytes)),
        "{values:?}"
    );
    sales.write(|table| table.remove("a")).expect("it is ours");
    let removed = next(&mut lines);
    assert_eq!((&removed["key"], &removed["value"]), (&"a".into(), &serde_json::Value::Null));
    sales.write(|table| table.insert("c", "last")).expect("it is ours");
    assert_eq!(next(&mut lines)["value"], "last");
    assert!(command.wait().expect("it is our child").success(), "it has printed what was asked for");
}

#[test]
fn in_a_bag_a_changed_key_comes_with_all_of_its_values() {
    let (house, _worker, sales) = house("duplicate_bag");
    let insert = |value: &'static str| sales.write(|table| table.insert("bids", value)).expect("it is ours");
    insert("310");
    let (mut command, mut lines) = watch(&house, &["--all", "--limit", "8"]);
    assert_eq!(next(&mut lines), serde_json::json!({ "key": "bids", "value": "310" }));
    next(&mut lines);
    // First without a value, and then each that it has, in their order: whoever follows replaces what it knew.
    let mut values = |count: usize| -> Vec<_> {
        let told: Vec<_> = (0..count).map(|_| next(&mut lines)).collect();
        assert!(
            told.iter().all(|line| line["key"] == "bids" && line["version"] == told[0]["version"]),
            "{told:?}"
        );
        told.into_iter().map(|line| line["value"].clone()).collect()
    };
    insert("295");
    assert_eq!(values(3), [serde_json::Value::Null, "310".into(), "295".into()]);
    insert("310");
    assert_eq!(values(4), [serde_json::Value::Null, "310".into(), "295".into(), "310".into()]);
    sales.write(|table| table.remove("bids")).expect("it is ours");
    assert_eq!(values(1), [serde_json::Value::Null]);
    assert!(command.wait().expect("it is our child").success(), "it has printed what was asked for");
}

#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let (house, _worker, sales) = house("set");
    sales.write(|table| table.insert("a", "1")).expect("it is ours");
    let (mut command, mut lines) = watch(&house, &["--all"]);
    next(&mut lines);
    // Nothing changes any more: it must notice by itself.
    drop(lines);
    let status = eventually("the watch to end", || command.try_wait().expect("it is our child"));
    assert!(status.success(), "{status}");
}
