//! `load` and `verify`: what they do to a table, and when they are refused.

use super::reading::table;
use super::{heirloom, heirloom_with};
use heirloom_tests::{House, eventually};
use heirloom_worker::{Client, Owned, Schema, Versioned, Worker};
use serde::{Deserialize, Serialize};
use std::fs;

/// Empty tables: one that stays with the manager, one for the worker `shop`.
fn house() -> House {
    let house = House::start(|_| {
        [
            table("cars", "set", ""),
            table("copy", "set", ""),
            table("sales", "set", "find_me = { name = \"shop\" }"),
            "[[worker]]\nname = \"shop\"\nexternal = true\n".to_owned(),
        ]
        .concat()
    });
    drop(house.client());
    house
}

/// A worker in this process that owns `sales`, gives it up when it is asked to, and takes it again.
fn owner(house: &House) -> (Worker, Owned<str, str>) {
    let worker = Worker::connect(house.socket(), "shop").expect("there is a manager");
    let sales = worker.own::<str, str>("sales").expect("the table is known");
    worker.ready().expect("the manager listens");
    eventually("the table to be ours", || sales.is_owner().then_some(()));
    (worker, sales)
}

fn entries(client: &Client, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let reader = client.reader::<[u8], [u8]>(table).expect("it can be read");
    let mut entries = reader.entries().expect("it is whole");
    entries.sort();
    entries
}

#[test]
fn what_is_dumped_is_loaded_again() {
    let house = house();
    let client = house.client();
    let text =
        b"{\"key\":\"Zonda\",\"value\":\"Pagani\"}\n{\"key\":{\"base64\":\"AP8=\"},\"value\":{\"n\":1}}\n\
        {\"key\":\"gone\",\"value\":\"\",\"deadline_ms\":9999999999999}\n";
    let told = heirloom_with(&house, &["load", "cars", "-"], text);
    assert!(told.text().is_empty() && told.stderr.contains("3 entries loaded"), "{told:?}");
    let loaded = entries(&client, "cars");
    assert_eq!(loaded[0], (vec![0, 255], b"{\"n\":1}".to_vec()));
    for name in ["cars.csv", "cars.jsonl", "cars.dump"] {
        heirloom(&house, &["dump", "cars", name]).text();
        let told = heirloom(&house, &["load", "copy", name, "--json"]);
        assert!(told.text().contains("\"entries\":3"), "{told:?}");
        assert_eq!(entries(&client, "copy"), loaded, "{name}");
        let lines = heirloom(&house, &["dump", "copy", "-"]);
        assert!(lines.text().contains("\"deadline_ms\":9999999999999"), "{lines:?}");
    }
    let verified = heirloom(&house, &["verify", "copy"]);
    assert!(verified.text().starts_with("table `copy` is whole: 3 entries"), "{verified:?}");
    let redirected = heirloom_with(&house, &["dump", "copy", "/dev/stdout", "--format", "dump"], b"");
    let told = heirloom_with(&house, &["load", "cars", "-", "--format", "dump"], &redirected.stdout);
    assert!(told.stderr.contains("3 entries loaded"), "{told:?}");
}

#[test]
fn a_file_that_is_damaged_anywhere_loads_nothing() {
    let house = house();
    let client = house.client();
    heirloom_with(&house, &["load", "cars", "-"], b"{\"key\":\"a\",\"value\":\"1\"}\n").text();
    heirloom(&house, &["dump", "cars", "cars.dump"]).text();
    let whole = fs::read(house.folder().join("cars.dump")).expect("it is there");
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for (bytes, place) in [(&damaged[..], "damaged at byte "), (&whole[..last], "cut off")] {
        fs::write(house.folder().join("bad.dump"), bytes).expect("the folder can be written to");
        let told = heirloom(&house, &["load", "copy", "bad.dump"]);
        let said = told.complaint(1);
        assert!(said.starts_with("heirloom: bad.dump: ") && said.contains(place), "{said}");
        assert!(said.contains("nothing was loaded"), "{said}");
        assert!(entries(&client, "copy").is_empty());
        // From a pipe, it is known too late, and said.
        let told = heirloom_with(&house, &["load", "cars", "-", "--format", "dump"], bytes);
        assert!(told.complaint(1).contains("the 1 entries before that are in table `cars`"), "{told:?}");
    }
    fs::write(house.folder().join("bad.csv"), "key,value\na,1\nb\n").expect("the folder can be written to");
    let told = heirloom(&house, &["load", "copy", "bad.csv"]);
    assert!(told.complaint(1).contains("bad.csv:3: 1 fields"), "{told:?}");
    assert!(entries(&client, "copy").is_empty());
}

