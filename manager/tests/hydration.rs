//! Hydration: before READY, before the first offer, before the first reader; or not at all.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_manager::manager::ManagerError;
use heirloom_protocol::message::{Refusal, Request};
use heirloom_protocol::table::TableReader;
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
