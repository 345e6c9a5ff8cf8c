//! `handoff`: who has the table afterwards, and what it cost.

use super::heirloom;
use super::reading::table;
use heirloom_tests::{Candidate, House, Misbehaviour, eventually};
use heirloom_worker::{Owned, Worker};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn house() -> House {
    let house = House::start(|_| {
        [
            table("sales", "set", "find_me = { name = \"shop\" }"),
            "[[worker]]\nname = \"shop\"\nexternal = true\n".to_owned(),
            "[[worker]]\nname = \"other\"\nexternal = true\n".to_owned(),
        ]
        .concat()
    });
    drop(house.client());
    house
}

fn worker(house: &House, name: &str) -> (Worker, Owned<str, u64>) {
    let worker = Worker::connect(house.socket(), name).expect("there is a manager");
    let sales = worker.own::<str, u64>("sales").expect("the table is known");
    worker.ready().expect("the manager listens");
    (worker, sales)
}

#[test]
fn another_worker_takes_over_under_load() {
    let house = house();
    let (_old, old) = worker(&house, "shop");
    eventually("the first owner", || old.is_owner().then_some(()));
    let (_new, new) = worker(&house, "shop");
    let stop = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        for sales in [&old, &new] {
            // Each counts what it has committed, under a key of its own; whoever is not the owner tries again.
            let key = if std::ptr::eq(sales, &old) { "old" } else { "new" };
            let stop = &stop;
            scope.spawn(move || {
                let mut commits = 0;
                while !stop.load(Ordering::Relaxed) {
                    match sales.write(|table| table.insert(key, &(commits + 1))) {
                        Ok(_) => commits += 1,
                        Err(_) => thread::yield_now(),
                    }
                }
                assert_eq!(sales.get(key), Ok((commits > 0).then_some(commits)), "no commit is lost");
            });
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    sales.get("old").expect("no read fails");
                }
            });
        }
        eventually("commits", || old.get("old").expect("no read fails").filter(|count| *count > 1000));
        let told = heirloom(&house, &["handoff", "sales", "--json"]);
        eventually("its commits", || new.get("new").expect("no read fails").filter(|count| *count > 1000));
        stop.store(true, Ordering::Relaxed);
        told
    });
    eprintln!("{}", told.text());
    let answer: serde_json::Value = serde_json::from_str(told.text()).expect("it is JSON");
    assert_eq!(answer["owner"]["name"], "shop");
    let [least, most] =
        [0, 1].map(|end| answer["paused_us"][end].as_u64().expect("both were seen to commit"));
    assert!(0 < least && least <= most, "{answer}");
    assert!(answer["granted_us"].as_u64().is_some_and(|granted| granted > 0), "{answer}");
    assert!(new.is_owner() && !old.is_owner());
}

#[test]
fn to_a_worker_of_that_name() {
    let house = house();
    let (_first, first) = worker(&house, "shop");
    eventually("the first owner", || first.is_owner().then_some(()));
    let (_other, other) = worker(&house, "other");
    let told = heirloom(&house, &["handoff", "sales", "--to", "other"]);
    let said = told.text();
    assert!(said.starts_with("table `sales` is owned by other (process ") && said.contains(" ms"), "{said}");
    assert!(other.is_owner());
}

#[test]
fn an_owner_that_does_not_listen_keeps_the_table_or_dies() {
    let house = house();
    let deaf = Candidate::start(&house.socket(), "shop", "sales", Misbehaviour::None, 0);
    assert_eq!(deaf.next_words()[0], "owns");
    let mut words = vec!["handoff", "sales", "--deadline", "200ms"];
    let told = heirloom(&house, &words);
    assert!(told.complaint(1).contains("did not release it in time"), "{told:?}");
    let (_next, next) = worker(&house, "shop");
    words.push("--force");
    heirloom(&house, &words).text();
    eventually("the next owner", || next.is_owner().then_some(()));
    let told = heirloom(&house, &["handoff", "sales", "--deadline", "5"]);
    assert!(told.complaint(2).contains("has no unit"), "{told:?}");
}
