//! `heirloom store`: what is on disk of durable tables, while no manager has it.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use heirloom_manager::store::{self, Identity, Stamp, Store};
use heirloom_protocol::table::{Attributes, Kind};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn heirloom(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
    command.arg("store").args(words).arg("--folder").arg(folder).output().unwrap()
}

fn json(folder: &Path, words: &[&str]) -> Value {
    let output = heirloom(folder, &[words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it says where it fails, which it does.
fn failure(folder: &Path, words: &[&str]) -> String {
    let output = heirloom(folder, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn open(folder: &Path) -> Store {
    let of = Identity { table: "sales".to_owned(), kind: Kind::OrderedSet };
    Store::open(&store::path(folder, "sales"), &of).unwrap()
}

/// A store of 5000 entries, the last of which expires, and a bequest.
fn write(folder: &Path) {
    let mut store = open(folder);
    let mut checkpoint = store.checkpoint().unwrap();
    for number in 0..5000 {
        let deadline_ms = (number == 4999).then_some(u64::MAX);
        let attributes = Attributes { deadline_ms, ..Attributes::default() };
        let (key, value) = (format!("car {number:04}"), format!("{number}"));
        checkpoint.replace(key.as_bytes(), [(value.as_bytes(), attributes)]).unwrap();
    }
    checkpoint.bequest(Some(b"position 9")).unwrap();
    checkpoint.commit(Stamp { incarnation: 7, version: 8 }).unwrap();
}

#[test]
fn lists_verifies_compacts_and_exports() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder);
    let listed = json(folder, &["list"]);
    let sales = &listed["stores"][0];
    assert_eq!((&sales["table"], &sales["kind"]), (&"sales".into(), &"ordered_set".into()));
    assert_eq!(
        (&sales["entries"], &sales["version"], &sales["bequest_bytes"]),
        (&5000.into(), &8.into(), &10.into())
    );
    assert_eq!(json(folder, &["verify", "sales"])["entries"], 5000);

    for (name, begins) in [
        ("sales.csv", "key,value,deadline_ms\n"),
        ("sales.jsonl", "{\"key\":\"car 0000\""),
        ("sales.dump", "HEIRLOOM"),
    ] {
        let file = folder.join(name);
        json(folder, &["export", "sales", file.to_str().unwrap()]);
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.starts_with(begins.as_bytes()), "{name}");
        let mut entries = 0;
        let format = heirloom_manager::formats::Format::by_extension(&file).unwrap();
        heirloom_manager::formats::read(&bytes[..], format, name, &mut |item| {
            entries += u32::from(matches!(item, heirloom_manager::formats::Item::Entry(_)));
            Ok::<_, heirloom_manager::formats::FormatError>(())
        })
        .unwrap();
        assert_eq!(entries, 5000, "{name}");
    }
    let printed = heirloom(folder, &["export", "sales", "-"]).stdout;
    assert_eq!(printed, fs::read(folder.join("sales.jsonl")).unwrap());

    // Two whole rewrites, so that there is something to be made smaller.
    let mut store = open(folder);
    for version in 9..11 {
        let mut whole = store.whole().unwrap();
        for number in 0..5000 {
            let (key, value) = (format!("car {number:04}"), format!("{version}").repeat(40));
            whole.replace(key.as_bytes(), [(value.as_bytes(), Attributes::default())]).unwrap();
        }
        whole.commit(Stamp { incarnation: 7, version }).unwrap();
    }
    drop(store);
    let compacted = json(folder, &["compact", "sales"]);
    assert!(compacted["bytes"].as_u64() < compacted["bytes_before"].as_u64(), "{compacted}");
    assert_eq!(json(folder, &["verify", "sales"])["entries"], 5000);
    assert_eq!(open(folder).at(), Some(Stamp { incarnation: 7, version: 10 }));
}

#[test]
fn refuses_what_is_in_use_missing_or_damaged_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder);
    let path = store::path(folder, "sales");
    let held = open(folder);
    for words in [&["verify", "sales"][..], &["compact", "sales"], &["export", "sales", "-"]] {
        let error = failure(folder, words);
        assert!(
            error.contains("another process has this store open") && error.contains("stop that first"),
            "{error}"
        );
    }
    assert!(json(folder, &["list"])["stores"][0]["error"].as_str().unwrap().contains("another process"));
    drop(held);
    assert!(
        failure(folder, &["verify", "cars"]).contains("cars.redb: cannot be used: there is no such file")
    );

    let mut bytes = fs::read(&path).unwrap();
    let value = bytes.windows(8).position(|bytes| bytes == b"car 2500").unwrap();
    bytes[value] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = failure(folder, &["verify", "sales"]);
    assert!(error.contains("this store is damaged") && error.contains("left as it is"), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
    let file = folder.join("sales.csv");
    assert!(failure(folder, &["export", "sales", file.to_str().unwrap()]).contains("damaged"));
    assert!(!file.exists(), "half of an export is none");
}