#[test]
fn a_table_that_another_owns_is_loaded_only_when_it_gives_it_up() {
    let house = house();
    let (_worker, sales) = owner(&house);
    sales.write(|table| table.insert("before", "owner")).expect("it is ours");
    let line = b"{\"key\":\"a\",\"value\":\"loaded\"}\n";
    for words in [&["load", "sales", "-"][..], &["verify", "sales"]] {
        let told = heirloom_with(&house, words, line);
        let said = told.complaint(1);
        assert!(said.contains("is owned by shop (process ") && said.contains("--handoff"), "{said}");
    }
    assert!(sales.is_owner() && sales.get("a").expect("it is whole").is_none());
    let told = heirloom_with(&house, &["load", "sales", "-", "--handoff"], line);
    assert_eq!(told.status, Some(0), "{told:?}");
    // And it is the owner's again.
    eventually("the table to be ours again", || sales.is_owner().then_some(()));
    assert_eq!(sales.get("a").expect("it is whole").as_deref(), Some("loaded"));
    assert_eq!(sales.get("before").expect("it is whole").as_deref(), Some("owner"));
    sales.write(|table| table.insert("after", "owner")).expect("it is ours");
    let told = heirloom(&house, &["verify", "sales", "--handoff", "--json"]);
    assert!(told.text().contains("\"entries\":3"), "{told:?}");
}

#[test]
fn what_is_replaced_is_gone_and_what_is_damaged_replaces_nothing() {
    let house = house();
    let client = house.client();
    let load = |text: &[u8]| heirloom_with(&house, &["load", "cars", "-", "--replace"], text);
    load(b"{\"key\":\"a\",\"value\":\"1\"}\n").text();
    assert!(load(b"nonsense").complaint(1).contains("nothing was loaded"));
    assert_eq!(entries(&client, "cars").len(), 1);
    load(b"{\"key\":\"b\",\"value\":\"2\"}\n").text();
    assert_eq!(entries(&client, "cars"), [(b"b".to_vec(), b"2".to_vec())]);
    load(b"").text();
    assert!(entries(&client, "cars").is_empty());
}

/// A value type, as two builds of a program have it.
#[derive(Serialize, Deserialize)]
struct Price<const VERSION: u32>(u64);

impl<const VERSION: u32> Schema for Price<VERSION> {
    const NAME: &'static str = "price";
    const VERSION: u32 = VERSION;
}

#[test]
fn a_dump_keeps_the_schema_and_the_version_of_each_value() {
    let house = house();
    let client = house.client();
    fn write<const VERSION: u32>(house: &House, key: &str) {
        let worker = Worker::connect(house.socket(), "shop").expect("there is a manager");
        let sales = worker.own::<str, Versioned<Price<VERSION>>>("sales").expect("the table is known");
        worker.ready().expect("the manager listens");
        eventually("the table to be ours", || sales.is_owner().then_some(()));
        sales.write(|table| table.insert(key, &Versioned(Price(u64::from(VERSION))))).expect("it is ours");
    }
    write::<3>(&house, "old");
    write::<4>(&house, "new");
    // Entries that were there before have version 0, and so have those of which a file does not say it.
    heirloom_with(&house, &["load", "copy", "-"], b"{\"key\":\"bare\",\"value\":\"\\u0007\"}").text();
    for format in ["csv", "jsonl", "dump"] {
        let dumped = heirloom(&house, &["dump", "sales", "-", "--format", format]);
        for table in ["cars", "copy"] {
            let told = heirloom_with(&house, &["load", table, "-", "--format", format], &dumped.stdout);
            assert!(told.stderr.contains("2 entries loaded"), "{told:?}");
            let old = client.reader::<str, Versioned<Price<3>>>(table).expect("it can be read");
            let new = client.reader::<str, Versioned<Price<4>>>(table).expect("it can be read");
            assert_eq!(old.get("old").expect("it is of this version").map(|price| price.0.0), Some(3));
            assert_eq!(new.get("new").expect("it is of this version").map(|price| price.0.0), Some(4));
            assert!(old.get("new").is_err() && new.get("old").is_err(), "never a wrong value");
            assert_eq!(new.get("bare").is_err(), table == "copy");
            let none = b"{\"key\":\"old\",\"value\":\"\\u0007\"}";
            heirloom_with(&house, &["load", table, "-"], none).text();
            assert!(old.get("old").is_err() && new.get("old").is_err(), "never a wrong value");
        }
    }
}

