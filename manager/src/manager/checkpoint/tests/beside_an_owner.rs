//! An owner that writes on while its table is copied: each file is of one commit, and of the one that it says.

use super::owner::{At, Owner, Record};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const INCARNATION: u64 = 5;

fn check(kind: Kind, pause: u64, again: bool) {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner { keys: 400, lengths: 13, clears: 3000, pause };
    let table = region(kind, INCARNATION);
    let writer = writer(&table);
    let (record, enough) = (Record::default(), AtomicBool::new(false));
    record.note(INCARNATION, writer.version(), At::default());
    let (mut changes, mut wholes) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| owner.commit_on(writer, INCARNATION, &record, &enough));
        let (mut store, mut copier) = (open(&folder, kind), copier(&table));
        for round in 0..60 {
            if again && round % 7 == 6 {
                drop(store);
                std::fs::remove_file(path(folder.path(), "t")).unwrap();
                (store, copier) = (open(&folder, kind), super::copier(&table));
            }
            let Some(copied) = copier.checkpoint(&mut store).unwrap() else { continue };
            if copied.whole {
                wholes += 1
            } else {
                changes += 1
            }
            let mut found = stored(&store, kind);
            found.entries.sort_by(|one, other| one.0.cmp(&other.0));
            let at = record.at(INCARNATION, copied.version);
            assert_eq!(found, owner.expected(at), "version {}, {at:?}", copied.version);
        }
        enough.store(true, Ordering::Relaxed);
    });
    println!("{}: {changes} times the changes, {wholes} times the whole table", kind.name());
    assert_eq!(table::held(&table).pins, 0, "no pin is left");
}

#[test]
fn changes_are_of_one_version() {
    check(Kind::Set, 1, false);
    check(Kind::OrderedSet, 1, false);
}

#[test]
fn a_whole_table_is_of_one_version_too() {
    check(Kind::Set, 16, true);
    check(Kind::OrderedSet, 16, true);
}
