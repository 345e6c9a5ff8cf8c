//! Hydration: before READY, before the first offer, before the first reader; or not at all.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_manager::manager::ManagerError;
use heirloom_manager::store::{self, Identity, Stamp, Store};
use heirloom_protocol::message::{Refusal, Request};
use heirloom_protocol::table::{Attributes, Kind, TableReader};
use house::{BY_NAME, House, config};
use std::path::Path;
use std::time::{Duration, Instant};

fn cars(hydrate: &str) -> String {
    config(
        BY_NAME,
        &format!("[[table]]\nid = \"cars\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\nhydrate = {hydrate}\n"),
    )
}

#[test]
fn nothing_is_offered_or_opened_before_the_last_entry_is_there() {
    let started = Instant::now();
    let slow = "{ command = ['sh', '-c', 'echo k,v; echo a,1; sleep 1; echo b,2'], format = 'csv' }";
    let house = House::start(&cars(slow));
    // Registered early, and asked for early.
    let worker = house.client();
    worker.register("w", &["sales"]);
    worker.say(&Request::Ready);
    let mut asker = house.client();
    let state = |status: heirloom_protocol::message::Status| status.tables[0].state.clone();
    assert_eq!(state(asker.status()), "hydrating");
    // No more than a few at a time, and only of tables that there are: refused at once.
    let greedy = house.client();
    let open = |request, table: &str| greedy.say(&Request::Open { request, table: table.to_owned() });
    open(0, "nowhere");
    greedy.hears_refusal(Refusal::UnknownTable);
    (1..=9).for_each(|request| open(request, "cars"));
    greedy.hears_refusal(Refusal::TooMany);
    assert!(started.elapsed() < Duration::from_secs(1));

    let reader = house.client();
    let cars = TableReader::open(reader.open("cars")).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!((cars.len(), cars.get(b"b").unwrap()), (2, Some(b"2".to_vec())));
    assert!(matches!(worker.hear(), heirloom_protocol::message::Event::Offered { .. }));
    assert_eq!(state(asker.status()), "unowned");
}

#[test]
fn a_bad_source_ends_the_manager_before_anything_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let half = write("half.csv", b"key,value\na,1\nb\n");
    let torn = write("torn.jsonl", b"{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"val");
    let foreign = write("foreign.redb", b"this is no database");
    for (source, place) in [
        (half.clone(), format!("{half}:3:")),
        (torn.clone(), format!("{torn}:2:")),
        (foreign.clone(), foreign),
        ("/nowhere/cars.csv".to_owned(), "/nowhere/cars.csv".to_owned()),
    ] {
        let mut house = House::start(&cars(&format!("{{ file = \"{source}\" }}")));
        let error = house.outcome().unwrap_err();
        assert!(matches!(error, ManagerError::Hydrate { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("`cars`") && message.contains(&place), "{message}");
    }
}

#[test]
fn a_table_that_is_too_small_for_its_source_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.csv");
    let mut text = "key,value\n".to_owned();
    for key in 0..40_000 {
        text += &format!("{key},{}\n", "x".repeat(1000));
    }
    std::fs::write(&path, text).unwrap();
    let mut house = House::start(&cars(&format!("{{ file = \"{}\" }}", path.display())));
    let message = house.outcome().unwrap_err().to_string();
    assert!(message.contains("large.csv:") && message.contains("full"), "{message}");
}

#[test]
fn a_redb_file_of_many_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cars.redb");
    write_redb(&path, 50_000);
    let house = House::start(&cars(&format!("{{ file = \"{}\" }}", path.display())));
    let cars = TableReader::open(house.client().open("cars")).unwrap();
    assert_eq!(cars.len(), 50_000);
    for key in [0_u64, 1, 49_999] {
        assert_eq!(cars.get(&key.to_be_bytes()).unwrap(), Some(key.to_string().into_bytes()));
    }
    heirloom_protocol::table::verify(cars.region()).unwrap();
}

/// A durable table, with its source and its store in `folder`.
fn durable(folder: &Path, hydrate: &str) -> String {
    let more = format!(
        "[manager]\nstore = \"{0}\"\n[[table]]\nid = \"cars\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\n\
         durability = {{ mode = \"interval\", every = \"1h\" }}\n{hydrate}",
        folder.display()
    );
    config(BY_NAME, &more)
}

