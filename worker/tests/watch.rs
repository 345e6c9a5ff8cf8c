//! What a watch tells, of a table on the heap: changes cut at commits, being overtaken, and going on from the whole
//! table without a gap.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heirloom_worker::testing::{Rehearsal, Table, table};
use heirloom_worker::{Key, Reader, Value, Watch, Watched, Writer};

const PATIENCE: Duration = Duration::from_secs(20);

type Copy = BTreeMap<u64, u64>;

/// What a follower of the table has of it.
struct Follower {
    watch: Watch<u64, u64>,
    copy: Copy,
    overtaken: usize,
    batches: usize,
}

impl Follower {
    fn of(reader: &Reader<u64, u64>) -> Self {
        let mut follower =
            Self { watch: reader.watch().unwrap(), copy: Copy::new(), overtaken: 0, batches: 0 };
        follower.start_over();
        follower
    }

    fn start_over(&mut self) {
        self.copy.clear();
        let copy = &mut self.copy;
        self.watch.start_over(|key, value| assert!(copy.insert(key, value).is_none())).unwrap();
    }

    fn take(&mut self, watched: Watched<u64, u64>) {
        match watched {
            Watched::Changes(changes) => {
                self.batches += 1;
                if changes.is_cleared() {
                    self.copy.clear();
                }
                for change in &changes {
                    match change.unwrap() {
                        (key, Some(value)) => self.copy.insert(key, value),
                        (key, None) => self.copy.remove(&key),
                    };
                }
            }
            _ => {
                self.overtaken += 1;
                self.start_over();
            }
        }
    }
}

fn keys<K: Key + ?Sized, V: Value + ?Sized>(watched: Option<Watched<K, V>>) -> Vec<K::Owned> {
    match watched {
        Some(Watched::Changes(changes)) => changes.iter().map(|change| change.unwrap().0).collect(),
        other => panic!("expected changes, not {other:?}"),
    }
}

#[test]
fn changes_come_once_with_their_newest_values_and_removals() {
    let (mut writer, reader) = table::<str, u64>(Table::set("sales"));
    writer.insert("before", &1).unwrap();
    let mut watch = reader.watch().unwrap();
    assert!(watch.try_next().unwrap().is_none());
    writer.insert("ann", &1).unwrap();
    writer.insert("ann", &2).unwrap();
    writer.remove("before").unwrap();
    let Some(Watched::Changes(changes)) = watch.try_next().unwrap() else { panic!("nothing changed") };
    assert_eq!(changes.version(), reader.version());
    let changes: Vec<_> = changes.iter().map(Result::unwrap).collect();
    assert_eq!(changes, [("ann".to_owned(), Some(2)), ("before".to_owned(), None)]);
    assert!(watch.try_next().unwrap().is_none());
}

#[test]
fn who_waits_is_told_and_who_has_waited_long_enough_is_not() {
    let (mut writer, reader) = table::<str, u64>(Table::set("sales"));
    let mut watch = reader.watch().unwrap().look_every(Duration::from_millis(1));
    assert!(watch.next_within(Duration::from_millis(5)).unwrap().is_none());
    let watching = thread::spawn(move || keys(watch.next().map(Result::unwrap)));
    writer.insert("ann", &1).unwrap();
    assert_eq!(watching.join().unwrap(), ["ann"]);
}

#[test]
fn a_value_that_does_not_decode_hides_no_other() {
    let (mut writer, reader) = table::<str, str>(Table::set("sales"));
    let mut sales = Rehearsal::new(Table::set("sales"));
    drop((writer, reader));
    writer = sales.transfer().accept().unwrap();
    let mut watch = sales.reader::<str, u64>().watch().unwrap();
    writer.insert("ann", "not a number").unwrap();
    writer.insert("bob", "\u{7}").unwrap();
    let Some(Watched::Changes(changes)) = watch.try_next().unwrap() else { panic!("nothing changed") };
    let mut changes = changes.iter();
    assert!(changes.next().unwrap().is_err());
    assert_eq!(changes.next().unwrap().unwrap(), ("bob".to_owned(), Some(7)));
}

#[test]
fn a_changed_key_of_a_bag_comes_without_a_value_and_then_with_each() {
    let (mut bids, reader) = table::<str, u64>(Table::duplicate_bag("bids"));
    bids.insert("Huayra", &1).unwrap();
    let mut watch = reader.watch().unwrap();
    for bid in [310, 295, 310] {
        bids.insert("Zonda", &bid).unwrap();
    }
    bids.remove("Huayra").unwrap();
    let Some(Watched::Changes(changes)) = watch.try_next().unwrap() else { panic!("nothing changed") };
    let changes: Vec<_> = changes.iter().map(Result::unwrap).collect();
    let told =
        [("Zonda", None), ("Zonda", Some(310)), ("Zonda", Some(295)), ("Zonda", Some(310)), ("Huayra", None)];
    assert_eq!(changes, told.map(|(key, value)| (key.to_owned(), value)));
}