#[test]
fn hundreds_of_entries_are_one_commit_and_what_is_loaded_of_a_bad_file_is_said_exactly() {
    let house = house();
    let lines = |keys: std::ops::Range<u32>| -> String {
        keys.map(|key| format!("{{\"key\":\"{key}\",\"value\":\"1\"}}\n")).collect()
    };
    let told = heirloom_with(&house, &["load", "cars", "-", "--json"], lines(0..2000).as_bytes());
    let loaded: serde_json::Value = serde_json::from_str(told.text()).expect("it is JSON");
    assert_eq!(loaded["entries"], 2000);
    // The index grows in commits of its own.
    assert!(loaded["version"].as_u64().is_some_and(|version| version < 1000), "{loaded}");
    // From a pipe, what is before the bad line is in the table, wherever a commit would have ended.
    for count in [1, 511, 512, 513, 1300] {
        let text = lines(0..count) + "nonsense\n" + &lines(count..count + 10);
        let told = heirloom_with(&house, &["load", "copy", "-", "--replace"], text.as_bytes());
        let said = told.complaint(1);
        assert!(said.contains(&format!("standard input:{}: ", count + 1)), "{said}");
        assert!(said.contains(&format!("the {count} entries before that are in table `copy`")), "{said}");
        assert_eq!(entries(&house.client(), "copy").len(), count as usize);
    }
}

#[test]
fn a_load_that_is_refused_says_why() {
    let house = house();
    let told = heirloom(&house, &["load", "boats", "-"]);
    assert!(told.complaint(1).contains("`boats`"), "{told:?}");
    let told = heirloom(&house, &["load", "cars", "nowhere.csv"]);
    assert!(told.complaint(1).contains("nowhere.csv: cannot be read"), "{told:?}");
    let told = heirloom(&house, &["load", "cars", "cars.xls"]);
    assert!(told.complaint(2).contains("--format"), "{told:?}");
    // More than fits: what fitted is there, and said.
    let mut text = "key,value\n".to_owned();
    (0..70).for_each(|key| text += &format!("{key},{}\n", "x".repeat(1 << 20)));
    let told = heirloom_with(&house, &["load", "cars", "-", "--format", "csv"], text.as_bytes());
    let said = told.complaint(1);
    assert!(
        said.contains("is full at 67108864 bytes") && said.contains("entries before that are in"),
        "{said}"
    );
    let there = entries(&house.client(), "cars").len();
    assert!(there > 50 && said.contains(&format!("the {there} entries before")), "{said}");
}

#[test]
fn the_bequest_of_a_dump_goes_to_a_table_that_has_none() {
    let house = house();
    let (worker, sales) = owner(&house);
    sales
        .write(|table| {
            table.insert("a", "1")?;
            table.bequeath("position 9")
        })
        .expect("it is ours");
    heirloom(&house, &["dump", "sales", "sales.dump"]).text();
    let bequest = |table: &str| {
        let reader = house.client().reader::<[u8], [u8]>(table).expect("it can be read");
        reader.bequest_bytes().expect("it is whole")
    };
    heirloom(&house, &["load", "cars", "sales.dump"]);
    assert_eq!(bequest("cars").as_deref(), Some(&b"position 9"[..]));
    // One that has entries keeps what it has.
    heirloom_with(&house, &["load", "copy", "-"], b"{\"key\":\"a\",\"value\":\"1\"}\n").text();
    heirloom(&house, &["load", "copy", "sales.dump"]);
    assert_eq!(bequest("copy"), None);
    drop((worker, sales));
}