/// A store of `cars` with one entry and a bequest.
fn write_store(folder: &Path) {
    let of = Identity { table: "cars".to_owned(), kind: Kind::Set };
    let mut store = Store::open(&store::path(folder, "cars"), &of).unwrap();
    let mut checkpoint = store.checkpoint().unwrap();
    checkpoint.replace(b"from", [(&b"checkpoint"[..], Attributes::default())]).unwrap();
    checkpoint.bequest(Some(b"position 9")).unwrap();
    checkpoint.commit(Stamp { incarnation: 1, version: 8 }).unwrap();
}

#[test]
fn a_durable_table_begins_with_its_checkpoint_unless_its_source_says_always() {
    for (has_checkpoint, when, expected) in [
        (true, None, "checkpoint"),
        (true, Some("if_empty"), "checkpoint"),
        (true, Some("always"), "source"),
        (false, None, "source"),
        (false, Some("if_empty"), "source"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("cars.csv");
        std::fs::write(&source, "key,value\nfrom,source\n").unwrap();
        if has_checkpoint {
            write_store(folder.path());
        }
        let when = when.map(|when| format!(", when = \"{when}\"")).unwrap_or_default();
        let hydrate = format!("hydrate = {{ file = \"{}\"{when} }}\n", source.display());
        let house = House::start(&durable(folder.path(), &hydrate));
        let cars = TableReader::open(house.client().open("cars")).unwrap();
        assert_eq!(cars.get(b"from").unwrap().unwrap(), expected.as_bytes(), "{has_checkpoint}, {when:?}");
        let bequest = cars.bequest().unwrap();
        assert_eq!(bequest.is_some(), expected == "checkpoint");
    }
}

#[test]
fn a_durable_table_without_a_source_begins_with_its_checkpoint_or_empty() {
    for (has_checkpoint, entries) in [(true, 1), (false, 0)] {
        let folder = tempfile::tempdir().unwrap();
        if has_checkpoint {
            write_store(folder.path());
        }
        let house = House::start(&durable(folder.path(), ""));
        assert_eq!(TableReader::open(house.client().open("cars")).unwrap().len(), entries);
    }
}

#[test]
fn a_store_that_cannot_be_used_ends_the_manager_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    write_store(folder.path());
    let path = store::path(folder.path(), "cars");
    let refused = || {
        let before = std::fs::read(&path).unwrap();
        let error = House::start(&durable(folder.path(), "")).outcome().unwrap_err();
        assert!(matches!(error, ManagerError::OnDisk { .. }), "{error}");
        assert!(std::fs::read(&path).unwrap() == before);
        let message = error.to_string();
        assert!(message.starts_with(&format!("table `cars`: {}: ", path.display())), "{message}");
        message
    };
    let of = Identity { table: "cars".to_owned(), kind: Kind::Set };
    let open = Store::open(&path, &of).unwrap();
    assert!(refused().contains("another process has this store open"));
    drop(open);
    let mut bytes = std::fs::read(&path).unwrap();
    let value = bytes.windows(10).rposition(|bytes| bytes == b"checkpoint").unwrap();
    bytes[value] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(refused().contains("this store is damaged"));
    std::fs::write(&path, "key,value\n").unwrap();
    assert!(refused().contains("this is no store of Heirloom"));
}

#[test]
fn a_folder_that_cannot_be_made_ends_the_manager() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = House::start(&durable(&file.join("stores"), "")).outcome().unwrap_err().to_string();
    assert!(message.contains("file/stores: the folder of durable tables cannot be used"), "{message}");
}

fn write_redb(path: &Path, entries: u64) {
    let database = redb::Database::create(path).unwrap();
    let writing = database.begin_write().unwrap();
    {
        let mut cars = writing.open_table(redb::TableDefinition::<&[u8], &[u8]>::new("cars")).unwrap();
        for key in 0..entries {
            cars.insert(&key.to_be_bytes()[..], key.to_string().as_bytes()).unwrap();
        }
    }
    writing.commit().unwrap();
}