#[test]
fn who_is_overtaken_is_told_until_it_says_where_to_go_on() {
    let (mut writer, reader) = table::<u64, u64>(Table::set("sales"));
    let mut follower = Follower::of(&reader);
    // The ring of so small a table has room for some thousand changes.
    for round in 0..40_000 {
        writer.insert(&(round % 100), &round).unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(follower.watch.try_next().unwrap(), Some(Watched::Overtaken)));
    }
    follower.start_over();
    writer.insert(&7, &0).unwrap();
    let watched = follower.watch.next().unwrap().unwrap();
    follower.take(watched);
    assert_eq!(follower.copy, reader.entries().unwrap().into_iter().collect());

    for round in 0..40_000 {
        writer.insert(&(round % 100), &round).unwrap();
    }
    assert!(matches!(follower.watch.try_next().unwrap(), Some(Watched::Overtaken)));
    follower.watch.skip_to_now();
    assert!(follower.watch.try_next().unwrap().is_none());
    writer.insert(&8, &0).unwrap();
    assert_eq!(keys(follower.watch.try_next().unwrap()), [8]);
}

#[test]
fn a_watch_goes_on_from_a_version_that_was_seen_before() {
    let (mut writer, reader) = table::<u64, u64>(Table::set("sales"));
    let mut watch = reader.watch().unwrap();
    writer.insert(&1, &1).unwrap();
    assert_eq!(keys(watch.try_next().unwrap()), [1]);
    let seen = watch.version();
    drop(watch);
    writer.insert(&2, &2).unwrap();
    let mut watch = reader.watch_from(seen).unwrap();
    assert_eq!(keys(watch.try_next().unwrap()), [2]);
    // Nobody followed when this version was committed.
    let mut watch = reader.watch_from(0).unwrap();
    drop(watch.try_next().unwrap());
}

/// Two keys always add up to the same: half a transaction would show.
const SUM: u64 = 1000;

fn move_amounts(writer: &mut Writer<u64, u64>, rounds: u64) {
    for round in 0..rounds {
        let pair = round * 7919 % 500 * 2;
        let mut transaction = writer.transaction();
        transaction.insert(&pair, &(round % SUM)).unwrap();
        transaction.insert(&(pair + 1), &(SUM - round % SUM)).unwrap();
        if round % 5 == 0 {
            transaction.remove(&((pair + 500) % 1000)).unwrap();
            transaction.remove(&((pair + 500) % 1000 + 1)).unwrap();
        }
        transaction.commit().unwrap();
    }
}

fn sums_are_whole(copy: &Copy) {
    for (key, value) in copy.iter().filter(|(key, _)| **key % 2 == 0) {
        assert_eq!(value + copy[&(key + 1)], SUM, "half a transaction");
    }
    assert!(copy.keys().all(|key| copy.contains_key(&(key ^ 1))), "half a transaction");
}

#[test]
fn a_follower_beside_an_owner_at_full_speed_never_has_half_a_transaction() {
    let (mut writer, reader) = table::<u64, u64>(Table::set("sales").max_bytes(8 << 20));
    let mut follower = Follower::of(&reader);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            move_amounts(&mut writer, 60_000);
            done.store(true, Ordering::Release);
        });
        loop {
            let last = done.load(Ordering::Acquire);
            match follower.watch.next_within(Duration::from_millis(20)).unwrap() {
                Some(watched) => {
                    follower.take(watched);
                    sums_are_whole(&follower.copy);
                }
                None if last => break,
                None => {}
            }
        }
    });
    assert_eq!(follower.watch.version(), reader.version());
    assert_eq!(follower.copy, reader.entries().unwrap().into_iter().collect());
    println!("{} batches, overtaken {} times", follower.batches, follower.overtaken);
    assert!(follower.batches > 0);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn changes_are_awaited() {
    let (mut writer, reader) = table::<str, u64>(Table::set("sales"));
    writer.insert("before", &1).unwrap();
    let mut watch = heirloom_worker::tokio::watch(&reader).await.unwrap();
    let mut all = Vec::new();
    watch.start_over(|key, value| all.push((key, value))).await.unwrap();
    assert_eq!(all, [("before".to_owned(), 1)]);
    // The future is Send: a service spawns it.
    let watching = tokio::spawn(async move { keys(Some(watch.next().await.unwrap())) });
    writer.insert("ann", &1).unwrap();
    let told = tokio::time::timeout(PATIENCE, watching).await.unwrap().unwrap();
    assert_eq!(told, ["ann"]);
}
