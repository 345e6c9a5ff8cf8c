//! `get`, `scan`, `len` and `dump` of a table that stays with the manager.

use super::heirloom;
use heirloom_tests::{House, program};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

/// A house with the table `cars`: text, bytes and a number.
fn house() -> House {
    let house = House::start(|folder| {
        let lines = [
            r#"{"key":"Zonda","value":"Pagani"}"#,
            r#"{"key":"bytes","value":{"base64":"AAH/"}}"#,
            r#"{"key":{"base64":"AAAAAAAAAQI="},"value":"number 258"}"#,
            r#"{"key":"-dash","value":""}"#,
        ];
        fs::write(folder.join("cars.jsonl"), lines.join("\n")).expect("the folder can be written to");
        table("cars", "set", "hydrate = { file = \"cars.jsonl\" }")
    });
    // The command asks once; whoever starts a house waits until somebody is in.
    drop(house.client());
    house
}

pub(super) fn table(id: &str, kind: &str, more: &str) -> String {
    format!("[[table]]\nid = \"{id}\"\ntype = \"{kind}\"\nmax_bytes = \"64MiB\"\n{more}\n")
}

#[test]
fn get_prints_a_value_in_the_form_that_was_asked_for() {
    let house = house();
    assert_eq!(heirloom(&house, &["get", "cars", "Zonda"]).text(), "Pagani\n");
    assert_eq!(heirloom(&house, &["get", "cars", "bytes"]).text(), "{\"base64\":\"AAH/\"}\n");
    assert_eq!(heirloom(&house, &["get", "cars", "bytes", "--raw"]).stdout, [0, 1, 255]);
    assert_eq!(heirloom(&house, &["get", "cars", "--", "-dash"]).text(), "\n");
    let by_number = heirloom(&house, &["get", "cars", "258", "--key-u64", "--json"]);
    assert_eq!(by_number.text(), "{\"key\":258,\"value\":\"number 258\"}\n");
    let by_base64 = heirloom(&house, &["get", "cars", "AAAAAAAAAQI=", "--key-base64"]);
    assert_eq!(by_base64.text(), "number 258\n");
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_said() {
    let house = house();
    let complaint = |words: &[&str], status, about: &str| {
        let told = heirloom(&house, words);
        let said = told.complaint(status);
        assert!(said.starts_with("heirloom: ") && said.contains(about), "{said}");
    };
    complaint(&["get", "cars", "Fiat"], 1, "table `cars` has no key Fiat");
    complaint(&["len", "boats"], 1, "there is no [[table]] `boats`");
    complaint(&["get", "cars", "x", "--key-u64"], 2, "the key x is no u64");
    complaint(&["dump", "cars", "cars.txt"], 2, "add --format");
    complaint(&["dump", "cars", "-", "--json"], 2, "standard output");
    complaint(&["dump", "cars", "nowhere/cars.dump"], 1, "nowhere/cars.dump: cannot be written");
    complaint(&["len", "cars", "--socket", "/nowhere"], 1, "/nowhere");
    let told = heirloom(&house, &["scan"]);
    assert!(told.complaint(2).contains("<TABLE>"), "{told:?}");
}

#[test]
fn len_and_scan() {
    let house = house();
    assert_eq!(heirloom(&house, &["len", "cars"]).text(), "4\n");
    assert!(heirloom(&house, &["len", "cars", "--json"]).text().contains("\"entries\":4"));
    let told = heirloom(&house, &["scan", "cars", "--key-u64"]);
    let mut lines: Vec<_> = told.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"{"key":"-dash","value":""}"#,
            r#"{"key":"Zonda","value":"Pagani"}"#,
            r#"{"key":"bytes","value":{"base64":"AAH/"}}"#,
            r#"{"key":258,"value":"number 258"}"#,
        ]
    );
    for limit in ["0", "3"] {
        let told = heirloom(&house, &["scan", "cars", "--limit", limit]);
        assert_eq!(told.text().lines().count().to_string(), limit);
    }
}

#[test]
fn numbers_are_shown_as_numbers_where_that_is_asked_for() {
    let house = House::start(|folder| {
        let lines =
            "{\"key\":\"fox\",\"value\":{\"base64\":\"ggI=\"}}\n{\"key\":\"text\",\"value\":\"dog\"}\n";
        fs::write(folder.join("words.jsonl"), lines).expect("the folder can be written to");
        table("words", "ordered_set", "hydrate = { file = \"words.jsonl\" }")
    });
    drop(house.client());
    assert_eq!(heirloom(&house, &["get", "words", "fox"]).text(), "{\"base64\":\"ggI=\"}\n");
    assert_eq!(heirloom(&house, &["get", "words", "fox", "--value-u64"]).text(), "258\n");
    let as_json = heirloom(&house, &["get", "words", "fox", "--value-i64", "--json"]);
    assert_eq!(as_json.text(), "{\"key\":\"fox\",\"value\":129}\n");
    let scanned = heirloom(&house, &["scan", "words", "--value-u64"]);
    assert_eq!(scanned.text(), "{\"key\":\"fox\",\"value\":258}\n{\"key\":\"text\",\"value\":\"dog\"}\n");
}

#[test]
fn a_reader_of_the_output_may_go_away() {
    let house = House::start(|folder| {
        let mut text = "key,value\n".to_owned();
        (0..20_000).for_each(|key| text += &format!("{key},{}\n", "x".repeat(50)));
        fs::write(folder.join("many.csv"), text).expect("the folder can be written to");
        table("many", "set", "hydrate = { file = \"many.csv\" }")
    });
    drop(house.client());
    for words in [&["scan", "many"][..], &["dump", "many", "-", "--format", "dump"]] {
        let mut command = Command::new(program("heirloom-under-test"))
            .args(words)
            .env("HEIRLOOM_SOCKET", house.socket())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut stdout = command.stdout.take().expect("it was asked for");
        stdout.read_exact(&mut [0; 8]).expect("it prints something");
        drop(stdout);
        let ended = command.wait_with_output().expect("it is our child");
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_dump_gets_its_name_when_it_is_complete() {
    let house = house();
    let path = |name: &str| house.folder().join(name);
    let files = || fs::read_dir(house.folder()).expect("it is there").count();
    let before = files();
    for name in ["cars.csv", "cars.jsonl", "cars.dump"] {
        fs::write(path(name), "what was there before").expect("the folder can be written to");
        let told = heirloom(&house, &["dump", "cars", name, "--json"]);
        assert!(told.text().contains("\"entries\":4"), "{told:?}");
        assert_eq!(told.stderr, "");
    }
    assert!(fs::read(path("cars.dump")).expect("it is there").starts_with(b"HEIRLOOM"));
    let lines = fs::read_to_string(path("cars.jsonl")).expect("it is there");
    assert_eq!(lines, heirloom(&house, &["scan", "cars"]).text(), "a dump in JSON lines is a scan");
    let csv = heirloom(&house, &["dump", "cars", "-", "--format", "csv"]);
    assert!(csv.stdout.starts_with(b"key,value\n"), "{csv:?}");
    assert_eq!(csv.stdout, fs::read(path("cars.csv")).expect("it is there"));
    // Nothing beside the files that were asked for, and what is no file is not replaced.
    heirloom(&house, &["dump", "cars", "/dev/null", "--format", "dump"]).text();
    assert!(!fs::metadata("/dev/null").expect("it is there").is_file());
    assert_eq!(files(), before + 2, "cars.jsonl was there already");
}
