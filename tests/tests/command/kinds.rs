//! Every kind of table, in every format: what `dump` writes, `load` reads back, in order where there is one.

use super::reading::table;
use super::{heirloom, heirloom_with};
use heirloom_tests::House;

const KINDS: [&str; 4] = ["set", "ordered_set", "bag", "duplicate_bag"];
const FORMATS: [&str; 3] = ["csv", "jsonl", "dump"];

/// A table of each kind, and an empty one for each format beside it.
fn house() -> House {
    let house = House::start(|_| {
        let copies = KINDS.iter().flat_map(|kind| FORMATS.map(|format| (kind, format!("{kind}_{format}"))));
        let all = KINDS.iter().map(|kind| (kind, (*kind).to_owned())).chain(copies);
        all.map(|(kind, id)| table(&id, kind, "")).collect()
    });
    drop(house.client());
    house
}

/// Keys of all lengths and bytes, out of order, some of them twice, with equal and with different values.
fn lines() -> String {
    let mut lines = String::new();
    for number in 0..400_u32 {
        let key = number.wrapping_mul(2_654_435_761) >> 24;
        let (value, twice) = (number % 7, number % 3);
        lines += &match number % 4 {
            0 => format!(r#"{{"key":"key {key}","value":"{value}"}}"#),
            1 => {
                format!(r#"{{"key":"key {key}","value":"{value}","deadline_ms":{}}}"#, 9_999_999_999_999_u64)
            }
            2 => format!(r#"{{"key":"a\u0000{key}","value":{{"base64":"AP8{twice}"}}}}"#),
            _ => {
                let key = ["/w==", "//8=", "////"][twice as usize];
                format!(r#"{{"key":{{"base64":"{key}"}},"value":"{}"}}"#, "long ".repeat(1000))
            }
        };
        lines.push('\n');
    }
    lines
}

fn scan(house: &House, id: &str, options: &[&str]) -> Vec<String> {
    let told = heirloom(house, &[&["scan", id], options].concat());
    let mut lines: Vec<_> = told.text().lines().map(str::to_owned).collect();
    // A set has no order, and in a bag the values of one key have none.
    if id.starts_with("set") || id.starts_with("bag") {
        lines.sort_unstable();
    }
    lines
}

#[test]
fn every_kind_comes_back_from_every_format() {
    let house = house();
    for kind in KINDS {
        let loaded = heirloom_with(&house, &["load", kind, "-"], lines().as_bytes());
        assert!(loaded.stderr.contains("400 entries loaded"), "{loaded:?}");
        let original = scan(&house, kind, &[]);
        assert!(original.len() > 100, "{kind}: {}", original.len());
        for format in FORMATS {
            let (copy, file) = (format!("{kind}_{format}"), format!("{kind}.{format}"));
            heirloom(&house, &["dump", kind, &file]).text();
            let loaded = heirloom(&house, &["load", &copy, &file]);
            assert_eq!(loaded.status, Some(0), "{loaded:?}");
            assert!(scan(&house, &copy, &[]) == original, "{copy} is not as it was");
        }
        assert!(heirloom(&house, &["verify", kind]).text().contains("is whole"));
    }
    // No value may be lost on the way from one kind to another.
    let refused = heirloom(&house, &["load", "set_dump", "bag.dump"]);
    assert!(refused.complaint(1).contains("a dump of a bag"), "{refused:?}");
}

#[test]
fn ranges_of_what_has_an_order() {
    let house = house();
    let lines: String =
        ["b", "a", "ab", "c", "ad"].map(|key| format!("{{\"key\":\"{key}\",\"value\":\"1\"}}\n")).concat();
    for kind in KINDS {
        heirloom_with(&house, &["load", kind, "-"], lines.as_bytes()).text();
    }
    let keys = |options: &[&str]| {
        let lines = scan(&house, "ordered_set", options);
        let key = |line: &String| line.split('"').nth(3).expect("a line has a key").to_owned();
        lines.iter().map(key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]), "a ab ad b c");
    assert_eq!(keys(&["--reverse", "--limit", "2"]), "c b");
    assert_eq!(keys(&["--prefix", "a"]), "a ab ad");
    assert_eq!(keys(&["--prefix", "a", "--reverse"]), "ad ab a");
    assert_eq!(keys(&["--from", "ab", "--to", "b"]), "ab ad");
    assert_eq!(keys(&["--from", "aa", "--limit", "1"]), "ab");
    assert_eq!(keys(&["--from", "b", "--to", "a"]), "");
    assert_eq!(keys(&["--snapshot"]), "a ab ad b c");
    assert_eq!(keys(&["--snapshot", "--from", "b", "--reverse"]), "c b");
    let refused = heirloom(&house, &["scan", "set", "--prefix", "a"]);
    assert!(refused.complaint(1).contains("a set, which has no order"), "{refused:?}");
    // Several values of one key.
    heirloom_with(&house, &["load", "duplicate_bag", "-"], b"{\"key\":\"a\",\"value\":\"0\"}\n").text();
    assert_eq!(heirloom(&house, &["get", "duplicate_bag", "a"]).text(), "1\n0\n");
}
