//! `limit`: a table may grow further, or no further, while its owner writes.

use super::heirloom;
use heirloom_tests::{House, eventually};
use heirloom_worker::{Worker, WriteError};

#[test]
fn a_full_table_has_room_again_and_its_owner_goes_on() {
    let house = House::start(|_| {
        "[[table]]\nid = \"sales\"\ntype = \"set\"\nmax_bytes = \"1MiB\"\nfind_me = { name = \"shop\" }\n\
         [[worker]]\nname = \"shop\"\nexternal = true\n"
            .to_owned()
    });
    let client = house.client();
    let worker = Worker::connect(house.socket(), "shop").expect("there is a manager");
    let sales = worker.own::<u64, str>("sales").expect("the table is known");
    worker.ready().expect("the manager listens");
    eventually("the table to be ours", || sales.is_owner().then_some(()));
    let value = "x".repeat(1000);
    let fill = |from: u64| {
        (from..).find_map(|key| {
            let error = sales.write(|table| table.insert(&key, &value)).err()?;
            assert!(
                matches!(error, heirloom_worker::OwnedError::Write(WriteError::TableFull { .. })),
                "{error}"
            );
            Some(key)
        })
    };
    let first = fill(0).expect("a table is full some day");
    assert_eq!(heirloom(&house, &["limit", "sales", "2MiB"]).text(), "");
    assert_eq!(house.table(&client, "sales").max_bytes, 2 << 20);
    let second = fill(first).expect("a table is full some day");
    assert!(second > first + 500, "{first} entries fit, and then {second}");
    for key in 0..second {
        assert!(sales.get(&key).expect("it is whole").is_some(), "entry {key} was moved or lost");
    }
    // Neither below what it uses, nor beyond what was reserved.
    let told = heirloom(&house, &["limit", "sales", "1MiB"]);
    assert!(told.complaint(1).contains("1048576 bytes are fewer than the table's "), "{told:?}");
    let told = heirloom(&house, &["limit", "sales", "9MiB"]);
    assert!(told.complaint(1).contains("were reserved when the table was created"), "{told:?}");
    assert_eq!(house.table(&client, "sales").max_bytes, 2 << 20);
    // Lower, once it has been emptied: the memory is given back as the owner writes on.
    sales.write(|table| table.clear()).expect("that always works");
    eventually("the memory to be given back", || {
        sales.write(|table| table.insert(&0, "x")).expect("there is room");
        (heirloom(&house, &["limit", "sales", "1MiB"]).status == Some(0)).then_some(())
    });
    let told = heirloom(&house, &["limit", "boats", "2MiB"]);
    assert!(told.complaint(1).contains("there is no [[table]] `boats`"), "{told:?}");
    let told = heirloom(&house, &["limit", "sales", "2000000"]);
    assert!(told.complaint(2).contains("has no unit"), "{told:?}");
}
