//! Every format, whole and broken.

use super::*;
use crate::config::{HydrateFormat, HydrateWhen};
use crate::formats::{self, Entry, Format, Head, Item};
use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{self, Attributes, Kind, TableOptions, TableReader, TableSchema};
use std::io::Write;
use std::sync::Arc;
use tempfile::NamedTempFile;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(source: &HydrateSource) -> Result<Entries, String> {
    let mut entries = Vec::new();
    let name = describe(source);
    let each: Each<'_> = &mut |item| {
        if let Item::Entry(entry) = item {
            entries.push((entry.key.to_vec(), entry.value.to_vec()));
        }
        Ok(())
    };
    read(source, &name, each).map_err(|error| error.to_string())?;
    Ok(entries)
}

fn file(content: &[u8], format: HydrateFormat) -> (NamedTempFile, HydrateSource) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let path = file.path().to_owned();
    (file, HydrateSource::File { path, format })
}

fn csv_with(key: Option<&str>, value: Option<&str>) -> HydrateFormat {
    HydrateFormat::Csv { key: key.map(str::to_owned), value: value.map(str::to_owned) }
}

fn json() -> HydrateFormat {
    HydrateFormat::JsonLines { key: "key".to_owned(), value: "value".to_owned() }
}

fn redb(table: &str) -> HydrateFormat {
    HydrateFormat::Redb { table: table.to_owned() }
}

