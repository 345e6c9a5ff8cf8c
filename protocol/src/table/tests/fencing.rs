//! Who may write, and who goes on: handles of earlier epochs store nothing (R17), and a handle whose commit was cut
//! by a panic goes on as an heir would.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::support::{Frail, new_table};
use crate::region::{HeapRegion, OutOfMemory, Region};
use crate::table::layout::{APPLIED, COMMITTED, HORIZON};
use crate::table::{self, MIN_BYTES, OpenError, TableReader, TableWriter, WriteError};

type Killable = Arc<Frail<Arc<HeapRegion>>>;

fn open(region: &Arc<HeapRegion>, epoch: u64) -> (Killable, TableWriter<Killable>) {
    let killable = Arc::new(Frail::new(region.clone()));
    let mut writer = TableWriter::open(killable.clone(), epoch).unwrap();
    writer.batch_commits = 1;
    (killable, writer)
}

/// Runs until the store after so many; true where it came to the end.
fn killed_after(region: &Killable, stores: u64, run: impl FnOnce()) -> bool {
    region.die_after(Some(stores));
    let ended = catch_unwind(AssertUnwindSafe(run)).is_ok();
    region.die_after(None);
    ended
}

/// Everything an old handle can be asked for is refused, and not a word is stored.
fn stores_nothing(region: &Killable, old: &mut TableWriter<Killable>) {
    let stores = region.stores();
    let fenced = |result: Result<(), WriteError>| {
        assert!(matches!(result, Err(WriteError::Fenced { handle: 0, table: 1 })), "{result:?}");
    };
    fenced(old.insert(b"k", b"stale").map(|_| ()));
    fenced(old.insert(b"new", &[1; 5000]).map(|_| ()));
    fenced(old.remove(b"k").map(|_| ()));
    fenced(old.remove(b"absent").map(|_| ()));
    fenced(old.bequeath(b"stale"));
    let mut transaction = old.transaction();
    transaction.insert(b"k", b"stale").unwrap();
    fenced(transaction.commit().map(|_| ()));
    assert_eq!(region.stores(), stores, "a handle of an old epoch stored something");
}

#[test]
fn a_handle_of_an_old_epoch_stores_nothing() {
    let heap = new_table(MIN_BYTES);
    let (old_region, mut old) = open(&heap, 0);
    for number in 0..200_u32 {
        old.insert(b"k", &number.to_le_bytes()).unwrap();
    }
    old.remove(b"k").unwrap();
    old.space.wait();

    table::begin_epoch(&heap, 1).unwrap();
    let (_, mut new) = open(&heap, 1);
    for number in 0..200_u32 {
        new.insert(b"k", &number.to_le_bytes()).unwrap();
    }
    let horizon = heap.load(HORIZON);
    stores_nothing(&old_region, &mut old);
    assert_eq!(heap.load(HORIZON), horizon, "the horizon never goes back");
    table::verify(&heap).unwrap();
}

/// A region whose table gets another owner while this one waits for memory.
struct TakenAway(Arc<HeapRegion>);

impl Region for TakenAway {
    fn words(&self) -> u64 {
        self.0.words()
    }

    fn load(&self, word: u64) -> u64 {
        self.0.load(word)
    }

    fn store(&self, word: u64, value: u64) {
        self.0.store(word, value);
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        // It is asked more than once, and an epoch begins once.
        let _ = table::begin_epoch(&self.0, 1);
        self.0.make_present(words)
    }
}

#[test]
fn a_commit_that_is_prepared_when_the_epoch_ends_is_not_made() {
    let heap = new_table(MIN_BYTES);
    let mut old = TableWriter::open(TakenAway(heap.clone()), 0).unwrap();
    assert_eq!(old.insert(b"k", b"stale"), Err(WriteError::Fenced { handle: 0, table: 1 }));
    assert_eq!(heap.load(COMMITTED), 0);
}

