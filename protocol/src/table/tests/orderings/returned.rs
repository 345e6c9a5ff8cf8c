//! Get beside memory that is given back to the host while it is read, also by an heir whose owner died at it.

use super::gets::{KEY, assert_reuses, value};
use super::scene::{Owner, Reader, Scene, options, own};
use super::take_back::die_and_recover;
use crate::region::{Region, Store};
use crate::table::layout::{COMMITTED, FREE_SPANS};

/// Blocks of these entries to a run of 64 KiB.
const BLOCKS: u64 = 32;
const WRITE: u64 = 7;

/// Mostly zeroes: words that stay what they are cost a model nothing.
fn long(write: u64) -> Vec<u8> {
    [value(write), vec![0; 1980]].concat()
}

fn key(number: u64) -> [u8; 2] {
    (number as u16).to_le_bytes()
}

/// Three runs: one with room, one where one key is left, and the one that the class carves up.
fn scatter(owner: &mut Owner) {
    for number in 0..BLOCKS {
        owner.insert(&key(number), &long(number)).unwrap();
    }
    owner.insert(KEY, &long(WRITE)).unwrap();
    for number in BLOCKS..2 * BLOCKS {
        owner.insert(&key(number), &long(number)).unwrap();
    }
    for number in BLOCKS - 1..2 * BLOCKS - 1 {
        owner.remove(&key(number)).unwrap();
    }
    (0..40).for_each(|_| owner.bequeath(b"").unwrap());
}

/// Moves that key, and gives back the run where it was.
fn gather(owner: &mut Owner) {
    owner.compaction.least_free_units = 1;
    owner.move_horizon();
    while owner.compact() {}
    assert!(owner.reader().region().load(FREE_SPANS) > 0, "nothing is given back");
}

fn look(reader: &Reader) {
    let found = reader.get(KEY).unwrap().expect("it is there throughout");
    assert!(found == long(WRITE), "a torn value: {:?}", &found[..32]);
}

#[test]
fn a_get_beside_the_return_of_the_memory_that_it_reads() {
    let scene = Scene::new(options(), scatter, gather);
    assert_reuses(&scene, KEY);
    scene.play("get beside a return of memory", gather, look);
}

#[test]
fn a_get_beside_an_heir_that_returns_what_a_dead_owner_was_about_to() {
    let whole = Scene::new(options(), scatter, gather);
    let stores = whole.stores();
    // In the midst of the return, after it, and within the commit that says so.
    let arena = whole.ask(|reader| reader.layout().arena.start);
    let last = stores.iter().rposition(|store| store.word == COMMITTED).expect("a commit");
    let zeroed = |store: &Store| store.word >= arena && store.new == 0 && store.old != 0;
    let returned = stores[..last].iter().rposition(zeroed).expect("something is given back");
    for cut in [returned - 1, returned + 1, last, last + 2] {
        let died = die_and_recover(stores[..cut].to_vec());
        let act = move |owner: &mut Owner| {
            died(owner);
            let words = owner.reader().region().clone();
            gather(&mut own(&words));
        };
        let scene = Scene::new(options(), scatter, act.clone());
        scene.play(&format!("get beside a return of memory by an heir, cut {cut}"), act, look);
    }
}