fn pair(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

#[test]
fn csv_columns_by_place_and_by_name() {
    let text = b"id,make,price\n1,\"Acura, Inc\",10\n2,\xff,\n";
    let (_file, source) = file(text, csv_with(None, None));
    assert_eq!(entries(&source).unwrap(), [pair(b"1", b"Acura, Inc"), pair(b"2", b"\xff")]);
    let (_file, source) = file(text, csv_with(Some("make"), Some("price")));
    assert_eq!(entries(&source).unwrap(), [pair(b"Acura, Inc", b"10"), pair(b"\xff", b"")]);
}

#[test]
fn csv_that_is_cut_or_lacks_a_column_names_file_and_line() {
    let (held, source) = file(b"key,value\na,1\nb\n", csv_with(None, None));
    let path = held.path().display().to_string();
    assert_eq!(entries(&source).unwrap_err(), format!("{path}:3: 1 fields, and 2 in the header"));
    let (_file, source) = file(b"a,b\n1,2\n", csv_with(Some("id"), None));
    let error = entries(&source).unwrap_err();
    assert!(error.contains(":1: no column `id`; there are: a, b"), "{error}");
    for text in [&b""[..], b"only\n1\n"] {
        let (_file, source) = file(text, csv_with(None, None));
        let error = entries(&source).unwrap_err();
        assert!(error.contains("at least two columns"), "{error}");
    }
}

#[test]
fn json_strings_bytes_and_other_values() {
    let text = br#"{"key":"a","value":"text"}

{"value":{"base64":"AP8="},"key":{"base64":""},"more":1}
{"key":"caf\u00e9","value":{"n": 1.50, "z":[1, 2]}}
{"key":"n","value":12345678901234567890123}
{"key":"o","value":null}"#;
    let (_file, source) = file(text, json());
    assert_eq!(
        entries(&source).unwrap(),
        [
            pair(b"a", b"text"),
            pair(b"", b"\x00\xff"),
            pair("café".as_bytes(), br#"{"n": 1.50, "z":[1, 2]}"#),
            pair(b"n", b"12345678901234567890123"),
            pair(b"o", b"null"),
        ]
    );
}

#[test]
fn json_that_is_wrong_names_file_and_line() {
    for (bad, expected) in [
        (r#"{"key":"b","val"#, "not an object in JSON"),
        (r#"["b", 2]"#, "not an object in JSON"),
        (r#"{"key":"b"}"#, "no field `value`"),
        (r#"{"key":7,"value":""}"#, "field `key` must be a string"),
        (r#"{"key":"b","value":{"base64":"!"}}"#, "not base64"),
    ] {
        let (held, source) = file(format!("{{\"key\":\"a\",\"value\":\"\"}}\n{bad}\n").as_bytes(), json());
        let error = entries(&source).unwrap_err();
        let place = format!("{}:2: ", held.path().display());
        assert!(error.starts_with(&place) && error.contains(expected), "{error}");
    }
}

#[test]
fn a_redb_file_gives_its_entries() {
    let held = NamedTempFile::new().unwrap();
    write_redb(held.path(), 1000);
    let source = HydrateSource::File { path: held.path().to_owned(), format: redb("cars") };
    let entries = entries(&source).unwrap();
    assert_eq!(entries.len(), 1000);
    assert_eq!(entries[7], pair(&7_u64.to_be_bytes(), b"value"));
}

#[test]
fn a_redb_file_without_that_table_or_of_other_types_says_so() {
    let held = NamedTempFile::new().unwrap();
    write_redb(held.path(), 1);
    let with = |table| HydrateSource::File { path: held.path().to_owned(), format: redb(table) };
    let error = entries(&with("boats")).unwrap_err();
    assert!(error.contains("no table `boats` in it; there are: cars, numbers"), "{error}");
    let error = entries(&with("numbers")).unwrap_err();
    assert!(error.contains("is of <u64, u64>"), "{error}");
}

#[test]
fn what_is_no_redb_file_or_half_of_one_is_refused_and_left_alone() {
    let held = NamedTempFile::new().unwrap();
    write_redb(held.path(), 5000);
    let whole = std::fs::read(held.path()).unwrap();
    let mut torn = whole.clone();
    torn[4096..].fill(0xa5);
    // One bit of one value, which only a checksum can tell.
    let mut flipped = whole.clone();
    let value = whole.windows(5).position(|bytes| bytes == b"value").unwrap();
    flipped[value] ^= 1;
    for content in [&whole[..whole.len() / 2], &torn, &flipped, b"not a database at all", b""] {
        let (held, source) = file(content, redb("cars"));
        let error = entries(&source).unwrap_err();
        assert!(error.starts_with(&held.path().display().to_string()), "{error}");
        assert_eq!(std::fs::read(held.path()).unwrap(), content);
    }
}

#[test]
fn a_redb_file_whose_writer_was_killed_gives_its_last_commit() {
    let held = NamedTempFile::new().unwrap();
    write_redb(held.path(), 10);
    // Open, and so without the words that a clean end writes.
    let database = ::redb::Database::open(held.path()).unwrap();
    let killed = std::fs::read(held.path()).unwrap();
    drop(database);
    assert_ne!(killed, std::fs::read(held.path()).unwrap());
    let (held, source) = file(&killed, redb("cars"));
    assert_eq!(entries(&source).unwrap().len(), 10);
    assert_eq!(std::fs::read(held.path()).unwrap(), killed);
}

#[test]
fn a_redb_file_that_is_open_elsewhere_says_so() {
    let held = NamedTempFile::new().unwrap();
    write_redb(held.path(), 10);
    let _open = ::redb::Database::open(held.path()).unwrap();
    let source = HydrateSource::File { path: held.path().to_owned(), format: redb("cars") };
    let error = entries(&source).unwrap_err();
    assert!(error.ends_with("another process has this database open"), "{error}");
}

#[test]
fn a_dump_gives_all_that_the_table_had() {
    let head = Head { kind: Kind::Bag, version: 7 };
    let schema = TableSchema { name: "Sale".to_owned(), base_version: 3 };
    let attributes = Attributes { deadline_ms: Some(u64::MAX), schema_version: Some(2) };
    let mut writer =
        formats::Writer::begin(Vec::new(), Format::Dump, head, Some(schema.clone()), false).unwrap();
    for value in [b"1", b"2"] {
        writer.entry(Entry { key: b"a", value, attributes, line: None }).unwrap();
    }
    writer.bequest(b"position 9").unwrap();
    let (held, source) = file(&writer.finish().unwrap(), HydrateFormat::Dump);
    let source = Hydrate { source, when: HydrateWhen::Always };
    let hydrated = |kind| {
        let options = TableOptions::new(kind, 1 << 20);
        let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
        table::create(&region, &options).unwrap();
        hydrate("cars", &source, Arc::clone(&region))
            .map(|entries| (entries, TableReader::open(region).unwrap()))
    };
    let (entries, reader) = hydrated(Kind::DuplicateBag).unwrap();
    let mut values = Vec::new();
    reader
        .values_attributed(b"a", &mut |value, attributes| {
            values.push((value.to_vec(), attributes));
            true
        })
        .unwrap();
    assert_eq!(entries, 2);
    assert_eq!(values, [(b"1".to_vec(), attributes), (b"2".to_vec(), attributes)]);
    let found = reader.schema().unwrap().map(|schema| (schema.name.clone(), schema.base_version));
    assert_eq!(found, Some((schema.name, schema.base_version)));
    assert_eq!(reader.bequest().unwrap().as_deref(), Some(&b"position 9"[..]));
    let error = hydrated(Kind::Set).map(drop).unwrap_err().to_string();
    assert!(
        error.starts_with(&held.path().display().to_string()) && error.contains("dumped from a bag"),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named() {
    for format in [redb("t"), csv_with(None, None), json()] {
        let source = HydrateSource::File { path: "/nowhere/cars".into(), format };
        let error = entries(&source).unwrap_err();
        assert!(error.starts_with("/nowhere/cars: cannot be read: No such file"), "{error}");
    }
}

#[test]
fn a_command_must_end_well() {
    let with = |script: &str| HydrateSource::Command {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        format: csv_with(None, None),
    };
    assert_eq!(entries(&with("printf 'k,v\\na,1\\n'")).unwrap(), [pair(b"a", b"1")]);
    let error = entries(&with("printf 'k,v\\na,1\\n'; exit 3")).unwrap_err();
    assert!(error.contains("exit status: 3"), "{error}");
    // It would print for ever; the bad line ends it.
    let error = entries(&with("echo k,v; yes bad")).unwrap_err();
    assert!(error.contains(":2: 1 fields"), "{error}");
    let missing =
        HydrateSource::Command { command: vec!["/nowhere/export".to_owned()], format: csv_with(None, None) };
    let error = entries(&missing).unwrap_err();
    assert!(error.contains("`/nowhere/export`: cannot be started"), "{error}");
}

fn write_redb(path: &Path, entries: u64) {
    let database = ::redb::Database::create(path).unwrap();
    let writing = database.begin_write().unwrap();
    {
        let mut cars = writing.open_table(::redb::TableDefinition::<&[u8], &[u8]>::new("cars")).unwrap();
        for key in 0..entries {
            cars.insert(&key.to_be_bytes()[..], &b"value"[..]).unwrap();
        }
        let mut numbers = writing.open_table(::redb::TableDefinition::<u64, u64>::new("numbers")).unwrap();
        numbers.insert(1, 1).unwrap();
    }
    writing.commit().unwrap();
}