/// The old owner survived a panic in its commit; meanwhile the table has another owner, which is in the middle of a
/// commit of its own. Whatever the old handle does about its own commit would hit the new owner's.
#[test]
fn a_handle_that_survived_a_panic_leaves_the_next_owners_commit_alone() {
    for (old_cut, new_cut) in (0..12).flat_map(|old_cut| (0..16).map(move |new_cut| (old_cut, new_cut))) {
        let heap = new_table(MIN_BYTES);
        let (old_region, mut old) = open(&heap, 0);
        old.insert(b"k", b"1").unwrap();
        if killed_after(&old_region, old_cut, || drop(old.insert(b"k", b"2"))) {
            break;
        }
        table::recover(&heap).unwrap();
        table::begin_epoch(&heap, 1).unwrap();
        let before = TableReader::open(&heap).unwrap().get(b"k").unwrap();

        let (new_region, mut new) = open(&heap, 1);
        if killed_after(&new_region, new_cut, || drop(new.insert(b"k", b"4"))) {
            continue;
        }
        stores_nothing(&old_region, &mut old);

        let stands = heap.load(COMMITTED) > heap.load(APPLIED);
        table::recover(&heap).unwrap();
        table::verify(&heap).unwrap();
        let value = TableReader::open(&heap).unwrap().get(b"k").unwrap();
        assert_eq!(value, if stands { Some(b"4".to_vec()) } else { before });
    }
}

#[test]
fn nobody_writes_a_table_whose_commit_in_flight_is_not_recovered() {
    let (region, mut writer) = prepared();
    let whole = region.inner.to_words();
    let (mut refused, mut cut) = (0, 0);
    while !killed_after(&region, cut, || drop(writer.insert(b"a", b"2"))) {
        let heap = Arc::new(HeapRegion::from_words(&region.inner.to_words()));
        let (committed, applied) = (heap.load(COMMITTED), heap.load(APPLIED));
        match TableWriter::open(heap.clone(), 0) {
            Err(error) => {
                assert_eq!(error, OpenError::NotRecovered { committed, applied });
                assert!(table::verify(&heap).is_err());
                refused += 1;
            }
            Ok(_) => assert_eq!(committed, applied, "cut after {cut} stores"),
        }
        for (word, value) in whole.iter().enumerate() {
            region.inner.store(word as u64, *value);
        }
        writer = TableWriter::open(region.clone(), 0).unwrap();
        writer.batch_commits = 1;
        cut += 1;
    }
    assert!(refused > 2, "{refused}");
}

#[test]
fn a_handle_goes_on_after_a_panic_at_any_store() {
    let operations: [fn(&mut TableWriter<Killable>); 4] = [
        |writer| assert!(writer.insert(b"b", &[9; 70]).unwrap()),
        |writer| assert!(writer.remove(b"a").unwrap()),
        |writer| writer.bequeath(b"last words").unwrap(),
        |writer| {
            let mut transaction = writer.transaction();
            (0..40_u8).for_each(|number| transaction.insert(&[number], &[number; 30]).unwrap());
            transaction.remove(b"a").unwrap();
            transaction.commit().unwrap();
        },
    ];
    for operation in operations {
        let (before, after) = (content(operation, Some(0)), content(operation, None));
        let mut seen = [0, 0];
        for cut in 0.. {
            let (region, mut writer) = prepared();
            if killed_after(&region, cut, || operation(&mut writer)) {
                break;
            }
            writer.remove(b"absent").expect("the handle recovers by itself");
            let now = entries(&region);
            assert!(now == before || now == after, "cut after {cut} stores: {now:?}");
            seen[usize::from(now == after)] += 1;
            for number in 0..100_u8 {
                writer.insert(&[number % 7], &[number; 20]).unwrap();
            }
            table::verify(&region.inner).unwrap();
        }
        assert!(seen[0] > 2 && seen[1] > 2, "{seen:?}");
    }
}

fn prepared() -> (Killable, TableWriter<Killable>) {
    let (region, mut writer) = open(&new_table(MIN_BYTES), 0);
    writer.insert(b"a", &[1; 20]).unwrap();
    writer.insert(b"b", &[2; 20]).unwrap();
    writer.bequeath(b"words").unwrap();
    (region, writer)
}

type Content = (HashMap<Vec<u8>, Vec<u8>>, Option<Vec<u8>>);

fn content(operation: fn(&mut TableWriter<Killable>), dies_after: Option<u64>) -> Content {
    let (region, mut writer) = prepared();
    match dies_after {
        Some(stores) => drop(killed_after(&region, stores, || operation(&mut writer))),
        None => operation(&mut writer),
    }
    entries(&region)
}

fn entries(region: &Killable) -> Content {
    let reader = TableReader::open(&region.inner).unwrap();
    let mut entries = HashMap::new();
    reader.scan(&mut |key, value| entries.insert(key.to_vec(), value.to_vec()).is_none()).unwrap();
    (entries, reader.bequest().unwrap())
}
