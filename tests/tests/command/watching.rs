//! `watch`: changes as lines, while they commit.

use super::reading::table;
use heirloom_tests::{House, eventually, program};
use heirloom_worker::{Owned, Worker};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

fn house() -> (House, Worker, Owned<str, str>) {
    let house = House::start(|_| {
        table("sales", "set", "find_me = { name = \"shop\" }")
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
    let (house, _worker, sales) = house();
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
fn a_watch_ends_when_nobody_reads_it() {
    let (house, _worker, sales) = house();
    sales.write(|table| table.insert("a", "1")).expect("it is ours");
    let (mut command, mut lines) = watch(&house, &["--all"]);
    next(&mut lines);
    // Nothing changes any more: it must notice by itself.
    drop(lines);
    let status = eventually("the watch to end", || command.try_wait().expect("it is our child"));
    assert!(status.success(), "{status}");
}
